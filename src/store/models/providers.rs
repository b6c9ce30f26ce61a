//! Providers: upstreams that serve models.

use serde::Deserialize;

use crate::queries;
use crate::store::statement::{Changed, read_flag};

/// A provider as stored.
#[derive(Debug, Clone, Deserialize)]
pub struct ProviderRow {
    /// Its id.
    pub id: String,
    /// `openai`, `vllm` or `sandbox`.
    pub r#type: String,
    /// Where it answers, without `/v1`.
    pub base_url: String,
    /// Whether it takes traffic.
    #[serde(deserialize_with = "read_flag")]
    pub enabled: bool,
    /// `vault` when it has a key, else `none`.
    pub cred_store: String,
    /// The key, sealed by the server, of a provider that was stored before there was a vault.
    pub sealed_key: Option<String>,
}

impl ProviderRow {
    /// Whether its key is in the vault.
    #[must_use]
    pub fn is_in_vault(&self) -> bool {
        self.sealed_key.is_none() && self.cred_store == "vault"
    }
}

queries! {
    /// Finds a provider.
    global("providers belong to the platform") fn find_provider(id: &str) -> Option<ProviderRow> =
        "SELECT id, type, base_url, enabled, cred_store, sealed_key FROM providers WHERE id = ?1";
    /// Lists providers by id.
    global("providers belong to the platform") fn list_providers(limit: i64, offset: i64) -> Vec<ProviderRow> =
        "SELECT id, type, base_url, enabled, cred_store, sealed_key FROM providers ORDER BY id LIMIT ?1 OFFSET ?2";
    /// Counts providers.
    global("providers belong to the platform") fn count_providers() -> Option<crate::store::Total> =
        "SELECT COUNT(*) AS total FROM providers";
    /// Creates or replaces a provider.
    global("providers belong to the platform") fn put_provider(id: &str, r#type: &str, base_url: &str, enabled: bool, cred_store: &str, sealed_key: Option<&str>, now_ms: i64) -> Changed =
        "INSERT INTO providers (id, type, base_url, enabled, cred_store, sealed_key, created_at_ms, updated_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)
         ON CONFLICT (id) DO UPDATE SET type = excluded.type, base_url = excluded.base_url, enabled = excluded.enabled,
           cred_store = excluded.cred_store, sealed_key = excluded.sealed_key, updated_at_ms = excluded.updated_at_ms";
    /// Deletes a provider's models.
    global("models belong to the platform") fn delete_models_of(provider_id: &str) -> Changed =
        "DELETE FROM models WHERE provider_id = ?1";
    /// Deletes a provider.
    global("providers belong to the platform") fn delete_provider(id: &str) -> Changed =
        "DELETE FROM providers WHERE id = ?1";
}
