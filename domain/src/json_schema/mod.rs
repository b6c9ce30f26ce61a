//! JSON Schema, the part that describes data: a schema is accepted only if every word of it can be
//! checked.
//!
//! Known are types, `enum`, `const`, the bounds of numbers, strings, arrays and objects,
//! `properties`, `additionalProperties`, `required`, `items`, `prefixItems`, `uniqueItems`,
//! `multipleOf`, `allOf`, `anyOf`, `oneOf`, `not` and `$ref` inside the document. Annotations and
//! `format` say nothing that is checked. Everything else, `pattern` first of all, is refused when
//! the schema is read: a check that silently passes is worse than none.

mod check;
mod compile;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use value::Types;

/// Largest schema, in bytes of its JSON text.
pub const MAX_SCHEMA_BYTES: usize = 64 * 1024;
/// Most schemas within a schema.
pub const MAX_SCHEMA_NODES: usize = 2_000;
/// How deep schemas may lie in each other, and how deep a value is followed.
pub const MAX_DEPTH: u32 = 256;
/// Most schemas that one check applies: combinations of combinations must end. Where one looks at much, that counts as more.
pub const MAX_CHECK_STEPS: u32 = 200_000;
/// Bytes of text, and names, that are looked at in one step.
const BYTES_PER_STEP: usize = 128;
const NAMES_PER_STEP: usize = 16;

/// A schema whose every keyword can be checked. Stored and sent as the document it came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct Schema {
    source: Value,
    /// The root first.
    nodes: Vec<Node>,
}

/// Why a schema is refused; the text goes to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSchema {
    /// What is wrong, and where.
    pub message: String,
}

impl fmt::Display for InvalidSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for InvalidSchema {}

/// How a value does not fit; the text goes to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What is wrong, and where unless it is the value as a whole.
    pub message: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Mismatch {}

impl Schema {
    /// Reads a schema: an object that says what it describes (`type`, or a combination, a
    /// reference, `enum` or `const`).
    ///
    /// # Errors
    /// [`InvalidSchema`]: no type, a keyword that can't be checked, a bound exceeded.
    pub fn parse(source: Value) -> Result<Self, InvalidSchema> {
        let nodes = compile::compile(&source)?;
        Ok(Self { source, nodes })
    }

    /// Checks a value.
    ///
    /// # Errors
    /// [`Mismatch`] for the first fault found.
    pub fn check(&self, value: &Value) -> Result<(), Mismatch> {
        check::check(&self.nodes, value)
    }

    /// Checks a text that is to be JSON of this schema.
    ///
    /// # Errors
    /// [`Mismatch`]; a text that is no JSON is of the wrong type.
    pub fn check_text(&self, text: &str) -> Result<(), Mismatch> {
        match serde_json::from_str(text) {
            Ok(value) => self.check(&value),
            Err(_) => Err(Mismatch { message: check::type_fault(self.nodes.first().and_then(|root| root.types)) }),
        }
    }

    /// The document.
    #[must_use]
    pub const fn source(&self) -> &Value {
        &self.source
    }
}

impl TryFrom<Value> for Schema {
    type Error = InvalidSchema;

    fn try_from(source: Value) -> Result<Self, InvalidSchema> {
        Self::parse(source)
    }
}

impl From<Schema> for Value {
    fn from(schema: Schema) -> Self {
        schema.source
    }
}

/// Index of a [`Node`].
type NodeId = usize;

/// One schema of the document; empty, it allows everything.
#[derive(Clone, Debug, Default, PartialEq)]
struct Node {
    /// The schema `false`.
    is_never: bool,
    types: Option<Types>,
    /// Canonical texts of the values that `enum` and `const` leave.
    allowed: Option<BTreeSet<String>>,
    required: Vec<String>,
    properties: BTreeMap<String, NodeId>,
    additional_properties: Option<NodeId>,
    property_count: Bounds,
    prefix_items: Vec<NodeId>,
    items: Option<NodeId>,
    item_count: Bounds,
    unique_items: bool,
    /// In characters.
    length: Bounds,
    minimum: Option<Number>,
    maximum: Option<Number>,
    exclusive_minimum: Option<Number>,
    exclusive_maximum: Option<Number>,
    /// In billionths; positive.
    multiple_of: Option<i64>,
    all_of: Vec<NodeId>,
    any_of: Option<Vec<NodeId>>,
    one_of: Option<Vec<NodeId>>,
    not: Option<NodeId>,
}

/// How many there may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bounds {
    min: u64,
    max: Option<u64>,
}

#[cfg(test)]
mod tests;
