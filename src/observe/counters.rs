//! Counters of what leaves no record: refusals, routes not taken.
//!
//! An isolate counts in memory and adds to the database a few seconds after the first count, so that a flood of refusals
//! costs a write every few seconds. An isolate that dies takes at most those seconds' counts with it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::app::App;
use crate::ports::Ports;
use crate::store::ops::counters::add_counters;

/// Requests that a rate limit refused.
pub const RATE_LIMITED: &str = "tokenhub_rate_limited_total";
/// Requests to admin routes that a rate limit refused.
pub const ADMIN_RATE_LIMITED: &str = "tokenhub_admin_rate_limited_total";
/// Routes that a call could not take; labels `provider` and `reason`.
pub const PROVIDER_SKIPS: &str = "tokenhub_provider_skips_total";
/// Every counter, with what it counts.
pub const COUNTERS: [(&str, &str); 3] = [
    (RATE_LIMITED, "Requests that a rate limit refused."),
    (ADMIN_RATE_LIMITED, "Requests to admin routes that a rate limit refused."),
    (PROVIDER_SKIPS, "Routes that a call could not take, by reason."),
];

const FLUSH_MS: u32 = 5_000;
/// A flush that has not been heard of for so long is gone: the platform ends background work 30 s after its response.
const FLUSH_LOST_MS: i64 = 40_000;
/// Series of one flush; what is more is not counted.
const SERIES_MAX: usize = 1_000;

/// An isolate's counts that the database does not have yet.
#[derive(Default)]
pub struct Counters {
    counts: RefCell<BTreeMap<(&'static str, String), u64>>,
    /// Until then a flush is under way.
    flushing_until_ms: Cell<i64>,
}

/// Counts one. `labels` are written as Prometheus does (`provider="p1",reason="disabled"`), of few different values.
pub fn count(app: &Rc<App>, ports: &Rc<Ports>, name: &'static str, labels: &str) {
    let counters = &app.counters;
    {
        let mut counts = counters.counts.borrow_mut();
        let is_known = counts.contains_key(&(name, labels.to_owned()));
        if is_known || counts.len() < SERIES_MAX {
            *counts.entry((name, labels.to_owned())).or_default() += 1;
        }
    }
    let now_ms = ports.clock.now_ms();
    if now_ms < counters.flushing_until_ms.get() {
        return;
    }
    counters.flushing_until_ms.set(now_ms + FLUSH_LOST_MS);
    let (app, ports_then) = (Rc::clone(app), Rc::clone(ports));
    ports.background.spawn(Box::pin(async move {
        ports_then.clock.sleep_ms(FLUSH_MS).await;
        app.counters.flushing_until_ms.set(0);
        flush(&app, &ports_then).await;
    }));
}

/// A label's value as Prometheus writes it: `\`, `"` and line ends are escaped.
#[must_use]
pub fn escape(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Adds this isolate's counts to the database; what it does not take is kept for the next time.
pub async fn flush(app: &App, ports: &Ports) {
    let counts = app.counters.counts.take();
    let list: Vec<_> = counts.iter().map(|((name, labels), value)| (name, labels, value)).collect();
    if list.is_empty() {
        return;
    }
    let Ok(list) = serde_json::to_string(&list) else { return };
    if let Err(error) = add_counters(&list).run(&*ports.db).await {
        ports.background.log(&format!("counters: {error}"));
        let mut kept = app.counters.counts.borrow_mut();
        for (series, value) in counts {
            *kept.entry(series).or_default() += value;
        }
    }
}
