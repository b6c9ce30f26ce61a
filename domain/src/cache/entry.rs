//! A kept answer, as storage has it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::money::MicroUsd;
use crate::pricing::TokenUsage;

/// Changes with the format; what another version wrote is not read.
const VERSION: u8 = 1;

/// A kept answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    v: u8,
    /// When it was given; milliseconds since 1970.
    pub stored_ms: i64,
    /// The registered model that gave it.
    pub model: String,
    /// What it cost.
    pub cost_micros: MicroUsd,
    /// What it used.
    pub usage: TokenUsage,
    /// The whole answer.
    pub body: Box<RawValue>,
}

/// What is stored is no entry of this version.
#[derive(Debug)]
pub struct InvalidEntry(String);

impl fmt::Display for InvalidEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no kept answer: {}", self.0)
    }
}

impl std::error::Error for InvalidEntry {}

impl Entry {
    /// An entry; `None` when the answer is no JSON.
    #[must_use]
    pub fn new(body: Vec<u8>, stored_ms: i64, model: &str, cost_micros: MicroUsd, usage: TokenUsage) -> Option<Self> {
        let body = RawValue::from_string(String::from_utf8(body).ok()?).ok()?;
        Some(Self { v: VERSION, stored_ms, model: model.to_owned(), cost_micros, usage, body })
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`InvalidEntry`] when it is none, or another version's.
    pub fn read(stored: &[u8]) -> Result<Self, InvalidEntry> {
        let entry: Self = serde_json::from_slice(stored).map_err(|error| InvalidEntry(error.to_string()))?;
        if entry.v == VERSION { Ok(entry) } else { Err(InvalidEntry(format!("version {}", entry.v))) }
    }

    /// As storage has it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Texts and numbers alone: writing them can't fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}
