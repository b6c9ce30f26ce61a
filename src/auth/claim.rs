//! Claims: an account that was opened for a key alone comes to a person.
//!
//! Whoever has no account of their own becomes its owner. For whoever has one, the keys move there and the money follows:
//! what is free at once, what running calls hold as they let go of it. Before the keys move, the wallet there counts what
//! they have spent of their budgets; what the old one owes is owed there. The old account stays theirs to read, with its
//! usage and its journal untouched; nothing comes in by it any more.
//!
//! An agent's account is different: whoever claims it owns it beside their own, and its wallet stays the agent's.

use std::rc::Rc;

use durable_objects::wallet::protocol::{Balance, Command, RefusalCode, Reply as WalletReply, Wallet, name};
use guildhall_domain::money::MicroUsd;
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::Cx;
use crate::error::{ApiError, Kind};
use crate::meter::money::{flush, notice_credit};
use crate::ports::{PortError, Ports, ask};
use crate::store::identity::claims::{
    MaskedKeyRow, adopt_account, adopt_agent, end_merge, find_claim as find_claim_row, limit_moving_keys, list_drains,
    list_masked_keys, merge_account, move_keys, move_responses, move_workspaces, note_late_money, set_drain,
};
use crate::store::identity::keys::count_own_keys;
use crate::store::identity::people::find_home;
use crate::store::statement::{Changed, run_all};

/// What a claim link is about: an account that nobody owns, with all that belongs to it.
pub struct Claim {
    /// HMAC of the link's token.
    pub hash: String,
    /// The account.
    pub account_id: String,
    /// When it was opened.
    pub created_at_ms: i64,
    /// Whether it is an agent's.
    pub is_agent: bool,
    /// What is shown of its keys, at most [`KEYS_SHOWN`].
    pub keys: Vec<MaskedKeyRow>,
    /// How many more it has.
    pub more_keys: i64,
}

/// What became of a claim.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ClaimOutcome {
    /// What became of it.
    pub status: ClaimStatus,
    /// The account that pays for the keys now; absent when the claim was gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
}

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClaimStatus {
    /// The account is the person's own.
    Attached,
    /// The account's keys and money went to the account that the person has.
    Merged,
    /// Somebody has claimed the account before.
    Gone,
}

/// Keys that are shown of an account.
pub const KEYS_SHOWN: i64 = 10;
/// A lease that nobody renews has ended by then, and its money is free.
const LEASES_END_MS: u32 = 16_000;
/// Kept responses that are moved at once, and how often before the next look.
const RESPONSES_AT_ONCE: i64 = 20;
const RESPONSE_PARTS: u32 = 50;
/// Waits for one wallet to tell another what it must: a hop each way.
const TOLD_PAUSES_MS: [u32; 4] = [5, 20, 100, 500];
/// Accounts that an hour's job looks at.
const DRAINS_MAX: i64 = 200;
/// For so long money may turn up in a merged account: a video that was given up, a payment that was begun before.
const DRAIN_MS: i64 = 30 * 86_400_000;

/// Finds what a claim link is about.
///
/// # Errors
/// 404 when nothing waits to be claimed by it, 500 when the database fails.
pub async fn require_claim(cx: &Cx, token: &str) -> Result<Claim, ApiError> {
    if token.is_empty() {
        return Err(ApiError::invalid("token", "token is required"));
    }
    let gone =
        || ApiError::new(Kind::NotFound, "Nothing waits to be claimed by this link: it was used, or it is incomplete");
    find_claim(cx, cx.app.hasher.hash(token)).await?.ok_or_else(gone)
}

/// Finds what a claim is about by the hash of its token.
///
/// # Errors
/// When the database fails.
pub async fn find_claim(cx: &Cx, hash: String) -> Result<Option<Claim>, PortError> {
    let Some(row) = find_claim_row(&hash).run(&*cx.ports.db).await? else { return Ok(None) };
    let reads = (list_masked_keys(&row.account_id, KEYS_SHOWN), count_own_keys(&row.account_id, None, None));
    let (keys, all) = run_all(&*cx.ports.db, reads).await?;
    let more_keys = (all.map_or(0, |count| count.total) - KEYS_SHOWN).max(0);
    let is_agent = row.kind == "agent";
    Ok(Some(Claim { hash, account_id: row.account_id, created_at_ms: row.created_at_ms, is_agent, keys, more_keys }))
}

/// Attaches what is claimed to a person: to their account `preferred`, else to their first, else as their own. Of several
/// claims of one account exactly one does it.
///
/// # Errors
/// 409 when another claim was first, 500 when the database fails.
pub async fn attach_claim(cx: &Cx, claim: &Claim, person_id: &str, preferred: &str) -> Result<ClaimOutcome, ApiError> {
    let db = &*cx.ports.db;
    if claim.is_agent {
        return match adopt_agent(person_id, &claim.hash).run(db).await? {
            Changed(1) => Ok(told(ClaimStatus::Attached, &claim.account_id)),
            _ => Err(claimed_meanwhile()),
        };
    }
    // Twice, because the person's first account may be opened between the look and the write.
    for _ in 0..2 {
        let Some(home) = find_home(person_id, preferred).run(db).await? else {
            if adopt_account(person_id, &claim.hash).run(db).await? == Changed(1) {
                cx.app.credentials.forget_account(&claim.account_id);
                return Ok(told(ClaimStatus::Attached, &claim.account_id));
            }
            continue;
        };
        let merge = merge_account(person_id, &home.id, &claim.hash, cx.ports.clock.now_ms());
        if merge.run(db).await? == Changed(1) {
            bring_over(cx, &claim.account_id, &home.id).await;
            return Ok(told(ClaimStatus::Merged, &home.id));
        }
    }
    Err(claimed_meanwhile())
}

