//! Changes of keys that hold at once: the one place where keys are changed, rotated and revoked, whoever asks.

use durable_objects::rate_limiter::protocol::{Command, RateLimiter, name_of_key};
use durable_objects::wallet::protocol::{self as wallet, Wallet};
use guildhall_domain::credential::KeyPrefix;

use super::issue::draw_key;
use crate::app::Cx;
use crate::error::{ApiError, Kind};
use crate::meter::payer::Tally;
use crate::ports::{PortError, ask};
use crate::store::identity::keys::{self as store, KeyRecord};
use crate::store::statement::{Changed, Query};

/// Makes a change of a key. `enabled` is what it says about whether the key is let in, if it does.
///
/// # Errors
/// When the database fails, or the limiter of a key that is to be let in again.
pub async fn change_key(
    cx: &Cx,
    key: &KeyRecord,
    enabled: Option<bool>,
    write: Query<Changed>,
) -> Result<(), PortError> {
    if enabled == Some(true) {
        // First, so that a key which is called enabled is not refused for ever.
        set_gate(cx, &key.id, &Command::Restore).await?;
    }
    write.run(&*cx.ports.db).await?;
    cx.app.credentials.forget_account(&key.account_id);
    if enabled == Some(true) {
        // Somebody who disabled it may have closed its gate meanwhile.
        set_gate(cx, &key.id, &Command::Restore).await?;
    }
    if enabled == Some(false) {
        close_gate(cx, &key.id).await;
    }
    Ok(())
}

/// Gives a key another secret of its kind; the old one is dead, and its limiter refuses it everywhere. Gives the new one, and what is shown of it later.
///
/// # Errors
/// 409 when somebody else has rotated or revoked it at the same moment, 500 when the database fails.
pub async fn rotate_key(cx: &Cx, key: &KeyRecord) -> Result<(String, String), ApiError> {
    let prefix = KeyPrefix::ALL.into_iter().find(|prefix| prefix.product() == key.product);
    let prefix = prefix.ok_or_else(|| PortError(format!("key {}: no product {:?}", key.id, key.product)))?;
    let (secret, masked) = draw_key(cx, prefix);
    let hash = cx.app.hasher.hash(&secret);
    // Later than the old one's, whatever the clocks of two isolates say.
    let known_at_ms = key.rotated_at_ms.unwrap_or(key.created_at_ms);
    let secret_at_ms = cx.started_ms.max(known_at_ms.saturating_add(1));
    let rotate = store::rotate_key(&key.account_id, &key.id, &hash, &masked, secret_at_ms, known_at_ms);
    if rotate.run(&*cx.ports.db).await? == Changed(0) {
        let text = "The key was rotated or revoked at the same moment; this request has changed nothing";
        return Err(ApiError::new(Kind::Conflict, text));
    }
    cx.app.credentials.forget_account(&key.account_id);
    if let Err(error) = set_gate(cx, &key.id, &Command::Rotate { secret_at_ms }).await {
        cx.ports.background.log(&format!("rotation of {}: {error}", key.id));
    }
    Ok((secret, masked))
}

/// Revokes a key for good.
///
/// # Errors
/// When the database fails.
pub async fn revoke_key(cx: &Cx, key: &KeyRecord) -> Result<(), PortError> {
    store::revoke_key(&key.account_id, &key.id).run(&*cx.ports.db).await?;
    cx.app.credentials.forget_account(&key.account_id);
    close_gate(cx, &key.id).await;
    end_budgets(cx, key).await;
    Ok(())
}

/// Tells the wallet that the key spends no more: it keeps a bounded number of lines.
async fn end_budgets(cx: &Cx, key: &KeyRecord) {
    let ids = [Tally::of_key(&key.id, 0), Tally::of_key_credits(&key.id)].map(|tally| tally.id).into();
    let command = wallet::Command::EndBudgets { ids };
    if let Err(error) = ask::<Wallet>(&*cx.ports.objects, &wallet::name(&key.account_id), &command).await {
        cx.ports.background.log(&format!("budgets of {}: {error}", key.id));
    }
}

/// Has the key's limiter refuse it everywhere at once. Where that fails, isolates learn of it from the database.
pub async fn close_gate(cx: &Cx, key_id: &str) {
    if let Err(error) = set_gate(cx, key_id, &Command::Revoke).await {
        cx.ports.background.log(&format!("revocation of {key_id}: {error}"));
    }
}

async fn set_gate(cx: &Cx, key_id: &str, command: &Command) -> Result<(), PortError> {
    ask::<RateLimiter>(&*cx.ports.objects, &name_of_key(key_id), command).await.map(drop)
}
