//! Secrets of the administrator's own.

use durable_objects::vault::protocol::{Command, NAME_MAX_BYTES, Reply, VALUE_MAX_BYTES};
use guildhall_domain::secret::SecretText;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::read_body;
use crate::app::Cx;
use crate::error::ApiError;
use crate::http::input::{Path, RawJson};
use crate::http::output;
use crate::http::route::Access;
use crate::routes;
use crate::vault::{ask_vault, draw_seed, refuse};

routes! {
    tag "Vault", dialect TokenHub;
    /// List the names of the secrets.
    ///
    /// 503 while the vault is locked, here and below. Providers' keys are not among them.
    Get "/admin/v1/vault/secrets" Access::Admin => list_secrets;
    /// Read a secret.
    ///
    /// The one answer that holds a secret in clear. A key may contain slashes.
    Get "/admin/v1/vault/secrets/{*key}" Access::Admin => get_secret;
    /// Keep a secret, in place of an earlier one.
    Put "/admin/v1/vault/secrets/{*key}" Access::Admin, audit = "vault.secret.set" => put_secret;
    /// Delete a secret.
    Delete "/admin/v1/vault/secrets/{*key}" Access::Admin, audit = "vault.secret.delete" => delete_secret;
}

/// The names of the secrets.
#[derive(Serialize, JsonSchema)]
pub struct SecretNames {
    /// In order.
    secrets: Vec<String>,
}

/// A secret.
#[derive(Serialize, JsonSchema)]
pub struct Secret {
    key: String,
    value: String,
}

/// A secret to keep.
#[derive(Deserialize, JsonSchema)]
pub struct SecretValue {
    /// Not empty, at most 16 KiB.
    value: Option<String>,
}

/// A secret was kept or deleted.
#[derive(Serialize, JsonSchema)]
pub struct SecretChanged {
    /// Always true.
    ok: bool,
    key: String,
}

/// What the administrator's secrets are called in the vault, apart from providers' keys.
const PREFIX: &str = "secret:";
const KEY_MAX_BYTES: usize = NAME_MAX_BYTES - PREFIX.len();

async fn list_secrets(cx: Cx, (): ()) -> Result<output::Reply<SecretNames>, ApiError> {
    match ask_vault(&cx.app, &cx.ports, &Command::List { prefix: PREFIX.to_owned() }).await? {
        Reply::Names { names } => {
            let secrets = names.iter().filter_map(|name| name.strip_prefix(PREFIX)).map(str::to_owned).collect();
            Ok(output::Reply(SecretNames { secrets }))
        }
        other => Err(refuse(other)),
    }
}

async fn get_secret(cx: Cx, Path(key): Path) -> Result<output::NoStore<Secret>, ApiError> {
    let name = name_secret(&key)?;
    match ask_vault(&cx.app, &cx.ports, &Command::Get { names: vec![name.clone()] }).await? {
        Reply::Values { values, broken } if broken.is_empty() => {
            let value = values.get(&name).ok_or_else(|| ApiError::not_found("secret"))?.expose().to_owned();
            Ok(output::NoStore(Secret { key, value }))
        }
        other => Err(refuse(other)),
    }
}

async fn put_secret(
    cx: Cx,
    (Path(key), request): (Path, RawJson<SecretValue>),
) -> Result<output::Reply<SecretChanged>, ApiError> {
    let value = SecretText::from(read_body(&request)?.value.unwrap_or_default());
    match value.expose().len() {
        0 => return Err(ApiError::invalid("value", "value required")),
        1..=VALUE_MAX_BYTES => {}
        _ => return Err(ApiError::invalid("value", format!("value must have at most {VALUE_MAX_BYTES} bytes"))),
    }
    let command = Command::Put { name: name_secret(&key)?, value, seed: draw_seed(&cx.ports) };
    match ask_vault(&cx.app, &cx.ports, &command).await? {
        Reply::Done => Ok(output::Reply(SecretChanged { ok: true, key })),
        other => Err(refuse(other)),
    }
}

async fn delete_secret(cx: Cx, Path(key): Path) -> Result<output::Reply<SecretChanged>, ApiError> {
    match ask_vault(&cx.app, &cx.ports, &Command::Delete { name: name_secret(&key)? }).await? {
        Reply::Deleted { found: true } => Ok(output::Reply(SecretChanged { ok: true, key })),
        Reply::Deleted { found: false } => Err(ApiError::not_found("secret")),
        other => Err(refuse(other)),
    }
}

fn name_secret(key: &str) -> Result<String, ApiError> {
    if key.is_empty() || key.len() > KEY_MAX_BYTES || key.chars().any(char::is_control) {
        let text = format!("key must have 1 to {KEY_MAX_BYTES} bytes and no control characters");
        return Err(ApiError::invalid("key", text));
    }
    Ok(format!("{PREFIX}{key}"))
}
