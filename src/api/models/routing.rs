//! The routing's defaults, and what it would decide.

use std::rc::Rc;

use guildhall_domain::media::ModelKind;
use guildhall_domain::money::MicroUsd;
use guildhall_domain::native::{ANY_MODEL, MAX_BUDGET_MICROS, MAX_LATENCY_MS};
use guildhall_domain::pricing::TokenUsage;
use guildhall_domain::routing::{Limits, MAX_WEIGHT, Mode, Wish, resolve_alias};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::done::Done;
use crate::app::Cx;
use crate::error::ApiError;
use crate::gateway::affinity::Warm;
use crate::gateway::choice::{EXPECTED_OUTPUT_TOKENS, decide_for};
use crate::gateway::ladder::{Lead, name_reason};
use crate::gateway::native::resolve_hint;
use crate::gateway::table::{Offer, Snapshot, read_snapshot};
use crate::http::input::Json;
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::routes;
use crate::store::models::routing::{find_routing_config, put_routing_config};

routes! {
    tag "Routing", dialect TokenHub;
    /// Get the routing's defaults.
    ///
    /// They hold for `/v1/chat` and `/v1/plan` where a request does not say.
    Get "/admin/v1/routing-config" Access::Admin => get_routing_config;
    /// Change the routing's defaults.
    ///
    /// What is left out, empty or 0 stays as it is.
    Put "/admin/v1/routing-config" Access::Admin, audit = "routing-config.update" => set_routing_config;
    /// Simulate a routing decision.
    ///
    /// The very decision that a request would get now, with the score of each model and why the others are left out.
    Post "/admin/v1/routing/simulate" Access::Admin => simulate_routing;
}

/// Highest budget of one request: $100.
const MAX_BUDGET: MicroUsd = MicroUsd(MAX_BUDGET_MICROS);
/// Input tokens of a simulated request that does not say.
const USUAL_TOKENS: u64 = 500;
/// Input tokens of a simulated request at most.
const MAX_TOKENS: i64 = 100_000_000;

/// What holds where a request does not say.
#[derive(Serialize, JsonSchema)]
pub struct RoutingDefaults {
    default_mode: Mode,
    /// Dearest estimated cost of 512 output tokens, or of `max_tokens` where that is less, in US dollars.
    default_max_budget_usd: f64,
    /// Milliseconds until a call is given up.
    default_max_latency_ms: i64,
}

/// The defaults to change.
#[derive(Deserialize, JsonSchema)]
pub struct RoutingDefaultsFields {
    /// `cheap`, `normal`, `high_confidence`, `planning`, `adversarial` or `thompson`.
    default_mode: Option<String>,
    /// 0 to 100 US dollars.
    #[schemars(with = "Option<f64>")]
    default_max_budget_usd: Option<Number>,
    /// 0 to 300,000 milliseconds.
    default_max_latency_ms: Option<i64>,
}

/// A request that is not sent.
#[derive(Deserialize, JsonSchema)]
pub struct Simulation {
    /// The mode; the default one if left out, `normal` if there is no such mode.
    mode: Option<String>,
    /// Input tokens; 500 if left out or not positive.
    #[serde(default)]
    token_count: i64,
    /// Dearest estimated cost in US dollars; 0 means the default.
    #[schemars(with = "Option<f64>")]
    max_budget_usd: Option<Number>,
    /// Slowest average latency in milliseconds; 0 means no limit.
    max_latency_ms: Option<i64>,
    /// Least weight, 0 to 10.
    min_weight: Option<i64>,
    /// The model that goes first if it is eligible; also an alias, or `provider/model`.
    model_hint: Option<String>,
    /// The model that has just answered a prompt which begins alike, so that its provider likely still has the beginning.
    warm_model: Option<String>,
}

/// What would be decided.
#[derive(Serialize, JsonSchema)]
pub struct Simulated {
    /// Who would be asked first.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<SimulatedChoice>,
    /// Why nobody would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    /// Best first.
    eligible: Vec<EligibleModel>,
    /// Who is left out, and why.
    skipped: Vec<SkippedModel>,
    /// How many are eligible.
    total: usize,
}

