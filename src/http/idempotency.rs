//! `Idempotency-Key`: a request that is sent again gets the first one's answer, and nothing runs or costs twice.
//!
//! The truth is one `Idempotency` object per caller and key. An answer is kept when the request had an effect: every
//! answer but a 402, a 429 and a 5xx for which nothing was charged. A call goes on when its client leaves, so that there is one. A stream is kept as it went out, and replayed whole. Bodies are kept sealed: some of
//! them hold a key that stands nowhere else in clear.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use durable_objects::idempotency::protocol::{
    Answer, BODY_MAX_BYTES, Body as StoredBody, Command, Idempotency, Reply, name,
};
use guildhall_domain::media::pass_without_boundary;
use guildhall_domain::seal::{NONCE_BYTES, open_bytes, seal_bytes};
use guildhall_domain::secret::Seed;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::input::read_body;
use super::output::{Body, Output};
use super::request::{Head, Request, WholeBody};
use super::route::Route;
use crate::app::Cx;
use crate::error::{ApiError, Kind};
use crate::ports::{Flow, Pending, PortError, Ports, StreamEnd, StreamTap, ask};

/// How long a duplicate waits for the first request's answer.
const WAIT_MAX_MS: i64 = 25_000;
const KEY_MAX_CHARS: usize = 255;
/// A third of the time after which the guard gives a run up.
const KEEP_UP_MS: u32 = 15_000;

/// Runs a route's handler unless the same request has run before.
///
/// # Errors
/// The handler's; 409 while the first request still runs, 422 when the key was used for another body.
pub async fn run_once(cx: Cx, route: &'static Route, mut request: Request) -> Result<Output, ApiError> {
    let key = cx.idempotency_key.clone().unwrap_or_default();
    if key.len() > KEY_MAX_CHARS {
        return Err(ApiError::invalid(
            "Idempotency-Key",
            format!("Idempotency-Key is longer than {KEY_MAX_CHARS} characters"),
        ));
    }
    let guard = Guard::new(&cx, name(&cx.caller.guard_name(), &key));
    let dialect = route.dialect.spoken_to(request.credential());
    let body = read_body(&mut request).await?;
    let token = cx.request_id.to_string();
    // Under the pepper: a body may hold a password, and a plain digest would let anybody who reads it try guesses.
    let fingerprint = cx.app.hasher.hash(&fingerprint(route, &request, &body));
    if let Some(answer) = guard.begin(&token, &fingerprint).await? {
        return guard.replay(answer);
    }
    guard.keep_up(&token);
    request.body = Some(Box::new(WholeBody(body)));
    let request_id = Rc::clone(&cx.request_id);
    let answer = route.run(cx, request).await;
    let output = match answer {
        Ok(output) => output,
        Err(error) if may_run_again(&error) => {
            guard.close(Command::Abandon { token }).await;
            return Err(error);
        }
        Err(error) => {
            let Output { status, headers, body } = dialect.render(route.access, &error, &request_id);
            let body = if let Body::Whole(body) = body { body } else { Vec::new() };
            guard.finish(token, status, to_stored(&headers), &body).await;
            return Err(error);
        }
    };
    Ok(keep(guard, token, output).await)
}

fn may_run_again(error: &ApiError) -> bool {
    let status = error.kind.status();
    !error.is_paid && (status == 429 || status == 402 || status >= 500)
}

async fn keep(guard: Guard, token: String, output: Output) -> Output {
    let Output { status, headers, body } = output;
    let stored = to_stored(&headers);
    match body {
        Body::Relay { first, rest: Some((source, tap)) } => {
            let kept = (first.len() <= BODY_MAX_BYTES).then(|| first.clone());
            let tap = KeepingTap { inner: tap, kept, status, headers: stored, guard, token };
            Output { status, headers, body: Body::Relay { first, rest: Some((source, Box::new(tap))) } }
        }
        Body::Whole(bytes) | Body::Relay { first: bytes, rest: None } => {
            guard.finish(token, status, stored, &bytes).await;
            Output { status, headers, body: Body::Whole(bytes) }
        }
        // A live feed has no end that could be kept.
        Body::Live(_) => {
            guard.close(Command::Abandon { token }).await;
            Output { status, headers, body }
        }
        Body::Empty => {
            guard.finish(token, status, stored, &[]).await;
            Output { status, headers, body: Body::Empty }
        }
    }
}

