//! Auto reload and the monthly limit: `ToolRouter`'s face of auto pay.

use guildhall_domain::billing::auto_pay::{AMOUNT_DEFAULT, AMOUNT_RANGE, THRESHOLD_MAX};
use guildhall_domain::billing::fee::to_cents;
use guildhall_domain::money::MicroUsd;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use crate::app::Cx;
use crate::error::{ApiError, Kind};
use crate::http::input::{Json, read_nullable};
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::meter::money::flush;
use crate::payments::auto_pay::amount_of;
use crate::payments::{Desk, read_billing};
use crate::routes;
use crate::store::identity::accounts::set_account_limit;
use crate::store::money::billing::{BillingRow, set_auto_pay};

routes! {
    tag "Billing", dialect ToolRouter;
    /// Get the auto reload and budget settings.
    Get "/v1/billing/preferences" Access::Owner => get_preferences;
    /// Change the auto reload and budget settings.
    ///
    /// What is left out stays. Auto reload is Tokaroo's auto pay under another name; it never brings more in a month than
    /// `budgetLimit`, which also limits what all keys of the account spend in a UTC month; null removes that limit.
    Put "/v1/billing/preferences" Access::Owner, body_max_bytes = 1 << 16 => put_preferences;
}

/// The settings.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preferences {
    /// Whether it is on.
    auto_reload_enabled: bool,
    /// The balance below which it charges, in US dollars.
    auto_reload_threshold: f64,
    /// What it charges, in US dollars.
    auto_reload_amount: f64,
    /// What may be spent in a month, in US dollars; null for no limit.
    budget_limit: Option<f64>,
}

/// What changes.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreferencesPatch {
    /// On or off; on needs a saved card.
    auto_reload_enabled: Option<bool>,
    /// US dollars, 0 to 500.
    #[schemars(with = "Option<f64>")]
    auto_reload_threshold: Option<Number>,
    /// US dollars and whole cents, 1 to 500.
    #[schemars(with = "Option<f64>")]
    auto_reload_amount: Option<Number>,
    /// US dollars, more than 0; null removes the limit.
    #[serde(default, deserialize_with = "read_nullable")]
    #[schemars(with = "Option<f64>")]
    budget_limit: Option<Option<Number>>,
}

const BUDGET_MAX: MicroUsd = MicroUsd(1_000_000_000_000);

async fn get_preferences(cx: Cx, (): ()) -> Result<Reply<Preferences>, ApiError> {
    Ok(Reply(to_preferences(&read_billing(&Desk::of(&cx), cx.caller.account_id()?).await?)))
}

fn to_preferences(row: &BillingRow) -> Preferences {
    Preferences {
        auto_reload_enabled: row.auto_enabled == Some(1),
        auto_reload_threshold: MicroUsd(row.auto_threshold_micros).to_usd(),
        auto_reload_amount: amount_of(row).to_usd(),
        budget_limit: row.monthly_budget_micros.map(|limit| MicroUsd(limit).to_usd()),
    }
}

async fn put_preferences(cx: Cx, Json(patch): Json<PreferencesPatch>) -> Result<Reply<Preferences>, ApiError> {
    let threshold =
        read_usd("autoReloadThreshold", patch.auto_reload_threshold.as_ref(), MicroUsd::ZERO, THRESHOLD_MAX)?;
    let mut amount = read_usd("autoReloadAmount", patch.auto_reload_amount.as_ref(), AMOUNT_RANGE.0, AMOUNT_RANGE.1)?;
    if amount.is_some_and(|amount| to_cents(MicroUsd(amount)).is_none()) {
        return Err(ApiError::invalid("autoReloadAmount", "autoReloadAmount must be a whole number of cents"));
    }
    let budget = match &patch.budget_limit {
        Some(Some(limit)) => Some(read_usd("budgetLimit", Some(limit), MicroUsd(1), BUDGET_MAX)?),
        Some(None) => Some(None),
        None => None,
    };
    let (desk, account_id) = (Desk::of(&cx), cx.caller.account_id()?);
    let row = read_billing(&desk, account_id).await?;
    if patch.auto_reload_enabled == Some(true) {
        if row.payment_method_id.is_none() {
            return Err(ApiError::new(Kind::NoCard, "Auto reload needs a saved card"));
        }
        amount = amount.or(row.auto_amount_micros.or(Some(AMOUNT_DEFAULT.0)));
    }
    let mut writes = Vec::new();
    if patch.auto_reload_enabled.is_some() || amount.is_some() || threshold.is_some() {
        let enabled = patch.auto_reload_enabled.map(i64::from);
        writes.push(set_auto_pay(account_id, enabled, amount, threshold).statement);
    }
    if let Some(limit) = budget {
        writes.push(set_account_limit(account_id, limit).statement);
    }
    if !writes.is_empty() {
        cx.ports.db.run(writes).await?;
        cx.app.credentials.forget_account(account_id);
        // A new limit counts what the month has spent, to the call that has just ended.
        flush(&cx.app, &cx.ports, account_id).await?;
    }
    Ok(Reply(to_preferences(&read_billing(&desk, account_id).await?)))
}

fn read_usd(
    field: &'static str,
    amount: Option<&Number>,
    least: MicroUsd,
    most: MicroUsd,
) -> Result<Option<i64>, ApiError> {
    let Some(amount) = amount else { return Ok(None) };
    let amount = MicroUsd::from_usd(amount).map_err(|error| ApiError::invalid(field, format!("{field}: {error}")))?;
    if amount < least || amount > most {
        let text = format!("{field} must be {} to {}", least.to_usd_string(), most.to_usd_string());
        return Err(ApiError::invalid(field, text));
    }
    Ok(Some(amount.0))
}
