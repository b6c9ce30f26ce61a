//! A client of [`TestApp`].

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use guildhall::app::App;
use guildhall::http::output::Body;
use guildhall::http::request::{BodyError, BodySource, Head, LazyHead, RareHead, Request, WholeBody};
use guildhall::http::serve::serve;
use guildhall::ports::{Flow, LiveStream, Pending, StreamEnd, StreamSource};
use serde_json::Value;
use tokio::time::sleep;

use super::TestApp;
use super::event::{Event, GRACE};

/// A call that is being put together.
pub struct Call<'t> {
    test: &'t TestApp,
    isolate: Rc<App>,
    head: Head,
    rare: RareHead,
    body: Option<Box<dyn BodySource>>,
    /// Whether the answer is held against the document.
    is_documented: bool,
    /// The client leaves after so many chunks of a stream.
    leave_after: Option<usize>,
    /// The client leaves so long after it has asked.
    leave_in_ms: Option<u64>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl<'t> Call<'t> {
    pub fn new(test: &'t TestApp, method: &str, path: &str) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let head = Head { method: method.into(), path: path.into(), query: query.into(), ..Head::default() };
        Self {
            test,
            isolate: test.isolate(),
            head,
            rare: RareHead::default(),
            body: None,
            is_documented: true,
            leave_after: None,
            leave_in_ms: None,
        }
    }

    /// Sends it to another isolate.
    pub fn to(mut self, isolate: &Rc<App>) -> Self {
        self.isolate = Rc::clone(isolate);
        self
    }

    pub fn bearer(mut self, token: &str) -> Self {
        self.head.authorization = format!("Bearer {token}");
        self
    }

    /// Changes the head.
    pub fn head(mut self, change: impl FnOnce(&mut Head)) -> Self {
        change(&mut self.head);
        self
    }

    /// Changes the rest of the head.
    pub fn rare(mut self, change: impl FnOnce(&mut RareHead)) -> Self {
        change(&mut self.rare);
        self
    }

    pub fn idempotency_key(self, key: &str) -> Self {
        self.head(|head| head.idempotency_key = key.into())
    }

    pub fn body(self, body: &str) -> Self {
        self.bytes(body.as_bytes())
    }

    pub fn bytes(mut self, body: &[u8]) -> Self {
        self.head.content_length = body.len().to_string();
        self.source(WholeBody(body.to_vec()))
    }

    /// A body that comes as it comes.
    pub fn source(mut self, body: impl BodySource + 'static) -> Self {
        self.body = Some(Box::new(body));
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.body(&body.to_string())
    }

    /// An upstream makes the answer up, and no document says what is in it.
    pub fn undocumented(mut self) -> Self {
        self.is_documented = false;
        self
    }

    /// Leaves after so many chunks of the rest of a stream.
    pub fn leave_after(mut self, chunks: usize) -> Self {
        self.leave_after = Some(chunks);
        self
    }

    /// Leaves so long after it has asked. A call that is not done when the platform has waited long enough goes no
    /// further, and nothing of it is dropped either; its status is 0.
    pub fn leave_in_ms(mut self, ms: u64) -> Self {
        self.leave_in_ms = Some(ms);
        self
    }

    /// Opens a stream that the house writes itself.
    pub async fn listen(self) -> Box<dyn LiveStream> {
        let request = Request::new(self.head, LazyHead::new(Box::new(|| self.rare)), self.body);
        let ports = super::ports::build(self.test, &self.test.life_of(&self.isolate), &Rc::default());
        match serve(self.isolate, ports, request, "http://guildhall.test").await.body {
            Body::Live(stream) => stream,
            _ => panic!("no live stream"),
        }
    }

    pub async fn send(self) -> Answer {
        let asked = self.is_documented.then(|| (self.head.method.clone(), self.head.path.clone()));
        let request = Request::new(self.head, LazyHead::new(Box::new(|| self.rare)), self.body);
        let life = self.test.life_of(&self.isolate);
        let event = Event::of_client(self.leave_in_ms.map(|ms| self.test.now_ms() + i64::try_from(ms).unwrap()));
        let ports = super::ports::build(self.test, &life, &event);
        let mut answering = Box::pin(serve(self.isolate, ports, request, "http://guildhall.test"));
        let mut patience = self.leave_in_ms.map(|ms| Box::pin(sleep(Duration::from_millis(ms) + GRACE)));
        let output = poll_fn(|context| {
            if life.is_over() {
                return Poll::Ready(None);
            }
            match answering.as_mut().poll(context) {
                _ if life.is_over() => Poll::Ready(None),
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending => match patience.as_mut().map(|patience| patience.as_mut().poll(context)) {
                    Some(Poll::Ready(())) => Poll::Ready(None),
                    _ => Poll::Pending,
                },
            }
        })
        .await;
        let Some(output) = output else {
            event.end();
            std::mem::forget(answering);
            return Answer { status: 0, headers: Vec::new(), body: Vec::new() };
        };
        let body = match output.body {
            Body::Empty => Vec::new(),
            Body::Whole(body) | Body::Relay { first: body, rest: None } => body,
            Body::Relay { first, rest: Some((source, tap)) } => read_stream(first, source, tap, self.leave_after),
            Body::Live(stream) => read_live(stream, self.leave_after.unwrap_or(1)).await,
        };
        let cut_off = Rc::clone(&self.test.cut_off);
        tokio::task::spawn_local(async move {
            sleep(GRACE).await;
            cut_off.set(cut_off.get() + event.end());
        });
        let answer = Answer { status: output.status, headers: output.headers, body };
        if let Some((method, path)) = asked {
            super::document::check(&method, &path, &answer);
        }
        answer
    }
}

/// A body that takes its time.
pub struct LateBody {
    pub body: &'static str,
    pub after_ms: u64,
}

impl BodySource for LateBody {
    fn read(self: Box<Self>, max_bytes: u32) -> Pending<'static, Result<Vec<u8>, BodyError>> {
        Box::pin(async move {
            sleep(Duration::from_millis(self.after_ms)).await;
            Box::new(WholeBody(self.body.as_bytes().to_vec())).read(max_bytes).await
        })
    }
}

/// The first pieces of a stream that never ends.
async fn read_live(mut stream: Box<dyn LiveStream>, pieces: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..pieces {
        out.extend(stream.next().await.unwrap_or_default());
    }
    out
}

fn read_stream(
    first: Vec<u8>,
    source: StreamSource,
    mut tap: Box<dyn guildhall::ports::StreamTap>,
    leave_after: Option<usize>,
) -> Vec<u8> {
    let StreamSource::Chunks(chunks, end) = source else { panic!("tests have no handles") };
    let mut out = first;
    // As the platform asks whether that was all.
    if tap.push(&[], &mut out) == Flow::Done {
        tap.end(StreamEnd::Eof, &mut out);
        return out;
    }
    for (count, chunk) in chunks.into_iter().enumerate() {
        if leave_after == Some(count) {
            tap.end(StreamEnd::ClientGone, &mut Vec::new());
            return out;
        }
        match tap.push(&chunk, &mut out) {
            Flow::Continue => {}
            Flow::Done => {
                tap.end(StreamEnd::Eof, &mut out);
                return out;
            }
            Flow::Stop => return out,
        }
    }
    tap.end(end, &mut out);
    out
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str())
    }

    /// The `data:` payloads of an event stream.
    pub fn events(&self) -> Vec<String> {
        self.text().lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
    }

    /// The status and the body, checked and given.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}