/// What is kept of the headers: they are not sealed, so nothing else is, such as a cookie.
fn to_stored(headers: &[(&'static str, String)]) -> Vec<(String, String)> {
    let kept = headers.iter().filter(|(name, _)| REPLAYED_HEADERS.contains(name));
    kept.map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// The headers that an answer can have before the pipeline adds its own; only these are replayed. `request-id` is the
/// first answer's, as what else is said of it.
const REPLAYED_HEADERS: [&str; 11] = [
    "content-type",
    "x-tokaroo-cost",
    "x-tokaroo-cache",
    "x-tokaroo-cache-tier",
    "age",
    "cache-control",
    "location",
    "x-negotiated-model",
    "x-alias-from",
    "x-ignored-tools",
    "request-id",
];

fn fingerprint(route: &Route, request: &Request, body: &[u8]) -> String {
    let Head { path, query, .. } = &request.head;
    let mut digest = Sha256::new();
    digest.update(format!("{} {path}?{query}\n", route.method.name()));
    // Clients draw a new boundary whenever they send a form.
    pass_without_boundary(&request.rare.content_type, body, |piece| digest.update(piece));
    format!("{:x}", digest.finalize())
}

#[derive(Clone)]
struct Guard {
    ports: Rc<Ports>,
    name: String,
    /// Seals what is kept under this name.
    key: Rc<Zeroizing<[u8; 32]>>,
    end: Rc<End>,
}

/// The end of a run, and who is to hear of it.
#[derive(Default)]
struct End {
    has_come: Cell<bool>,
    waiter: Cell<Option<Waker>>,
}

impl End {
    fn come(&self) {
        self.has_come.set(true);
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }

    /// Waits for the pause or the end, whichever comes first. Gives whether the end has come.
    async fn comes_within(&self, mut pause: Pending<'static, ()>) -> bool {
        poll_fn(|context| {
            if self.has_come.get() {
                return Poll::Ready(true);
            }
            self.waiter.set(Some(context.waker().clone()));
            pause.as_mut().poll(context).map(|()| false)
        })
        .await
    }
}

impl Guard {
    fn new(cx: &Cx, name: String) -> Self {
        let key = Seed::new(Zeroizing::new(cx.app.config.seal_key)).draw(&format!("idempotency:{name}"));
        Self { ports: Rc::clone(&cx.ports), name, key: Rc::new(key), end: Rc::default() }
    }

    /// Keeps an answer.
    async fn finish(&self, token: String, status: u16, headers: Vec<(String, String)>, body: &[u8]) {
        let mut nonce = [0; NONCE_BYTES];
        self.ports.random.fill(&mut nonce);
        // Of an answer that is too large to keep the object remembers only that: the rest need not travel.
        let body = body.get(..=BODY_MAX_BYTES).unwrap_or(body);
        match seal_bytes(&self.key, nonce, &self.name, body) {
            Ok(sealed) => {
                let answer = Answer { status, headers, body: StoredBody(sealed), is_sealed: true };
                self.close(Command::Finish { token, answer }).await;
            }
            Err(error) => self.ports.background.log(&format!("idempotency: {error}")),
        }
    }

    fn replay(&self, answer: Answer) -> Result<Output, ApiError> {
        let Answer { status, headers, body: StoredBody(kept), is_sealed } = answer;
        let unreadable = |_| {
            let text = format!("The same request has run with status {status}; its answer cannot be read any more");
            ApiError::new(Kind::Conflict, text)
        };
        let bytes =
            if is_sealed { open_bytes(&self.key, &self.name, &kept).map_err(unreadable)?.to_vec() } else { kept };
        let body = if bytes.is_empty() { Body::Empty } else { Body::Whole(bytes) };
        let headers = REPLAYED_HEADERS
            .into_iter()
            .filter_map(|name| headers.iter().find(|(n, _)| n == name).map(|(_, value)| (name, value.clone())))
            .collect();
        Ok(Output { status, headers, body }.header("idempotency-replay", "true"))
    }

    /// `None` when the request is to run; the stored answer when it has run.
    async fn begin(&self, token: &str, fingerprint: &str) -> Result<Option<Answer>, ApiError> {
        let started_ms = self.ports.clock.now_ms();
        let mut pause_ms = 10;
        loop {
            let command = Command::Begin { fingerprint: fingerprint.to_owned(), token: token.to_owned() };
            match self.ask_to_begin(&command).await? {
                Reply::Started => return Ok(None),
                Reply::Stored { answer } => return Ok(Some(answer)),
                Reply::Mismatch => {
                    let text = "This Idempotency-Key was used for another request";
                    return Err(ApiError::new(Kind::IdempotencyMismatch, text));
                }
                Reply::TooLarge { status } => {
                    let text =
                        format!("The same request has run with status {status}; its answer was too large to keep");
                    return Err(ApiError::new(Kind::Conflict, text));
                }
                Reply::InFlight { .. } if self.ports.clock.now_ms() - started_ms < WAIT_MAX_MS => {
                    self.ports.clock.sleep_ms(pause_ms).await;
                    pause_ms = (pause_ms * 2).min(500);
                }
                Reply::InFlight { .. } => {
                    let text = "The same request is still running";
                    return Err(ApiError::new(Kind::Conflict, text).retry_after_s(5));
                }
                other => return Err(ApiError::internal(format!("idempotency: {other:?}"))),
            }
        }
    }

    /// Says every few seconds that the run lives: the key of one that died with its isolate is free again soon.
    fn keep_up(&self, token: &str) {
        let (guard, prolong) = (self.clone(), Command::Prolong { token: token.to_owned() });
        self.ports.background.spawn(Box::pin(async move {
            while !guard.end.comes_within(guard.ports.clock.sleep_ms(KEEP_UP_MS)).await {
                match ask::<Idempotency>(&*guard.ports.objects, &guard.name, &prolong).await {
                    Ok(Reply::Stale) => return,
                    Ok(_) => {}
                    Err(error) => guard.ports.background.log(&format!("idempotency: {error}")),
                }
            }
        }));
    }

    /// Asks until there is an answer: an answer that is lost must not leave the key locked. The token makes the
    /// repetition the same attempt.
    async fn ask_to_begin(&self, command: &Command) -> Result<Reply, ApiError> {
        let mut failed = None;
        for pause_ms in [10, 50, 250] {
            match ask::<Idempotency>(&*self.ports.objects, &self.name, command).await {
                Ok(reply) => return Ok(reply),
                Err(error) => failed = Some(error),
            }
            self.ports.clock.sleep_ms(pause_ms).await;
        }
        if let Command::Begin { token, .. } = command {
            let (guard, token) = (self.clone(), token.clone());
            self.ports.background.spawn(Box::pin(async move { guard.close(Command::Abandon { token }).await }));
        }
        let text = "The idempotency guard did not answer; try again";
        Err(ApiError::new(Kind::Unavailable, text)
            .caused_by(failed.unwrap_or_else(|| PortError(String::new())))
            .retry_after_s(1))
    }

    async fn close(&self, command: Command) {
        self.end.come();
        for pause_ms in [50, 200, 1_000] {
            match ask::<Idempotency>(&*self.ports.objects, &self.name, &command).await {
                Ok(_) => return,
                Err(error) => self.ports.background.log(&format!("idempotency: {error}")),
            }
            self.ports.clock.sleep_ms(pause_ms).await;
        }
    }
}

/// Keeps what goes to the client, and files it when the stream has ended.
struct KeepingTap {
    inner: Box<dyn StreamTap>,
    /// `None` once the stream is too large to keep.
    kept: Option<Vec<u8>>,
    status: u16,
    headers: Vec<(String, String)>,
    guard: Guard,
    token: String,
}

impl KeepingTap {
    fn keep(&mut self, written: &[u8]) {
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(written);
            kept.truncate(BODY_MAX_BYTES + 1);
        }
    }

    fn file(&mut self) {
        let body = self.kept.take().unwrap_or_else(|| vec![0; BODY_MAX_BYTES + 1]);
        let (guard, status) = (self.guard.clone(), self.status);
        let (token, headers) = (std::mem::take(&mut self.token), std::mem::take(&mut self.headers));
        self.guard.ports.background.spawn(Box::pin(async move { guard.finish(token, status, headers, &body).await }));
    }
}

impl StreamTap for KeepingTap {
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Flow {
        let before = out.len();
        let flow = self.inner.push(chunk, out);
        self.keep(out.get(before..).unwrap_or_default());
        if flow == Flow::Stop {
            self.file();
        }
        flow
    }

    fn tick(&mut self) {
        self.inner.tick();
    }

    fn end(&mut self, end: StreamEnd, out: &mut Vec<u8>) {
        let before = out.len();
        self.inner.end(end, out);
        self.keep(out.get(before..).unwrap_or_default());
        self.file();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_headers_that_are_replayed_are_kept() {
        let headers = [("content-type", "text/plain".to_owned()), ("set-cookie", "secret".to_owned())];
        assert_eq!(to_stored(&headers), [("content-type".to_owned(), "text/plain".to_owned())]);
    }
}
