//! What a model does, and what it needs to be priced.

use guildhall_domain::media::ModelKind;
use guildhall_domain::money::Rate;
use serde_json::Number;

use crate::error::ApiError;
use crate::store::models::models::ModelRow;

/// The highest unit price: what it is in pico-dollars, JSON numbers still hold exactly.
const UNIT_PRICE_MAX_USD: i64 = 1_000;

/// Sets the kind and the unit price, and sees to it that a model that takes traffic has the price of its kind.
///
/// # Errors
/// 400 that names the field.
pub fn apply_kind(row: &mut ModelRow, kind: Option<ModelKind>, unit_price: Option<&Number>) -> Result<(), ApiError> {
    if let Some(kind) = kind {
        if kind.unit() != row.kind.unit() {
            // A price per image is none per second.
            row.unit_rate = None;
        }
        row.kind = kind;
    }
    if let Some(dollars) = unit_price {
        if row.kind.unit().is_none() {
            let text = format!("unit_price_usd: a model of kind {} is priced by the token", row.kind.name());
            return Err(ApiError::invalid("unit_price_usd", text));
        }
        row.unit_rate = Some(read_unit_price(dollars)?);
    }
    if row.kind == ModelKind::Embedding {
        // A vector is no token.
        row.output_rate = Some(row.output_rate.unwrap_or(0));
    }
    check_priced(row)
}

fn read_unit_price(dollars: &Number) -> Result<i64, ApiError> {
    let refuse = |text: String| ApiError::invalid("unit_price_usd", format!("unit_price_usd {text}"));
    let rate = Rate::from_usd_per_unit(dollars).map_err(|error| refuse(error.to_string()))?;
    let pico_usd = rate.pico_usd_per_token();
    if pico_usd > UNIT_PRICE_MAX_USD * 1_000_000_000_000 {
        return Err(refuse(format!("must be at most {UNIT_PRICE_MAX_USD}")));
    }
    Ok(pico_usd)
}

fn check_priced(row: &ModelRow) -> Result<(), ApiError> {
    if !row.enabled || row.is_priced() {
        return Ok(());
    }
    Err(match (row.kind, row.kind.unit()) {
        (_, Some(unit)) => {
            let text = format!("an enabled model of this kind needs unit_price_usd per {} (0 means free)", unit.name());
            ApiError::invalid("unit_price_usd", text)
        }
        (ModelKind::Embedding, None) => {
            ApiError::invalid("input_per_1k", "an enabled model that embeds needs input_per_1k (0 means free)")
        }
        (_, None) => {
            ApiError::invalid("input_per_1k", "an enabled model needs input_per_1k and output_per_1k (0 means free)")
        }
    })
}
