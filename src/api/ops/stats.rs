//! Aggregated statistics over the last minute, five minutes, hour and day.

use std::collections::BTreeMap;

use guildhall_domain::latency::Histogram;
use guildhall_domain::money::MicroUsd;
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::Cx;
use crate::error::ApiError;
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::observe::filing::file_pending;
use crate::routes;
use crate::store::ops::rollups::{
    CallSum, KeySum, STEP_FINE_MS, STEP_HOUR_MS, STEP_MINUTE_MS, Sums, sum_calls, sum_keys,
};
use crate::store::statement::run_all;

routes! {
    tag "Observability", dialect TokenHub;
    /// Get statistics.
    ///
    /// Of the windows `1m`, `5m`, `1h` and `24h`, which end now and begin at a step of ten seconds (of a minute for `24h`).
    Get "/admin/v1/stats" Access::Admin => get_stats;
}

/// A window of time.
struct Window {
    name: &'static str,
    length_ms: i64,
    /// The stored steps that it is summed from: fine ones at its beginning, coarse ones for the rest.
    steps_ms: (i64, i64),
}

const WINDOWS: [Window; 4] = [
    Window { name: "1m", length_ms: 60_000, steps_ms: (STEP_FINE_MS, STEP_MINUTE_MS) },
    Window { name: "5m", length_ms: 300_000, steps_ms: (STEP_FINE_MS, STEP_MINUTE_MS) },
    Window { name: "1h", length_ms: 3_600_000, steps_ms: (STEP_FINE_MS, STEP_MINUTE_MS) },
    Window { name: "24h", length_ms: 86_400_000, steps_ms: (STEP_MINUTE_MS, STEP_HOUR_MS) },
];

/// By window.
type ByWindow = BTreeMap<&'static str, Vec<Aggregate>>;

/// Statistics; every window is there, and empty when nothing happened in it.
#[derive(Serialize, JsonSchema, Default)]
pub struct Stats {
    global: ByWindow,
    by_model: ByWindow,
    by_provider: ByWindow,
    by_api_key: ByWindow,
    by_mode: ByWindow,
}

/// What happened in a window.
#[derive(Serialize, JsonSchema, Default)]
pub struct Aggregate {
    window: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    request_count: i64,
    /// Requests that did not complete.
    error_count: i64,
    error_rate: f64,
    avg_latency_ms: f64,
    p95_latency_ms: f64,
    total_cost_usd: f64,
    input_tokens: i64,
    output_tokens: i64,
    total_tokens: i64,
}

/// What an aggregate is made of.
#[derive(Default)]
struct Tally {
    requests: i64,
    errors: i64,
    charged_micros: i64,
    input_tokens: i64,
    output_tokens: i64,
    latencies: Histogram,
}

async fn get_stats(cx: Cx, (): ()) -> Result<Reply<Stats>, ApiError> {
    file_pending(&cx.app, &cx.ports).await;
    let now_ms = cx.ports.clock.now_ms();
    let ranges = WINDOWS.map(|window| range_of(&window, now_ms));
    let db = &*cx.ports.db;
    let calls = run_all(db, ranges.iter().map(|r| sum_calls(r.0, r.1, r.2, r.3)).collect::<Vec<_>>()).await?;
    let keys = run_all(db, ranges.iter().map(|r| sum_keys(r.0, r.1, r.2, r.3)).collect::<Vec<_>>()).await?;
    let mut stats = Stats::default();
    for ((window, calls), keys) in WINDOWS.iter().zip(&calls).zip(keys) {
        add_window(&mut stats, window.name, calls, keys);
    }
    Ok(Reply(stats))
}

/// Fine step, coarse step, where the window begins, and where its first whole coarse step does.
fn range_of(window: &Window, now_ms: i64) -> (i64, i64, i64, i64) {
    let (fine_ms, coarse_ms) = window.steps_ms;
    let since_ms = (now_ms - window.length_ms) / fine_ms * fine_ms;
    let coarse_since_ms = (since_ms + coarse_ms - 1) / coarse_ms * coarse_ms;
    (fine_ms, coarse_ms, since_ms, coarse_since_ms)
}

fn add_window(stats: &mut Stats, window: &'static str, calls: &[CallSum], keys: Vec<KeySum>) {
    let by = |name: fn(&CallSum) -> &str| {
        let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
        for sum in calls {
            tallies.entry(name(sum).to_owned()).or_default().add(&sum.sums);
        }
        tallies
    };
    let told = |tally: Tally, name: Aggregate| tally.tell(Aggregate { window, ..name });
    let list = |tallies: BTreeMap<String, Tally>, named: fn(String) -> Aggregate| {
        // What no model answered has no name, and is counted in the whole.
        let named_only = tallies.into_iter().filter(|(name, _)| !name.is_empty());
        named_only.map(|(name, tally)| told(tally, named(name))).collect::<Vec<_>>()
    };
    let global = by(|_| "").into_values().map(|tally| told(tally, Aggregate::default())).collect();
    stats.global.insert(window, global);
    let models = list(by(|sum| &sum.model), |id| Aggregate { model_id: Some(id), ..Aggregate::default() });
    stats.by_model.insert(window, models);
    let providers = list(by(|sum| &sum.provider), |id| Aggregate { provider_id: Some(id), ..Aggregate::default() });
    stats.by_provider.insert(window, providers);
    let modes = list(by(|sum| &sum.mode), |mode| Aggregate { mode: Some(mode), ..Aggregate::default() });
    stats.by_mode.insert(window, modes);
    let mut by_key: BTreeMap<(String, String), Tally> = BTreeMap::new();
    for sum in keys {
        by_key.entry((sum.api_key_id, sum.api_key_name)).or_default().add(&sum.sums);
    }
    let keys = by_key.into_iter().map(|((id, name), tally)| {
        let name = Some(name).filter(|name| !name.is_empty()).unwrap_or_else(|| id.clone());
        told(tally, Aggregate { api_key_id: Some(id), api_key_name: Some(name), ..Aggregate::default() })
    });
    stats.by_api_key.insert(window, keys.collect());
}

impl Tally {
    fn add(&mut self, part: &Sums) {
        let positive = |value: i64| u64::try_from(value).unwrap_or(0);
        self.requests = self.requests.saturating_add(part.requests);
        self.errors = self.errors.saturating_add(if part.is_error != 0 { part.requests } else { 0 });
        self.charged_micros = self.charged_micros.saturating_add(part.charged_micros);
        self.input_tokens = self.input_tokens.saturating_add(part.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(part.output_tokens);
        self.latencies.add(part.bucket, positive(part.requests), positive(part.latency_ms));
    }

    #[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "a rate for people, never money")]
    fn tell(self, name: Aggregate) -> Aggregate {
        Aggregate {
            request_count: self.requests,
            error_count: self.errors,
            error_rate: if self.requests == 0 { 0.0 } else { self.errors as f64 / self.requests as f64 },
            avg_latency_ms: self.latencies.mean_ms(),
            p95_latency_ms: self.latencies.percentile_ms(95),
            total_cost_usd: MicroUsd(self.charged_micros).to_usd(),
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            total_tokens: self.input_tokens.saturating_add(self.output_tokens),
            ..name
        }
    }
}
