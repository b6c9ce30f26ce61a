//! What accounts want of the response cache, and what it saved them.

use guildhall_domain::cache::CacheSettings;
use serde::Deserialize;

use crate::queries;
use crate::store::statement::Changed;

/// An account's settings as they are stored.
#[derive(Debug, Clone, Deserialize)]
pub struct CacheRow {
    /// As [`read_settings`] reads them.
    pub cache_settings: String,
    /// How often the account has forgotten what was cached.
    pub cache_generation: i64,
}

/// What came of calls that a cache may answer.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct CacheSum {
    /// Those that the cache has answered.
    pub hits: i64,
    /// Those that a model has answered.
    pub misses: i64,
    /// What the hits would have cost, in micro-dollars.
    pub saved_micros: i64,
}

/// Reads stored settings; the defaults where there are none.
#[must_use]
pub fn read_settings(stored: &str) -> CacheSettings {
    serde_json::from_str(stored).unwrap_or_default()
}

queries! {
    /// Finds an account's settings.
    tenant("id") fn find_cache_settings(id: &str) -> Option<CacheRow> =
        "SELECT cache_settings, cache_generation FROM accounts WHERE id = ?1";
    /// Sets them.
    tenant("id") fn put_cache_settings(id: &str, settings: &str) -> Changed =
        "UPDATE accounts SET cache_settings = ?2 WHERE id = ?1";
    /// Has what is cached not be found any more.
    tenant("id") fn raise_cache_generation(id: &str) -> Changed =
        "UPDATE accounts SET cache_generation = cache_generation + 1 WHERE id = ?1";
    /// Sums an account's chats and embeddings since a time, as `reports::sum_usage` does.
    tenant("account_id") fn sum_cache(account_id: &str, since_ms: i64) -> Option<CacheSum> =
        "SELECT COALESCE(SUM(CASE source WHEN 'cache' THEN completed END), 0) AS hits,
           COALESCE(SUM(CASE source WHEN 'cache' THEN 0 ELSE completed END), 0) AS misses,
           COALESCE(SUM(saved_micros), 0) AS saved_micros
         FROM (SELECT request_type, source, completed, saved_micros
           FROM usage_days WHERE account_id = ?1 AND day >= (CAST(?2 AS INTEGER) + 86399999) / 86400000
           UNION ALL
           SELECT request_type, source, 1, CASE source WHEN 'cache' THEN baseline_micros - charged_micros END
           FROM usage WHERE account_id = ?1 AND created_at_ms >= ?2 AND created_at_ms < (CAST(?2 AS INTEGER) + 86399999) / 86400000 * 86400000
             AND outcome = 'completed')
         WHERE request_type IN ('chat', 'embedding')";
}
