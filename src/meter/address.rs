//! Callers without a key: limited per address.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use durable_objects::rate_limiter::protocol::{Command, Lease, RateLimiter, Reply, name_of_address};

use super::limit::{ObjectLimits, limiter_failed, refused, seconds_until, standing_of};
use crate::app::App;
use crate::error::{ApiError, Standing};
use crate::ports::{Ports, ask};

/// A fixed window of this isolate.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    ends_ms: i64,
    count: u32,
}

impl Window {
    const fn standing(&self, now_ms: i64) -> Standing {
        Standing {
            limit: ANONYMOUS_PER_MINUTE,
            remaining: ANONYMOUS_PER_MINUTE.saturating_sub(self.count),
            reset_s: seconds_until(self.ends_ms, now_ms),
        }
    }
}

/// Requests that a caller without a key may send an isolate per minute. Not a promise to anybody: it keeps one address
/// from using an isolate up, and a guesser of keys from trying many.
pub const ANONYMOUS_PER_MINUTE: u32 = 1_200;
const ANONYMOUS_ADDRESSES_MAX: usize = 10_000;

/// Whom an address counts for: an IPv4 address for itself, an IPv6 address for its /64, of which one caller has all.
fn network_of(address: &str) -> Cow<'_, str> {
    let Ok(ipv6) = address.parse::<Ipv6Addr>() else { return Cow::Borrowed(address) };
    if let Some(ipv4) = ipv6.to_ipv4_mapped() {
        return Cow::Owned(ipv4.to_string());
    }
    let network = Ipv6Addr::from_bits(ipv6.to_bits() >> 64 << 64);
    Cow::Owned(format!("{network}/64"))
}

/// Whether an address has anything left, without counting.
///
/// # Errors
/// 429 with `Retry-After`.
pub fn check_address(app: &App, address: &str, now_ms: i64) -> Result<(), ApiError> {
    let windows = app.meter.anonymous.borrow();
    match windows
        .get(&*network_of(address))
        .filter(|window| now_ms < window.ends_ms && window.count >= ANONYMOUS_PER_MINUTE)
    {
        Some(window) => Err(refused(window.standing(now_ms), Some(window.ends_ms - now_ms))),
        None => Ok(()),
    }
}

/// Counts a request of a caller without a key.
///
/// # Errors
/// 429 with `Retry-After`.
pub fn admit_address(app: &App, address: &str, now_ms: i64) -> Result<Standing, ApiError> {
    let mut windows = app.meter.anonymous.borrow_mut();
    if windows.len() > ANONYMOUS_ADDRESSES_MAX {
        windows.clear();
    }
    let window = windows.entry(network_of(address).into_owned()).or_insert(Window { ends_ms: 0, count: 0 });
    if now_ms >= window.ends_ms {
        *window = Window { ends_ms: now_ms + 60_000, count: 0 };
    }
    window.count = window.count.saturating_add(1);
    let standing = window.standing(now_ms);
    if window.count > ANONYMOUS_PER_MINUTE {
        return Err(refused(standing, Some(window.ends_ms - now_ms)));
    }
    Ok(standing)
}

/// Counts what an address does of something that is dear, exactly and for all isolates: `what` names it.
///
/// # Errors
/// 429 with `Retry-After` when it has done so `per_hour` times within the hour, 503 when the limiter does not answer.
pub async fn count_for_address(
    ports: &Ports,
    what: &str,
    address: &str,
    per_hour: u32,
    request_id: &str,
) -> Result<(), ApiError> {
    let now_ms = ports.clock.now_ms();
    let lease = Lease {
        id: request_id.to_owned(),
        limits: ObjectLimits { per_minute: per_hour, per_hour, concurrent: 0, per_second: 0 },
        used: 0,
        want_requests: 1,
        want_slots: 0,
        expires_at_ms: now_ms + 60_000,
        secret_at_ms: None,
    };
    let limiter = name_of_address(what, &network_of(address));
    let counted = Command::Lease(Lease { used: 1, want_requests: 0, ..lease.clone() });
    match ask::<RateLimiter>(&*ports.objects, &limiter, &Command::Lease(lease)).await.map_err(limiter_failed)? {
        Reply::Leased(leased) if leased.requests == 0 => {
            Err(refused(standing_of(&leased, now_ms), leased.retry_after_ms))
        }
        Reply::Leased(_) => {
            ask::<RateLimiter>(&*ports.objects, &limiter, &counted).await.map(drop).map_err(limiter_failed)
        }
        other => Err(limiter_failed(format!("{other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_counts_for_its_network() {
        for (address, network) in [
            ("203.0.113.7", "203.0.113.7"),
            ("2001:db8:0:1:ffff::9", "2001:db8:0:1::/64"),
            ("2001:DB8:0:1::1", "2001:db8:0:1::/64"),
            ("2001:db8:0:2::1", "2001:db8:0:2::/64"),
            ("::1", "::/64"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("", ""),
            ("unknown", "unknown"),
        ] {
            assert_eq!(network_of(address), network, "{address}");
        }
    }
}
