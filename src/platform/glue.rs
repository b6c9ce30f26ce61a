//! The declarations of `glue.js`, `upstream.js` and `stream.js`. What takes time takes a number first; see `executor.rs`.

use js_sys::{Array, Uint8Array};
use wasm_bindgen::prelude::*;

use super::response::Tap;

#[wasm_bindgen(module = "/src/platform/glue.js")]
extern "C" {
    pub fn connect(exports: &JsValue);
    pub fn read_head(request: &JsValue) -> String;
    pub fn read_rare_head(request: &JsValue) -> String;
    pub fn read_body(id: u32, request: &JsValue, stated_bytes: f64, max_bytes: u32);
    pub fn drain_body(id: u32, request: &JsValue);
    pub fn respond(status: u16, headers: &str, body: Option<&[u8]>) -> JsValue;
    pub fn open_live(status: u16, headers: &str) -> Array;
    pub fn write_live(id: u32, writer: &JsValue, bytes: Uint8Array);
    pub fn close_live(writer: &JsValue);
    pub fn run_sql(id: u32, env: &JsValue, binding: &str, statements: &Array);
    pub fn call_object(id: u32, env: &JsValue, binding: &str, name: &str, command: Uint8Array);
    pub fn kv_get(id: u32, env: &JsValue, binding: &str, key: &str);
    pub fn kv_put(id: u32, env: &JsValue, binding: &str, key: &str, value: Uint8Array, ttl_s: u32);
    pub fn kv_delete(id: u32, env: &JsValue, binding: &str, key: &str);
    pub fn run_vectorize(id: u32, env: &JsValue, binding: &str, method: &str, argument: &str);
    pub fn sleep(id: u32, ms: u32);
    pub fn read_setting(env: &JsValue, name: &str) -> Option<String>;
    pub fn random_bytes(count: u32) -> Uint8Array;
    pub fn signal_of(request: &JsValue) -> JsValue;
    pub fn is_aborted(signal: &JsValue) -> bool;
    pub fn begin_task(context: &JsValue, id: u32);
    pub fn end_task(id: u32);
    pub fn log(line: &str);
    pub fn read_messages(batch: &JsValue) -> String;
}

#[wasm_bindgen(module = "/src/platform/upstream.js")]
extern "C" {
    pub fn send(
        id: u32,
        client: &JsValue,
        outlive_ms: u32,
        method: &str,
        url: &str,
        headers: &str,
        body: Option<&[u8]>,
        stream: bool,
        max_bytes: u32,
        first_byte_ms: u32,
        tick_ms: u32,
        may_be_given_up: bool,
    );
    pub fn read_more(id: u32, signal: &JsValue, stream: &JsValue, wait_ms: u32);
    pub fn abandon(id: u32);
}

#[wasm_bindgen(module = "/src/platform/stream.js")]
extern "C" {
    pub fn relay(
        context: &JsValue,
        signal: &JsValue,
        status: u16,
        headers: &str,
        first: &[u8],
        stream: &JsValue,
        tap: Tap,
        stall_ms: u32,
        is_whole: bool,
    ) -> JsValue;
    /// What writes a stream to the client.
    pub type Pump;
    #[wasm_bindgen(method)]
    pub fn write(this: &Pump, bytes: &[u8]);
}

/// What a rejected promise says.
pub fn text_of(error: &JsValue) -> String {
    error.as_string().unwrap_or_else(|| format!("{error:?}"))
}

/// `name\nvalue\n…`; a line end inside a value would split the header, and the runtime throws at others: controls are taken
/// out.
pub fn flatten_headers(headers: &[(&'static str, String)]) -> String {
    let mut text = String::with_capacity(headers.iter().map(|(name, value)| name.len() + value.len() + 2).sum());
    for (name, value) in headers {
        text.push_str(name);
        text.push('\n');
        if value.contains(char::is_control) {
            text.extend(value.chars().filter(|c| !c.is_control()));
        } else {
            text.push_str(value);
        }
        text.push('\n');
    }
    text
}
