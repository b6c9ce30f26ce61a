//! How callers' own upstreams are doing. Nobody else is told: they are no providers of the platform's.

use std::rc::Rc;

use guildhall_domain::own::Origin;
use guildhall_domain::routing::ErrorClass;

use super::Own;
use crate::app::Cx;
use crate::gateway::dispatch::Failure;
use crate::store::models::local_endpoints::note_unreachable;
use crate::store::models::provider_keys::{note_key_failure, note_key_success};
use crate::store::statement::{Changed, Query};

/// A success is written down this often.
const NOTE_MS: i64 = 60_000;
/// A key that its provider refuses is tried again after so long: its owner may have paid, or been let in again.
const REFUSED_MS: i64 = 15 * 60_000;
/// A provider that failed is left alone for so long with this key.
const FAILED_MS: i64 = 10_000;

impl Own {
    /// Whether it may be asked.
    #[must_use]
    pub fn is_usable(&self, now_ms: i64) -> bool {
        self.rests_until_ms.get() <= now_ms
    }
}

/// It answered, and the answer made sense.
pub fn note_success(cx: &Cx, own: &Own) {
    let now_ms = cx.ports.clock.now_ms();
    if own.origin != Origin::Key || now_ms - own.noted_ms.replace(now_ms) < NOTE_MS {
        return;
    }
    write_down(cx, own, note_key_success(&own.account_id, &own.id, now_ms, now_ms - NOTE_MS));
}

/// It failed: it is left alone for a while, from this moment on in this isolate.
pub fn note_failure(cx: &Cx, own: &Own, failure: &Failure) {
    let now_ms = cx.ports.clock.now_ms();
    let code = failure.code();
    if own.origin == Origin::Endpoint {
        match failure.class {
            ErrorClass::Transient | ErrorClass::Auth => {
                own.rests_until_ms.set(i64::MAX);
                write_down(cx, own, note_unreachable(&own.account_id, &own.id, &code, now_ms));
            }
            _ => own.rests_until_ms.set(now_ms + rest_ms(failure)),
        }
        return;
    }
    own.noted_ms.set(0);
    own.rests_until_ms.set(now_ms + rest_ms(failure));
    let rests_until_ms = own.rests_until_ms.get();
    write_down(cx, own, note_key_failure(&own.account_id, &own.id, now_ms, &code, rests_until_ms));
}

/// For how long it is left alone.
fn rest_ms(failure: &Failure) -> i64 {
    match failure.class {
        ErrorClass::Auth => REFUSED_MS,
        ErrorClass::Transient => FAILED_MS,
        // Another model may be there, and another request may be taken.
        ErrorClass::NotFound | ErrorClass::ClientError | ErrorClass::ContextOverflow => 0,
        ErrorClass::RateLimited => i64::try_from(failure.retry_after_ms.unwrap_or(0)).unwrap_or(0),
    }
}

fn write_down(cx: &Cx, own: &Own, note: Query<Changed>) {
    let (ports, id) = (Rc::clone(&cx.ports), own.id.clone());
    cx.ports.background.spawn(Box::pin(async move {
        if let Err(error) = note.run(&*ports.db).await {
            ports.background.log(&format!("{id}: {error}"));
        }
    }));
}
