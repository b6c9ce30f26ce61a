//! The response cache: an account's own answers, given again where the same is asked.
//!
//! The key is a keyed digest of who asks (account, workspace, the account's generation), of how the answer was to be
//! chosen, and of the request in its one way of writing, so that nobody else's answer can ever be found and storage tells
//! nothing of a request. Only whole answers of models that came to their end are kept, in a store that may lose any of
//! them; whatever fails here is a miss.

mod answer;
mod keep;
mod likeness;

use guildhall_domain::anthropic::{Takes, drop_extensions};
use guildhall_domain::cache::{CacheSettings, Entry, REQUEST_MAX_BYTES, canonicalise};
use guildhall_domain::chat::request::ChatRequest;
use guildhall_domain::media::{MediaRequest, ModelKind};

use super::choice::{Choice, Naming, Policy};
use super::reserving::reserve_nothing;
use super::settlement::RunningCall;
use crate::app::Cx;
use crate::error::ApiError;

pub use answer::{answer_chat, answer_media};
pub use keep::{Keep, KeptStream, Worth};
pub use likeness::index_of;

/// A request that takes part.
pub struct Question<'a> {
    kind: ModelKind,
    body: &'a [u8],
    settings: CacheSettings,
    /// Whether a kept answer may be given.
    reads: bool,
    /// What is the same in all requests that may share an answer, the request itself aside.
    scope: String,
    model: &'a str,
    /// When the client's patience ends.
    deadline_ms: Option<i64>,
}

/// What the cache has for a call.
pub enum Kept {
    /// The answer; the call is settled with it.
    Found(Box<(RunningCall, Found)>),
    /// None; the answer may be kept where the request takes part.
    Missed(Option<Box<Keep>>),
}

/// What was found.
enum Lookup {
    /// The request takes no part.
    Apart,
    /// An answer.
    Found(Box<Found>),
    /// Nothing; the answer may be kept.
    Missed(Box<Keep>),
}

/// A kept answer.
pub struct Found {
    /// The answer.
    pub entry: Entry,
    /// How it was found.
    pub tier: Tier,
    /// How old it is.
    pub age_ms: i64,
}

/// How an answer was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// The very same was asked.
    Exact,
    /// Nearly the same was asked.
    Semantic,
}

impl Tier {
    /// As headers and receipts say it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Semantic => "semantic",
        }
    }
}

impl<'a> Question<'a> {
    /// A chat, if it takes part.
    #[must_use]
    pub fn of_chat(
        cx: &Cx,
        request: &ChatRequest<'a>,
        model: &'a str,
        policy: &Policy<'_>,
        choice: &Choice,
    ) -> Option<Self> {
        let mut question = Self::of(cx, ModelKind::Chat, request.body(), model, request.is_repeatable())?;
        let limits = &policy.limits;
        let naming = match policy.naming {
            Naming::Exact => "exact",
            Naming::Hint => "hint",
        };
        let max_micros = limits.max_cost.map_or(-1, |cost| cost.0);
        // Members that another API's request left in the body mean something else when a client wrote them itself.
        let is_extended = policy.is_extended && has_extensions(request.body(), model);
        let (mode, weight) = (choice.mode.as_str(), limits.min_weight);
        question.deadline_ms = policy.deadline_ms(cx.started_ms);
        question.scope += &format!("{mode}\n{naming}\n{max_micros}\n{weight}\n{is_extended}\n");
        if let Some(asked) = &cx.anthropic {
            question.scope += &format!("{} {}\n", asked.version, asked.beta);
        }
        Some(question)
    }

    /// A call that is no chat, if it takes part: embeddings alone do.
    #[must_use]
    pub fn of_media(cx: &Cx, kind: ModelKind, request: &'a MediaRequest<'_>, body: &'a [u8]) -> Option<Self> {
        if kind != ModelKind::Embedding {
            return None;
        }
        Self::of(cx, kind, body, request.model(), true)
    }