/// Who would be asked first.
#[derive(Serialize, JsonSchema)]
pub struct SimulatedChoice {
    model_id: String,
    provider_id: String,
    estimated_cost_usd: f64,
    reason: String,
}

/// A model that may serve.
#[derive(Serialize, JsonSchema)]
pub struct EligibleModel {
    id: String,
    provider_id: String,
    weight: u8,
    max_context_tokens: u64,
    input_per_1k: f64,
    output_per_1k: f64,
    enabled: bool,
    selected: bool,
    /// Whether its score is better by 0.2 because its provider likely has the beginning of the prompt.
    warm: bool,
    estimated_cost_usd: f64,
    /// Lower is better.
    score: f64,
}

/// A model that may not.
#[derive(Serialize, JsonSchema)]
pub struct SkippedModel {
    id: String,
    provider_id: String,
    /// `disabled`, `weight_below_minimum`, `context_overflow`, `health_down`, `budget_exceeded` or `latency_exceeded`.
    reason: &'static str,
}

async fn get_routing_config(cx: Cx, (): ()) -> Result<Reply<RoutingDefaults>, ApiError> {
    let config = find_routing_config().run(&*cx.ports.db).await?.unwrap_or_default();
    Ok(Reply(RoutingDefaults {
        default_mode: config.default_mode,
        default_max_budget_usd: config.default_max_budget_micros.to_usd(),
        default_max_latency_ms: config.default_max_latency_ms,
    }))
}

async fn set_routing_config(cx: Cx, Json(fields): Json<RoutingDefaultsFields>) -> Result<Reply<Done>, ApiError> {
    let mode = read_mode("default_mode", fields.default_mode.as_deref())?;
    let budget = read_budget("default_max_budget_usd", fields.default_max_budget_usd.as_ref())?;
    let latency_ms = read_latency("default_max_latency_ms", fields.default_max_latency_ms)?;
    let latency_ms = latency_ms.and_then(|ms| i64::try_from(ms).ok());
    put_routing_config(mode.map(Mode::as_str), budget.map(|budget| budget.0), latency_ms).run(&*cx.ports.db).await?;
    cx.app.gateway.forget();
    Ok(Reply(Done { ok: true }))
}

async fn simulate_routing(cx: Cx, Json(simulation): Json<Simulation>) -> Result<Reply<Simulated>, ApiError> {
    let snapshot = read_snapshot(&cx.app, &cx.ports).await?;
    if simulation.token_count > MAX_TOKENS {
        return Err(ApiError::invalid("token_count", format!("token_count must be at most {MAX_TOKENS}")));
    }
    let mode = match simulation.mode.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => parse_mode(name).unwrap_or(Mode::Normal),
        None => snapshot.defaults.default_mode,
    };
    let default_budget = snapshot.defaults.default_max_budget_micros;
    let limits = Limits {
        max_cost: read_budget("max_budget_usd", simulation.max_budget_usd.as_ref())?
            .or(Some(default_budget).filter(|budget| budget.0 > 0)),
        max_latency_ms: read_latency("max_latency_ms", simulation.max_latency_ms)?,
        min_weight: read_min_weight("min_weight", simulation.min_weight)?,
    };
    let input = u64::try_from(simulation.token_count).ok().filter(|tokens| *tokens > 0).unwrap_or(USUAL_TOKENS);
    let expected = TokenUsage { input, output: EXPECTED_OUTPUT_TOKENS, ..TokenUsage::default() };
    // A name means what it means to a request; but no alias loses its turn to a simulation.
    let name = resolve_hint(&snapshot, simulation.model_hint.as_deref().map(str::trim));
    let resolved = resolve_alias(&snapshot.aliases, name, &cx.request_id, "", |alias| cx.app.gateway.turn_of(alias))
        .map_err(|error| ApiError::invalid("model_hint", format!("Alias {name}: {error}")))?;
    let tier = Mode::parse_tier(resolved.model);
    let hint = Some(resolved.model).filter(|model| tier.is_none() && *model != ANY_MODEL);
    let mode = tier.unwrap_or(mode);
    let wish = Wish { mode, limits, expected: &expected, hint, ignore_health: false };
    Ok(Reply(explain(&cx, &snapshot, &wish, simulation.warm_model.as_deref())))
}

