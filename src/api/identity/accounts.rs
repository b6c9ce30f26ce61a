//! What an administrator does to an account: credits and limits.

use guildhall_domain::money::MicroUsd;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::Cx;
use crate::error::{ApiError, Kind};
use crate::http::input::{Json, Path};
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::meter::limit::Limits;
use crate::payments::by_hand::{Credit, credit_by_hand};
use crate::routes;
use crate::store::identity::accounts::{AccountRow, find_account, update_limits};

routes! {
    tag "Accounts", dialect TokenHub;
    /// Add credits to an account.
    ///
    /// The money is there when the answer comes. Send an `Idempotency-Key`, and a retry within 24 hours adds nothing; the same
    /// key later is refused with 409, with another amount with 422.
    Post "/admin/v1/accounts/{id}/credits" Access::Admin, audit = "account.credit" => add_credits;
    /// Set an account's rate limits.
    ///
    /// They hold for each of the account's keys; what is left out stays as it is.
    Patch "/admin/v1/accounts/{id}/limits" Access::Admin, audit = "account.limits" => set_limits;
}

/// Credits to add.
#[derive(Deserialize, JsonSchema)]
pub struct NewCredits {
    /// US dollars, more than 0, at most 1,000,000, at most six decimals.
    #[schemars(with = "f64")]
    amount_usd: serde_json::Number,
    /// For the journal.
    #[serde(default)]
    reason: String,
}

/// Credits added.
#[derive(Serialize, JsonSchema)]
pub struct CreditsAdded {
    ok: bool,
    account_id: String,
    /// The deposit's id in the journal.
    id: String,
    /// US dollars added.
    amount_usd: f64,
    /// US dollars on the account now.
    balance_usd: f64,
}

/// Limits to set.
#[derive(Deserialize, JsonSchema)]
pub struct LimitsPatch {
    /// Requests in 60 s, at least 1.
    requests_per_minute: Option<u32>,
    /// Requests in an hour, at least 1.
    requests_per_hour: Option<u32>,
    /// Calls at once, at least 1.
    concurrent: Option<u32>,
}

/// The limits that hold now.
#[derive(Serialize, JsonSchema)]
pub struct AccountLimits {
    ok: bool,
    account_id: String,
    requests_per_minute: u32,
    requests_per_hour: u32,
    concurrent: u32,
}

const REASON_MAX_BYTES: usize = 200;
const CREDIT_MAX: MicroUsd = MicroUsd(1_000_000_000_000);

async fn add_credits(cx: Cx, (Path(id), Json(new)): (Path, Json<NewCredits>)) -> Result<Reply<CreditsAdded>, ApiError> {
    let amount =
        MicroUsd::from_usd(&new.amount_usd).map_err(|e| ApiError::invalid("amount_usd", format!("amount_usd: {e}")))?;
    if amount <= MicroUsd::ZERO || amount > CREDIT_MAX {
        return Err(ApiError::invalid("amount_usd", "amount_usd must be more than 0 and at most 1000000"));
    }
    if new.reason.len() > REASON_MAX_BYTES {
        return Err(ApiError::invalid("reason", format!("reason must be at most {REASON_MAX_BYTES} bytes")));
    }
    let account = require_account(&cx, &id).await?;
    if let Some(into) = account.merged_into {
        return Err(ApiError::new(
            Kind::Conflict,
            format!("the account was merged into {into}, which takes its credits"),
        ));
    }
    if account.status == "closed" {
        return Err(ApiError::new(Kind::Conflict, "the account is closed"));
    }
    cx.audit_detail(format_args!("{} USD: {}", amount.to_usd_string(), new.reason));
    let deposit_id = cx.name_once("dep");
    let credit = Credit { account_id: &account.id, id: &deposit_id, amount, reason: &new.reason, field: "amount_usd" };
    let balance = credit_by_hand(&cx, &credit).await?;
    Ok(Reply(CreditsAdded {
        ok: true,
        account_id: account.id,
        id: deposit_id,
        amount_usd: amount.to_usd(),
        balance_usd: balance.to_usd(),
    }))
}

async fn set_limits(
    cx: Cx,
    (Path(id), Json(patch)): (Path, Json<LimitsPatch>),
) -> Result<Reply<AccountLimits>, ApiError> {
    let given = [
        ("requests_per_minute", patch.requests_per_minute),
        ("requests_per_hour", patch.requests_per_hour),
        ("concurrent", patch.concurrent),
    ];
    if let Some((field, _)) = given.iter().find(|(_, value)| *value == Some(0)) {
        return Err(ApiError::invalid(*field, format!("{field} must be at least 1")));
    }
    require_account(&cx, &id).await?;
    let [per_minute, per_hour, concurrent] = given.map(|(_, value)| value.map(i64::from));
    update_limits(&id, per_minute, per_hour, concurrent).run(&*cx.ports.db).await?;
    cx.app.credentials.forget_account(&id);
    let account = require_account(&cx, &id).await?;
    let standard = Limits::STANDARD;
    Ok(Reply(AccountLimits {
        ok: true,
        account_id: account.id,
        requests_per_minute: account.requests_per_minute.unwrap_or(standard.per_minute),
        requests_per_hour: account.requests_per_hour.unwrap_or(standard.per_hour),
        concurrent: account.concurrent.unwrap_or(standard.concurrent),
    }))
}

async fn require_account(cx: &Cx, id: &str) -> Result<AccountRow, ApiError> {
    find_account(id).run(&*cx.ports.db).await?.ok_or_else(|| ApiError::not_found("account"))
}
