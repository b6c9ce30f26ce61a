//! Which models may serve a call, best first: one decision for traffic and for the simulation.

use std::rc::Rc;

use guildhall_domain::catalogue::{Capability, is_native_model};
use guildhall_domain::chat::request::ChatRequest;
use guildhall_domain::media::ModelKind;
use guildhall_domain::native::ANY_MODEL;
use guildhall_domain::pricing::TokenUsage;
use guildhall_domain::routing::{
    Arm, CONTEXT_HEADROOM_PERCENT, Candidate, Decision, Limits, Mode, ProviderHealth, SkipReason, TokenBucket, Wish,
    decide, resolve_alias,
};

use super::affinity::{Warm, find_warm, name_prefixes};
use super::ladder::{ATTEMPTS_MAX, Ladder, Lead, OWN_ATTEMPTS_MAX};
use super::own::{OwnAsk, OwnTable};
use super::table::{Offer, Snapshot};
use crate::app::Cx;
use crate::error::{ApiError, Kind};
use crate::observe::counters::{PROVIDER_SKIPS, count, escape};

/// Output tokens that the routing reckons with when the client does not say.
pub const EXPECTED_OUTPUT_TOKENS: u64 = 512;

/// What a surface wants of the routing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Policy<'a> {
    /// What the route is to be good at; a tier that the request names goes before it.
    pub mode: Mode,
    /// What it must not exceed.
    pub limits: Limits,
    /// Whether the dearest cost is the administrator's word and not the client's: the estimate of a usual answer is held
    /// against it, and no call is cut for it.
    pub is_default_budget: bool,
    /// When a call is given up whose client did not say, in milliseconds.
    pub default_latency_ms: Option<u64>,
    /// How the model's name is to be taken.
    pub naming: Naming,
    /// Input tokens as the client counted them; for the choice, and for nothing that is charged.
    pub input_tokens: Option<u64>,
    /// The request's id for aliases that stick to it; ours by default.
    pub sticky_id: Option<&'a str>,
    /// Whether the request has members that chat completions do not know, made of another API's.
    pub is_extended: bool,
}

impl Policy<'_> {
    /// When the patience of the client of a call that began then is over: as it said, else as the administrator did.
    #[must_use]
    pub fn deadline_ms(&self, started_ms: i64) -> Option<i64> {
        let ms = self.limits.max_latency_ms.or(self.default_latency_ms)?;
        Some(started_ms + i64::try_from(ms).ok()?)
    }
}

/// How the name of a registered model is to be taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Naming {
    /// This model and no other; an unknown one is an error.
    #[default]
    Exact,
    /// This model first; others may serve as well, and an unknown one is no error.
    Hint,
}

/// What a request wants of a model, whatever its kind.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// What the model must do.
    pub kind: ModelKind,
    /// The model's name as asked for.
    pub model: &'a str,
    /// Whether the client wrote it.
    pub is_named: bool,
    /// What the decision reckons with.
    pub expected: TokenUsage,
    /// Input tokens as they are counted here, whatever the client says: what a price is reckoned with.
    pub counted_input: u64,
    /// The chat, whose beginning a provider may still have; none where providers keep none.
    pub chat: Option<&'a ChatRequest<'a>>,
}

/// The models for a call.
pub struct Choice {
    /// The mode that decided.
    pub mode: Mode,
    /// The candidates that the decision's indexes mean.
    pub offers: Vec<Rc<Offer>>,
    /// The order, and who was left out and why.
    pub decision: Decision,
    /// The name that an alias replaced.
    pub alias_from: Option<String>,
    /// Whether the client left the choice to the router, or named an alias: it wants to know which model answers.
    pub is_negotiated: bool,
    /// Whether a model that the client did not name may serve.
    pub is_open: bool,
    /// What the decision reckoned with.
    pub expected: TokenUsage,
    /// What the answer calls its model.
    pub answers_as: String,
    /// What usage calls the model that was asked for: a name that somebody here gave, so that clients do not make up as many as
    /// they like.
    pub recorded_as: String,
    /// Names of the prompt's beginnings, where more than one model may serve.
    pub prefixes: Vec<u64>,
}

