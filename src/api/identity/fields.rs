//! Fields that several resources have: each is read the same everywhere.

use durable_objects::wallet::protocol::AMOUNT_MAX;
use guildhall_domain::money::MicroUsd;
use serde_json::{Map, Value};

use crate::error::ApiError;

/// What an amount of money must be.
pub const NON_NEGATIVE: &str = "must be a non-negative number";
const NAME_MAX_CHARS: usize = 200;
/// A list of a thousand items brings the metadata of each.
const METADATA_MAX_BYTES: usize = 4 << 10;

/// A name, without the spaces around it.
///
/// # Errors
/// 400 when it is empty, too long or no text.
pub fn read_name(name: &Value) -> Result<String, ApiError> {
    let name = name.as_str().map(str::trim).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| ApiError::invalid("name", "name must be a non-empty string"))?;
    if name.chars().count() > NAME_MAX_CHARS {
        return Err(ApiError::invalid("name", format!("name must be at most {NAME_MAX_CHARS} characters")));
    }
    Ok(name.to_owned())
}

/// US dollars, not below nothing.
///
/// # Errors
/// 400 that names the field.
pub fn read_usd(field: &'static str, value: &Value) -> Result<MicroUsd, ApiError> {
    let invalid = |text: String| ApiError::invalid(field, format!("{field} {text}"));
    let Value::Number(number) = value else { return Err(invalid(NON_NEGATIVE.to_owned())) };
    let amount = MicroUsd::from_usd(number).map_err(|error| invalid(error.to_string()))?;
    if amount.is_negative() {
        return Err(invalid(NON_NEGATIVE.to_owned()));
    }
    if amount > AMOUNT_MAX {
        return Err(invalid(format!("must be at most {AMOUNT_MAX}")));
    }
    Ok(amount)
}

/// US dollars, more than nothing.
///
/// # Errors
/// 400 that names the field.
pub fn read_positive_usd(field: &'static str, value: &Value) -> Result<MicroUsd, ApiError> {
    match read_usd(field, value)? {
        MicroUsd::ZERO => Err(ApiError::invalid(field, format!("{field} must be more than 0"))),
        amount => Ok(amount),
    }
}

/// The owner's own, as the text of a JSON object.
///
/// # Errors
/// 400 when it is no object, or too large.
pub fn read_metadata(value: &Value) -> Result<String, ApiError> {
    if !value.is_object() {
        return Err(ApiError::invalid("metadata", "metadata must be a JSON object"));
    }
    let text = value.to_string();
    if text.len() > METADATA_MAX_BYTES {
        return Err(ApiError::invalid("metadata", format!("metadata must be at most {METADATA_MAX_BYTES} bytes")));
    }
    Ok(text)
}

/// Metadata as it is stored; what can't be read is nothing.
#[must_use]
pub fn show_metadata(stored: &str) -> Map<String, Value> {
    serde_json::from_str(stored).unwrap_or_default()
}
