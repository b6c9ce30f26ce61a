//! Counters for Prometheus. They come from the database's totals, not from an isolate's memory: every isolate answers the
//! same, and a restart loses nothing. Only a provider's state is what the isolate knows.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use guildhall_domain::latency::{Histogram, bucket_of_doubling};
use guildhall_domain::money::MicroUsd;
use guildhall_domain::routing::Health;

use crate::app::{App, Cx};
use crate::error::{ApiError, Kind};
use crate::gateway::report::{ProviderReport, read_provider_health};
use crate::gateway::table::read_snapshot;
use crate::http::input::{FromHead, FromRequest};
use crate::http::output::{Output, PlainText, Shaped};
use crate::http::request::Request;
use crate::http::route::Access;
use crate::observe::counters::{COUNTERS, escape, flush};
use crate::routes;
use crate::store::money::reconciliations::{RunRow, find_finished_run};
use crate::store::money::usage::{UsageTotal, list_totals};
use crate::store::ops::counters::{CounterRow, list_counters};
use crate::store::ops::rollups::{CallSum, sum_all_calls};
use crate::store::statement::run_all;

routes! {
    tag "Health", dialect TokenHub;
    /// Read metrics.
    ///
    /// Prometheus text format 0.0.4. Where the deployment has the secret `METRICS_TOKEN`, readers show it as a bearer token.
    Get "/metrics" Access::Public => read_metrics;
}

/// The histogram's steps end at 10·2^k milliseconds, for `k` below this.
const DOUBLINGS: u8 = 10;

/// What one total adds to a series.
type Count = fn(&UsageTotal) -> i64;

/// A family of series over the totals: what tells its series apart, and what they count.
struct Family {
    name: &'static str,
    help: &'static str,
    labels: fn(&UsageTotal) -> String,
    /// What each total adds, beside a label of its own.
    values: &'static [(&'static str, Count)],
    write: fn(i64) -> String,
}

const FAMILIES: &[Family] = &[
    Family {
        name: "tokenhub_requests_total",
        help: "Requests that reached a model, by how they ended.",
        labels: |total| {
            let status = if is_ok(total) { "ok" } else { "error" };
            format!("{},status=\"{status}\",outcome=\"{}\"", route_of(total), escape(&total.outcome))
        },
        values: &[("", |total| total.requests)],
        write: |count| count.to_string(),
    },
    Family {
        name: "tokenhub_request_errors_total",
        help: "Requests that did not complete, by HTTP status.",
        labels: |total| format!("{},http_status=\"{}\"", route_of(total), total.status),
        values: &[("", |total| if is_ok(total) { 0 } else { total.requests })],
        write: |count| count.to_string(),
    },
    Family {
        name: "tokenhub_tokens_total",
        help: "Tokens, by direction.",
        labels: route_of,
        values: &[
            (",direction=\"input\"", |total| total.input_tokens),
            (",direction=\"output\"", |total| total.output_tokens),
        ],
        write: |count| count.to_string(),
    },
    Family {
        name: "tokenhub_cost_usd_total",
        help: "US dollars charged.",
        labels: route_of,
        values: &[("", |total| total.charged_micros)],
        write: |micros| MicroUsd(micros).to_usd_string(),
    },
];

/// What a reader shows.
struct Shown(String);

impl FromHead for Shown {
    fn from_head(request: &Request) -> Result<Self, ApiError> {
        Ok(Self(request.credential().to_owned()))
    }
}

