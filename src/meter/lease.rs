//! A busy key's limits, leased: the object is asked about once a second, not once a request.

use std::rc::Rc;

use durable_objects::rate_limiter::protocol::{Lease, Leased};

use super::OnDrop;
use super::limit::{Limits, crowded, is_crowded, limiter_failed, refused, revoked, seconds_until, send};
use super::shift::{Care, Shift};
use crate::app::App;
use crate::error::{ApiError, Standing};
use crate::ports::{PortError, Ports};

/// This isolate's lease of one key's limits.
pub struct LimitLease {
    limits: Limits,
    /// When the newest secret was made of which this isolate knows.
    secret_at_ms: Option<i64>,
    requests_left: u32,
    slots_held: u32,
    slots_used: u32,
    /// Most places used at once since the last renewal.
    slots_peak: u32,
    /// Admitted since the last report.
    used: u32,
    /// What a second takes lately.
    pace: u32,
    /// Waiting for the answer of a call.
    waiting: u32,
    limit: u32,
    remaining: u32,
    reset_at_ms: i64,
    expires_at_ms: i64,
    /// Until then the last refusal still stands.
    refused_until_ms: i64,
    /// When the object said, with that refusal, to come back.
    retry_at_ms: i64,
    /// Whether that refusal was for want of a place, not of requests.
    is_crowded: bool,
    revoked: bool,
    calling_since_ms: Option<i64>,
    /// When the lease that it asks for ends.
    asked_until_ms: i64,
    /// Whether that call asks for a place for somebody who waits.
    is_place_wanted: bool,
    care: Care,
}

/// How long a lease is believed once it is there.
const LEASE_MS: i64 = 1_000;
/// So much longer it is asked for: what the answer may take on its way, and the next question.
const CALL_MAX_MS: i64 = 1_000;
/// Above so many leases, those of which nothing is used are forgotten.
const LEASES_MAX: usize = 10_000;
/// A call that has not answered for so long is taken for lost.
const CALL_LOST_MS: i64 = 5_000;
const RENEW_MS: u32 = 700;
const LEAST_WANTED: u32 = 32;
/// Beyond what its calls need, an isolate holds at most this part of the places: they are for all isolates, and what one
/// holds to spare another is refused.
const SPARE_SLOTS_PART: u32 = 16;
/// So small a part may lie idle, up to [`LEAST_WANTED`]: a burst asks nobody then.
const IDLE_SLOTS_PART: u32 = 64;
/// How long "all places are taken" is believed.
const SLOT_REFUSED_MS: i64 = 20;

/// Admits a request from the lease.
///
/// # Errors
/// As [`super::limit::admit_key`].
pub async fn admit_leased(
    app: &Rc<App>,
    ports: &Rc<Ports>,
    key_id: &str,
    limits: Limits,
    secret_at_ms: Option<i64>,
) -> Result<Standing, ApiError> {
    let started_ms = ports.clock.now_ms();
    loop {
        let now_ms = ports.clock.now_ms();
        if now_ms - started_ms > CALL_LOST_MS {
            return Err(limiter_failed("no answer in time"));
        }
        let step = {
            let mut leases = app.meter.limits.borrow_mut();
            if leases.len() >= LEASES_MAX && !leases.contains_key(key_id) {
                // Nobody looks after those of keys that were only refused.
                leases.retain(|_, lease| !lease.is_idle() || now_ms < lease.refused_until_ms);
            }
            leases.entry(key_id.to_owned()).or_insert_with(|| LimitLease::new(limits)).step(
                limits,
                secret_at_ms,
                now_ms,
            )
        };
        if matches!(step, Step::Admitted(_)) {
            keep_up(app, ports, key_id, now_ms);
        }
        match step {
            Step::Admitted(standing) => return Ok(standing),
            Step::Revoked => return Err(revoked()),
            Step::Refused(standing, retry_after_ms) => {
                return Err(refused(standing, Some(retry_after_ms)));
            }
            Step::Crowded(standing) => return Err(crowded(standing, limits.concurrent)),
            Step::Call(wanted) => renew(app, ports, key_id, wanted).await.map_err(limiter_failed)?,
            // Another request of this isolate is asking. Its promise cannot be awaited here (the platform ties I/O to
            // the request that began it), so this one looks again on its own timer.
            Step::Wait => {
                let waiting = OnDrop(|| leave_waiting(app, key_id));
                ports.clock.sleep_ms(2).await;
                drop(waiting);
            }
        }
    }
}

fn leave_waiting(app: &App, key_id: &str) {
    if let Some(lease) = app.meter.limits.borrow_mut().get_mut(key_id) {
        lease.waiting = lease.waiting.saturating_sub(1);
    }
}