    fn of(cx: &Cx, kind: ModelKind, body: &'a [u8], model: &'a str, is_repeatable: bool) -> Option<Self> {
        let key = cx.caller.key().ok()?;
        let settings = key.cache.settings;
        let part = settings.admit(cx.cache_control, is_repeatable);
        if !part.keeps || body.len() > REQUEST_MAX_BYTES {
            return None;
        }
        let workspace = key.workspace_id.as_deref().unwrap_or_default();
        let (account, generation) = (&key.account_id, key.cache.generation);
        let scope = format!("response-cache 1\n{account}\n{workspace}\n{generation}\n{}\n", kind.name());
        Some(Self { kind, body, settings, reads: part.reads, scope, model, deadline_ms: None })
    }

    /// The name of a request of this scope; `None` when it cannot be normalised.
    fn name(&self, cx: &Cx, body: &[u8]) -> Option<String> {
        let canonical = String::from_utf8(canonicalise(body, self.model)?).ok()?;
        Some(cx.app.hasher.hash(&format!("{}{canonical}", self.scope)))
    }
}

fn has_extensions(body: &[u8], model: &str) -> bool {
    drop_extensions(body, Takes::default())
        .map_or(true, |plain| canonicalise(&plain, model) != canonicalise(body, model))
}

/// Looks for an answer before anybody is asked; the answer calls its model `asked_model`.
///
/// # Errors
/// 503 when there is one and the wallet does not answer.
pub async fn find_kept(
    cx: &Cx,
    question: Option<Question<'_>>,
    asked_model: &str,
    choice: &Choice,
) -> Result<Kept, ApiError> {
    let Some(question) = question else { return Ok(Kept::Missed(None)) };
    match Box::pin(look_up(cx, &question)).await {
        Lookup::Apart => Ok(Kept::Missed(None)),
        Lookup::Missed(keep) => Ok(Kept::Missed(Some(keep))),
        Lookup::Found(found) => {
            let reservation = reserve_nothing(cx).await?;
            let call = RunningCall::begin(cx.clone(), question.kind, asked_model, choice, reservation)?;
            Ok(Kept::Found(Box::new((call, *found))))
        }
    }
}

async fn look_up(cx: &Cx, question: &Question<'_>) -> Lookup {
    let Some(name) = question.name(cx, question.body) else { return Lookup::Apart };
    if question.reads
        && let Some(found) = read(cx, &name, Tier::Exact, &question.settings).await
    {
        return Lookup::Found(Box::new(found));
    }
    let mut keep = Keep::new(name, question.kind, question.settings.ttl_s);
    if question.reads && question.settings.semantic && question.kind == ModelKind::Chat {
        match likeness::find(cx, question).await {
            likeness::Search::Found(found) => return Lookup::Found(found),
            likeness::Search::Missed(direction) => keep.direction = Some(direction),
            likeness::Search::Unfit => {}
        }
    }
    Lookup::Missed(Box::new(keep))
}

/// A kept answer that is fresh enough for this request.
async fn read(cx: &Cx, name: &str, tier: Tier, settings: &CacheSettings) -> Option<Found> {
    let log = |what: String| cx.ports.background.log(&format!("{} cache: {what}", cx.request_id));
    let stored = match cx.ports.kv.get(&kv_key(name)).await {
        Ok(stored) => stored?,
        Err(error) => {
            log(error.to_string());
            return None;
        }
    };
    let entry = match Entry::read(&stored) {
        Ok(entry) => entry,
        Err(error) => {
            log(error.to_string());
            keep::forget(cx, name);
            return None;
        }
    };
    let age_ms = (cx.ports.clock.now_ms() - entry.stored_ms).max(0);
    settings.is_fresh(cx.cache_control, age_ms).then_some(Found { entry, tier, age_ms })
}

fn kv_key(name: &str) -> String {
    format!("answer:{name}")
}
