//! The cache: Workers KV.

use js_sys::Uint8Array;
use wasm_bindgen::{JsCast as _, JsValue};

use super::executor::JsCall;
use super::glue;
use crate::bindings;
use crate::ports::{Kv, Pending, PortError};

pub struct WorkersKv {
    pub env: JsValue,
}

fn failed(error: &JsValue) -> PortError {
    PortError(format!("KV: {}", glue::text_of(error)))
}

impl Kv for WorkersKv {
    fn get(&self, key: &str) -> Pending<'_, Result<Option<Vec<u8>>, PortError>> {
        let call = JsCall::begin(|id| glue::kv_get(id, &self.env, bindings::CACHE, key));
        Box::pin(async move {
            let value = call.await.map_err(|error| failed(&error))?;
            Ok((!value.is_null()).then(|| value.unchecked_into::<Uint8Array>().to_vec()))
        })
    }

    fn put(&self, key: &str, value: Vec<u8>, ttl_s: u32) -> Pending<'_, Result<(), PortError>> {
        let value = Uint8Array::from(value.as_slice());
        let call = JsCall::begin(|id| glue::kv_put(id, &self.env, bindings::CACHE, key, value, ttl_s));
        Box::pin(async move { call.await.map(drop).map_err(|error| failed(&error)) })
    }

    fn delete(&self, key: &str) -> Pending<'_, Result<(), PortError>> {
        let call = JsCall::begin(|id| glue::kv_delete(id, &self.env, bindings::CACHE, key));
        Box::pin(async move { call.await.map(drop).map_err(|error| failed(&error)) })
    }
}
