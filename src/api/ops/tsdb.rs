//! Time series: latency, cost, tokens, errors and requests per model, by the minute.

use guildhall_domain::money::MicroUsd;
use guildhall_domain::time::{format_rfc3339, parse_rfc3339};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::Cx;
use crate::error::ApiError;
use crate::http::input::{Json, Query};
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::observe::filing::file_pending;
use crate::observe::retention::{TSDB, prune_series};
use crate::routes;
use crate::store::ops::retention::put_retention;
use crate::store::ops::rollups::{PointRow, STEP_HOUR_MS, STEP_MINUTE_MS, list_points};

routes! {
    tag "Observability", dialect TokenHub;
    /// Query time series.
    ///
    /// Sums of `cost`, `tokens`, `errors` and `requests`, the average of `latency`. A call shows as soon as it has ended. The
    /// finest step is a minute; an answer holds 10,000 points at most.
    Get "/admin/v1/tsdb/query" Access::Admin => query_series;
    /// List the metrics of time series.
    Get "/admin/v1/tsdb/metrics" Access::Admin => list_metrics;
    /// Delete points that are past their retention.
    ///
    /// It happens by itself every hour.
    Post "/admin/v1/tsdb/prune" Access::Admin, audit = "tsdb.prune" => prune_points;
    /// Set how long points are kept.
    Put "/admin/v1/tsdb/retention" Access::Admin, audit = "tsdb.retention" => set_retention;
}

/// Which series.
#[derive(Deserialize, JsonSchema)]
pub struct SeriesQuery {
    /// `cost`, `errors`, `latency`, `requests` or `tokens`.
    metric: Option<String>,
    /// Only this model.
    model_id: Option<String>,
    /// As `model_id`.
    model: Option<String>,
    /// Only this provider.
    provider_id: Option<String>,
    /// As `provider_id`.
    provider: Option<String>,
    /// RFC 3339, or milliseconds since 1970; from the oldest point that is kept when left out.
    start: Option<String>,
    /// As `start`; now when left out.
    end: Option<String>,
    /// Milliseconds between two points, rounded up to whole minutes; when left out a minute, or an hour or a day if the
    /// range holds too many of them.
    step_ms: Option<String>,
    /// As `step_ms`.
    step: Option<String>,
}

/// The series that were asked for.
#[derive(Serialize, JsonSchema)]
pub struct SeriesPage {
    series: Vec<Series>,
}

/// One model's points.
#[derive(Serialize, JsonSchema)]
pub struct Series {
    metric: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    model_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    provider_id: String,
    points: Vec<Point>,
}

/// One point.
#[derive(Serialize, JsonSchema)]
pub struct Point {
    /// When its step begins.
    t: String,
    /// Milliseconds, US dollars or a count.
    v: f64,
}

/// The metrics there are.
#[derive(Serialize, JsonSchema)]
pub struct MetricList {
    metrics: Vec<&'static str>,
}

/// What was deleted.
#[derive(Serialize, JsonSchema)]
pub struct Pruned {
    /// Stored sums.
    deleted: u64,
}

/// How long to keep points.
#[derive(Deserialize, JsonSchema)]
pub struct NewRetention {
    /// 1 to 3,650.
    retention_days: Option<i64>,
    /// As `retention_days`.
    days: Option<i64>,
}

/// How long points are kept now.
#[derive(Serialize, JsonSchema)]
pub struct RetentionSet {
    ok: bool,
    retention_days: i64,
}

type Value = fn(&PointRow) -> f64;

#[expect(clippy::cast_precision_loss, reason = "a point of a chart, never summed as money")]
const METRICS: [(&str, Value); 5] = [
    ("cost", |point| MicroUsd(point.charged_micros).to_usd()),
    ("errors", |point| point.errors as f64),
    ("latency", |point| point.latency_ms as f64 / point.requests.max(1) as f64),
    ("requests", |point| point.requests as f64),
    ("tokens", |point| point.tokens as f64),
];
const POINTS_MAX: i64 = 10_000;
const DAY_MS: i64 = 86_400_000;
/// The steps of a range whose client names none, from the finest.
const STEPS_MS: [i64; 3] = [STEP_MINUTE_MS, STEP_HOUR_MS, DAY_MS];
const RETENTION_DAYS_MAX: i64 = 3_650;

