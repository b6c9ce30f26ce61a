//! The answer to a change that has nothing to show.

use schemars::JsonSchema;
use serde::Serialize;

/// It is done.
#[derive(Serialize, JsonSchema)]
pub struct Done {
    /// Always true.
    pub ok: bool,
}