enum Step {
    Admitted(Standing),
    Refused(Standing, i64),
    Crowded(Standing),
    Revoked,
    Call(Lease),
    Wait,
}

impl LimitLease {
    /// Gives a place back.
    pub const fn release_slot(&mut self) {
        self.slots_used = self.slots_used.saturating_sub(1);
    }

    fn new(limits: Limits) -> Self {
        Self {
            limits,
            secret_at_ms: None,
            requests_left: 0,
            slots_held: 0,
            slots_used: 0,
            slots_peak: 0,
            used: 0,
            pace: 0,
            waiting: 0,
            limit: limits.per_minute,
            remaining: 0,
            reset_at_ms: 0,
            expires_at_ms: 0,
            refused_until_ms: 0,
            retry_at_ms: 0,
            is_crowded: false,
            revoked: false,
            calling_since_ms: None,
            asked_until_ms: 0,
            is_place_wanted: false,
            care: Care::default(),
        }
    }

    fn standing(&self, now_ms: i64) -> Standing {
        Standing {
            limit: self.limit,
            remaining: self.remaining.saturating_add(self.requests_left),
            reset_s: seconds_until(self.reset_at_ms, now_ms),
        }
    }

    fn step(&mut self, limits: Limits, secret_at_ms: Option<i64>, now_ms: i64) -> Step {
        if secret_at_ms < self.secret_at_ms {
            return Step::Revoked;
        }
        if secret_at_ms > self.secret_at_ms {
            // What was leased, or refused, to who knew another secret says nothing of this one.
            self.secret_at_ms = secret_at_ms;
            self.expires_at_ms = 0;
            self.refused_until_ms = 0;
        }
        let valid = now_ms < self.expires_at_ms && self.limits == limits;
        if valid && self.revoked {
            return Step::Revoked;
        }
        if valid && self.requests_left > 0 && self.slots_used < self.slots_held {
            self.requests_left -= 1;
            self.slots_used += 1;
            self.slots_peak = self.slots_peak.max(self.slots_used);
            self.used += 1;
            return Step::Admitted(self.standing(now_ms));
        }
        if self.is_calling(now_ms) {
            self.waiting += 1;
            return Step::Wait;
        }
        if now_ms < self.refused_until_ms && self.limits == limits {
            let standing = self.standing(now_ms);
            let wait_ms = self.retry_at_ms - now_ms;
            return if self.is_crowded { Step::Crowded(standing) } else { Step::Refused(standing, wait_ms) };
        }
        if valid && self.requests_left == 0 {
            // It was to last a second and has not.
            self.pace = self.pace.saturating_mul(2).clamp(LEAST_WANTED, self.limits.per_minute / 4 + LEAST_WANTED);
        }
        self.limits = limits;
        Step::Call(self.statement(self.waiting.max(1), now_ms))
    }

    /// What to hold for the next second: what a second takes lately, and a place for each of the `queue`, with a few to
    /// spare; nothing beyond the places in use when there is neither.
    fn statement(&mut self, queue: u32, now_ms: i64) -> Lease {
        self.calling_since_ms = Some(now_ms);
        let used = std::mem::take(&mut self.used);
        self.is_place_wanted = queue > 0;
        self.asked_until_ms = now_ms + LEASE_MS + CALL_MAX_MS;
        let is_wanted = queue > 0 || self.pace > 0;
        let spare = if is_wanted { LEAST_WANTED } else { 0 };
        let requests = self.pace.saturating_add(queue).max(spare).min(self.limits.per_minute / 4 + 1);
        let busiest = self.slots_peak.max(self.slots_used.saturating_add(queue));
        let idle_slots = LEAST_WANTED.min(self.limits.concurrent / IDLE_SLOTS_PART);
        let spare_slots = busiest.max(idle_slots).min(self.limits.concurrent / SPARE_SLOTS_PART).max(1);
        let slots = if is_wanted { busiest.saturating_add(spare_slots) } else { self.slots_used };
        let slots = slots.min(self.limits.concurrent);
        // While the call is under way, only what both the old and the new lease hold is spent from.
        self.requests_left = self.requests_left.min(requests);
        self.slots_held = self.slots_held.min(slots.max(self.slots_used));
        Lease {
            id: String::new(),
            limits: self.limits.into(),
            used,
            want_requests: requests,
            want_slots: slots,
            expires_at_ms: self.asked_until_ms,
            secret_at_ms: self.secret_at_ms,
        }
    }

    const fn is_idle(&self) -> bool {
        self.used == 0 && self.slots_used == 0 && self.waiting == 0
    }

    fn is_calling(&self, now_ms: i64) -> bool {
        self.calling_since_ms.is_some_and(|since_ms| now_ms - since_ms < CALL_LOST_MS)
    }

