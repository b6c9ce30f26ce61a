//! Time.

use super::executor::{JsCall, now_ms};
use super::glue;
use crate::ports::{Clock, Pending};

pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        now_ms()
    }

    fn sleep_ms(&self, ms: u32) -> Pending<'static, ()> {
        let timer = JsCall::begin(|id| glue::sleep(id, ms));
        Box::pin(async move {
            // A timer does not fail; if it did, waiting less would be right too.
            _ = timer.await;
        })
    }
}
