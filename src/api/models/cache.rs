//! The response cache, as its account sees it.

use guildhall_domain::cache::{CacheSettings, ExactCaching, THRESHOLD_LEAST, THRESHOLD_MOST, TTL_LEAST_S, TTL_MOST_S};
use guildhall_domain::money::MicroUsd;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::Cx;
use crate::error::ApiError;
use crate::gateway::cache::index_of;
use crate::http::input::Json;
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::observe::filing::file_pending_of;
use crate::routes;
use crate::store::models::cache::{
    CacheSum, find_cache_settings, put_cache_settings, raise_cache_generation, read_settings, sum_cache,
};
use crate::store::statement::run_all;

routes! {
    tag "Cache", dialect ToolRouter;
    /// Get the response cache's settings.
    Get "/v1/cache/settings" Access::Owner => get_cache_settings;
    /// Change the response cache's settings.
    ///
    /// What is left out stays as it is. They hold at once for calls that come to the same isolate, within two seconds for
    /// all others.
    Put "/v1/cache/settings" Access::Owner => set_cache_settings;
    /// Get what the response cache saved.
    ///
    /// Of chats and embeddings that were answered: how many by the cache, and what those would have cost.
    Get "/v1/cache/stats" Access::Owner => get_cache_stats;
    /// Forget what is cached.
    ///
    /// No answer that is kept now is ever given again; it holds as quickly as a change of the settings.
    Delete "/v1/cache" Access::Owner => forget_cache;
}

/// The response cache's settings.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CacheSettings")]
pub struct Settings {
    /// Which requests are answered when the very same has been asked before: `off`, `deterministic` (temperature 0 or a
    /// seed, and embeddings) or `all`.
    exact: ExactCaching,
    /// Whether a chat may be answered with the answer to a question that is nearly the same.
    semantic: bool,
    /// How near: the cosine of the two questions' embeddings.
    threshold: f64,
    /// How long answers are kept, in seconds.
    ttl_seconds: u32,
}

/// The settings to change.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "CacheSettingsFields")]
pub struct SettingsFields {
    /// `off`, `deterministic` or `all`.
    exact: Option<ExactCaching>,
    /// Whether a chat may be answered with the answer to a question that is nearly the same.
    semantic: Option<bool>,
    /// 0.8 to 1.
    threshold: Option<f64>,
    /// 60 to 604,800 seconds.
    ttl_seconds: Option<u32>,
}

/// What the cache saved, by window.
#[derive(Serialize, JsonSchema)]
pub struct CacheStats {
    /// The last 24 hours.
    day: CacheWindow,
    /// The last 7 days.
    week: CacheWindow,
    /// The last 30 days.
    month: CacheWindow,
    /// Since the account's first call.
    all: CacheWindow,
    /// Questions that are kept for likeness; of all accounts together where the platform keeps them in one index.
    questions: u64,
}

/// What the cache saved in a time.
#[derive(Serialize, JsonSchema)]
pub struct CacheWindow {
    /// Calls that the cache has answered.
    hits: i64,
    /// Calls that a model has answered.
    misses: i64,
    /// What the hits would have cost, in US dollars.
    saved_usd: f64,
}

/// What was cached is forgotten.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CacheForgotten")]
pub struct Forgotten {
    ok: bool,
}

const DAY_MS: i64 = 86_400_000;

impl From<CacheSettings> for Settings {
    #[expect(clippy::float_arithmetic, reason = "a likeness, never money")]
    fn from(settings: CacheSettings) -> Self {
        Self {
            exact: settings.exact,
            semantic: settings.semantic,
            threshold: f64::from(settings.threshold) / 10_000.0,
            ttl_seconds: settings.ttl_s,
        }
    }
}

impl From<CacheSum> for CacheWindow {
    fn from(sum: CacheSum) -> Self {
        Self { hits: sum.hits, misses: sum.misses, saved_usd: MicroUsd(sum.saved_micros).to_usd() }
    }
}

async fn get_cache_settings(cx: Cx, (): ()) -> Result<Reply<Settings>, ApiError> {
    Ok(Reply(find_settings(&cx).await?.into()))
}

async fn set_cache_settings(cx: Cx, Json(fields): Json<SettingsFields>) -> Result<Reply<Settings>, ApiError> {
    let mut settings = find_settings(&cx).await?;
    if let Some(threshold) = fields.threshold {
        settings.threshold = read_threshold(threshold)?;
    }
    if let Some(ttl_s) = fields.ttl_seconds {
        if !(TTL_LEAST_S..=TTL_MOST_S).contains(&ttl_s) {
            let text = format!("ttl_seconds must be between {TTL_LEAST_S} and {TTL_MOST_S}");
            return Err(ApiError::invalid("ttl_seconds", text));
        }
        settings.ttl_s = ttl_s;
    }
    settings.exact = fields.exact.unwrap_or(settings.exact);
    settings.semantic = fields.semantic.unwrap_or(settings.semantic);
    let stored = serde_json::to_string(&settings).map_err(ApiError::internal)?;
    put_cache_settings(cx.caller.account_id()?, &stored).run(&*cx.ports.db).await?;
    cx.app.credentials.forget_account(cx.caller.account_id()?);
    Ok(Reply(settings.into()))
}

async fn get_cache_stats(cx: Cx, (): ()) -> Result<Reply<CacheStats>, ApiError> {
    let account_id = cx.caller.account_id()?;
    file_pending_of(&cx.app, &cx.ports, account_id).await?;
    let since = |days: i64| sum_cache(account_id, cx.started_ms - days * DAY_MS);
    let windows = (since(1), since(7), since(30), sum_cache(account_id, 0));
    let (day, week, month, all) = run_all(&*cx.ports.db, windows).await?;
    let window = |sum: Option<CacheSum>| CacheWindow::from(sum.unwrap_or_default());
    let questions = cx.ports.vectors.stats(&index_of(account_id)).await?.vectors;
    Ok(Reply(CacheStats { day: window(day), week: window(week), month: window(month), all: window(all), questions }))
}

async fn forget_cache(cx: Cx, (): ()) -> Result<Reply<Forgotten>, ApiError> {
    let account_id = cx.caller.account_id()?;
    raise_cache_generation(account_id).run(&*cx.ports.db).await?;
    cx.app.credentials.forget_account(account_id);
    Ok(Reply(Forgotten { ok: true }))
}

async fn find_settings(cx: &Cx) -> Result<CacheSettings, ApiError> {
    let row = find_cache_settings(cx.caller.account_id()?).run(&*cx.ports.db).await?;
    let row = row.ok_or_else(|| ApiError::not_found("account"))?;
    Ok(read_settings(&row.cache_settings))
}

/// In ten-thousandths.
#[expect(
    clippy::float_arithmetic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a likeness, never money; what is outside of the bounds is refused"
)]
fn read_threshold(threshold: f64) -> Result<u16, ApiError> {
    let parts = (threshold * 10_000.0).round() as u16;
    let is_valid = (THRESHOLD_LEAST..=THRESHOLD_MOST).contains(&parts);
    let outside = || ApiError::invalid("threshold", "threshold must be between 0.8 and 1");
    if is_valid { Ok(parts) } else { Err(outside()) }
}