    fn accept(&mut self, want_requests: u32, secret_at_ms: Option<i64>, leased: &Leased, now_ms: i64) {
        self.calling_since_ms = None;
        if now_ms >= self.asked_until_ms || secret_at_ms != self.secret_at_ms {
            // The answer took longer than the lease lives, or than the secret: it says nothing about now.
            self.requests_left = 0;
            self.expires_at_ms = 0;
            return;
        }
        // What was admitted while the call was under way came out of this grant.
        self.requests_left = leased.requests.saturating_sub(self.used);
        self.slots_held = leased.slots;
        self.limit = leased.limit;
        self.remaining = leased.remaining;
        self.reset_at_ms = leased.reset_at_ms;
        self.revoked = leased.revoked;
        self.expires_at_ms = (now_ms + LEASE_MS).min(self.asked_until_ms);
        // A short memory of a refusal spares the object a storm of callers that ignore Retry-After.
        let lacks_requests = want_requests > 0 && leased.requests == 0 && !is_crowded(leased);
        let lacks_slots = self.is_place_wanted && self.slots_used >= leased.slots;
        if lacks_requests {
            let retry_after_ms = leased.retry_after_ms.unwrap_or(LEASE_MS).max(1);
            self.is_crowded = false;
            self.retry_at_ms = now_ms + retry_after_ms;
            self.refused_until_ms = now_ms + retry_after_ms.min(LEASE_MS);
        } else if lacks_slots {
            self.is_crowded = true;
            self.refused_until_ms = now_ms + SLOT_REFUSED_MS;
        }
    }
}

async fn renew(app: &App, ports: &Ports, key_id: &str, mut wanted: Lease) -> Result<(), PortError> {
    wanted.id.clone_from(&app.meter.holder);
    let (used, want_requests, secret_at_ms) = (wanted.used, wanted.want_requests, wanted.secret_at_ms);
    let answer = send(ports, key_id, wanted).await;
    let mut leases = app.meter.limits.borrow_mut();
    let Some(lease) = leases.get_mut(key_id) else {
        return answer.map(drop);
    };
    match answer {
        Ok(leased) => {
            lease.accept(want_requests, secret_at_ms, &leased, ports.clock.now_ms());
            Ok(())
        }
        Err(error) => {
            lease.calling_since_ms = None;
            lease.used += used;
            Err(error)
        }
    }
}

/// Sees to it that a background task keeps the lease up.
pub fn keep_up(app: &Rc<App>, ports: &Rc<Ports>, key_id: &str, now_ms: i64) {
    let shift = {
        let mut leases = app.meter.limits.borrow_mut();
        leases.get_mut(key_id).and_then(|lease| lease.care.begin(RENEW_MS, now_ms))
    };
    let Some(shift) = shift else { return };
    let task = maintain(Rc::clone(app), Rc::clone(ports), key_id.to_owned(), shift);
    ports.background.spawn(Box::pin(task));
}

/// Keeps a lease up while it is used, and gives it back when it is not.
async fn maintain(app: Rc<App>, ports: Rc<Ports>, key_id: String, shift: Shift) {
    let mut pause_ms = shift.pause_ms;
    loop {
        ports.clock.sleep_ms(pause_ms).await;
        pause_ms = RENEW_MS;
        let now_ms = ports.clock.now_ms();
        let Some((wanted, is_last)) = plan_renewal(&app, &key_id, shift, now_ms) else { return };
        if let Some(wanted) = wanted
            && let Err(error) = renew(&app, &ports, &key_id, wanted).await
        {
            ports.background.log(&format!("rate limit lease: {error}"));
        }
        let mut leases = app.meter.limits.borrow_mut();
        let Some(lease) = leases.get_mut(&key_id) else { return };
        if is_last && lease.is_idle() {
            leases.remove(&key_id);
            return;
        }
    }
}

/// What to hold for the next period, and whether it is nothing; `None` when there is no lease any more, or it is no longer
/// this task's.
fn plan_renewal(app: &App, key_id: &str, shift: Shift, now_ms: i64) -> Option<(Option<Lease>, bool)> {
    let mut leases = app.meter.limits.borrow_mut();
    let lease = leases.get_mut(key_id)?;
    if !lease.care.go_on(shift, RENEW_MS, now_ms) || shift.is_over(now_ms) {
        return None;
    }
    if lease.is_calling(now_ms) {
        return Some((None, false));
    }
    let is_last = lease.is_idle();
    // A period is shorter than a lease lives.
    lease.pace = lease.used.saturating_add(lease.used / 2);
    let wanted = lease.statement(lease.waiting, now_ms);
    lease.slots_peak = lease.slots_used;
    Some((Some(wanted), is_last))
}
