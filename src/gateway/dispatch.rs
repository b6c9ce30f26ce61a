//! One attempt of a call: sent to one upstream, and its answer judged.

use std::collections::VecDeque;
use std::rc::Rc;

use guildhall_domain::anthropic::classify_error;
use guildhall_domain::media::ModelKind;
use guildhall_domain::outbound::check_url;
use guildhall_domain::routing::{ErrorClass, Refusal, classify_status, parse_retry_after};
use guildhall_domain::sandbox::{self, SandboxBody};

use super::health::note_begin;
use super::provider::ProviderKind;
use super::settlement::RunningCall;
use super::table::Offer;
use crate::app::Cx;
use crate::config::Config;
use crate::error::{ApiError, Kind};
use crate::ports::{FetchError, Inbound, InboundBody, Outbound, ReadMode, StreamEnd, StreamSource};

/// Longest whole answer, in bytes.
pub const ANSWER_MAX_BYTES: u32 = 32 << 20;
/// A whole answer comes only when the model has finished; a stream begins much sooner.
const WHOLE_ANSWER_FACTOR: u32 = 8;
/// A model's name that is shorter is as likely another word.
const HIDDEN_LEAST_BYTES: usize = 4;
/// Longest reason of an upstream's that is repeated: some repeat what they were asked.
const REASON_MAX_CHARS: usize = 2_000;

const STREAM_OPTIONS: &[u8] = b"stream_options";

/// What came of one attempt.
pub enum Attempt {
    /// The upstream answered with success; whether the answer makes sense is not known yet.
    Answered {
        /// The answer.
        inbound: Inbound,
        /// How long it took to begin.
        latency_ms: i64,
    },
    /// The client's request is wrong; no other upstream will take it.
    Rejected(ApiError),
    /// It does not know `stream_options`.
    OptionsRefused(ApiError),
    /// The request does not fit the model's context; a larger one may take it.
    Overflowed(ApiError),
    /// Another upstream may do better.
    Failed(Failure),
    /// The answer is larger than [`ANSWER_MAX_BYTES`]. Where the client's wishes decide that, the upstream has worked.
    TooLarge,
    /// The client left.
    ClientGone {
        /// Whether the upstream may have the request; otherwise nobody owes anything.
        was_asked: bool,
    },
}

/// Why an upstream gave no answer.
pub struct Failure {
    /// For the log.
    pub cause: String,
    /// What kind of failure it is.
    pub class: ErrorClass,
    /// Milliseconds that the upstream asks to wait.
    pub retry_after_ms: Option<u64>,
    /// Whether the same upstream may do better in a moment: it failed quickly, and not by what it said.
    pub is_passing: bool,
    /// The upstream's HTTP status, if it came to one.
    pub status: Option<u16>,
}

impl Failure {
    /// The provider broke, or did not make sense.
    #[must_use]
    pub fn new(cause: impl std::fmt::Display) -> Self {
        let class = ErrorClass::Transient;
        Self { cause: cause.to_string(), class, retry_after_ms: None, is_passing: false, status: None }
    }

    /// How long the provider asks to be left alone altogether.
    #[must_use]
    pub fn set_aside_ms(&self) -> Option<u64> {
        self.retry_after_ms.filter(|_| self.class == ErrorClass::RateLimited)
    }

    /// What came instead of an answer, in a word for the upstream's owner.
    #[must_use]
    pub fn code(&self) -> String {
        self.status.map_or_else(|| "no_answer".to_owned(), |status| status.to_string())
    }

    fn passing(cause: impl std::fmt::Display) -> Self {
        Self { is_passing: true, ..Self::new(cause) }
    }
}

/// A request in an upstream's words.
pub struct Wire {
    /// What is asked for, and so where it goes.
    pub kind: ModelKind,
    /// Of the body.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the answer is wanted as it comes.
    pub stream: bool,
}

/// Sends a call to one upstream.
pub async fn send(call: &mut RunningCall, offer: &Rc<Offer>, wire: Wire) -> Attempt {
    call.begin_attempt(offer);
    attempt(&call.cx, call.deadline_ms, offer, wire, false).await
}

