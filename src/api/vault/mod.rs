//! The vault: opening and closing it, and its secrets.

pub mod lock;
pub mod secrets;

use serde::de::DeserializeOwned;

use crate::error::ApiError;
use crate::http::input::{RawJson, read_json};

/// Reads a body. What is wrong with it is not said: it may hold a secret.
fn read_body<T: DeserializeOwned>(request: &RawJson<T>) -> Result<T, ApiError> {
    read_json(&request.body).map_err(|_| ApiError::invalid("", "bad json"))
}