async fn query_series(cx: Cx, Query(query): Query<SeriesQuery>) -> Result<Reply<SeriesPage>, ApiError> {
    let asked = query.metric.as_deref().filter(|metric| !metric.is_empty());
    let asked = asked.ok_or_else(|| ApiError::invalid("metric", "metric parameter required"))?;
    let (metric, value) = METRICS.into_iter().find(|(name, _)| *name == asked).ok_or_else(|| {
        let names = METRICS.map(|(name, _)| name).join(", ");
        ApiError::invalid("metric", format!("metric must be one of {names}"))
    })?;
    let until_ms = read_time("end", query.end.as_deref())?.unwrap_or(cx.started_ms + 1);
    let since_ms = read_time("start", query.start.as_deref())?.unwrap_or(0).max(0);
    if since_ms > until_ms {
        return Err(ApiError::invalid("start", "start must not be after end"));
    }
    let step_ms = read_step(query.step_ms.as_deref().or(query.step.as_deref()))?;
    let given = |name: Option<String>, other: Option<String>| name.or(other).filter(|name| !name.is_empty());
    let (model, provider) = (given(query.model_id, query.model), given(query.provider_id, query.provider));
    file_pending(&cx.app, &cx.ports).await;
    let (model, provider) = (model.as_deref(), provider.as_deref());
    for every_ms in step_ms.map_or_else(|| STEPS_MS.to_vec(), |step_ms| vec![step_ms]) {
        let stored_ms = if every_ms % STEP_HOUR_MS == 0 { STEP_HOUR_MS } else { STEP_MINUTE_MS };
        // The step in which the range begins belongs to it.
        let since_ms = since_ms.div_euclid(stored_ms) * stored_ms;
        let rows = list_points(stored_ms, since_ms, until_ms, every_ms, model, provider, POINTS_MAX + 1);
        let rows = rows.run(&*cx.ports.db).await?;
        if rows.len() <= usize::try_from(POINTS_MAX).unwrap_or(usize::MAX) {
            return Ok(Reply(SeriesPage { series: to_series(metric, value, rows) }));
        }
    }
    let text = format!("the range holds more than {POINTS_MAX} points; narrow it or raise step_ms");
    Err(ApiError::invalid("step_ms", text))
}

/// Rows come by model and provider.
fn to_series(metric: &'static str, value: Value, rows: Vec<PointRow>) -> Vec<Series> {
    let mut series: Vec<Series> = Vec::new();
    for row in rows {
        let point = Point { t: format_rfc3339(row.at_ms), v: value(&row) };
        match series.last_mut().filter(|last| last.model_id == row.model && last.provider_id == row.provider) {
            Some(last) => last.points.push(point),
            None => {
                series.push(Series { metric, model_id: row.model, provider_id: row.provider, points: vec![point] });
            }
        }
    }
    series
}

/// RFC 3339, or milliseconds since 1970.
fn read_time(name: &'static str, text: Option<&str>) -> Result<Option<i64>, ApiError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let time_ms = text.parse().ok().filter(|ms| (0..i64::MAX >> 10).contains(ms)).or_else(|| parse_rfc3339(text));
    let text = format!("{name} must be an RFC 3339 time or milliseconds since 1970");
    time_ms.map(Some).ok_or_else(|| ApiError::invalid(name, text))
}

/// In whole minutes.
fn read_step(text: Option<&str>) -> Result<Option<i64>, ApiError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let step_ms: Option<i64> = text.parse().ok().filter(|ms| (0..=3_650 * DAY_MS).contains(ms));
    let step_ms = step_ms.ok_or_else(|| ApiError::invalid("step_ms", "step_ms must be milliseconds, 0 or more"))?;
    Ok(Some((step_ms + STEP_MINUTE_MS - 1).max(STEP_MINUTE_MS) / STEP_MINUTE_MS * STEP_MINUTE_MS))
}

async fn list_metrics(_: Cx, (): ()) -> Result<Reply<MetricList>, ApiError> {
    Ok(Reply(MetricList { metrics: METRICS.map(|(name, _)| name).to_vec() }))
}

async fn prune_points(cx: Cx, (): ()) -> Result<Reply<Pruned>, ApiError> {
    let deleted = prune_series(&cx.ports).await?;
    Ok(Reply(Pruned { deleted }))
}

async fn set_retention(cx: Cx, Json(new): Json<NewRetention>) -> Result<Reply<RetentionSet>, ApiError> {
    let days = new.retention_days.or(new.days).unwrap_or(0);
    if days < 1 {
        return Err(ApiError::invalid("retention_days", "days must be >= 1"));
    }
    if days > RETENTION_DAYS_MAX {
        return Err(ApiError::invalid("retention_days", format!("days must be <= {RETENTION_DAYS_MAX}")));
    }
    cx.audit_resource(TSDB);
    cx.audit_detail(format_args!("{days} days"));
    put_retention(TSDB, days).run(&*cx.ports.db).await?;
    Ok(Reply(RetentionSet { ok: true, retention_days: days }))
}