fn claimed_meanwhile() -> ApiError {
    ApiError::new(Kind::Conflict, "Somebody else has claimed this account at the same moment")
}

fn told(status: ClaimStatus, account_id: &str) -> ClaimOutcome {
    ClaimOutcome { status, account_id: Some(account_id.to_owned()) }
}

/// Brings the keys and the money that is free now, and in the background what leases let go of. What fails is done by the
/// hour's job; until then the keys pay from where they did.
async fn bring_over(cx: &Cx, from: &str, into: &str) {
    let report = |ports: &Ports, result: Result<Drained, PortError>| {
        if let Err(error) = result {
            ports.background.log(&format!("a merged account: {error}"));
        }
    };
    if let Err(error) = flush(&cx.app, &cx.ports, from).await {
        cx.ports.background.log(&format!("records of a merged account: {error}"));
    }
    report(&cx.ports, bring(&cx.ports, from, into).await);
    cx.app.credentials.forget_account(from);
    notice_credit(&cx.app, into);
    let (app, ports) = (Rc::clone(&cx.app), Rc::clone(&cx.ports));
    let (from, into) = (from.to_owned(), into.to_owned());
    cx.ports.background.spawn(Box::pin(async move {
        ports.clock.sleep_ms(LEASES_END_MS).await;
        report(&ports, bring(&ports, &from, &into).await);
        notice_credit(&app, &into);
    }));
}

/// How a merged account's wallet was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drained {
    /// Nothing was in it.
    Quiet,
    /// Money was moved, or is held still.
    Stirring,
}

/// Brings the keys once the other wallet knows what they have spent, and then what money is free. A repetition moves what
/// is free then: all of it belongs there, so none can be too much.
async fn bring(ports: &Ports, from: &str, into: &str) -> Result<Drained, PortError> {
    let Some(Balance { balance, available, held_leases, .. }) = merge_wallet(ports, from, into).await? else {
        return Ok(Drained::Stirring);
    };
    let moves =
        (limit_moving_keys(from, into), move_keys(from, into), move_workspaces(from, into), end_merge(from, into));
    run_all(&*ports.db, moves).await?;
    // By and by, and on its own: they may be large, and nothing else is to wait for them.
    for _ in 0..RESPONSE_PARTS {
        match move_responses(from, into, RESPONSES_AT_ONCE).run(&*ports.db).await {
            Ok(Changed(0)) => break,
            Ok(_) => {}
            Err(error) => {
                ports.background.log(&format!("responses of {from}: {error}"));
                break;
            }
        }
    }
    if balance == MicroUsd::ZERO {
        return Ok(Drained::Quiet);
    }
    let amount = MicroUsd(available.0.saturating_sub(held_leases.0));
    if amount <= MicroUsd::ZERO {
        return Ok(Drained::Stirring);
    }
    let id = format!("merge:{from}:{}", ports.clock.now_ms());
    let transfer = Command::Transfer { id, to: name(into), amount, reason: format!("merged into {into}") };
    match ask::<Wallet>(&*ports.objects, &name(from), &transfer).await? {
        WalletReply::Moved { .. } => {
            note_late_money(into, ports.clock.now_ms()).run(&*ports.db).await?;
            Ok(Drained::Stirring)
        }
        // A call took some of it in between.
        WalletReply::Refused { code: RefusalCode::Insufficient, .. } => Ok(Drained::Stirring),
        other => Err(PortError(format!("money of {from}: {other:?}"))),
    }
}

/// Tells a wallet where it goes up; gives what is in it, or `None` when the other one does not know its budgets yet.
async fn merge_wallet(ports: &Ports, from: &str, into: &str) -> Result<Option<Balance>, PortError> {
    for pause_ms in TOLD_PAUSES_MS {
        match ask::<Wallet>(&*ports.objects, &name(from), &Command::Merge { into: name(into) }).await? {
            WalletReply::Merged { is_told: true, balance } => return Ok(Some(balance)),
            WalletReply::Merged { is_told: false, .. } => ports.clock.sleep_ms(pause_ms).await,
            other => return Err(PortError(format!("wallet of {from}: {other:?}"))),
        }
    }
    Ok(None)
}

/// Looks at the wallets of merged accounts that are due: each ever more rarely, and after thirty days without money no more.
///
/// # Errors
/// When the database fails; a wallet that does not answer is asked again in an hour.
pub async fn drain_due(ports: &Ports) -> Result<(), PortError> {
    let now_ms = ports.clock.now_ms();
    for account in list_drains(now_ms, DRAINS_MAX).run(&*ports.db).await? {
        let age_ms = now_ms - account.merged_at_ms;
        let due_ms = match bring(ports, &account.id, &account.merged_into).await {
            Ok(Drained::Quiet) if age_ms > DRAIN_MS => None,
            Ok(Drained::Quiet) => Some(now_ms + age_ms),
            Ok(Drained::Stirring) => Some(now_ms),
            Err(error) => {
                ports.background.log(&format!("merged account {}: {error}", account.id));
                Some(now_ms)
            }
        };
        set_drain(&account.id, account.drain_due_ms, due_ms).run(&*ports.db).await?;
    }
    Ok(())
}
