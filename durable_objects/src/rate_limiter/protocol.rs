//! The rate limiter as its callers see it: one object per API key, or per address for limits without a key.

use serde::{Deserialize, Serialize};

use crate::protocol::Protocol;

/// The protocol of the `RateLimiter` object.
#[derive(Debug)]
pub enum RateLimiter {}

impl Protocol for RateLimiter {
    const BINDING: &'static str = "RATE_LIMITER";
    type Command = Command;
    type Reply = Reply;
}

/// The object that limits an API key.
#[must_use]
pub fn name_of_key(key_id: &str) -> String {
    format!("key:{key_id}")
}

/// The object that limits callers without a key: `scope` says what is limited, so that limits do not share a count.
#[must_use]
pub fn name_of_address(scope: &str, address: &str) -> String {
    format!("{OF_ADDRESSES}{scope}:{address}")
}

/// Whether it limits callers without a key.
#[must_use]
pub fn is_name_of_address(name: &str) -> bool {
    name.starts_with(OF_ADDRESSES)
}

const OF_ADDRESSES: &str = "ip:";

/// How much a caller may do. The newest limits that an object hears of are the ones that hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Requests in a window of 60 s; 0 allows none.
    pub per_minute: u32,
    /// Requests in a window of 3,600 s; 0 allows none.
    pub per_hour: u32,
    /// Requests running at the same time; 0 allows none.
    pub concurrent: u32,
    /// Requests a second, in bursts of at most twice as many; 0 for no such limit.
    #[serde(default, skip_serializing_if = "is_none")]
    pub per_second: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_none(per_second: &u32) -> bool {
    *per_second == 0
}

/// What a caller may ask of a rate limiter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Reports what was used and states what to hold from now on; see [`Lease`].
    Lease(Lease),
    /// Refuses everything until [`Command::Restore`]; survives restarts.
    Revoke,
    /// Takes a revocation back.
    Restore,
    /// For the time that it takes until all read the key's new secret, refuses statements that know an older one.
    Rotate {
        /// When the new secret was made; milliseconds since 1970.
        secret_at_ms: i64,
    },
    /// Reads the counters.
    Status,
}

/// A statement, not a difference, so that repeating the latest one does no harm to the holdings: "of what I held under
/// `id`, `used` requests were made since my last report; from now on I hold this much, until then".
///
/// An exact check is the special case `used` 0, `want_requests` 1, `want_slots` 1 before the request, and `used` 1,
/// `want_requests` 0, `want_slots` 0 after it, under an id of its own.
///
/// A statement that expires before the lease that it would change was overtaken on its way: what it reports is counted,
/// the lease stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Names the holder: an isolate, or one request when the check is exact. At most 128 bytes.
    pub id: String,
    /// The limits that hold from now on.
    pub limits: Limits,
    /// Requests really made under this lease since its last report.
    pub used: u32,
    /// Requests not yet made to hold from now on, instead of those held before.
    pub want_requests: u32,
    /// Concurrency slots to hold from now on, those of running requests included.
    pub want_slots: u32,
    /// When the slots lapse and nothing may be spent from this lease any more; milliseconds since 1970.
    pub expires_at_ms: i64,
    /// When the secret was made by which the holder knows its callers; nothing where they have none that rotates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_at_ms: Option<i64>,
}

/// What a rate limiter answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// To [`Command::Lease`].
    Leased(Leased),
    /// To all other commands.
    Status(Status),
    /// The command breaks a bound of the protocol.
    Refused {
        /// Which one; for the log.
        message: String,
    },
}

/// What the lease holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leased {
    /// Requests that may be made under the lease until it expires.
    pub requests: u32,
    /// Concurrency slots that it holds.
    pub slots: u32,
    /// The limit that is reported: of minute, hour and burst the one with fewer requests remaining.
    pub limit: u32,
    /// That limit less everything made or held by anybody, this grant included. A single exact caller under 60 a minute
    /// sees 59, 58 …; a caller that spends from its lease adds what it has not spent.
    pub remaining: u32,
    /// When that window closes, or the whole burst is there again; milliseconds since 1970.
    pub reset_at_ms: i64,
    /// How long to wait, in milliseconds, when requests or slots were wanted and none was granted; never with a
    /// revocation.
    pub retry_after_ms: Option<i64>,
    /// The key is revoked, or its secret an old one: nothing is granted, and waiting does not help.
    pub revoked: bool,
}

/// The counters of a rate limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whether everything is refused.
    pub revoked: bool,
    /// Requests made or held in the current minute window.
    pub minute_count: u32,
    /// Requests made or held in the current hour window.
    pub hour_count: u32,
    /// Concurrency slots held.
    pub slots: u32,
    /// Leases remembered.
    pub leases: u32,
}
