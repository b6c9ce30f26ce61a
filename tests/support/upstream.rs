//! The outside, as a script: replies in order, and a record of what was sent.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use guildhall::ports::{FetchError, Inbound, InboundBody, Outbound, ReadMode, StreamEnd, StreamSource};
use serde_json::{Value, json};

/// What the upstream answers.
#[derive(Clone)]
pub enum Reply {
    /// A status, a body, and `Retry-After` unless empty.
    Whole(u16, String, &'static str),
    /// An event stream in chunks, and how it ends.
    Stream(Vec<Vec<u8>>, StreamEnd),
    /// Sound or film in chunks: its content type, and how it ends.
    Relay(&'static str, Vec<Vec<u8>>, StreamEnd),
    /// A status and a body of any bytes.
    Bytes(u16, Vec<u8>),
    /// A redirect.
    Elsewhere(&'static str),
    /// No answer.
    Fails(FetchError),
}

/// The scripted upstream.
#[derive(Default)]
pub struct Upstream {
    replies: RefCell<VecDeque<Reply>>,
    /// What is answered when the script is at its end.
    standard: RefCell<Option<Reply>>,
    /// How long each answer takes.
    pub latency_ms: Cell<u64>,
    /// What was sent.
    pub sent: RefCell<Vec<Outbound>>,
    /// What single providers answer, whatever the script says.
    by_provider: RefCell<Vec<(String, Reply)>>,
    /// How long single providers take beyond that.
    slow: RefCell<Vec<(String, u64)>>,
    /// The providers whose requests were given up before they answered, in order.
    pub given_up: RefCell<Vec<String>>,
    /// Called when a request arrives.
    on_arrival: RefCell<Option<Box<dyn Fn()>>>,
}

impl Reply {
    /// A chat completion that used so many tokens.
    pub fn chat(text: &str, input: u64, output: u64) -> Self {
        let body = json!({
            "id": "chatcmpl-up", "object": "chat.completion", "created": 1, "model": "upstream-name",
            "choices": [{ "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output },
        });
        Self::Whole(200, body.to_string(), "")
    }

    /// A chat completion without usage.
    pub fn chat_without_usage(text: &str) -> Self {
        let body = json!({
            "id": "chatcmpl-up", "object": "chat.completion", "created": 1, "model": "upstream-name",
            "choices": [{ "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": "stop" }],
        });
        Self::Whole(200, body.to_string(), "")
    }

    pub fn error(status: u16, message: &str) -> Self {
        Self::Whole(
            status,
            json!({ "error": { "message": message, "type": "t", "param": null, "code": null } }).to_string(),
            "",
        )
    }

    /// The chunks of a stream: the words, then the finish, the usage and the end.
    pub fn chunks(words: &[&str], usage: Option<(u64, u64)>) -> Vec<Vec<u8>> {
        let chunk = |delta: Value, finish: Value| {
            json!({ "id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1, "model": "upstream-name",
                "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] })
        };
        let mut events = vec![chunk(json!({ "role": "assistant", "content": "" }), Value::Null)];
        events.extend(words.iter().map(|word| chunk(json!({ "content": word }), Value::Null)));
        events.push(chunk(json!({}), json!("stop")));
        if let Some((input, output)) = usage {
            events.push(json!({ "id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1,
                "model": "upstream-name", "choices": [],
                "usage": { "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output } }));
        }
        let mut lines: Vec<_> = events.iter().map(|event| format!("data: {event}\n\n").into_bytes()).collect();
        lines.push(b"data: [DONE]\n\n".to_vec());
        lines
    }

    /// A whole stream.
    pub fn stream(words: &[&str], usage: Option<(u64, u64)>) -> Self {
        Self::Stream(Self::chunks(words, usage), StreamEnd::Eof)
    }
}

impl Upstream {
    /// From now on the provider of this id (of [`TestApp::add_provider`](super::TestApp::add_provider)) answers so.
    pub fn always_at(&self, provider: &str, reply: Reply) {
        let mut by_provider = self.by_provider.borrow_mut();
        by_provider.retain(|(id, _)| id != provider);
        by_provider.push((provider.to_owned(), reply));
    }

    /// From now on the provider of this id takes so much longer.
    pub fn slow_at(&self, provider: &str, extra_ms: u64) {
        let mut slow = self.slow.borrow_mut();
        slow.retain(|(id, _)| id != provider);
        slow.push((provider.to_owned(), extra_ms));
    }

    /// Calls this whenever a request arrives.
    pub fn on_arrival(&self, hook: impl Fn() + 'static) {
        *self.on_arrival.borrow_mut() = Some(Box::new(hook));
    }

    /// The providers that were called since the last look, in order.
    pub fn take_called(&self) -> Vec<String> {
        self.sent.borrow_mut().drain(..).map(|request| provider_of(&request.url).to_owned()).collect()
    }

    /// The text of the last body that was sent.
    pub fn last_body(&self) -> String {
        let sent = self.sent.borrow();
        String::from_utf8(sent.last().unwrap().body.clone().unwrap()).unwrap()
    }

    pub fn then(&self, reply: Reply) {
        self.replies.borrow_mut().push_back(reply);
    }

    pub fn always(&self, reply: Reply) {
        *self.standard.borrow_mut() = Some(reply);
    }

    /// The bodies that were sent.
    pub fn bodies(&self) -> Vec<Value> {
        let sent = self.sent.borrow();
        sent.iter().map(|request| serde_json::from_slice(request.body.as_deref().unwrap()).unwrap()).collect()
    }

    pub async fn answer(&self, request: Outbound) -> Result<Inbound, FetchError> {
        let wants_stream = matches!(request.read, ReadMode::Stream { .. });
        let provider = provider_of(&request.url).to_owned();
        let patience_ms = u64::from(request.first_byte_ms);
        self.sent.borrow_mut().push(request);
        if let Some(hook) = &*self.on_arrival.borrow() {
            hook();
        }
        let fixed = self.by_provider.borrow().iter().find(|(id, _)| *id == provider).map(|(_, reply)| reply.clone());
        let reply = match fixed {
            Some(reply) => Some(reply),
            None => self.replies.borrow_mut().pop_front().or_else(|| self.standard.borrow().clone()),
        };
        let extra_ms = self.slow.borrow().iter().find(|(id, _)| *id == provider).map_or(0, |(_, extra_ms)| *extra_ms);
        let mut watch = GivenUp { upstream: self, provider: Some(provider) };
        let takes_ms = self.latency_ms.get() + extra_ms;
        tokio::time::sleep(Duration::from_millis(takes_ms.min(patience_ms))).await;
        if takes_ms > patience_ms {
            return Err(FetchError::TimedOut);
        }
        watch.provider = None;
        let whole = |status, body: Vec<u8>, retry_after: &str| Inbound {
            status,
            content_type: "application/json".into(),
            retry_after: retry_after.into(),
            location: String::new(),
            body: InboundBody::Whole(body),
        };
        match reply {
            None => Err(FetchError::Broken("the script is at its end".into())),
            Some(Reply::Fails(error)) => Err(error),
            Some(Reply::Whole(status, body, retry_after)) => Ok(whole(status, body.into_bytes(), retry_after)),
            Some(Reply::Elsewhere(location)) => Ok(Inbound { location: location.into(), ..whole(302, Vec::new(), "") }),
            Some(Reply::Bytes(status, body)) => Ok(whole(status, body, "")),
            Some(Reply::Stream(..) | Reply::Relay(..)) if !wants_stream => {
                Ok(whole(500, "not asked for a stream".into(), ""))
            }
            Some(Reply::Stream(chunks, end)) => Ok(stream("text/event-stream", chunks, end)),
            Some(Reply::Relay(content_type, chunks, end)) => Ok(stream(content_type, chunks, end)),
        }
    }
}

/// Tells when a request is given up.
struct GivenUp<'u> {
    upstream: &'u Upstream,
    provider: Option<String>,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        self.upstream.given_up.borrow_mut().extend(self.provider.take());
    }
}

fn stream(content_type: &str, chunks: Vec<Vec<u8>>, end: StreamEnd) -> Inbound {
    let mut chunks: VecDeque<_> = chunks.into();
    let first = chunks.pop_front().unwrap_or_default();
    let body = InboundBody::Stream { first, rest: StreamSource::Chunks(chunks, end) };
    let (retry_after, location) = Default::default();
    Inbound { status: 200, content_type: content_type.into(), retry_after, location, body }
}

/// The id of the provider that an address belongs to: its first path segment.
fn provider_of(url: &str) -> &str {
    url.split('/').nth(3).unwrap_or_default()
}
