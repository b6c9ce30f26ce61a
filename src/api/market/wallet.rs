//! Agents' wallets: cents at the edge, micro-dollars inside.

use durable_objects::wallet::protocol::{Balance, Command, JournalLine, PAGE_MAX, Reply as WalletReply, Wallet, name};
use guildhall_domain::agent::statement::{Kind as Entry, Movement, count_lines, transaction_id, write_statement};
use guildhall_domain::billing::fee::Product;
use guildhall_domain::ids::PaymentId;
use guildhall_domain::money::MicroUsd;
use guildhall_domain::time::format_rfc3339;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::profile::require_agent;
use crate::app::Cx;
use crate::auth::Caller;
use crate::config::Mode;
use crate::error::{ApiError, Kind};
use crate::http::input::Json;
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::meter::money::flush;
use crate::payments::Desk;
use crate::payments::activation::payments_url;
use crate::payments::by_hand::{Credit, credit_by_hand};
use crate::payments::checkout::{NewPayment, open_checkout};
use crate::payments::withdrawals::{OnHold, read_withdrawable};
use crate::ports::ask;
use crate::routes;
use crate::store::market::agents::{AgentRow, find_public_agent};

routes! {
    tag "Agent wallet", dialect Toku;
    /// Get your wallet.
    ///
    /// Balances are rounded down to whole cents; the amounts of the last 20 transactions add up to them. What calls of
    /// models cost in a day stands in one line, as a `JOB_PAYMENT` without a job. Every call that ended before this request is in it.
    Get "/api/agents/wallet" Access::Agent => get_wallet;
    /// Deposit into an agent's wallet.
    ///
    /// Nothing is paid: in live mode only the administrator may, to the agent of `agentId`. Agents deposit with
    /// `/api/agents/wallet/deposit/checkout`; in the sandbox also so.
    Post "/api/agents/wallet/deposit" Access::AgentOrAdmin, audit = "agent.deposit" => deposit;
    /// Deposit by Stripe Checkout.
    ///
    /// The operator opens the address in a browser and pays; the wallet is credited when Stripe tells of it. No fee.
    Post "/api/agents/wallet/deposit/checkout" Access::Agent, body_max_bytes = 1 << 16 => open_deposit_checkout;
}

/// A wallet.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentWallet {
    /// What can be spent, in whole cents, rounded down: the balance less what long-running calls hold.
    balance_cents: i64,
    /// Whose.
    agent_id: String,
    /// Whose.
    agent_name: String,
    /// What of it can be withdrawn now, in whole cents, rounded down. What was paid by card can be spent at once and
    /// withdrawn later; it is spent first.
    withdrawable_cents: i64,
    /// The rest, and from when on it can be withdrawn, soonest first.
    on_hold: Vec<OnHold>,
    /// The last 20, newest first.
    transactions: Vec<WalletTransaction>,
}

/// A movement of money.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WalletTransaction {
    id: String,
    /// Below 0 when the money left the wallet. The difference of the balances around it, each rounded down to cents.
    amount_cents: i64,
    /// The exact amount in US dollars.
    amount_usd: f64,
    #[serde(rename = "type")]
    kind: Entry,
    description: String,
    /// The job that was paid for; `null` for what was none.
    job_id: Option<String>,
    /// Settled money afterwards, in whole cents, rounded down.
    balance_after: i64,
    created_at: String,
}

/// A deposit to make.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewDeposit {
    /// 1 to 1,000,000.
    amount_cents: i64,
    /// The agent; for the administrator only.
    agent_id: Option<String>,
}

/// A deposit to pay for.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewDepositCheckout {
    /// 100 to 1,000,000.
    amount_cents: i64,
}

/// A page where a deposit is paid.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DepositCheckout {
    /// For a browser.
    checkout_url: String,
    /// Stripe's session.
    session_id: String,
    amount_cents: i64,
}

/// A deposit that was made.
#[derive(Serialize, JsonSchema)]
pub struct Deposited {
    /// Always true.
    success: bool,
    deposit: Deposit,
}

