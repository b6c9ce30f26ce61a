//! The vault as the Worker asks it.
//!
//! The open key is in the `Vault` object's memory and nowhere else. Where `VAULT_PASSWORD` is set, a vault that merely
//! sleeps (after a deployment, an eviction, half an hour without use) is opened here when it is needed; one that a
//! person locked stays locked.

use std::cell::Cell;

use durable_objects::vault::protocol::{Command, NAME, Reply, Status, Unlock, Vault};
use guildhall_domain::secret::{SecretText, Seed};
use zeroize::Zeroizing;

use crate::app::App;
use crate::error::{ApiError, Kind};
use crate::ports::{PortError, Ports, ask};

/// What an isolate knows of the vault.
#[derive(Default)]
pub struct Door {
    /// Whether `VAULT_PASSWORD` was found not to fit. A new one comes with a new isolate.
    is_refused: Cell<bool>,
}

/// Sends a command; opens the vault for it where the deployment may.
///
/// # Errors
/// When the object fails.
pub async fn ask_vault(app: &App, ports: &Ports, command: &Command) -> Result<Reply, PortError> {
    let reply = send(ports, command).await?;
    match &reply {
        Reply::Locked(status) if status.initialized && open(app, ports, *status).await? => send(ports, command).await,
        _ => Ok(reply),
    }
}

/// Keeps the key of a provider. With `VAULT_PASSWORD` the first one makes the vault; nothing else does so unasked, so
/// that a person may choose another password until then.
///
/// # Errors
/// As [`refuse`], and 500 when the object fails.
pub async fn store_provider_key(app: &App, ports: &Ports, id: &str, key: SecretText) -> Result<(), ApiError> {
    let command = Command::Put { name: name_provider_key(id), value: key, seed: draw_seed(ports) };
    let mut reply = send(ports, &command).await?;
    if let Reply::Locked(status) = reply
        && open(app, ports, status).await?
    {
        reply = send(ports, &command).await?;
    }
    match reply {
        Reply::Done => Ok(()),
        other => Err(refuse(other)),
    }
}

/// Removes the key of a provider, be the vault locked or not.
///
/// # Errors
/// 500 when the object fails.
pub async fn discard_provider_key(ports: &Ports, id: &str) -> Result<(), ApiError> {
    match send(ports, &Command::Discard { name: name_provider_key(id) }).await? {
        Reply::Done => Ok(()),
        other => Err(refuse(other)),
    }
}

/// How the vault stands, opened where the deployment may: a vault that only sleeps does not count as locked.
///
/// # Errors
/// When the object fails.
pub async fn read_status(app: &App, ports: &Ports) -> Result<Status, PortError> {
    let Reply::Status(mut status) = send(ports, &Command::Status).await? else {
        return Err(PortError("the vault does not say how it stands".into()));
    };
    if status.initialized && status.locked {
        status.locked = !open(app, ports, status).await?;
    }
    Ok(status)
}

/// The name of a provider's key, in the vault and in what seals it.
#[must_use]
pub fn name_provider_key(provider_id: &str) -> String {
    format!("provider:{provider_id}:api_key")
}

/// Randomness for one command.
#[must_use]
pub fn draw_seed(ports: &Ports) -> Seed {
    let mut bytes = Zeroizing::new([0; Seed::BYTES]);
    ports.random.fill(&mut *bytes);
    Seed::new(bytes)
}

/// The answer to a command that the vault did not obey.
#[must_use]
pub fn refuse(reply: Reply) -> ApiError {
    match reply {
        Reply::Locked(_) => ApiError::new(Kind::Unavailable, "vault is locked"),
        Reply::Full => ApiError::new(Kind::Conflict, "vault is full"),
        Reply::TooManyGuesses { retry_after_ms } => {
            let wait_s = u32::try_from(retry_after_ms / 1_000 + 1).unwrap_or(u32::MAX);
            ApiError::new(Kind::RateLimited, "too many wrong passwords").retry_after_s(wait_s)
        }
        // Debug output of a reply tells no secret.
        other => ApiError::internal(format!("the vault answered {other:?}")),
    }
}

/// Sends a command as it is.
///
/// # Errors
/// When the object fails.
pub async fn send(ports: &Ports, command: &Command) -> Result<Reply, PortError> {
    ask::<Vault>(&*ports.objects, NAME, command).await
}

/// Opens the vault with `VAULT_PASSWORD`, if there is one and nobody has locked the vault by hand. Whether it is open.
async fn open(app: &App, ports: &Ports, status: Status) -> Result<bool, PortError> {
    let Some(password) = app.config.vault_password.clone() else {
        return Ok(false);
    };
    if status.shut || app.vault.is_refused.get() {
        return Ok(false);
    }
    let (seed, cost) = (draw_seed(ports), app.config.vault_kdf);
    match send(ports, &Command::Unlock(Unlock { password, seed, cost, by_hand: false })).await? {
        Reply::Done => Ok(true),
        // Somebody locked it in the meantime.
        Reply::Locked(_) => Ok(false),
        Reply::WrongPassword => {
            app.vault.is_refused.set(true);
            ports.background.log("VAULT_PASSWORD does not open the vault: it was made with another password");
            Ok(false)
        }
        other => Err(PortError(format!("the vault answered {other:?}"))),
    }
}
