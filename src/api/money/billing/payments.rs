//! The account's payments.

use guildhall_domain::billing::ledger::{Status, shown_status};
use guildhall_domain::money::MicroUsd;
use guildhall_domain::time::{format_rfc3339, parse_rfc3339};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::Cx;
use crate::error::ApiError;
use crate::http::input::{Path, Query};
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::payments::facts_of;
use crate::routes;
use crate::store::money::payments::{PaymentRow, find_payment, list_payments};

routes! {
    tag "Billing", dialect ToolRouter;
    /// List payments, newest first.
    Get "/v1/billing/payments" Access::Owner => list_account_payments;
    /// Read a payment.
    Get "/v1/billing/payments/{id}" Access::Owner => get_payment;
}

/// Which page.
#[derive(Deserialize, JsonSchema)]
pub struct PaymentQuery {
    /// Payments at most: 1 to 100, default 20.
    limit: Option<i64>,
    /// Only payments after this one, by the id of the last one seen; or those begun before this time (RFC 3339).
    before: Option<String>,
}

/// A page of payments.
#[derive(Serialize, JsonSchema)]
pub struct PaymentList {
    /// Always `list`.
    object: &'static str,
    /// The payments.
    data: Vec<Payment>,
    /// Whether there are more.
    has_more: bool,
}

/// A payment.
#[derive(Serialize, JsonSchema)]
pub struct Payment {
    id: String,
    /// `checkout`, `charge`, `auto`, `deposit` or `setup`.
    kind: String,
    /// `pending`, `paid`, `failed`, `expired`, `partially_refunded`, `refunded` or `disputed`.
    status: &'static str,
    /// What the wallet got, in US dollars.
    credit_usd: f64,
    /// What was paid beside it.
    fee_usd: f64,
    /// What was paid in all.
    total_usd: f64,
    /// What of the credit is gone again.
    reversed_usd: f64,
    /// Why it failed.
    failure: Option<String>,
    /// Stripe's receipt.
    receipt_url: Option<String>,
    created_at: String,
}

const LIMIT_DEFAULT: i64 = 20;
const LIMIT_MAX: i64 = 100;
/// The last time that JavaScript's numbers and SQLite agree on.
const TIME_MAX_MS: i64 = 9_007_199_254_740_991;

async fn list_account_payments(cx: Cx, Query(query): Query<PaymentQuery>) -> Result<Reply<PaymentList>, ApiError> {
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(ApiError::invalid("limit", format!("limit must be 1 to {LIMIT_MAX}")));
    }
    let account_id = cx.caller.account_id()?;
    let (before_ms, after_id) = read_place(&cx, account_id, query.before.as_deref()).await?;
    let mut rows = list_payments(account_id, before_ms, &after_id, limit + 1).run(&*cx.ports.db).await?;
    let has_more = i64::try_from(rows.len()).is_ok_and(|found| found > limit);
    rows.truncate(usize::try_from(limit).unwrap_or(0));
    Ok(Reply(PaymentList { object: "list", data: rows.into_iter().map(to_payment).collect(), has_more }))
}

/// Where a page begins: a time, and an id of that time.
async fn read_place(cx: &Cx, account_id: &str, before: Option<&str>) -> Result<(i64, String), ApiError> {
    let Some(before) = before else { return Ok((TIME_MAX_MS, String::new())) };
    if let Some(before_ms) = parse_rfc3339(before) {
        // Nothing of that time itself.
        return Ok((before_ms.saturating_sub(1), String::new()));
    }
    let last = find_payment(account_id, before).run(&*cx.ports.db).await?;
    let unknown = || ApiError::invalid("before", "before must be the id of a payment or an RFC 3339 time");
    last.map(|row| (row.created_at_ms, row.id)).ok_or_else(unknown)
}

async fn get_payment(cx: Cx, Path(id): Path) -> Result<Reply<Payment>, ApiError> {
    let row = find_payment(cx.caller.account_id()?, &id).run(&*cx.ports.db).await?;
    row.map(to_payment).map(Reply).ok_or_else(|| ApiError::not_found("Payment"))
}

fn to_payment(row: PaymentRow) -> Payment {
    let facts = facts_of(&row);
    Payment {
        status: shown_status(Status::read(&row.status), &facts, row.is_disputed),
        credit_usd: facts.credit.to_usd(),
        fee_usd: facts.total.checked_sub(facts.credit).unwrap_or(MicroUsd::ZERO).to_usd(),
        total_usd: facts.total.to_usd(),
        reversed_usd: facts.to_reverse().to_usd(),
        id: row.id,
        kind: row.kind,
        failure: Some(row.failure).filter(|failure| !failure.is_empty()),
        receipt_url: row.receipt_url,
        created_at: format_rfc3339(row.created_at_ms),
    }
}