impl FromRequest for Shown {
    async fn from_request(request: Request) -> Result<Self, ApiError> {
        Self::from_head(&request)
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl crate::openapi::Describe for Shown {
    fn describe(operation: &mut crate::openapi::Operation) {
        operation.add_credential("metrics_token");
    }
}

/// Names of models and providers and what they earn are not for everybody.
fn check_reader(app: &App, shown: &str) -> Result<(), ApiError> {
    let Some(token) = &app.config.metrics_token else { return Ok(()) };
    // Digests under the pepper take as long to compare whatever they have in common.
    if app.hasher.hash(token.expose()) == app.hasher.hash(shown) {
        return Ok(());
    }
    let kind = if shown.is_empty() { Kind::MissingCredential } else { Kind::BadCredential };
    Err(ApiError::new(kind, "The metrics want METRICS_TOKEN"))
}

async fn read_metrics(cx: Cx, Shown(shown): Shown) -> Result<Shaped<PlainText>, ApiError> {
    check_reader(&cx.app, &shown)?;
    flush(&cx.app, &cx.ports).await;
    let reads = (list_totals(), sum_all_calls(), list_counters(), find_finished_run());
    let (totals, calls, counters, compared) = run_all(&*cx.ports.db, reads).await?;
    let providers = read_provider_health(&cx.app, &cx.ports).await?;
    let snapshot = read_snapshot(&cx.app, &cx.ports).await?;
    let mut text = String::new();
    for family in FAMILIES {
        write_family(&mut text, family, &totals);
    }
    write_latencies(&mut text, &calls);
    write_counters(&mut text, &counters);
    write_health(&mut text, &providers);
    write_gauge(&mut text, "tokenhub_models", "Registered models.", snapshot.offers.len());
    write_gauge(&mut text, "tokenhub_adapters", "Enabled providers.", snapshot.adapters);
    if let Some(run) = compared {
        write_reconciliation(&mut text, &run);
    }
    Ok(Output::text("text/plain; version=0.0.4; charset=utf-8", text).into())
}

/// Totals whose labels are equal are one series.
fn write_family(text: &mut String, family: &Family, totals: &[UsageTotal]) {
    let mut series: BTreeMap<String, i64> = BTreeMap::new();
    for total in totals {
        for (label, value) in family.values {
            let sum = series.entry((family.labels)(total) + label).or_default();
            *sum = sum.saturating_add(value(total));
        }
    }
    let Family { name, help, .. } = family;
    _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
    for (labels, sum) in series.into_iter().filter(|(_, sum)| *sum != 0) {
        _ = writeln!(text, "{name}{{{labels}}} {}", (family.write)(sum));
    }
}

/// Latencies of calls that completed, with the documented steps.
fn write_latencies(text: &mut String, calls: &[CallSum]) {
    let mut series: BTreeMap<String, Histogram> = BTreeMap::new();
    for CallSum { mode, model, provider, sums } in calls.iter().filter(|call| call.sums.is_error == 0) {
        let positive = |value: i64| u64::try_from(value).unwrap_or(0);
        let labels = labels_of(mode, model, provider);
        series.entry(labels).or_default().add(sums.bucket, positive(sums.requests), positive(sums.latency_ms));
    }
    let name = "tokenhub_request_latency_ms";
    _ = writeln!(
        text,
        "# HELP {name} Milliseconds from request to last byte of calls that completed.\n# TYPE {name} histogram"
    );
    for (labels, latencies) in series {
        for k in 0..DOUBLINGS {
            let (end_ms, calls) = (10_u32 << k, latencies.calls_up_to(bucket_of_doubling(k)));
            _ = writeln!(text, "{name}_bucket{{{labels},le=\"{end_ms}\"}} {calls}");
        }
        let (calls, sum_ms) = (latencies.calls(), latencies.latency_ms());
        _ = writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {calls}");
        _ = writeln!(text, "{name}_sum{{{labels}}} {sum_ms}\n{name}_count{{{labels}}} {calls}");
    }
}

fn write_counters(text: &mut String, counters: &[CounterRow]) {
    for (name, help) in COUNTERS {
        _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
        for counter in counters.iter().filter(|counter| counter.name == name) {
            match counter.labels.as_str() {
                "" => _ = writeln!(text, "{name} {}", counter.value),
                labels => _ = writeln!(text, "{name}{{{labels}}} {}", counter.value),
            }
        }
    }
}

fn write_health(text: &mut String, providers: &[ProviderReport]) {
    let name = "tokenhub_provider_health_state";
    _ = writeln!(text, "# HELP {name} 2 healthy, 1 degraded, 0 left alone for a while.\n# TYPE {name} gauge");
    for provider in providers {
        let state = match provider.state {
            Health::Healthy => 2,
            Health::Degraded | Health::HalfOpen => 1,
            Health::RateLimited | Health::Down => 0,
        };
        _ = writeln!(text, "{name}{{provider=\"{}\"}} {state}", escape(&provider.provider_id));
    }
}

/// The last comparison of usage with the ledgers that came to its end.
fn write_reconciliation(text: &mut String, run: &RunRow) {
    let finished_s = run.finished_at_ms.unwrap_or(0) / 1_000;
    let amount = MicroUsd(run.difference_micros).to_usd_string();
    let gauges: [(&str, &str, &dyn Display); 4] = [
        ("accounts", "Accounts whose usage was held against their ledger.", &run.accounts),
        ("differences", "Accounts whose usage is not what their ledger says.", &run.differences),
        ("difference_usd", "US dollars by which they differ.", &amount),
        ("finished_timestamp_seconds", "When all accounts were last compared.", &finished_s),
    ];
    for (name, help, value) in gauges {
        write_gauge(text, &format!("guildhall_reconciliation_{name}"), help, value);
    }
}

fn write_gauge(text: &mut String, name: &str, help: &str, value: impl Display) {
    _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
}

fn is_ok(total: &UsageTotal) -> bool {
    total.outcome == "completed"
}

fn route_of(total: &UsageTotal) -> String {
    labels_of(&total.mode, &total.model, &total.provider)
}

fn labels_of(mode: &str, model: &str, provider: &str) -> String {
    let [mode, model, provider] = [mode, model, provider].map(escape);
    format!("mode=\"{mode}\",model=\"{model}\",provider=\"{provider}\"")
}
