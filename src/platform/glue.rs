//! The declarations of `glue.js`.

use js_sys::{Promise, Uint8Array};
use wasm_bindgen::prelude::*;

use super::response::Tap;

#[wasm_bindgen(module = "/src/platform/glue.js")]
extern "C" {
    pub fn read_head(request: &JsValue) -> String;
    pub fn read_body(request: &JsValue, max_bytes: u32) -> Promise;
    #[expect(clippy::too_many_arguments, reason = "one crossing")]
    pub fn send(
        signal: &JsValue,
        method: &str,
        url: &str,
        headers: &str,
        body: Option<&[u8]>,
        stream: bool,
        max_bytes: u32,
        first_byte_ms: u32,
        tick_ms: u32,
        tick: &Closure<dyn Fn()>,
    ) -> Promise;
    pub fn respond(status: u16, headers: &str, body: Option<&[u8]>) -> JsValue;
    #[expect(clippy::too_many_arguments, reason = "one crossing")]
    pub fn relay(
        context: &JsValue,
        signal: &JsValue,
        status: u16,
        headers: &str,
        first: &[u8],
        reader: &JsValue,
        tap: Tap,
        stall_ms: u32,
        tick_ms: u32,
    ) -> JsValue;
    pub fn run_sql(env: &JsValue, binding: &str, statements: &str) -> Promise;
    pub fn call_object(env: &JsValue, binding: &str, name: &str, command: Uint8Array) -> Promise;
    pub fn sleep(ms: u32) -> Promise;
    pub fn read_setting(env: &JsValue, name: &str) -> Option<String>;
    pub fn random_bytes(count: u32) -> Uint8Array;
    pub fn signal_of(request: &JsValue) -> JsValue;
    pub fn wait_until(context: &JsValue, promise: &Promise);
    pub fn log(line: &str);
    pub fn read_messages(batch: &JsValue) -> String;
}

/// What a rejected promise says.
pub fn text_of(error: &JsValue) -> String {
    error.as_string().unwrap_or_else(|| format!("{error:?}"))
}
