//! Old charges make way in the journals of wallets, once the books were found right (`docs/MONEY.md`).

use durable_objects::wallet::protocol::{Command, Reply, Wallet, name};

use crate::ports::{Ports, ask};

const DAY_MS: i64 = 86_400_000;
/// So many whole days are kept as they happened: what was away longer than that may be lost.
const DAYS_KEPT: i64 = 2;
/// Parts of one account and night. A wallet that is busy goes on by itself, with every charge.
const PARTS_MAX: u32 = 20;

/// Has the wallet of an account fold what is older than two days. What fails is logged, and done the next night.
pub async fn fold_journal(ports: &Ports, account_id: &str) {
    let today = ports.clock.now_ms().div_euclid(DAY_MS);
    let command = Command::Fold { before_ms: today.saturating_sub(DAYS_KEPT).saturating_mul(DAY_MS) };
    for _ in 0..PARTS_MAX {
        match ask::<Wallet>(&*ports.objects, &name(account_id), &command).await {
            Ok(Reply::Folded { more: true }) => {}
            Ok(Reply::Folded { more: false }) => return,
            other => return ports.background.log(&format!("the journal of {account_id} is not folded: {other:?}")),
        }
    }
}
