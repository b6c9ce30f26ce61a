//! The Durable Objects, by their namespaces.

use js_sys::Uint8Array;
use wasm_bindgen::{JsCast as _, JsValue};

use super::executor::JsCall;
use super::glue;
use crate::ports::{Objects, Pending, PortError};

pub struct Namespaces {
    pub env: JsValue,
}

impl Objects for Namespaces {
    fn call(&self, binding: &'static str, name: &str, command: Vec<u8>) -> Pending<'_, Result<Vec<u8>, PortError>> {
        let command = Uint8Array::from(command.as_slice());
        let call = JsCall::begin(|id| glue::call_object(id, &self.env, binding, name, command));
        Box::pin(async move {
            let reply = call.await.map_err(|e| PortError(glue::text_of(&e)))?;
            Ok(reply.unchecked_into::<Uint8Array>().to_vec())
        })
    }
}