/// One attempt apart from its call. One that `is_raced` is given up when its future is dropped.
pub async fn attempt(cx: &Cx, deadline_ms: Option<i64>, offer: &Rc<Offer>, wire: Wire, is_raced: bool) -> Attempt {
    let provider = &offer.provider;
    let started_ms = cx.ports.clock.now_ms();
    note_begin(cx, provider);
    let result = match provider.kind {
        ProviderKind::Sandbox => Ok(answer_in_sandbox(&wire, started_ms)),
        ProviderKind::OpenAi | ProviderKind::Vllm | ProviderKind::Anthropic => {
            let kept = cx.clone();
            let tick = Rc::new(move || kept.keep_up());
            let left_ms = deadline_ms.map(|due_ms| due_ms - started_ms);
            let mut outbound = outbound(cx, offer, wire, left_ms);
            outbound.may_be_given_up |= is_raced;
            // An address that a caller gave is looked at each time: what is allowed may have changed since.
            match provider.own.as_ref().map(|_| check_url(&outbound.url, cx.app.config.outbound)) {
                Some(Err(refusal)) => return Attempt::Failed(Failure::new(format!("the address {refusal}"))),
                Some(Ok(_)) | None => cx.ports.fetch.send(outbound, tick).await,
            }
        }
    };
    let now_ms = cx.ports.clock.now_ms();
    judge(offer, result, now_ms, now_ms - started_ms)
}

fn outbound(cx: &Cx, offer: &Offer, wire: Wire, left_ms: Option<i64>) -> Outbound {
    let (config, provider) = (&cx.app.config, &offer.provider);
    let path = if wire.kind == ModelKind::Chat { provider.kind.chat_path() } else { wire.kind.path() };
    let url = provider.endpoint.url(path);
    let mut headers = vec![("content-type", wire.content_type)];
    headers.extend(provider.endpoint.headers.iter().cloned());
    if let Some(asked) = cx.anthropic.as_ref().filter(|_| provider.kind == ProviderKind::Anthropic) {
        headers.retain(|(name, _)| *name != "anthropic-version");
        headers.push(("anthropic-version", asked.version.clone()));
        if !asked.beta.is_empty() {
            headers.push(("anthropic-beta", asked.beta.clone()));
        }
    }
    let (read, first_byte_ms) = if wire.stream {
        // A model that reasons may say its first word as late as another its last.
        let wait_ms = if offer.reasons == Some(true) { whole_answer_ms(config) } else { config.first_byte_ms };
        (ReadMode::Stream { max_bytes: ANSWER_MAX_BYTES, stall_ms: config.stall_ms }, wait_ms)
    } else {
        (ReadMode::Whole { max_bytes: ANSWER_MAX_BYTES }, whole_answer_ms(config))
    };
    let first_byte_ms = first_byte_ms.min(patience_ms(left_ms));
    Outbound {
        method: "POST",
        url,
        headers,
        body: Some(wire.body),
        read,
        first_byte_ms,
        may_be_given_up: left_ms.is_some(),
        // Whoever sends the request again gets the answer.
        outlives_client: cx.idempotency_key.is_some() && !wire.stream,
    }
}

/// How long an answer may take that comes at once, from its first byte to its last.
#[must_use]
pub const fn whole_answer_ms(config: &Config) -> u32 {
    config.first_byte_ms.saturating_mul(WHOLE_ANSWER_FACTOR)
}

/// How long a client may be kept waiting who has `left_ms` left, if any limit.
#[must_use]
pub fn patience_ms(left_ms: Option<i64>) -> u32 {
    left_ms.map_or(u32::MAX, |left_ms| u32::try_from(left_ms.max(1)).unwrap_or(u32::MAX))
}

fn answer_in_sandbox(wire: &Wire, now_ms: i64) -> Inbound {
    let now_s = u64::try_from(now_ms / 1_000).unwrap_or(0);
    if wire.kind != ModelKind::Chat {
        let reply = sandbox::media::answer(wire.kind, &wire.content_type, &wire.body, now_s);
        let (status, content_type) = (reply.status, reply.content_type.to_owned());
        let body = InboundBody::Whole(reply.body);
        return Inbound { status, content_type, retry_after: String::new(), location: String::new(), body };
    }
    let reply = sandbox::answer(&wire.body, now_s);
    let body = match reply.body {
        SandboxBody::Json(bytes) => InboundBody::Whole(bytes),
        SandboxBody::Events(events) => {
            let mut chunks: VecDeque<_> = events.into();
            let first = chunks.pop_front().unwrap_or_default();
            InboundBody::Stream { first, rest: StreamSource::Chunks(chunks, StreamEnd::Eof) }
        }
    };
    let (content_type, retry_after, location) = <(String, String, String)>::default();
    Inbound { status: reply.status, content_type, retry_after, location, body }
}