impl Choice {
    /// The models that may serve, best first.
    pub fn ranked_offers(&self) -> impl Iterator<Item = &Rc<Offer>> {
        self.decision.ranked.iter().filter_map(|ranked| self.offers.get(ranked.index))
    }

    /// Those that are tried: the best of the caller's own, then the best of the platform's. The last of these is at another
    /// provider if there is one, so that no provider fails a call alone.
    #[must_use]
    pub fn best_offers(&self) -> Vec<Rc<Offer>> {
        self.best_offers_of(|_| true)
    }

    /// As [`Self::best_offers`], of those that `may` be tried.
    #[must_use]
    pub fn best_offers_of(&self, may: impl Fn(&Offer) -> bool) -> Vec<Rc<Offer>> {
        let offers = self.ranked_offers().filter(|offer| may(offer)).map(Rc::clone);
        let (own, mut managed): (Vec<_>, Vec<_>) = offers.partition(|offer| offer.provider.own.is_some());
        let is_elsewhere =
            |offer: &Rc<Offer>| managed.first().is_some_and(|best| !Rc::ptr_eq(&best.provider, &offer.provider));
        let elsewhere = managed.iter().position(is_elsewhere);
        if let Some(at) = elsewhere.filter(|at| *at >= ATTEMPTS_MAX) {
            managed.swap(ATTEMPTS_MAX - 1, at);
        }
        own.into_iter().take(OWN_ATTEMPTS_MAX).chain(managed.into_iter().take(ATTEMPTS_MAX)).collect()
    }

    /// The attempts on these of them.
    #[must_use]
    pub fn ladder(&self, offers: Vec<Rc<Offer>>) -> Ladder {
        Ladder::new(offers, Lead::of(self.decision.ranked.first()))
    }
}

/// Decides for a request.
///
/// # Errors
/// 404 for a model that is not registered, 400 for a prompt that fits nowhere and for aliases that stand for each other,
/// 503 when there is nobody.
pub fn choose(
    cx: &Cx,
    snapshot: &Snapshot,
    own: Option<&OwnTable>,
    request: &ChatRequest<'_>,
    policy: &Policy<'_>,
) -> Result<Choice, ApiError> {
    let estimate = request.input_tokens_estimate();
    // A client's own count chooses; what its budget is held against is counted here, at least.
    let least = if policy.limits.max_cost.is_some() { estimate } else { 0 };
    let input = policy.input_tokens.map_or(estimate, |told| told.max(least));
    let output = request.max_output_tokens().unwrap_or(EXPECTED_OUTPUT_TOKENS);
    let output = if policy.is_default_budget { output.min(EXPECTED_OUTPUT_TOKENS) } else { output };
    let expected = TokenUsage { input, output, ..TokenUsage::default() };
    let ask = Ask {
        kind: ModelKind::Chat,
        model: request.model(),
        is_named: request.names_model(),
        expected,
        counted_input: estimate,
        chat: Some(request),
    };
    choose_for(cx, snapshot, own, &ask, policy)
}

