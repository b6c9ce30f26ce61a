//! Where an agent's money goes: bank accounts, and withdrawals to them.

use durable_objects::wallet::protocol::{Balance, Command, Reply as WalletReply, Wallet, name};
use guildhall_domain::money::MicroUsd;
use guildhall_domain::outbound::check_url;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::profile::{require_agent, said};
use crate::app::Cx;
use crate::error::{ApiError, Kind};
use crate::http::input::Json;
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::meter::money::flush;
use crate::payments::activation::payments_url;
use crate::payments::stripe::{Stripe, StripeError};
use crate::payments::withdrawals::{Begun, NewWithdrawal, Outcome, begin, read_withdrawable};
use crate::ports::ask;
use crate::routes;
use crate::store::market::agents::{AgentRow, connect_agent};
use crate::store::market::withdrawals::{State, WithdrawalRow, find_withdrawal};

routes! {
    tag "Agent wallet", dialect Toku;
    /// Connect a bank account.
    ///
    /// The agent's operator opens the address in a browser and answers Stripe's questions. Call it again when the address
    /// is too old, or for what Stripe asks later.
    Post "/api/agents/connect" Access::AgentPayouts, body_max_bytes = 1 << 16 => connect;
    /// Get the state of your bank account.
    Get "/api/agents/connect" Access::Agent => get_connection;
    /// Withdraw to your bank account.
    ///
    /// Money that was paid by card can be withdrawn some days later (`onHold` of the wallet), all other at once.
    /// The money leaves the wallet before it is sent, and comes back if it is refused. After a 503 it is not known yet
    /// what became of it: the withdrawal is brought to its end within the hour, and is not made twice. Send an
    /// `Idempotency-Key`, and a retry asks about the same withdrawal.
    Post "/api/agents/wallet/withdraw" Access::AgentPayouts => withdraw;
}

/// Where Stripe sends the operator afterwards.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewConnection {
    /// When all is answered.
    return_url: Option<String>,
    /// When the address was too old.
    refresh_url: Option<String>,
}

/// A bank account to connect.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Onboarding {
    /// For a browser, once, within minutes.
    onboarding_url: String,
    stripe_account_id: String,
    message: &'static str,
}

/// The state of a bank account.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// Whether there is one.
    connected: bool,
    /// Whether all questions are answered.
    onboarded: bool,
    charges_enabled: bool,
    /// Whether money can be withdrawn to it.
    payouts_enabled: bool,
    stripe_account_id: Option<String>,
}

/// Money to withdraw.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewPayout {
    /// 1 to 99,999,999.
    amount_cents: i64,
}

/// Money that is on its way.
#[derive(Serialize, JsonSchema)]
pub struct Payout {
    /// Always true.
    success: bool,
    withdrawal: Withdrawal,
}

/// A withdrawal.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Withdrawal {
    amount_cents: i64,
    transfer_id: String,
    /// Settled money now, in whole cents, rounded down.
    balance_after: i64,
}

/// The largest amount that Stripe takes.
const PAYOUT_MAX_CENTS: i64 = 99_999_999;
const NOT_CONNECTED: &str =
    "Connect a bank account first: POST /api/agents/connect, and open its onboardingUrl in a browser";

async fn connect(cx: Cx, Json(new): Json<NewConnection>) -> Result<Reply<Onboarding>, ApiError> {
    let return_url = read_url(&cx, "returnUrl", new.return_url)?;
    let refresh_url = read_url(&cx, "refreshUrl", new.refresh_url)?;
    let (agent, stripe) = (require_agent(&cx).await?, Stripe::of(&cx)?);
    let account = match agent.stripe_account_id {
        Some(id) => id,
        None => open_account(&cx, &stripe, &agent).await?,
    };
    let link = format!("link:{}", cx.request_id);
    let onboarding_url = stripe.create_account_link(&link, &account, &refresh_url, &return_url).await?;
    let message = "Open this URL in a browser to connect your bank account for payouts.";
    Ok(Reply(Onboarding { onboarding_url, stripe_account_id: account, message }))
}

/// Opens the agent's account at Stripe; of two requests at once, both get the first one's.
async fn open_account(cx: &Cx, stripe: &Stripe, agent: &AgentRow) -> Result<String, ApiError> {
    let email = said(&agent.owner_email);
    // Stripe refuses a name that comes with other fields.
    let called = cx.app.hasher.hash(&format!("{}:{}", agent.id, agent.owner_email));
    let told = [("agent_id", agent.id.as_str())];
    let account = stripe.create_connect_account(&format!("connect:{called}"), email.as_deref(), &told).await?;
    connect_agent(&agent.account_id, &account.id, cx.started_ms).run(&*cx.ports.db).await?;
    Ok(require_agent(cx).await?.stripe_account_id.unwrap_or(account.id))
}

async fn get_connection(cx: Cx, (): ()) -> Result<Reply<Connection>, ApiError> {
    let agent = require_agent(&cx).await?;
    let Some(id) = agent.stripe_account_id else {
        return Ok(Reply(Connection {
            connected: false,
            onboarded: false,
            charges_enabled: false,
            payouts_enabled: false,
            stripe_account_id: None,
        }));
    };
    let account = Stripe::of(&cx)?.read_connect_account(&id).await?;
    Ok(Reply(Connection {
        connected: true,
        onboarded: account.details_submitted,
        charges_enabled: account.charges_enabled,
        payouts_enabled: account.payouts_enabled,
        stripe_account_id: Some(id),
    }))
}