fn judge(offer: &Offer, result: Result<Inbound, FetchError>, now_ms: i64, latency_ms: i64) -> Attempt {
    let provider = &offer.provider;
    let inbound = match result {
        Ok(inbound) if (200..300).contains(&inbound.status) => return Attempt::Answered { inbound, latency_ms },
        Ok(inbound) => inbound,
        Err(FetchError::ClientGone { was_asked }) => return Attempt::ClientGone { was_asked },
        Err(FetchError::TooLarge) => return Attempt::TooLarge,
        Err(error @ FetchError::Broken(_)) => return Attempt::Failed(Failure::passing(error)),
        Err(error) => return Attempt::Failed(Failure::new(error)),
    };
    let body = match &inbound.body {
        InboundBody::Whole(body) => body.as_slice(),
        InboundBody::Stream { first, .. } => first.as_slice(),
    };
    let text = || String::from_utf8_lossy(body.get(..500).unwrap_or(body)).into_owned();
    let class = match provider.kind {
        ProviderKind::Anthropic => classify_error(inbound.status, body),
        ProviderKind::OpenAi | ProviderKind::Vllm | ProviderKind::Sandbox => classify_status(inbound.status, body),
    };
    let retry_after_ms = parse_retry_after(&inbound.retry_after, u64::try_from(now_ms).unwrap_or(0));
    let status = Some(inbound.status);
    // Which model stands behind a name is the platform's affair, unless it is the caller's own.
    let hidden = provider.own.is_none().then_some(offer.upstream_model.as_str());
    // What a caller's own upstream says is none of the platform's business, and may have the caller's key in it.
    let cause = match provider.own {
        Some(_) => inbound.status.to_string(),
        None => format!("{} {}", inbound.status, text()),
    };
    match class {
        ErrorClass::ClientError if body.windows(STREAM_OPTIONS.len()).any(|at| at == STREAM_OPTIONS) => {
            Attempt::OptionsRefused(rejection(inbound.status, body, hidden))
        }
        ErrorClass::ClientError => Attempt::Rejected(rejection(inbound.status, body, hidden)),
        ErrorClass::ContextOverflow => Attempt::Overflowed(rejection(inbound.status, body, hidden)),
        ErrorClass::RateLimited => {
            let retry_after_ms = Some(retry_after_ms.unwrap_or(1_000));
            Attempt::Failed(Failure { cause, class, retry_after_ms, is_passing: false, status })
        }
        ErrorClass::Auth | ErrorClass::NotFound => {
            Attempt::Failed(Failure { cause, class, retry_after_ms: None, is_passing: false, status })
        }
        ErrorClass::Transient => Attempt::Failed(Failure { cause, class, retry_after_ms, is_passing: true, status }),
    }
}

/// The upstream's own words about the client's mistake, in our dialect; a `hidden` name is not repeated.
fn rejection(status: u16, body: &[u8], hidden: Option<&str>) -> ApiError {
    let status = if (400..500).contains(&status) { status } else { 400 };
    let Some(refusal) = Refusal::read(body) else {
        let text = format!("The model's provider refused the request with status {status}");
        return ApiError::new(Kind::Rejected(status), text);
    };
    let message = match hidden.filter(|name| name.len() >= HIDDEN_LEAST_BYTES) {
        Some(name) => refusal.message.replace(name, "this model"),
        None => refusal.message,
    };
    let message: String = message.chars().take(REASON_MAX_CHARS).collect();
    let mut rejection = ApiError::new(Kind::Rejected(status), message);
    rejection.param = refusal.param;
    match refusal.code {
        Some(code) => rejection.with("code", code),
        None => rejection,
    }
}