/// Decides between the models of a kind: those of the platform, and before them what the caller has of their own.
///
/// # Errors
/// As [`choose`].
pub fn choose_for(
    cx: &Cx,
    snapshot: &Snapshot,
    own: Option<&OwnTable>,
    ask: &Ask<'_>,
    policy: &Policy<'_>,
) -> Result<Choice, ApiError> {
    let Ask { kind, model: asked, expected, .. } = *ask;
    let key_id = cx.caller.key().map_or("", |key| &key.key_id);
    let sticky_id = policy.sticky_id.unwrap_or(&cx.request_id);
    let turn_of = |alias: &str| cx.app.gateway.take_turn(alias);
    let resolved = resolve_alias(&snapshot.aliases, asked, sticky_id, key_id, turn_of)
        .map_err(|error| ApiError::invalid("model", format!("Alias {asked}: {error}")))?;
    let of_kind: Vec<_> = snapshot.offers.iter().filter(|offer| offer.kind == kind).map(Rc::clone).collect();
    let is_known = of_kind.iter().any(|offer| offer.model_id.as_str() == resolved.model);
    let mut tier = Mode::parse_tier(resolved.model);
    // A provider's own name of a model that is not registered here means: whatever serves best.
    let is_unnamed = tier.is_some() || resolved.model == ANY_MODEL;
    let is_native = !is_known && !is_unnamed && is_native_model(resolved.model, capability_of(kind));
    let workspace = cx.caller.key().ok().and_then(|key| key.workspace_id.as_deref());
    // Where the caller's endpoint does not answer, the platform serves what its model stands for as well as it can.
    let is_own = !is_known && own.is_some_and(|own| own.serves(resolved.model, kind, workspace));
    if (is_native || is_own) && policy.naming == Naming::Exact && tier.is_none() {
        tier = Some(Mode::Auto);
    }
    let is_any = is_unnamed || tier.is_some();
    let is_open = is_any || policy.naming == Naming::Hint;
    if !is_open && !is_known {
        let model = if kind == ModelKind::Chat { "Model" } else { "model" };
        return Err(ApiError::new(Kind::NotFound, format!("{model} not found: {asked}")));
    }
    let mut offers = own.map_or_else(Vec::new, |own| {
        own.offers(&OwnAsk {
            kind,
            capability: capability_of(kind),
            name: resolved.model,
            is_open: is_unnamed,
            managed: &of_kind,
            expected: &TokenUsage { input: ask.counted_input, ..expected },
            workspace,
            now_ms: cx.started_ms,
        })
    });
    offers.extend(of_kind.into_iter().filter(|offer| is_open || offer.model_id.as_str() == resolved.model));
    let mode = tier.unwrap_or(policy.mode);
    let wish = Wish {
        mode,
        limits: policy.limits,
        expected: &expected,
        hint: (!is_any).then_some(resolved.model),
        ignore_health: false,
    };
    // Where there is no choice, nobody has to know.
    let chat = ask.chat.filter(|_| offers.len() > 1);
    let prefixes = chat.map_or_else(Vec::new, |chat| name_prefixes(cx, chat, asked, mode));
    let warm = find_warm(cx, &prefixes);
    let decision = decide_for(cx, snapshot, &wish, &offers, warm.as_ref());
    count_skips(cx, &offers, &decision);
    if decision.ranked.is_empty() {
        return Err(explain_nobody(asked, &offers, &decision, &expected));
    }
    Ok(Choice {
        mode,
        decision,
        offers,
        alias_from: resolved.is_alias.then(|| asked.to_owned()),
        is_negotiated: resolved.is_alias || resolved.model == ANY_MODEL || !ask.is_named,
        is_open,
        expected,
        recorded_as: if is_known || is_own || is_unnamed || resolved.is_alias { asked } else { mode.as_str() }
            .to_owned(),
        answers_as: if is_native && !is_own { Mode::Auto.as_str() } else { asked }.to_owned(),
        prefixes,
    })
}

/// What a model of this kind can do, in the catalogue's words.
const fn capability_of(kind: ModelKind) -> Capability {
    match kind {
        ModelKind::Chat => Capability::Chat,
        ModelKind::Embedding => Capability::Embedding,
        ModelKind::Image => Capability::Image,
        ModelKind::Speech | ModelKind::Transcription => Capability::Audio,
        ModelKind::Video => Capability::Video,
    }
}

/// Disabled models are no news.
fn count_skips(cx: &Cx, offers: &[Rc<Offer>], decision: &Decision) {
    for skipped in decision.skipped.iter().filter(|skipped| skipped.reason != SkipReason::Disabled) {
        let Some(offer) = offers.get(skipped.index).filter(|offer| offer.provider.own.is_none()) else { continue };
        let (provider, reason) = (escape(offer.provider.id.as_str()), skipped.reason.as_str());
        let labels = format!("provider=\"{provider}\",reason=\"{reason}\"");
        count(&cx.app, &cx.ports, PROVIDER_SKIPS, &labels);
    }
}