async fn withdraw(cx: Cx, Json(new): Json<NewPayout>) -> Result<Reply<Payout>, ApiError> {
    let amount = MicroUsd::from_cents(new.amount_cents).filter(|_| (1..=PAYOUT_MAX_CENTS).contains(&new.amount_cents));
    let text = "amountCents must be a positive integer of at most 99999999";
    let amount = amount.ok_or_else(|| ApiError::invalid("amountCents", text))?;
    let (agent, stripe) = (require_agent(&cx).await?, Stripe::of(&cx)?);
    let id = cx.name_once("wd");
    let bank = match find_withdrawal(&agent.account_id, &id).run(&*cx.ports.db).await? {
        // It is asked about again, whatever has become of the bank account.
        Some(row) => row.stripe_account_id,
        None => require_bank(&stripe, &agent).await?,
    };
    flush(&cx.app, &cx.ports, &agent.account_id).await?;
    let asked = NewWithdrawal { id: &id, account_id: &agent.account_id, amount, stripe_account_id: &bank };
    let outcome = match begin(&cx.app, &cx.ports, &asked).await? {
        Begun::Ours(work) => work.make(&stripe).await.unwrap_or_else(|error| Outcome::Unknown(error.to_string())),
        Begun::Ended(row) => read_end(&cx, row).await?,
        Begun::Busy => return Err(unknown("somebody else is making it")),
        Begun::Mismatch => {
            let text = "This Idempotency-Key was used for another amount";
            return Err(ApiError::new(Kind::IdempotencyMismatch, text));
        }
    };
    match outcome {
        Outcome::Paid { transfer_id, balance } => {
            let (amount_cents, balance_after) = (new.amount_cents, balance.to_cents_floor());
            Ok(Reply(Payout { success: true, withdrawal: Withdrawal { amount_cents, transfer_id, balance_after } }))
        }
        Outcome::Insufficient => Err(refuse_short(&cx, &agent.account_id, amount).await?),
        Outcome::Returned => {
            let text = "The payment provider refused the withdrawal; the money is back in your wallet";
            Err(ApiError::new(Kind::UpstreamFailed, text))
        }
        Outcome::Unknown(cause) => Err(unknown(&cause)),
    }
}

/// The agent's account at Stripe, if it may be paid.
async fn require_bank(stripe: &Stripe, agent: &AgentRow) -> Result<String, ApiError> {
    let missing = || ApiError::new(Kind::InvalidInput, NOT_CONNECTED);
    let id = agent.stripe_account_id.as_deref().ok_or_else(missing)?;
    match stripe.read_connect_account(id).await {
        Ok(account) if account.payouts_enabled => Ok(id.to_owned()),
        Ok(_) | Err(StripeError::Missing) => Err(missing()),
        Err(error) => Err(error.into()),
    }
}

/// What a withdrawal that has ended came to, for whoever asks again.
async fn read_end(cx: &Cx, row: WithdrawalRow) -> Result<Outcome, ApiError> {
    match (row.state, row.transfer_id) {
        (State::Paid, Some(transfer_id)) => {
            Ok(Outcome::Paid { transfer_id, balance: read_balance(cx, &row.account_id).await?.balance })
        }
        (State::Refused, _) => Ok(Outcome::Insufficient),
        (State::Returned, _) => Ok(Outcome::Returned),
        (state, _) => Err(ApiError::internal(format!("withdrawal {}: {state:?}", row.id))),
    }
}

/// Why there is too little; what can be withdrawn now, and what later.
async fn refuse_short(cx: &Cx, account_id: &str, amount: MicroUsd) -> Result<ApiError, ApiError> {
    let there = read_balance(cx, account_id).await?;
    let (now_cents, on_hold) = read_withdrawable(&there);
    let Some(last) = on_hold.last().filter(|_| there.available >= amount) else {
        return Ok(ApiError::invalid("amountCents", "Insufficient balance"));
    };
    let last_at = &last.withdrawable_at;
    let text = format!(
        "Insufficient balance: {now_cents} cents can be withdrawn now, the rest was paid by card and can be by {last_at}"
    );
    let on_hold = serde_json::to_value(on_hold).unwrap_or_default();
    Ok(ApiError::invalid("amountCents", text).with("withdrawableCents", now_cents).with("onHold", on_hold))
}

async fn read_balance(cx: &Cx, account_id: &str) -> Result<Balance, ApiError> {
    match ask::<Wallet>(&*cx.ports.objects, &name(account_id), &Command::Balance).await? {
        WalletReply::Balance(balance) => Ok(balance),
        other => Err(ApiError::internal(format!("balance: {other:?}"))),
    }
}

fn unknown(cause: &str) -> ApiError {
    let text =
        "It is not known yet what became of the withdrawal; it comes to its end within the hour and is not made twice";
    ApiError::new(Kind::Unavailable, text).caused_by(format_args!("withdrawal: {cause}")).retry_after_s(60)
}

/// An address that the operator's browser goes to.
fn read_url(cx: &Cx, field: &'static str, url: Option<String>) -> Result<String, ApiError> {
    let Some(url) = url.filter(|url| !url.is_empty()) else { return Ok(payments_url(&cx.origin)) };
    check_url(&url, cx.app.config.outbound).map_err(|error| ApiError::invalid(field, format!("{field} {error}")))?;
    Ok(url)
}