fn explain(cx: &Cx, snapshot: &Snapshot, wish: &Wish<'_>, warm_model: Option<&str>) -> Simulated {
    let chats = snapshot.offers.iter().filter(|offer| offer.kind == ModelKind::Chat);
    let offers: Vec<_> = chats.map(Rc::clone).collect();
    let warm = offers.iter().find(|offer| Some(offer.model_id.as_str()) == warm_model);
    let warm = warm.map(|offer| Warm { model: offer.model_id.clone(), provider: offer.provider.id.clone() });
    let decision = decide_for(cx, snapshot, wish, &offers, warm.as_ref());
    let of = |index: usize| offers.get(index).map(Rc::as_ref);
    let eligible: Vec<_> = decision
        .ranked
        .iter()
        .enumerate()
        .filter_map(|(place, ranked)| {
            let offer = of(ranked.index)?;
            Some(EligibleModel {
                id: offer.model_id.to_string(),
                provider_id: offer.provider.id.to_string(),
                weight: offer.weight,
                max_context_tokens: offer.max_context_tokens,
                input_per_1k: offer.price.input.to_usd_per_1k(),
                output_per_1k: offer.price.output.to_usd_per_1k(),
                enabled: offer.enabled,
                selected: place == 0,
                warm: ranked.is_warm,
                estimated_cost_usd: ranked.cost.to_usd(),
                score: ranked.score,
            })
        })
        .collect();
    let skipped = decision.skipped.iter().filter_map(|skipped| {
        let offer = of(skipped.index)?;
        let (id, provider_id) = (offer.model_id.to_string(), offer.provider.id.to_string());
        Some(SkippedModel { id, provider_id, reason: skipped.reason.as_str() })
    });
    let first = decision.ranked.first().and_then(|ranked| Some((ranked, of(ranked.index)?)));
    let choice = first.map(|(ranked, offer): (_, &Offer)| SimulatedChoice {
        model_id: offer.model_id.to_string(),
        provider_id: offer.provider.id.to_string(),
        estimated_cost_usd: ranked.cost.to_usd(),
        reason: name_reason(offer, Lead::of(Some(ranked))),
    });
    Simulated {
        error: choice.is_none().then_some("no eligible models registered"),
        decision: choice,
        total: eligible.len(),
        eligible,
        skipped: skipped.collect(),
    }
}

/// An empty mode counts as left out.
fn read_mode(field: &'static str, name: Option<&str>) -> Result<Option<Mode>, ApiError> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(None) };
    parse_mode(name).map(Some).ok_or_else(|| ApiError::invalid(field, format!("unknown {field}")))
}

fn parse_mode(name: &str) -> Option<Mode> {
    name.parse().ok().filter(|mode| Mode::POLICIES.contains(mode))
}

/// 0 counts as left out.
fn read_budget(field: &'static str, dollars: Option<&Number>) -> Result<Option<MicroUsd>, ApiError> {
    let Some(dollars) = dollars else { return Ok(None) };
    let outside = || ApiError::invalid(field, format!("{field} must be between 0 and 100"));
    let budget = MicroUsd::from_usd(dollars).map_err(|_| outside())?;
    if budget < MicroUsd::ZERO || budget > MAX_BUDGET {
        return Err(outside());
    }
    Ok(Some(budget).filter(|budget| budget.0 > 0))
}

/// 0 counts as left out.
fn read_latency(field: &'static str, ms: Option<i64>) -> Result<Option<u64>, ApiError> {
    let Some(ms) = ms else { return Ok(None) };
    match u64::try_from(ms) {
        Ok(ms) if ms <= MAX_LATENCY_MS => Ok(Some(ms).filter(|ms| *ms > 0)),
        _ => Err(ApiError::invalid(field, format!("{field} must be between 0 and {MAX_LATENCY_MS}"))),
    }
}

fn read_min_weight(field: &'static str, weight: Option<i64>) -> Result<u8, ApiError> {
    let weight = u8::try_from(weight.unwrap_or(0)).ok().filter(|weight| *weight <= MAX_WEIGHT);
    weight.ok_or_else(|| ApiError::invalid(field, format!("{field} must be between 0 and {MAX_WEIGHT}")))
}