/// A deposit.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deposit {
    transaction_id: String,
    amount_cents: i64,
    /// Settled money now, in whole cents, rounded down.
    balance_after: i64,
    agent_id: String,
    agent_name: String,
}

const TRANSACTIONS: usize = 20;
/// Pages of the journal that are read for them: calls come in many small entries.
const PAGES_MAX: usize = 20;
/// The largest deposit: $10,000.
const DEPOSIT_MAX_CENTS: i64 = 1_000_000;

async fn get_wallet(cx: Cx, (): ()) -> Result<Reply<AgentWallet>, ApiError> {
    let agent = require_agent(&cx).await?;
    flush(&cx.app, &cx.ports, &agent.account_id).await?;
    let (movements, balance) = read_movements(&cx, &agent.account_id).await?;
    let statement = write_statement(balance.balance, movements, TRANSACTIONS);
    let transactions = statement.into_iter().map(|line| WalletTransaction {
        id: line.movement.id,
        amount_cents: line.amount_cents,
        amount_usd: line.movement.amount.to_usd(),
        kind: line.movement.kind,
        description: line.movement.description,
        job_id: None,
        balance_after: line.balance_after_cents,
        created_at: format_rfc3339(line.movement.at_ms),
    });
    let (withdrawable_cents, on_hold) = read_withdrawable(&balance);
    Ok(Reply(AgentWallet {
        balance_cents: balance.available.to_cents_floor(),
        withdrawable_cents,
        on_hold,
        agent_id: agent.id,
        agent_name: agent.name,
        transactions: transactions.collect(),
    }))
}

/// The newest movements, as many as a statement wants and a page holds, and what there is after them.
async fn read_movements(cx: &Cx, account_id: &str) -> Result<(Vec<Movement>, Balance), ApiError> {
    let to_movements = |entries: Vec<JournalLine>| entries.into_iter().filter_map(|line| to_movement(account_id, line));
    let (entries, balance) = read_recent(cx, account_id, None).await?;
    let mut oldest = entries.last().map_or(0, |line| line.seq);
    let mut movements: Vec<_> = to_movements(entries).collect();
    for _ in 1..PAGES_MAX {
        // One line more: the last one that is shown is whole once the next has begun.
        if oldest <= 1 || count_lines(&movements) > TRANSACTIONS {
            break;
        }
        let (mut entries, _) = read_recent(cx, account_id, Some(oldest)).await?;
        // A wallet that does not know `before` yet gives its newest ones again.
        entries.retain(|line| line.seq < oldest);
        let Some(last) = entries.last() else { break };
        oldest = last.seq;
        movements.extend(to_movements(entries));
    }
    Ok((movements, balance))
}

/// The newest entries before a number, newest first.
async fn read_recent(cx: &Cx, account_id: &str, before: Option<i64>) -> Result<(Vec<JournalLine>, Balance), ApiError> {
    let recent = Command::Recent { limit: PAGE_MAX, before };
    match ask::<Wallet>(&*cx.ports.objects, &name(account_id), &recent).await? {
        WalletReply::Recent { entries, balance } => Ok((entries, balance)),
        other => Err(ApiError::internal(format!("wallet: {other:?}"))),
    }
}

async fn deposit(cx: Cx, Json(new): Json<NewDeposit>) -> Result<Reply<Deposited>, ApiError> {
    let amount = read_cents(new.amount_cents)?;
    let agent = choose_agent(&cx, new.agent_id.as_deref()).await?;
    cx.audit_resource(&agent.id);
    cx.audit_detail(format_args!("{} USD", amount.to_usd_string()));
    let id = cx.name_once("dep");
    let by_admin = matches!(cx.caller, Caller::Admin);
    let reason = if by_admin { "Deposit by the administrator" } else { "Deposit" };
    let credit = Credit { account_id: &agent.account_id, id: &id, amount, reason, field: "amountCents" };
    let balance = credit_by_hand(&cx, &credit).await?;
    let deposit = Deposit {
        transaction_id: transaction_id(&agent.account_id, &format!("credit:{id}")),
        amount_cents: new.amount_cents,
        balance_after: balance.to_cents_floor(),
        agent_id: agent.id,
        agent_name: agent.name,
    };
    Ok(Reply(Deposited { success: true, deposit }))
}

