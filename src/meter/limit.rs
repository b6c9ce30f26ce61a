//! Rate limits of keys: exact for those with small limits, leased for busy ones.

use std::cell::Cell;
use std::rc::Rc;

pub use durable_objects::rate_limiter::protocol::Limits as ObjectLimits;
use durable_objects::rate_limiter::protocol::{Command, Lease, Leased, RateLimiter, Reply, name_of_key};

use super::lease::{admit_leased, keep_up};
use crate::app::App;
use crate::http::error::{ApiError, Kind};
use crate::ports::{PortError, Ports, ask};

/// How much a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests in 60 s.
    pub per_minute: u32,
    /// Requests in 3,600 s.
    pub per_hour: u32,
    /// Calls at once.
    pub concurrent: u32,
    /// Requests a second, in bursts of at most twice as many; 0 for no such limit.
    pub per_second: u32,
}

/// Rates above it are counted by the minute, because then an isolate may lease a second's worth of them.
const PER_SECOND_MAX: u32 = 500;

impl Limits {
    /// What a key has unless somebody set it otherwise (`ToolRouter`'s and Tokaroo's documented defaults).
    pub const STANDARD: Self = Self { per_minute: 60, per_hour: 1_000, concurrent: 5, per_second: 0 };
    /// What a person's session has: enough for a console, leased so that it costs no hop.
    pub const SESSION: Self = Self { per_minute: 1_200, per_hour: 20_000, concurrent: 32, per_second: 0 };
    /// What a key has that is not limited.
    pub const UNLIMITED: Self = Self { per_minute: u32::MAX, per_hour: u32::MAX, concurrent: u32::MAX, per_second: 0 };

    /// So many requests a second, and no other limit.
    #[must_use]
    pub const fn a_second(rate: u32) -> Self {
        if rate > PER_SECOND_MAX {
            return Self { per_minute: rate.saturating_mul(60), ..Self::UNLIMITED };
        }
        Self { per_second: rate, ..Self::UNLIMITED }
    }

    /// Whether every request is checked by the object. A lease is worth it only where a second's worth of requests,
    /// held by an isolate that goes idle, is a small part of the limit.
    const fn are_exact(self) -> bool {
        self.per_minute < 600 || self.per_hour < 6_000 || self.concurrent < 32 || self.per_second > 0
    }
}

impl From<Limits> for ObjectLimits {
    fn from(limits: Limits) -> Self {
        let Limits { per_minute, per_hour, concurrent, per_second } = limits;
        Self { per_minute, per_hour, concurrent, per_second }
    }
}

/// What the response headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Requests allowed in the window.
    pub limit: u32,
    /// Requests left in it.
    pub remaining: u32,
    /// Seconds until it resets.
    pub reset_s: i64,
}

/// A request's place in the limits. Dropping it gives the place back.
pub struct Admission {
    /// For the headers.
    pub standing: Standing,
    place: Place,
    app: Rc<App>,
    ports: Rc<Ports>,
}

impl Admission {
    /// Keeps the place up during a long call.
    pub fn keep_up(&self) {
        if let Place::Leased { key_id } = &self.place {
            keep_up(&self.app, &self.ports, key_id, self.ports.clock.now_ms());
        }
    }
}

enum Place {
    /// A slot of this isolate's lease.
    Leased { key_id: String },
    /// A lease of its own, for one request.
    Exact { key_id: String, lease: Cell<Option<Lease>> },
}

impl Drop for Admission {
    fn drop(&mut self) {
        match &self.place {
            Place::Leased { key_id } => {
                if let Some(lease) = self.app.meter.limits.borrow_mut().get_mut(key_id) {
                    lease.release_slot();
                }
            }
            Place::Exact { key_id, lease } => {
                if let Some(lease) = lease.take() {
                    release_exact(&self.ports, key_id, lease, 1);
                }
            }
        }
    }
}

/// Ends an exact lease in the background. Should all tries fail, the slot comes back when the lease expires.
fn release_exact(ports: &Rc<Ports>, key_id: &str, lease: Lease, used: u32) {
    let (ports_then, key_id) = (Rc::clone(ports), key_id.to_owned());
    let done = Lease { used, want_requests: 0, want_slots: 0, ..lease };
    ports.background.spawn(Box::pin(async move {
        for pause_ms in [100, 1_000, 5_000] {
            match send(&ports_then, &key_id, done.clone()).await {
                Ok(_) => return,
                Err(error) => ports_then.background.log(&format!("rate limit release: {error}")),
            }
            ports_then.clock.sleep_ms(pause_ms).await;
        }
    }));
}

