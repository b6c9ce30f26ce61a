//! Models, their rates, and the routing table's version.

use guildhall_domain::media::ModelKind;
use serde::{Deserialize, Serialize};

use crate::queries;
use crate::store::statement::{Changed, read_flag};

/// A model as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelRow {
    /// Its id.
    pub id: String,
    /// The provider that serves it.
    pub provider_id: String,
    /// What the provider calls it.
    pub upstream_model: String,
    /// Preference, 0 to 10.
    pub weight: i64,
    /// Context window in tokens; 0 means unknown.
    pub max_context_tokens: i64,
    /// Most output tokens of one answer; 0 means unknown.
    pub max_output_tokens: i64,
    /// Pico-dollars per input token; `None` until somebody has said.
    pub input_rate: Option<i64>,
    /// Pico-dollars per output token; `None` until somebody has said.
    pub output_rate: Option<i64>,
    /// Pico-dollars per input token read from the provider's cache; `None` means the input rate.
    pub cache_read_rate: Option<i64>,
    /// Pico-dollars per input token written to the provider's cache; `None` means the input rate.
    pub cache_write_rate: Option<i64>,
    /// Whether it takes traffic.
    #[serde(deserialize_with = "read_flag")]
    pub enabled: bool,
    /// `manual`, or `catalog` for the reference catalogue's.
    pub pricing_source: String,
    /// Raised with every change of a rate.
    pub price_version: i64,
    /// What it does.
    pub kind: ModelKind,
    /// Pico-dollars per unit of its kind; `None` until somebody has said, and for kinds that are priced by the token.
    pub unit_rate: Option<i64>,
    /// JSON: the model's name of a tool for each of the client's; `None` where they are the same.
    pub tool_name_map: Option<String>,
    /// Whether its thoughts and calls of tools come as Gemma 4's tokens.
    #[serde(deserialize_with = "read_flag")]
    pub gemma4_output: bool,
}

impl ModelRow {
    /// Whether somebody has said what it costs.
    #[must_use]
    pub const fn is_priced(&self) -> bool {
        match self.kind.unit() {
            Some(_) => self.unit_rate.is_some(),
            None => self.input_rate.is_some() && self.output_rate.is_some(),
        }
    }
}

/// What a model is called.
#[derive(Debug, Clone, Deserialize)]
pub struct ModelName {
    /// By clients.
    pub id: String,
    /// By its provider.
    pub upstream_model: String,
}

/// The routing table's version.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct RoutingVersion {
    /// Raised by every change of a provider or model.
    pub version: i64,
}

queries! {
    /// Finds a model.
    global("models belong to the platform") fn find_model(id: &str) -> Option<ModelRow> =
        "SELECT id, provider_id, upstream_model, weight, max_context_tokens, max_output_tokens, input_rate, output_rate,
           cache_read_rate, cache_write_rate, enabled, pricing_source, price_version, kind, unit_rate,
           tool_name_map, gemma4_output FROM models WHERE id = ?1";
    /// Lists models by id.
    global("models belong to the platform") fn list_models(limit: i64, offset: i64) -> Vec<ModelRow> =
        "SELECT id, provider_id, upstream_model, weight, max_context_tokens, max_output_tokens, input_rate, output_rate,
           cache_read_rate, cache_write_rate, enabled, pricing_source, price_version, kind, unit_rate,
           tool_name_map, gemma4_output FROM models ORDER BY id LIMIT ?1 OFFSET ?2";
    /// Counts models.
    global("models belong to the platform") fn count_models() -> Option<crate::store::Total> =
        "SELECT COUNT(*) AS total FROM models";
    /// Creates or replaces a model; a changed rate raises its price version.
    global("models belong to the platform") fn put_model(id: &str, provider_id: &str, upstream_model: &str, weight: i64, max_context_tokens: i64, max_output_tokens: i64, input_rate: Option<i64>, output_rate: Option<i64>, cache_read_rate: Option<i64>, enabled: bool, pricing_source: &str, now_ms: i64, kind: &str, unit_rate: Option<i64>, cache_write_rate: Option<i64>, tool_name_map: Option<&str>, gemma4_output: bool) -> Changed =
        "INSERT INTO models (id, provider_id, upstream_model, weight, max_context_tokens, max_output_tokens, input_rate, output_rate,
           cache_read_rate, enabled, pricing_source, created_at_ms, updated_at_ms, kind, unit_rate, cache_write_rate,
           tool_name_map, gemma4_output)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12, ?13, ?14, ?15, ?16, ?17)
         ON CONFLICT (id) DO UPDATE SET provider_id = excluded.provider_id, upstream_model = excluded.upstream_model,
           weight = excluded.weight, max_context_tokens = excluded.max_context_tokens, max_output_tokens = excluded.max_output_tokens,
           price_version = price_version + (input_rate IS NOT excluded.input_rate OR output_rate IS NOT excluded.output_rate
             OR cache_read_rate IS NOT excluded.cache_read_rate OR unit_rate IS NOT excluded.unit_rate
             OR cache_write_rate IS NOT excluded.cache_write_rate),
           input_rate = excluded.input_rate, output_rate = excluded.output_rate, cache_read_rate = excluded.cache_read_rate,
           enabled = excluded.enabled, pricing_source = excluded.pricing_source, updated_at_ms = excluded.updated_at_ms,
           kind = excluded.kind, unit_rate = excluded.unit_rate, cache_write_rate = excluded.cache_write_rate,
           tool_name_map = excluded.tool_name_map, gemma4_output = excluded.gemma4_output";
    /// Creates those of the models (a JSON array of rows) whose ids are not taken; gives what it created.
    global("models belong to the platform") fn insert_models(rows: &str, now_ms: i64) -> Vec<ModelName> =
        "INSERT INTO models (id, provider_id, upstream_model, weight, max_context_tokens, max_output_tokens, input_rate, output_rate,
           cache_read_rate, enabled, pricing_source, created_at_ms, updated_at_ms, kind, unit_rate, cache_write_rate)
         SELECT value ->> 'id', value ->> 'provider_id', value ->> 'upstream_model', value ->> 'weight', value ->> 'max_context_tokens',
           value ->> 'max_output_tokens', value ->> 'input_rate', value ->> 'output_rate', value ->> 'cache_read_rate',
           value ->> 'enabled', value ->> 'pricing_source', ?2, ?2, value ->> 'kind', value ->> 'unit_rate',
           value ->> 'cache_write_rate'
         FROM jsonb_each(?1) WHERE true ON CONFLICT (id) DO NOTHING RETURNING id, upstream_model";
    /// The names of a provider's models.
    global("models belong to the platform") fn list_names_of(provider_id: &str) -> Vec<ModelName> =
        "SELECT id, upstream_model FROM models WHERE provider_id = ?1 ORDER BY id LIMIT 10000";
    /// Deletes a model.
    global("models belong to the platform") fn delete_model(id: &str) -> Changed =
        "DELETE FROM models WHERE id = ?1";
    /// The routing table's version.
    global("one row for the whole platform") fn find_routing_version() -> Option<RoutingVersion> =
        "SELECT version FROM routing_state WHERE id = 1";
}