async fn open_deposit_checkout(
    cx: Cx,
    Json(new): Json<NewDepositCheckout>,
) -> Result<Reply<DepositCheckout>, ApiError> {
    let amount = read_cents(new.amount_cents)?;
    if amount < Product::Toku.least() {
        let least = Product::Toku.least().to_cents_floor();
        return Err(ApiError::invalid("amountCents", format!("amountCents must be at least {least}")));
    }
    let agent = require_agent(&cx).await?;
    let back = payments_url(&cx.origin);
    let payment = NewPayment {
        kind: "deposit",
        product: Product::Toku,
        account_id: &agent.account_id,
        wallet: &agent.account_id,
        amount,
        saves_card: false,
        success_url: &back,
        cancel_url: &back,
        id: PaymentId::from_random(cx.draw()),
    };
    let opened = open_checkout(&Desk::of(&cx), &payment).await?;
    Ok(Reply(DepositCheckout {
        checkout_url: opened.url,
        session_id: opened.session_id,
        amount_cents: new.amount_cents,
    }))
}

/// Whose wallet a deposit is for, if the caller may deposit there.
async fn choose_agent(cx: &Cx, agent_id: Option<&str>) -> Result<AgentRow, ApiError> {
    match (&cx.caller, agent_id) {
        (Caller::Admin, None) => Err(ApiError::invalid("agentId", "agentId is required")),
        (Caller::Admin, Some(id)) => {
            let found = find_public_agent(id).run(&*cx.ports.db).await?;
            found.ok_or_else(|| ApiError::not_found("agent"))
        }
        (_, Some(_)) => Err(ApiError::new(Kind::Forbidden, "Only the administrator may say agentId")),
        (_, None) if cx.app.config.mode == Mode::Live => {
            let text = "Deposits are paid for: use POST /api/agents/wallet/deposit/checkout";
            Err(ApiError::new(Kind::Forbidden, text))
        }
        (_, None) => require_agent(cx).await,
    }
}

fn read_cents(cents: i64) -> Result<MicroUsd, ApiError> {
    let amount = MicroUsd::from_cents(cents).filter(|_| (1..=DEPOSIT_MAX_CENTS).contains(&cents));
    let text = "amountCents must be a positive integer of at most 1000000 ($10,000)";
    amount.ok_or_else(|| ApiError::invalid("amountCents", text))
}

/// An entry of the journal as it changes the balance; `None` when it does not.
fn to_movement(wallet: &str, line: JournalLine) -> Option<Movement> {
    let is_of_calls = line.debit == "balance" && line.credit == "revenue";
    let (kind, is_in, standard) = match (line.debit.as_str(), line.credit.as_str()) {
        ("external", "balance") => (Entry::Deposit, true, "Deposit"),
        ("in_flight", "balance") => (Entry::Deposit, true, "Returned"),
        ("wallets", "balance") => (Entry::JobEarning, true, "Earned"),
        ("balance", "external") => (Entry::Withdrawal, false, "Withdrawal"),
        ("balance", "in_flight") => (Entry::JobPayment, false, "Paid"),
        ("balance", "debt") => (Entry::Withdrawal, false, "A deposit was taken back"),
        ("balance", _) => (Entry::JobPayment, false, "Calls of models"),
        _ => return None,
    };
    if line.amount == MicroUsd::ZERO {
        return None;
    }
    let amount = if is_in { line.amount } else { line.amount.checked_neg()? };
    let id = transaction_id(wallet, &line.first_id());
    let description = line.note.reason.filter(|reason| !reason.is_empty()).unwrap_or_else(|| standard.to_owned());
    Some(Movement { id, at_ms: line.at_ms, kind, is_of_calls, amount, description })
}
