//! How a model begins, and where its price comes from: what the administrator says, else the reference catalogue.

use guildhall_domain::catalogue::{CatalogueEntry, find_price};
use guildhall_domain::media::ModelKind;
use guildhall_domain::money::Rate;
use serde_json::Number;

use crate::error::ApiError;
use crate::store::models::models::ModelRow;

/// `pricing_source` of a price that an administrator has given.
pub const MANUAL: &str = "manual";
/// `pricing_source` of a price that the reference catalogue has given.
pub const CATALOG: &str = "catalog";

/// What a request says of a price, in pico-dollars per token.
#[derive(Default)]
pub struct AskedPrice {
    input: Option<i64>,
    output: Option<i64>,
    cache_read: Option<i64>,
    cache_write: Option<i64>,
    free: bool,
}

impl AskedPrice {
    /// Reads dollars per 1,000 tokens.
    ///
    /// # Errors
    /// 400 that names the field: negative, too precise, too large, or not 0 beside `free`.
    pub fn read(
        free: Option<bool>,
        input: Option<&Number>,
        output: Option<&Number>,
        cache_read: Option<&Number>,
        cache_write: Option<&Number>,
    ) -> Result<Self, ApiError> {
        let read = |field, dollars: Option<&Number>| dollars.map(|dollars| read_rate(field, dollars)).transpose();
        let asked = Self {
            input: read("input_per_1k", input)?,
            output: read("output_per_1k", output)?,
            cache_read: read("cache_read_per_1k", cache_read)?,
            cache_write: read("cache_write_per_1k", cache_write)?,
            free: free == Some(true),
        };
        let rates = [asked.input, asked.output, asked.cache_read, asked.cache_write];
        if asked.free && rates.into_iter().flatten().any(|rate| rate != 0) {
            return Err(ApiError::invalid("free", "free: a free model has no price above 0"));
        }
        Ok(asked)
    }

    fn is_given(&self) -> bool {
        self.free || [self.input, self.output, self.cache_read, self.cache_write].iter().any(Option::is_some)
    }
}

fn read_rate(field: &'static str, dollars: &Number) -> Result<i64, ApiError> {
    if dollars.as_f64().is_some_and(|value| value < 0.0) {
        return Err(ApiError::invalid(field, format!("{field} must be >= 0")));
    }
    let rate = Rate::from_usd_per_1k(dollars).map_err(|e| ApiError::invalid(field, format!("{field}: {e}")))?;
    Ok(rate.pico_usd_per_token())
}

/// Gives the model its price: what is asked, else what it has, else what the catalogue knows of a provider of this type.
/// A price of the catalogue goes when the model becomes `another` one upstream; a manual one is never replaced.
pub fn set_price(row: &mut ModelRow, asked: &AskedPrice, another: bool, provider_kind: &str) {
    if row.pricing_source == CATALOG && another {
        (row.input_rate, row.output_rate) = (None, None);
    }
    if asked.free {
        (row.input_rate, row.output_rate) = (Some(0), Some(0));
    }
    if asked.free || (row.pricing_source == CATALOG && (another || asked.is_given())) {
        (row.cache_read_rate, row.cache_write_rate) = (None, None);
    }
    row.input_rate = asked.input.or(row.input_rate);
    row.output_rate = asked.output.or(row.output_rate);
    row.cache_read_rate = asked.cache_read.or(row.cache_read_rate);
    row.cache_write_rate = asked.cache_write.or(row.cache_write_rate);
    if another || asked.is_given() {
        MANUAL.clone_into(&mut row.pricing_source);
    }
    if row.input_rate.is_none()
        && row.output_rate.is_none()
        && let Some(entry) = find_price(provider_kind, &row.upstream_model)
    {
        take_entry(row, &entry);
    }
}

/// Takes what the catalogue knows: the price, and the sizes that nobody has said.
pub fn take_entry(row: &mut ModelRow, entry: &CatalogueEntry) {
    row.input_rate = Some(entry.price.input.pico_usd_per_token());
    row.output_rate = Some(entry.price.output.pico_usd_per_token());
    row.cache_read_rate = row.cache_read_rate.or(entry.price.cache_read.map(Rate::pico_usd_per_token));
    row.cache_write_rate = row.cache_write_rate.or(entry.price.cache_write.map(Rate::pico_usd_per_token));
    CATALOG.clone_into(&mut row.pricing_source);
    for (size, known) in
        [(&mut row.max_context_tokens, entry.context_window), (&mut row.max_output_tokens, entry.max_output_tokens)]
    {
        if *size == 0 {
            *size = i64::try_from(known).unwrap_or(0);
        }
    }
}

/// Whether the name asks for a routing mode, so that no model can have it.
#[must_use]
pub fn is_mode(name: &str) -> bool {
    ["auto", "fast", "max", "*"].contains(&name)
}

/// A model of which nobody has said anything.
#[must_use]
pub fn new_model(id: &str, provider_id: &str) -> ModelRow {
    ModelRow {
        id: id.to_owned(),
        provider_id: provider_id.to_owned(),
        upstream_model: id.to_owned(),
        weight: 5,
        max_context_tokens: 0,
        max_output_tokens: 0,
        input_rate: None,
        output_rate: None,
        cache_read_rate: None,
        cache_write_rate: None,
        enabled: false,
        pricing_source: MANUAL.to_owned(),
        price_version: 1,
        kind: ModelKind::Chat,
        unit_rate: None,
        tool_name_map: None,
        gemma4_output: false,
    }
}
