//! JSON values as JSON Schema sees them: 1 and 1.0 are the same number.

use std::cmp::Ordering;
use std::fmt;
use std::fmt::Write;

use serde_json::{Number, Value};

use crate::decimal::{DecimalError, parse_scaled};

/// Decimals with which multiples are counted.
const MULTIPLE_DECIMALS: u32 = 9;
/// Up to here every whole number is a float of its own.
const MAX_EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

/// The names of the types, in the order in which they are told.
const NAMES: [&str; 7] = ["object", "array", "string", "number", "integer", "boolean", "null"];

/// A set of types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Types(u8);

impl Types {
    /// Adds a type; `false` if there is none of that name.
    pub fn insert(&mut self, name: &str) -> bool {
        let index = NAMES.iter().position(|known| *known == name);
        self.0 |= index.map_or(0, |index| 1 << index);
        index.is_some()
    }

    /// Whether a value is of one of the types.
    pub fn contains(self, value: &Value) -> bool {
        let mut own = Self::default();
        match value {
            Value::Object(_) => own.insert("object"),
            Value::Array(_) => own.insert("array"),
            Value::String(_) => own.insert("string"),
            Value::Bool(_) => own.insert("boolean"),
            Value::Null => own.insert("null"),
            Value::Number(number) => own.insert("number") && is_whole(number) && own.insert("integer"),
        };
        self.0 & own.0 != 0
    }
}

impl fmt::Display for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = NAMES.iter().enumerate().filter(|(index, _)| self.0 & (1 << index) != 0);
        f.write_str(names.next().map_or("", |(_, name)| name))?;
        names.try_for_each(|(_, name)| write!(f, " or {name}"))
    }
}

fn is_whole(number: &Number) -> bool {
    !number.is_f64() || number.as_f64().is_some_and(|float| float.fract() == 0.0)
}

/// Compares two numbers; whole ones exactly.
pub(super) fn compare(a: &Number, b: &Number) -> Option<Ordering> {
    let whole = |number: &Number| number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

/// A number in billionths, for `multipleOf`.
pub(super) fn to_billionths(number: &Number) -> Result<i64, DecimalError> {
    parse_scaled(&number.to_string(), MULTIPLE_DECIMALS)
}

/// A text that two values share only if they are equal.
pub(super) fn canonical(value: &Value) -> String {
    let mut text = String::new();
    push_canonical(value, &mut text);
    text
}

fn push_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for item in items {
                push_canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (key, member) in sorted {
                push_canonical(&Value::String(key.clone()), out);
                out.push(':');
                push_canonical(member, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Number(number) => match number.as_f64() {
            // `1.0` as `1`. Writing to a `String` can't fail.
            Some(float) if number.is_f64() && is_whole(number) && float.abs() < MAX_EXACT_FLOAT => {
                let _ = write!(out, "{}", if float == 0.0 { 0.0 } else { float });
            }
            _ => {
                let _ = write!(out, "{number}");
            }
        },
        other => {
            let _ = write!(out, "{other}");
        }
    }
}
