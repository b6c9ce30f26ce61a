//! How the providers are doing, for those who ask: what all isolates have seen, and what the database counted.

use std::collections::BTreeMap;
use std::rc::Rc;

use guildhall_domain::ids::ProviderId;
use guildhall_domain::routing::Health;

use super::health::share;
use crate::app::App;
use crate::ports::{PortError, Ports};
use crate::store::models::providers::list_providers;
use crate::store::ops::rewards::{ProviderAttempts, list_provider_attempts};
use crate::store::statement::run_all;

/// Providers told at most.
const PROVIDERS_MAX: i64 = 1_000;

/// How a provider is doing. Times are milliseconds since 1970, 0 for never.
#[derive(Debug, Clone, PartialEq)]
pub struct ProviderReport {
    /// The provider.
    pub provider_id: String,
    /// Its state now.
    pub state: Health,
    /// Attempts so far, of all isolates.
    pub requests: i64,
    /// Those that failed.
    pub errors: i64,
    /// Errors since the last success.
    pub consecutive_errors: u32,
    /// The average latency of its answers, in milliseconds; 0 before the first.
    pub latency_ms: f64,
    /// The class of its last error; empty when it never failed.
    pub last_error: String,
    /// When it last failed.
    pub last_error_ms: i64,
    /// When it last answered.
    pub last_success_ms: i64,
    /// Until when it is left alone; 0 when it is not.
    pub cooldown_until_ms: i64,
}

/// Reads how every registered provider is doing, by id: the state as all isolates have seen it, counts and times from the
/// database.
///
/// # Errors
/// When the database or the object fails.
pub async fn read_provider_health(app: &Rc<App>, ports: &Rc<Ports>) -> Result<Vec<ProviderReport>, PortError> {
    let (providers, attempts) =
        run_all(&*ports.db, (list_providers(PROVIDERS_MAX, 0), list_provider_attempts())).await?;
    let attempts: BTreeMap<_, _> = attempts.into_iter().map(|row| (row.provider_id.clone(), row)).collect();
    share(app, ports).await?;
    let now_ms = u64::try_from(ports.clock.now_ms()).unwrap_or(0);
    let book = &app.gateway.health;
    let report = |id: String| {
        let health = id.parse::<ProviderId>().map(|id| book.record_of(&id)).unwrap_or_default();
        let row = attempts.get(&id);
        let of = |field: fn(&ProviderAttempts) -> i64| row.map_or(0, field);
        let successes = of(|row| row.requests - row.errors);
        ProviderReport {
            state: health.health(now_ms),
            requests: of(|row| row.requests),
            errors: of(|row| row.errors),
            consecutive_errors: health.consecutive_errors(),
            latency_ms: mean(of(|row| row.latency_ms), successes),
            last_error: row.map_or_else(String::new, |row| row.last_error.clone()),
            last_error_ms: of(|row| row.last_error_ms),
            last_success_ms: of(|row| row.last_success_ms),
            cooldown_until_ms: i64::try_from(health.left_alone_until_ms(now_ms)).unwrap_or(0),
            provider_id: id,
        }
    };
    Ok(providers.into_iter().map(|provider| report(provider.id)).collect())
}

#[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "an average for people, never money")]
fn mean(sum: i64, count: i64) -> f64 {
    if count <= 0 { 0.0 } else { sum as f64 / count as f64 }
}