/// The decision between offers. When all that fits is down or set aside, trying it is better than refusing untried.
/// `warm` is the model that likely still has the prompt's beginning.
pub fn decide_for(
    cx: &Cx,
    snapshot: &Snapshot,
    wish: &Wish<'_>,
    offers: &[Rc<Offer>],
    warm: Option<&Warm>,
) -> Decision {
    // What models earned is looked up only where it counts.
    let bucket = TokenBucket::of(wish.expected.input);
    let arm_of = |offer: &Offer| match wish.mode {
        Mode::Thompson => snapshot.arm_of(&offer.model_id, bucket),
        _ => Arm::default(),
    };
    let candidates: Vec<_> = offers.iter().map(|offer| to_candidate(cx, offer, arm_of(offer), warm)).collect();
    let mut uniform = || draw_uniform(cx);
    let decision = decide(wish, &candidates, &mut uniform);
    if !decision.ranked.is_empty() {
        return decision;
    }
    let hopeful = decide(&Wish { ignore_health: true, ..*wish }, &candidates, &mut uniform);
    if hopeful.ranked.is_empty() { decision } else { hopeful }
}

/// A number in 0..1.
#[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "a probability, never money")]
pub fn draw_uniform(cx: &Cx) -> f64 {
    let mut bytes = [0; 8];
    cx.ports.random.fill(&mut bytes);
    (u64::from_le_bytes(bytes) >> 11) as f64 / (1_u64 << 53) as f64
}

fn to_candidate<'o>(cx: &Cx, offer: &'o Offer, arm: Arm, warm: Option<&Warm>) -> Candidate<'o> {
    let now_ms = u64::try_from(cx.started_ms).unwrap_or(0);
    let health = match offer.provider.own {
        None => cx.app.gateway.health.record_of(&offer.provider.id),
        // It is offered only while it may be asked.
        Some(_) => ProviderHealth::default(),
    };
    Candidate {
        model: &offer.model_id,
        provider: &offer.provider.id,
        origin: offer.provider.origin(),
        is_enabled: offer.enabled,
        weight: offer.weight,
        price: &offer.price,
        context_tokens: Some(offer.max_context_tokens).filter(|tokens| *tokens > 0),
        latency_ms: health.latency_ms(),
        failure_rate: health.failure_rate(now_ms),
        health: health.health(now_ms),
        arm,
        is_warm: warm.is_some_and(|warm| warm.is(offer)),
    }
}

fn explain_nobody(asked: &str, offers: &[Rc<Offer>], decision: &Decision, expected: &TokenUsage) -> ApiError {
    use SkipReason::{BudgetExceeded, ContextOverflow, LatencyExceeded, WeightBelowMinimum};
    let is_left_out_for = |reason| decision.skipped.iter().any(|skipped| skipped.reason == reason);
    if is_left_out_for(BudgetExceeded) {
        return ApiError::new(
            Kind::UpstreamFailed,
            "no eligible models registered: all are dearer than max_budget_usd",
        );
    }
    if is_left_out_for(LatencyExceeded) {
        return ApiError::new(
            Kind::UpstreamFailed,
            "no eligible models registered: all are slower than max_latency_ms",
        );
    }
    if is_left_out_for(WeightBelowMinimum) {
        return ApiError::new(Kind::UpstreamFailed, "no eligible models registered: all weigh less than min_weight");
    }
    if is_left_out_for(ContextOverflow) {
        let widest = offers.iter().filter(|offer| offer.enabled).map(|offer| offer.max_context_tokens).max();
        let text = format!(
            "The prompt of about {} tokens and a reserve of {CONTEXT_HEADROOM_PERCENT}% do not fit the context window of {asked} ({} tokens)",
            expected.input,
            widest.unwrap_or(0)
        );
        return ApiError::invalid("messages", text).with("code", "context_length_exceeded");
    }
    ApiError::new(Kind::Unavailable, format!("No provider configured for {asked}")).retry_after_s(5)
}
