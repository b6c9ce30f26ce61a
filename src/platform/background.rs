//! Work after the response: `waitUntil`.

use wasm_bindgen::JsValue;

use super::{executor, glue};
use crate::ports::{Background, Pending};

pub struct WaitUntil {
    pub context: JsValue,
}

impl Background for WaitUntil {
    fn spawn(&self, task: Pending<'static, ()>) {
        let id = executor::next_id();
        glue::begin_task(&self.context, id);
        executor::spawn(Box::pin(async move {
            task.await;
            glue::end_task(id);
        }));
    }

    fn log(&self, line: &str) {
        glue::log(line);
    }
}
