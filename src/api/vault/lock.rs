//! Unlocking and locking the vault, and changing its password.

use durable_objects::vault::protocol::{Command, PASSWORD_MAX_BYTES, PASSWORD_MIN_BYTES, Reply, Rotate, Unlock};
use guildhall_domain::secret::SecretText;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::read_body;
use crate::app::Cx;
use crate::error::{ApiError, Kind};
use crate::http::input::RawJson;
use crate::http::output;
use crate::http::route::Access;
use crate::routes;
use crate::vault::{ask_vault, draw_seed, read_status, refuse, send};

routes! {
    tag "Vault", dialect TokenHub;
    /// Unlock the vault.
    ///
    /// The first password, of 8 bytes at least, makes the vault. A wrong one is refused and changes nothing; after ten
    /// within a minute none is tried for the rest of it.
    Post "/admin/v1/vault/unlock" Access::Admin, audit = "vault.unlock" => unlock_vault;
    /// Lock the vault.
    ///
    /// It stays locked until it is unlocked here. Providers whose keys it holds take no more traffic: at once in the
    /// isolate that answers, within a minute in all others.
    Post "/admin/v1/vault/lock" Access::Admin, audit = "vault.lock" => lock_vault;
    /// Change the vault's password.
    ///
    /// The vault must be unlocked, and stays so. Every secret is sealed anew.
    Post "/admin/v1/vault/rotate" Access::Admin, audit = "vault.rotate" => rotate_vault;
}

/// What unlocks the vault.
#[derive(Deserialize, JsonSchema)]
pub struct UnlockRequest {
    /// The vault's password; not the admin token.
    #[schemars(required)]
    admin_password: Option<String>,
}

/// What changes the vault's password.
#[derive(Deserialize, JsonSchema)]
pub struct RotateRequest {
    /// The one that holds.
    #[schemars(required)]
    old_password: Option<String>,
    /// The one that is to hold; 8 bytes at least.
    #[schemars(required)]
    new_password: Option<String>,
}

/// It is done.
#[derive(Serialize, JsonSchema)]
pub struct VaultChanged {
    /// Always true.
    ok: bool,
}

/// The vault is locked.
#[derive(Serialize, JsonSchema)]
pub struct VaultLocked {
    /// Always true.
    ok: bool,
    /// Whether it was before.
    already_locked: bool,
}

async fn unlock_vault(cx: Cx, request: RawJson<UnlockRequest>) -> Result<output::Reply<VaultChanged>, ApiError> {
    let failed = || ApiError::new(Kind::WrongPassword, "unlock failed");
    let password = SecretText::from(read_body(&request)?.admin_password.unwrap_or_default());
    if !(PASSWORD_MIN_BYTES..=PASSWORD_MAX_BYTES).contains(&password.expose().len()) {
        return Err(failed());
    }
    let (seed, cost) = (draw_seed(&cx.ports), cx.app.config.vault_kdf);
    let unlock = Command::Unlock(Unlock { password, seed, cost, by_hand: true });
    match send(&cx.ports, &unlock).await? {
        Reply::Done => {}
        Reply::WrongPassword => return Err(failed()),
        other => return Err(refuse(other)),
    }
    cx.app.gateway.forget();
    Ok(output::Reply(VaultChanged { ok: true }))
}

async fn lock_vault(cx: Cx, (): ()) -> Result<output::Reply<VaultLocked>, ApiError> {
    // A vault that only sleeps counts as unlocked, here as in /admin/v1/info. Should that fail, it is locked all the same.
    _ = read_status(&cx.app, &cx.ports).await;
    let reply = send(&cx.ports, &Command::Lock).await;
    // Whether or not it has heard: no key is used here that was not read anew.
    cx.app.gateway.forget();
    match reply? {
        Reply::Shut { already_locked } => Ok(output::Reply(VaultLocked { ok: true, already_locked })),
        other => Err(refuse(other)),
    }
}

async fn rotate_vault(cx: Cx, request: RawJson<RotateRequest>) -> Result<output::Reply<VaultChanged>, ApiError> {
    let given = |password: Option<String>| password.filter(|p| !p.is_empty()).map(SecretText::from);
    let RotateRequest { old_password, new_password } = read_body(&request)?;
    let (Some(old_password), Some(new_password)) = (given(old_password), given(new_password)) else {
        return Err(ApiError::invalid("", "old_password and new_password required"));
    };
    if read_status(&cx.app, &cx.ports).await?.locked {
        return Err(ApiError::invalid("", "vault is locked"));
    }
    match new_password.expose().len() {
        0..PASSWORD_MIN_BYTES => return Err(ApiError::invalid("new_password", "new password too short")),
        PASSWORD_MIN_BYTES..=PASSWORD_MAX_BYTES => {}
        _ => return Err(ApiError::invalid("new_password", "new password too long")),
    }
    let (seed, cost) = (draw_seed(&cx.ports), cx.app.config.vault_kdf);
    let rotate = Command::Rotate(Rotate { old_password, new_password, seed, cost });
    match ask_vault(&cx.app, &cx.ports, &rotate).await? {
        Reply::Done => Ok(output::Reply(VaultChanged { ok: true })),
        Reply::WrongPassword => Err(ApiError::new(Kind::WrongPassword, "rotation failed: old password does not match")),
        Reply::Locked(_) => Err(ApiError::invalid("", "vault is locked")),
        other => Err(refuse(other)),
    }
}
