//! Time.

use wasm_bindgen_futures::JsFuture;

use super::glue;
use crate::ports::{Clock, Pending};

pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds of this age fit, and are whole")]
    fn now_ms(&self) -> i64 {
        js_sys::Date::now() as i64
    }

    fn sleep_ms(&self, ms: u32) -> Pending<'static, ()> {
        Box::pin(async move {
            // A timer does not fail; if it did, waiting less would be right too.
            _ = JsFuture::from(glue::sleep(ms)).await;
        })
    }
}
