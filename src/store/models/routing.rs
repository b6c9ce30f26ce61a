//! Aliases, and the routing's defaults.

use guildhall_domain::money::MicroUsd;
use guildhall_domain::routing::{Alias, Mode};
use serde::Deserialize;

use crate::queries;
use crate::store::statement::{Changed, read_flag};

/// An alias as stored.
#[derive(Debug, Clone, Deserialize)]
pub struct AliasRow {
    /// What clients call it.
    pub name: String,
    /// JSON of its variants.
    pub variants: String,
    /// Whether it is in use.
    #[serde(deserialize_with = "read_flag")]
    pub enabled: bool,
    /// What requests stay with.
    pub sticky_by: String,
    /// When it was made.
    pub created_at_ms: i64,
    /// When it was changed last.
    pub updated_at_ms: i64,
}

impl AliasRow {
    /// The alias.
    ///
    /// # Errors
    /// When the row was not written by us.
    pub fn to_alias(&self) -> Result<Alias, serde_json::Error> {
        Ok(Alias {
            variants: serde_json::from_str(&self.variants)?,
            enabled: self.enabled,
            sticky_by: serde_json::from_value(self.sticky_by.as_str().into())?,
        })
    }
}

/// What holds where a request of `TokenHub`'s own surface does not say.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct RoutingConfig {
    /// The mode.
    pub default_mode: Mode,
    /// Dearest estimated cost; 0 means no limit.
    pub default_max_budget_micros: MicroUsd,
    /// Milliseconds until the call is given up; 0 means no limit.
    pub default_max_latency_ms: i64,
}

queries! {
    /// Lists aliases by name.
    global("aliases belong to the platform") fn list_aliases(limit: i64) -> Vec<AliasRow> =
        "SELECT name, variants, enabled, sticky_by, created_at_ms, updated_at_ms FROM model_aliases ORDER BY name LIMIT ?1";
    /// Finds an alias.
    global("aliases belong to the platform") fn find_alias(name: &str) -> Option<AliasRow> =
        "SELECT name, variants, enabled, sticky_by, created_at_ms, updated_at_ms FROM model_aliases WHERE name = ?1";
    /// Creates or replaces an alias.
    global("aliases belong to the platform") fn put_alias(name: &str, variants: &str, enabled: bool, sticky_by: &str, now_ms: i64) -> Changed =
        "INSERT INTO model_aliases (name, variants, enabled, sticky_by, created_at_ms, updated_at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?5)
         ON CONFLICT (name) DO UPDATE SET variants = excluded.variants, enabled = excluded.enabled, sticky_by = excluded.sticky_by,
           updated_at_ms = excluded.updated_at_ms";
    /// Deletes an alias.
    global("aliases belong to the platform") fn delete_alias(name: &str) -> Changed =
        "DELETE FROM model_aliases WHERE name = ?1";
    /// The defaults.
    global("one row for the whole platform") fn find_routing_config() -> Option<RoutingConfig> =
        "SELECT default_mode, default_max_budget_micros, default_max_latency_ms FROM routing_config WHERE id = 1";
    /// Replaces the defaults that are given.
    global("one row for the whole platform") fn put_routing_config(mode: Option<&str>, max_budget_micros: Option<i64>, max_latency_ms: Option<i64>) -> Changed =
        "UPDATE routing_config SET default_mode = COALESCE(?1, default_mode),
           default_max_budget_micros = COALESCE(?2, default_max_budget_micros), default_max_latency_ms = COALESCE(?3, default_max_latency_ms)
         WHERE id = 1";
}
