//! Rate limits of keys: exact for those with small limits, leased for busy ones.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

pub use durable_objects::rate_limiter::protocol::Limits as ObjectLimits;
use durable_objects::rate_limiter::protocol::{Command, Lease, Leased, RateLimiter, Reply, name_of_key};

use super::lease::{admit_leased, keep_up};
use crate::app::App;
use crate::error::{ApiError, Kind, Standing};
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
        let now_ms = self.ports.clock.now_ms();
        match &self.place {
            Place::Leased { key_id } => keep_up(&self.app, &self.ports, key_id, now_ms),
            Place::Exact(slot) => slot.keep_up(&self.ports, now_ms),
            Place::Uncounted => {}
        }
    }

    /// Sees to it that the place is still held, after a time in which nobody kept it up.
    ///
    /// # Errors
    /// 429 when others have taken it, 503 when the limiter does not answer.
    pub async fn confirm(&self) -> Result<(), ApiError> {
        match &self.place {
            Place::Exact(slot) => slot.confirm(&self.ports, self.standing).await,
            Place::Leased { .. } | Place::Uncounted => {
                self.keep_up();
                Ok(())
            }
        }
    }
}

enum Place {
    /// A slot of this isolate's lease.
    Leased { key_id: String },
    /// A lease of its own, for one request.
    Exact(Rc<ExactSlot>),
    /// None: any number may run at once.
    Uncounted,
}

/// One request's lease.
struct ExactSlot {
    key_id: String,
    /// The latest statement: what is to be reported, and until when the slot is held.
    lease: RefCell<Lease>,
    is_renewing: Cell<bool>,
    is_over: Cell<bool>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        match &self.place {
            Place::Leased { key_id } => {
                if let Some(lease) = self.app.meter.limits.borrow_mut().get_mut(key_id) {
                    lease.release_slot();
                }
            }
            Place::Exact(slot) => slot.end(&self.ports),
            Place::Uncounted => {}
        }
    }
}

impl ExactSlot {
    /// Holds the slot for longer, once a part of its time has passed.
    fn keep_up(self: &Rc<Self>, ports: &Rc<Ports>, now_ms: i64) {
        if !self.is_renewal_due(now_ms) || self.is_renewing.replace(true) {
            return;
        }
        let statement = self.state(now_ms);
        let (slot, ports_then) = (Rc::clone(self), Rc::clone(ports));
        ports.background.spawn(Box::pin(async move {
            match send(&ports_then, &slot.key_id, statement).await {
                // The request is counted.
                Ok(_) => slot.lease.borrow_mut().used = 0,
                Err(error) => ports_then.background.log(&format!("rate limit slot: {error}")),
            }
            slot.is_renewing.set(false);
            if slot.is_over.get() {
                slot.end(&ports_then);
            }
        }));
    }

    fn is_renewal_due(&self, now_ms: i64) -> bool {
        now_ms >= self.lease.borrow().expires_at_ms - EXACT_SLOT_MS + EXACT_RENEW_MS
    }

    /// States that the slot is held for longer.
    fn state(&self, now_ms: i64) -> Lease {
        let mut lease = self.lease.borrow_mut();
        lease.expires_at_ms = now_ms + EXACT_SLOT_MS;
        Lease { want_requests: 0, want_slots: 1, ..lease.clone() }
    }

    async fn confirm(&self, ports: &Ports, standing: Standing) -> Result<(), ApiError> {
        let now_ms = ports.clock.now_ms();
        if !self.is_renewal_due(now_ms) {
            return Ok(());
        }
        let statement = self.state(now_ms);
        let concurrent = statement.limits.concurrent;
        let leased = send(ports, &self.key_id, statement).await.map_err(limiter_failed)?;
        self.lease.borrow_mut().used = 0;
        if leased.revoked {
            return Err(revoked());
        }
        if leased.slots == 0 { Err(crowded(standing, concurrent)) } else { Ok(()) }
    }

    /// Gives the slot back; after a renewal that is under way, which would take it again.
    fn end(&self, ports: &Rc<Ports>) {
        self.is_over.set(true);
        if !self.is_renewing.get() {
            release_exact(ports, &self.key_id, self.lease.borrow().clone());
        }
    }
}

