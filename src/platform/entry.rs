//! Where the runtime comes in.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

use super::request::read_request;
use super::response::to_response;
use super::{glue, ports};
use crate::app::App;
use crate::config::Config;
use crate::http::serve::serve;
use crate::jobs::usage::file_usage;

thread_local! {
    static APP: RefCell<Option<Rc<App>>> = const { RefCell::new(None) };
}

/// The isolate's [`App`], made by its first event: the settings come with an event, not before.
fn app(env: &JsValue) -> Result<Rc<App>, String> {
    APP.with(|slot| {
        let mut slot = slot.borrow_mut();
        if let Some(app) = &*slot {
            return Ok(Rc::clone(app));
        }
        let config = Config::read(|name| glue::read_setting(env, name))?;
        let mut seed = [0; 8];
        glue::random_bytes(8).copy_to(&mut seed);
        let app = Rc::new(App::new(config, u64::from_le_bytes(seed))?);
        *slot = Some(Rc::clone(&app));
        Ok(app)
    })
}

/// Serves a request.
#[wasm_bindgen]
#[must_use]
pub fn fetch(request: JsValue, env: JsValue, context: JsValue) -> Promise {
    let app = match app(&env) {
        Ok(app) => app,
        Err(error) => {
            glue::log(&error);
            let body = br#"{"error":"This deployment is not configured; its log says what is missing"}"#;
            return Promise::resolve(&glue::respond(500, "content-type\napplication/json\n", Some(body)));
        }
    };
    let waits = context.clone();
    let promise = future_to_promise(async move {
        let signal = glue::signal_of(&request);
        let ports = ports(&env, &context, signal.clone());
        let (request, origin) = read_request(request);
        let output = serve(app, ports, request, &origin).await;
        Ok(to_response(output, &context, &signal))
    });
    // A client that leaves must not stop the call half-way: it is aborted by its signal, and settled.
    glue::wait_until(&waits, &promise);
    promise
}

/// Consumes a batch of the usage queue.
#[wasm_bindgen]
#[must_use]
pub fn queue(batch: JsValue, env: JsValue, context: JsValue) -> Promise {
    future_to_promise(async move {
        let ports = ports(&env, &context, JsValue::UNDEFINED);
        let messages: Vec<String> =
            serde_json::from_str(&glue::read_messages(&batch)).map_err(|e| JsError::new(&e.to_string()))?;
        file_usage(&ports, &messages).await.map_err(|e| JsError::new(&e.to_string()))?;
        Ok(JsValue::UNDEFINED)
    })
}
