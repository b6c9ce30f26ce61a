//! Keys of providers that callers bring along.

use guildhall_domain::ids::ProviderKeyId;
use guildhall_domain::own::KeyProvider;
use guildhall_domain::time::format_rfc3339;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::Cx;
use crate::error::{ApiError, Kind};
use crate::gateway::own::secret::{check_secret, seal_secret};
use crate::gateway::own::{KEYS_MAX, forget_own, require_workspace};
use crate::http::input::{Json, Path, Query};
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::routes;
use crate::store::models::provider_keys::{
    ProviderKeyRow, count_provider_keys, delete_provider_key as delete_row, insert_provider_key,
    list_provider_keys as list_rows,
};
use crate::store::statement::Changed;

routes! {
    tag "Provider keys", dialect Tokaroo;
    /// Bring a key for a provider.
    ///
    /// Calls of the account (or of one workspace) then go to that provider with this key before the platform's own route is
    /// taken, and are charged 5 % of what that would have cost. The key is stored sealed and never returned.
    Post "/v1/provider-keys" Access::Session => create_provider_key;
    /// List provider keys, oldest first.
    Get "/v1/provider-keys" Access::Session => list_provider_keys;
    /// Delete a provider key.
    ///
    /// Here it is gone at once, elsewhere within two seconds.
    Delete "/v1/provider-keys/{id}" Access::Session => delete_provider_key;
}

const LABEL_MAX_CHARS: usize = 100;

/// A key to bring.
#[derive(Deserialize, JsonSchema)]
pub struct NewProviderKey {
    /// Whose key it is.
    provider: KeyProvider,
    /// What to call it; the provider's name by default.
    label: Option<String>,
    /// The key.
    secret: String,
    /// The workspace whose calls may use it; all of the account's by default.
    workspace_id: Option<String>,
}

/// A key was stored.
#[derive(Serialize, JsonSchema)]
pub struct ProviderKeyCreated {
    /// Always true.
    created: bool,
    provider: KeyProvider,
    label: String,
    workspace_id: Option<String>,
}

/// Which keys.
#[derive(Deserialize, JsonSchema)]
pub struct ProviderKeyQuery {
    /// Only those of this workspace.
    workspace_id: Option<String>,
}

/// The keys.
#[derive(Serialize, JsonSchema)]
pub struct ProviderKeyList {
    object: &'static str,
    data: Vec<ProviderKey>,
}

/// A key; never its secret.
#[derive(Serialize, JsonSchema)]
pub struct ProviderKey {
    id: String,
    provider: KeyProvider,
    label: String,
    workspace_id: Option<String>,
    workspace_name: Option<String>,
    /// `active`; `failed` while its provider refuses it or does not answer; `rate_limited` until `estimated_reset_at`.
    status: &'static str,
    /// Give or take a minute.
    last_success_at: Option<String>,
    last_failure_at: Option<String>,
    /// The provider's HTTP status, or `no_answer`.
    last_failure_code: Option<String>,
    /// When the provider takes it again, where it limited it.
    estimated_reset_at: Option<String>,
}

/// A key is gone.
#[derive(Serialize, JsonSchema)]
pub struct ProviderKeyDeleted {
    /// Always true.
    deleted: bool,
    id: String,
}

async fn create_provider_key(cx: Cx, Json(new): Json<NewProviderKey>) -> Result<Reply<ProviderKeyCreated>, ApiError> {
    let account_id = &cx.caller.session()?.account_id;
    let secret = new.secret.trim();
    check_secret("secret", secret)?;
    let label = new.label.filter(|label| !label.is_empty()).unwrap_or_else(|| new.provider.name().to_owned());
    if label.chars().count() > LABEL_MAX_CHARS || label.chars().any(char::is_control) {
        return Err(ApiError::invalid(
            "label",
            format!("label must be at most {LABEL_MAX_CHARS} printable characters"),
        ));
    }
    let workspace_id = new.workspace_id.filter(|id| !id.is_empty());
    require_workspace(&cx, account_id, workspace_id.as_deref()).await?;
    if count_provider_keys(account_id).run(&*cx.ports.db).await?.is_some_and(|count| count.total >= KEYS_MAX) {
        return Err(ApiError::new(Kind::Conflict, format!("An account has at most {KEYS_MAX} provider keys")));
    }
    let id = ProviderKeyId::from_random(cx.draw());
    let sealed = seal_secret(&cx, account_id, id.as_str(), secret)?;
    let (provider, workspace) = (new.provider.name(), workspace_id.as_deref());
    insert_provider_key(account_id, id.as_str(), provider, &label, workspace, &sealed, cx.started_ms)
        .run(&*cx.ports.db)
        .await?;
    forget_own(&cx, account_id);
    Ok(Reply(ProviderKeyCreated { created: true, provider: new.provider, label, workspace_id }))
}

async fn list_provider_keys(cx: Cx, Query(query): Query<ProviderKeyQuery>) -> Result<Reply<ProviderKeyList>, ApiError> {
    let account_id = &cx.caller.session()?.account_id;
    let rows = list_rows(account_id, query.workspace_id.as_deref(), KEYS_MAX).run(&*cx.ports.db).await?;
    let data = rows.into_iter().map(|row| to_provider_key(row, cx.started_ms)).collect();
    Ok(Reply(ProviderKeyList { object: "list", data }))
}

async fn delete_provider_key(cx: Cx, Path(id): Path) -> Result<Reply<ProviderKeyDeleted>, ApiError> {
    let account_id = &cx.caller.session()?.account_id;
    if delete_row(account_id, &id).run(&*cx.ports.db).await? == Changed(0) {
        return Err(ApiError::not_found("Provider key"));
    }
    forget_own(&cx, account_id);
    Ok(Reply(ProviderKeyDeleted { deleted: true, id }))
}

fn to_provider_key(row: ProviderKeyRow, now_ms: i64) -> ProviderKey {
    let code = row.last_failure_code.as_deref().filter(|_| row.last_failure_at_ms > row.last_success_at_ms);
    let rests = row.rests_until_ms > now_ms;
    let is_limited = rests && code == Some("429");
    let status = match code {
        _ if is_limited => "rate_limited",
        Some("401" | "402" | "403") => "failed",
        Some(_) if rests => "failed",
        _ => "active",
    };
    ProviderKey {
        id: row.id,
        provider: row.provider,
        label: row.label,
        workspace_id: row.workspace_id,
        workspace_name: row.workspace_name,
        status,
        last_success_at: row.last_success_at_ms.map(format_rfc3339),
        last_failure_at: row.last_failure_at_ms.map(format_rfc3339),
        last_failure_code: row.last_failure_code,
        estimated_reset_at: is_limited.then(|| format_rfc3339(row.rests_until_ms)),
    }
}
