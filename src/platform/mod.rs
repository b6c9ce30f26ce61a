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
mod kv;
mod objects;
mod random;
mod request;
mod response;
mod vectorize;

use std::rc::Rc;

use wasm_bindgen::JsValue;

use crate::config::{Config, VectorStore};
use crate::ports::{Objects, Ports, Vectors};
use crate::vectors::EmbeddedVectors;

/// The ports over one event's environment and context. `signal` aborts what goes out when the client leaves.
fn ports(config: &Config, env: &JsValue, context: &JsValue, signal: JsValue) -> Rc<Ports> {
    let objects: Rc<dyn Objects> = Rc::new(objects::Namespaces { env: env.clone() });
    let vectors: Rc<dyn Vectors> = match config.vector_store {
        VectorStore::Embedded => Rc::new(EmbeddedVectors { objects: Rc::clone(&objects) }),
        VectorStore::Vectorize => Rc::new(vectorize::Vectorize { env: env.clone() }),
    };
    Rc::new(Ports {
        db: Rc::new(d1::D1 { env: env.clone() }),
        objects,
        kv: Rc::new(kv::WorkersKv { env: env.clone() }),
        vectors,
        fetch: Rc::new(fetch::Outside { signal }),
        clock: Rc::new(clock::SystemClock),
        random: Rc::new(random::SystemRandom),
        background: Rc::new(background::WaitUntil { context: context.clone() }),
    })
}