/// Ends an exact lease in the background. Should all tries fail, the slot comes back when the lease expires.
fn release_exact(ports: &Rc<Ports>, key_id: &str, lease: Lease) {
    let (ports_then, key_id) = (Rc::clone(ports), key_id.to_owned());
    let done = Lease { want_requests: 0, want_slots: 0, ..lease };
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
const EXACT_SLOT_MS: i64 = 45_000;
/// A call that runs on renews its slot after this time.
const EXACT_RENEW_MS: i64 = 15_000;

/// Admits a request of a key, or refuses it. `secret_at_ms` is when the secret was made that the caller knows.
///
/// # Errors
/// 429 with `Retry-After`, 401 when the key is revoked, 503 when the limiter does not answer.
pub async fn admit_key(
    app: &Rc<App>,
    ports: &Rc<Ports>,
    key_id: &str,
    limits: Limits,
    secret_at_ms: Option<i64>,
    request_id: &str,
) -> Result<Admission, ApiError> {
    let (standing, place) = if limits.are_exact() {
        admit_exact(ports, key_id, limits, secret_at_ms, request_id).await?
    } else {
        (admit_leased(app, ports, key_id, limits, secret_at_ms).await?, Place::Leased { key_id: key_id.to_owned() })
    };
    Ok(Admission { standing, place, app: Rc::clone(app), ports: Rc::clone(ports) })
}

async fn admit_exact(
    ports: &Rc<Ports>,
    key_id: &str,
    limits: Limits,
    secret_at_ms: Option<i64>,
    request_id: &str,
) -> Result<(Standing, Place), ApiError> {
    let now_ms = ports.clock.now_ms();
    let lease = Lease {
        id: request_id.to_owned(),
        limits: limits.into(),
        used: 0,
        want_requests: 1,
        want_slots: u32::from(limits.concurrent < u32::MAX),
        expires_at_ms: now_ms + EXACT_SLOT_MS,
        secret_at_ms,
    };
    let leased = match send(ports, key_id, lease.clone()).await {
        Ok(leased) => leased,
        Err(error) => {
            // The answer may be lost although the place was taken.
            release_exact(ports, key_id, lease);
            return Err(limiter_failed(error));
        }
    };
    let standing = standing_of(&leased, ports.clock.now_ms());
    if leased.revoked {
        return Err(revoked());
    }
    if leased.requests == 0 || leased.slots < lease.want_slots {
        // What was granted of the two goes back.
        if leased.requests + leased.slots > 0 {
            release_exact(ports, key_id, lease);
        }
        return Err(if is_crowded(&leased) {
            crowded(standing, limits.concurrent)
        } else {
            refused(standing, leased.retry_after_ms)
        });
    }
    let lease = Lease { used: 1, ..lease };
    if lease.want_slots == 0 {
        // There is nothing to hold until it ends, and the object remembers only so many that hold something.
        release_exact(ports, key_id, lease);
        return Ok((standing, Place::Uncounted));
    }
    let slot = ExactSlot {
        key_id: key_id.to_owned(),
        lease: RefCell::new(lease),
        is_renewing: Cell::new(false),
        is_over: Cell::new(false),
    };
    Ok((standing, Place::Exact(Rc::new(slot))))
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
    too_many("requests", standing.limit, wait_s, standing)
}

/// Whether what was refused lacked a place: no window is exhausted.
#[must_use]
pub const fn is_crowded(leased: &Leased) -> bool {
    leased.remaining > 0
}

/// 429: all places for requests at one time are taken.
#[must_use]
pub fn crowded(standing: Standing, concurrent: u32) -> ApiError {
    let what = format!("requests at once ({concurrent} at most)");
    too_many(&what, concurrent, 1, standing)
}

fn too_many(what: &str, limit: u32, wait_s: i64, standing: Standing) -> ApiError {
    ApiError::new(Kind::RateLimited, format!("Too many {what}; try again in {wait_s} s"))
        .retry_after_s(u32::try_from(wait_s).unwrap_or(1))
        .with("limit", limit)
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
