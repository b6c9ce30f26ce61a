//! What an operator's page asks first.

use schemars::JsonSchema;
use serde::Serialize;

use crate::app::Cx;
use crate::error::ApiError;
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::routes;
use crate::vault::read_status;

routes! {
    tag "Vault", dialect TokenHub;
    /// Get the state of the administration.
    Get "/admin/v1/info" Access::Admin => get_info;
}

/// The state of the administration.
#[derive(Serialize, JsonSchema)]
pub struct Info {
    /// Always `admin`.
    tokenhub: &'static str,
    /// Whether the vault must be unlocked before it is of use.
    vault_locked: bool,
    /// Whether the vault was ever unlocked; the first password makes it.
    vault_initialized: bool,
    /// What is wrong with the settings of optional parts, which are off for it; empty when nothing is.
    config_faults: Vec<String>,
}

async fn get_info(cx: Cx, (): ()) -> Result<Reply<Info>, ApiError> {
    let status = read_status(&cx.app, &cx.ports).await?;
    Ok(Reply(Info {
        tokenhub: "admin",
        vault_locked: status.locked,
        vault_initialized: status.initialized,
        config_faults: cx.app.config.faults.clone(),
    }))
}
