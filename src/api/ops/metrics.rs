//! Counters for Prometheus. They come from the usage table's totals, not from an isolate's memory: every isolate
//! answers the same, and a restart loses nothing.

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

async fn read_metrics(cx: Cx, (): ()) -> Result<Output, ApiError> {
    let totals = list_totals().run(&*cx.ports.db).await?;
    let snapshot = read_snapshot(&cx.app, &cx.ports).await?;
    let mut text = String::new();
    write_requests(&mut text, &totals);
    write_family(&mut text, "tokenhub_tokens_total", "counter", "Tokens, by direction.");
    for total in &totals {
        let labels = labels_of(total);
        _ = writeln!(text, "tokenhub_tokens_total{{{labels},direction=\"input\"}} {}", total.input_tokens);
        _ = writeln!(text, "tokenhub_tokens_total{{{labels},direction=\"output\"}} {}", total.output_tokens);
    }
    write_family(&mut text, "tokenhub_cost_usd_total", "counter", "US dollars charged.");
    for total in &totals {
        let cost = MicroUsd(total.charged_micros).to_usd_string();
        _ = writeln!(text, "tokenhub_cost_usd_total{{{}}} {cost}", labels_of(total));
    }
    write_family(&mut text, "tokenhub_models", "gauge", "Registered models.");
    _ = writeln!(text, "tokenhub_models {}", snapshot.offers.len());
    write_family(&mut text, "tokenhub_adapters", "gauge", "Enabled providers.");
    _ = writeln!(text, "tokenhub_adapters {}", snapshot.adapters);
    Ok(Output::text("text/plain; version=0.0.4; charset=utf-8", text))
}

fn write_requests(text: &mut String, totals: &[UsageTotal]) {
    write_family(text, "tokenhub_requests_total", "counter", "Requests that reached a model, by how they ended.");
    for total in totals {
        let status = if total.outcome == "completed" { "ok" } else { "error" };
        let outcome = escape(&total.outcome);
        let labels = labels_of(total);
        let requests = total.requests;
        _ = writeln!(text, "tokenhub_requests_total{{{labels},status=\"{status}\",outcome=\"{outcome}\"}} {requests}");
    }
    write_family(text, "tokenhub_request_errors_total", "counter", "Requests that failed, by HTTP status.");
    for total in totals.iter().filter(|total| total.outcome != "completed") {
        let labels = labels_of(total);
        let (status, outcome) = (total.status, escape(&total.outcome));
        _ = writeln!(
            text,
            "tokenhub_request_errors_total{{{labels},http_status=\"{status}\",outcome=\"{outcome}\"}} {}",
            total.requests
        );
    }
    write_family(text, "tokenhub_request_latency_ms_sum", "counter", "Milliseconds from request to last byte.");
    for total in totals {
        let labels = labels_of(total);
        let (status, outcome) = (total.status, escape(&total.outcome));
        _ = writeln!(
            text,
            "tokenhub_request_latency_ms_sum{{{labels},http_status=\"{status}\",outcome=\"{outcome}\"}} {}",
            total.latency_ms
        );
    }
}

fn write_family(text: &mut String, name: &str, kind: &str, help: &str) {
    _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn labels_of(total: &UsageTotal) -> String {
    format!(
        "mode=\"{}\",model=\"{}\",provider=\"{}\"",
        escape(&total.mode),
        escape(&total.model),
        escape(&total.provider)
    )
}

/// A label value: `\`, `"` and line ends are escaped.
fn escape(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n")
}
