//! The Workers runtime: the only place that knows it. Everything here implements a port or calls the house.
//!
//! A call into JavaScript is what costs here, not Rust: `glue.js` does in one crossing what a request needs.

mod background;
mod clock;
mod d1;
mod entry;
mod executor;
mod fetch;
mod glue;
mod objects;
mod random;
mod request;
mod response;

use std::rc::Rc;

use wasm_bindgen::JsValue;

use crate::ports::Ports;

/// The ports over one event's environment and context. `signal` aborts what goes out when the client leaves.
fn ports(env: &JsValue, context: &JsValue, signal: JsValue) -> Rc<Ports> {
    Rc::new(Ports {
        db: Rc::new(d1::D1 { env: env.clone() }),
        objects: Rc::new(objects::Namespaces { env: env.clone() }),
        fetch: Rc::new(fetch::Outside { signal }),
        clock: Rc::new(clock::SystemClock),
        random: Rc::new(random::SystemRandom),
        background: Rc::new(background::WaitUntil { context: context.clone() }),
    })
}