/// Slots of an exact check come back after this time even if the isolate died.
const EXACT_SLOT_MS: i64 = 10 * 60 * 1_000;

/// Admits a request of a key, or refuses it.
///
/// # Errors
/// 429 with `Retry-After`, 401 when the key is revoked, 503 when the limiter does not answer.
pub async fn admit_key(
    app: &Rc<App>,
    ports: &Rc<Ports>,
    key_id: &str,
    limits: Limits,
    request_id: &str,
) -> Result<Admission, ApiError> {
    let (standing, place) = if limits.are_exact() {
        admit_exact(ports, key_id, limits, request_id).await?
    } else {
        (admit_leased(app, ports, key_id, limits).await?, Place::Leased { key_id: key_id.to_owned() })
    };
    Ok(Admission { standing, place, app: Rc::clone(app), ports: Rc::clone(ports) })
}

async fn admit_exact(
    ports: &Rc<Ports>,
    key_id: &str,
    limits: Limits,
    request_id: &str,
) -> Result<(Standing, Place), ApiError> {
    let now_ms = ports.clock.now_ms();
    let lease = Lease {
        id: request_id.to_owned(),
        limits: limits.into(),
        used: 0,
        want_requests: 1,
        want_slots: 1,
        expires_at_ms: now_ms + EXACT_SLOT_MS,
    };
    let leased = match send(ports, key_id, lease.clone()).await {
        Ok(leased) => leased,
        Err(error) => {
            // The answer may be lost although the place was taken.
            release_exact(ports, key_id, lease, 0);
            return Err(limiter_failed(error));
        }
    };
    let standing = standing_of(&leased, ports.clock.now_ms());
    if leased.revoked {
        return Err(revoked());
    }
    if leased.requests == 0 || leased.slots == 0 {
        // What was granted of the two goes back.
        if leased.requests + leased.slots > 0 {
            release_exact(ports, key_id, lease, 0);
        }
        return Err(refused(standing, leased.retry_after_ms));
    }
    let place = Place::Exact { key_id: key_id.to_owned(), lease: Cell::new(Some(lease)) };
    Ok((standing, place))
}

/// Sends a lease to a key's object.
///
/// # Errors
/// When the object fails.
pub async fn send(ports: &Ports, key_id: &str, lease: Lease) -> Result<Leased, PortError> {
    match ask::<RateLimiter>(&*ports.objects, &name_of_key(key_id), &Command::Lease(lease)).await? {
        Reply::Leased(leased) => Ok(leased),
        other => Err(PortError(format!("rate limiter: {other:?}"))),
    }
}

/// What a lease says of the window.
#[must_use]
pub fn standing_of(leased: &Leased, now_ms: i64) -> Standing {
    Standing { limit: leased.limit, remaining: leased.remaining, reset_s: seconds_until(leased.reset_at_ms, now_ms) }
}

/// Whole seconds until a time, rounded up.
#[must_use]
pub const fn seconds_until(at_ms: i64, now_ms: i64) -> i64 {
    let left_ms = at_ms - now_ms;
    if left_ms <= 0 { 0 } else { (left_ms + 999) / 1_000 }
}

/// 429.
#[must_use]
pub fn refused(standing: Standing, retry_after_ms: Option<i64>) -> ApiError {
    let wait_s = seconds_until(retry_after_ms.unwrap_or(1_000), 0).clamp(1, 3_600);
    ApiError::new(Kind::RateLimited, format!("Too many requests; try again in {wait_s} s"))
        .retry_after_s(u32::try_from(wait_s).unwrap_or(1))
        .with("limit", standing.limit)
        .standing(standing)
}

/// 401: the key's object refuses it.
#[must_use]
pub fn revoked() -> ApiError {
    ApiError::new(Kind::BadCredential, "Invalid or expired credential")
}

/// 503.
#[must_use]
pub fn limiter_failed(cause: impl std::fmt::Display) -> ApiError {
    ApiError::new(Kind::Unavailable, "The rate limiter did not answer; try again").caused_by(cause).retry_after_s(1)
}
