//! Where the runtime comes in.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::Function;
use wasm_bindgen::prelude::*;

use super::executor::{JsCall, begin_turn, drop_lost, spawn};
use super::request::read_request;
use super::response::to_response;
use super::{glue, ports};
use crate::api;
use crate::app::App;
use crate::config::Config;
use crate::http::serve::serve;
use crate::jobs::{consume, run_scheduled};

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
        glue::connect(&wasm_bindgen::exports());
        for fault in &config.faults {
            glue::log(fault);
        }
        let app = Rc::new(App::new(config, api::ALL, u64::from_le_bytes(seed))?);
        *slot = Some(Rc::clone(&app));
        Ok(app)
    })
}

/// So much of a body that nobody has read does not keep a client from seeing the answer: it is in the sockets' buffers.
const UNREAD_MAX_BYTES: u64 = 64 << 10;

/// Serves a request; `resolve` takes the response. Returns at once.
#[wasm_bindgen]
pub fn fetch(request: JsValue, env: JsValue, context: JsValue, resolve: Function) {
    begin_turn();
    drop_lost();
    let app = match app(&env) {
        Ok(app) => app,
        Err(error) => {
            glue::log(&error);
            let body = br#"{"error":"This deployment is not configured; its log says what is missing"}"#;
            let headers = "content-type\napplication/json\naccess-control-allow-origin\n*\n";
            return answer(&resolve, &glue::respond(500, headers, Some(body)));
        }
    };
    spawn(Box::pin(async move {
        let signal = glue::signal_of(&request);
        let ports = ports(&app.config, &env, &context, signal.clone());
        let (lazy, origin) = read_request(request.clone());
        let is_small = lazy.head.content_length.parse().is_ok_and(|bytes: u64| bytes <= UNREAD_MAX_BYTES);
        let output = serve(app, ports, lazy, &origin).await;
        if !is_small && output.status >= 400 {
            _ = JsCall::begin(|id| glue::drain_body(id, &request)).await;
        }
        answer(&resolve, &to_response(output, &context, &signal));
    }));
}

/// Consumes a batch of the queue; `resolve` takes nothing, or an error's text: then the batch comes again.
#[wasm_bindgen]
pub fn queue(batch: JsValue, env: JsValue, context: JsValue, resolve: Function) {
    begin_turn();
    let app = match app(&env) {
        Ok(app) => app,
        Err(error) => return answer(&resolve, &JsValue::from(error)),
    };
    spawn(Box::pin(async move {
        let ports = ports(&app.config, &env, &context, JsValue::UNDEFINED);
        let messages = glue::read_messages(&batch);
        let done = consume(&app, &ports, messages.lines()).await;
        answer(&resolve, &done.map_or_else(|error| JsValue::from(error.to_string()), |()| JsValue::UNDEFINED));
    }));
}

/// Runs the jobs of a cron's time; `resolve` takes nothing.
#[wasm_bindgen]
pub fn scheduled(cron: String, env: JsValue, context: JsValue, resolve: Function) {
    begin_turn();
    // The glue is connected by whatever event makes the isolate's `App`.
    let app = match app(&env) {
        Ok(app) => app,
        Err(error) => {
            glue::log(&error);
            return answer(&resolve, &JsValue::UNDEFINED);
        }
    };
    spawn(Box::pin(async move {
        run_scheduled(&app, &ports(&app.config, &env, &context, JsValue::UNDEFINED), &cron).await;
        answer(&resolve, &JsValue::UNDEFINED);
    }));
}

fn answer(resolve: &Function, value: &JsValue) {
    // A resolve function does not throw.
    _ = resolve.call1(&JsValue::UNDEFINED, value);
}
