//! Work after the response: `waitUntil`.

use wasm_bindgen::JsValue;
use wasm_bindgen_futures::future_to_promise;

use super::glue;
use crate::ports::{Background, Pending};

pub struct WaitUntil {
    pub context: JsValue,
}

impl Background for WaitUntil {
    fn spawn(&self, task: Pending<'static, ()>) {
        let promise = future_to_promise(async move {
            task.await;
            Ok(JsValue::UNDEFINED)
        });
        glue::wait_until(&self.context, &promise);
    }

    fn log(&self, line: &str) {
        glue::log(line);
    }
}
