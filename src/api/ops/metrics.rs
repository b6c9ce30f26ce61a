//! Counters for Prometheus. They come from the usage table's totals, not from an isolate's memory: every isolate
//! answers the same, and a restart loses nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use guildhall_domain::money::MicroUsd;

use crate::app::Cx;
use crate::gateway::table::read_snapshot;
use crate::http::error::ApiError;
use crate::http::output::Output;
use crate::http::route::Access;
use crate::routes;
use crate::store::money::usage::{UsageTotal, list_totals};

routes! {
    tag "Health", dialect TokenHub;
    /// Read metrics.
    ///
    /// Prometheus text format 0.0.4.
    Get "/metrics" Access::Public => read_metrics;
}

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
    Family {
        name: "tokenhub_request_latency_ms_total",
        help: "Milliseconds from request to last byte, summed.",
        labels: route_of,
        values: &[("", |total| total.latency_ms)],
        write: |count| count.to_string(),
    },
];

async fn read_metrics(cx: Cx, (): ()) -> Result<Output, ApiError> {
    let totals = list_totals().run(&*cx.ports.db).await?;
    let snapshot = read_snapshot(&cx.app, &cx.ports).await?;
    let mut text = String::new();
    for family in FAMILIES {
        write_family(&mut text, family, &totals);
    }
    write_gauge(&mut text, "tokenhub_models", "Registered models.", snapshot.offers.len());
    write_gauge(&mut text, "tokenhub_adapters", "Enabled providers.", snapshot.adapters);
    Ok(Output::text("text/plain; version=0.0.4; charset=utf-8", text))
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

fn write_gauge(text: &mut String, name: &str, help: &str, value: usize) {
    _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
}

fn is_ok(total: &UsageTotal) -> bool {
    total.outcome == "completed"
}

fn route_of(total: &UsageTotal) -> String {
    let [mode, model, provider] = [&total.mode, &total.model, &total.provider].map(|label| escape(label));
    format!("mode=\"{mode}\",model=\"{model}\",provider=\"{provider}\"")
}

/// A label value: `\`, `"` and line ends are escaped.
fn escape(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n")
}
