//! A video's money: the hold, the record, the charge that ends it.

use durable_objects::job::protocol::{Delivery, Report};
use durable_objects::protocol::Protocol as _;
use durable_objects::wallet::protocol::{self as wallet, BudgetLine, Capture, Count, RefusalCode, Wallet};
use guildhall_domain::media::{ModelKind, Quantity, VideoTask};
use guildhall_domain::money::{MicroUsd, Rate};
use guildhall_domain::own::Origin;
use guildhall_domain::pricing::{Unit, UnitPrice};
use serde::{Deserialize, Serialize};

use super::DEADLINE_MS;
use crate::app::Cx;
use crate::error::ApiError;
use crate::gateway::choice::Choice;
use crate::gateway::own::name_origin;
use crate::gateway::receipt::{OwnShare, Receipt, ReceiptPrice, ReceiptRates, write_receipt};
use crate::gateway::reserving::refuse;
use crate::gateway::settlement::Outcome;
use crate::gateway::table::Offer;
use crate::meter::money::Refusal;
use crate::payments::auto_pay::{Need, reload};
use crate::ports::ask;
use crate::store::money::usage::{Source, UsageRow};

/// How long the money stays held beyond the deadline, in milliseconds: the job's end comes first.
const HOLD_GRACE_MS: i64 = 60 * 60 * 1_000;
/// How long money that other calls hold is waited for: so many times so many milliseconds.
const HOLD_TRIES: u32 = 12;
const HOLD_PAUSE_MS: u32 = 250;
/// What is kept of a prompt, in characters.
const PROMPT_KEPT_CHARS: usize = 1_000;

/// What the job must know.
#[derive(Serialize, Deserialize)]
pub(super) struct Spec {
    pub(super) prompt: String,
    pub(super) seconds: u32,
    pub(super) size: (u32, u32),
    pub(super) fps: u32,
    /// The usage record, but for how it ends.
    pub(super) record: UsageRow,
    pub(super) held: MicroUsd,
    /// The budgets that it counts against.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) budgets: Vec<BudgetLine>,
    /// For what else the charge counts; all of it does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) counts: Vec<Count>,
}

/// Where it is made, and at what price: the job's reference.
#[derive(Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) provider: String,
    pub(super) model: String,
    pub(super) id: String,
    pub(super) rate: Rate,
    pub(super) price_version: i64,
    /// Where it is made at an upstream of the caller's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) own: Option<OwnPlace>,
}

/// An upstream of the caller's own.
#[derive(Serialize, Deserialize)]
pub(super) struct OwnPlace {
    pub(super) origin: Origin,
    pub(super) account_id: String,
    pub(super) id: String,
    /// The model whose price it has.
    pub(super) priced_as: Option<String>,
}

impl Place {
    /// Of the video of this id at an offer's provider.
    pub(super) fn of(offer: &Offer, id: String) -> Self {
        let own = offer.provider.own.as_ref().map(|own| OwnPlace {
            origin: own.origin,
            account_id: own.account_id.clone(),
            id: own.id.clone(),
            priced_as: offer.priced_as.as_ref().map(ToString::to_string),
        });
        // An endpoint's own names are for its owner alone.
        let is_endpoint = offer.provider.origin() == Origin::Endpoint;
        Self {
            provider: offer.provider.id.to_string(),
            model: if is_endpoint { offer.provider.id.to_string() } else { offer.model_id.to_string() },
            id,
            rate: offer.price.input,
            price_version: offer.price_version,
            own,
        }
    }

    pub(super) fn origin(&self) -> Origin {
        self.own.as_ref().map_or(Origin::Platform, |own| own.origin)
    }
}

/// What came of it: the job's result.
#[derive(Serialize, Deserialize)]
pub(super) struct Film {
    pub(super) url: Option<String>,
    pub(super) seconds: u64,
    pub(super) charged: MicroUsd,
}

/// Holds the price. What is leased to isolates comes back within a moment, and is waited for.
pub(super) async fn hold(cx: &Cx, id: &str, amount: MicroUsd) -> Result<(), ApiError> {
    if amount == MicroUsd::ZERO {
        return Ok(());
    }
    let key = cx.caller.key()?;
    let account = key.account_id.clone();
    let expires_at_ms = cx.started_ms + DEADLINE_MS + HOLD_GRACE_MS;
    let budgets = key.payer.lines(cx.started_ms);
    let command = wallet::Command::Hold { id: id.to_owned(), amount, expires_at_ms, budgets };
    let mut has_reloaded = false;
    for tries in 0.. {
        let answer = ask_wallet(cx, &account, &command).await;
        if answer.is_err() {
            // The wallet may have held it all the same.
            release(cx, id).await;
        }
        match answer? {
            wallet::Reply::Held { .. } => return Ok(()),
            wallet::Reply::Refused { code: RefusalCode::Insufficient, .. } => {}
            // It has room, but for what other calls hold of it: that comes back, as money does.
            wallet::Reply::Refused { code: RefusalCode::BudgetExceeded, budget: Some(left), .. }
                if left.available >= amount && tries < HOLD_TRIES =>
            {
                cx.ports.clock.sleep_ms(HOLD_PAUSE_MS).await;
                continue;
            }
            wallet::Reply::Refused { code: RefusalCode::BudgetExceeded, budget: Some(left), .. } => {
                // The lines were written from the budgets, one for one.
                let tight = key.payer.budgets().get(left.line).ok_or_else(|| ApiError::internal("no such budget"))?;
                return Err(refuse(cx, Refusal::Budget { of: tight.tally.of, budget: tight.limit, spent: left.spent }));
            }
            other => return Err(ApiError::internal(format!("wallet: {other:?}"))),
        }
        let wallet::Reply::Balance(balance) = ask_wallet(cx, &account, &wallet::Command::Balance).await? else {
            return Err(ApiError::internal("wallet: no balance"));
        };
        let is_short = balance.available < amount;
        if is_short && !has_reloaded && key.payer.reloads_below().is_some() {
            has_reloaded = true;
            if reload(&cx.app, &cx.ports, &account, Need::Call(amount)).await {
                continue;
            }
        }
        if tries == HOLD_TRIES || is_short {
            return Err(refuse(cx, Refusal::Insufficient { balance: balance.available, required: amount }));
        }
        cx.ports.clock.sleep_ms(HOLD_PAUSE_MS).await;
    }
    Ok(())
}

async fn ask_wallet(cx: &Cx, account: &str, command: &wallet::Command) -> Result<wallet::Reply, ApiError> {
    let answer = ask::<Wallet>(&*cx.ports.objects, &wallet::name(account), command).await;
    answer.map_err(|cause| refuse(cx, Refusal::Failed(cause)))
}

pub(super) async fn release(cx: &Cx, id: &str) {
    let Ok(key) = cx.caller.key() else { return };
    if let Err(error) = ask_wallet(cx, &key.account_id, &wallet::Command::Release { hold_id: id.to_owned() }).await {
        cx.ports.background.log(&format!("{}: hold {id} is left to expire: {}", cx.request_id, error.message));
    }
}

pub(super) fn write_spec(cx: &Cx, task: &VideoTask<'_>, choice: &Choice, held: MicroUsd) -> Result<Spec, ApiError> {
    let key = cx.caller.key()?;
    let record = UsageRow {
        id: cx.request_id.to_string(),
        account_id: key.account_id.clone(),
        api_key_id: key.key_id.clone(),
        created_at_ms: cx.started_ms,
        request_type: ModelKind::Video.name().to_owned(),
        mode: choice.mode.as_str().to_owned(),
        model: choice.recorded_as.clone(),
        routed_model: String::new(),
        routed_provider: String::new(),
        status: 200,
        outcome: Outcome::UpstreamFailed.name().to_owned(),
        input_tokens: 0,
        output_tokens: 0,
        cost_micros: 0,
        charged_micros: 0,
        latency_ms: 0,
        receipt: write_receipt(&receipt("nothing_delivered", 0, None, held, MicroUsd::ZERO, MicroUsd::ZERO)),
        alias_from: choice.alias_from.clone().unwrap_or_default(),
        error_class: String::new(),
        routing_reason: String::new(),
        workspace_id: key.workspace_id.clone().unwrap_or_default(),
        source: Source::Managed,
        baseline_micros: None,
        attempts: Vec::new(),
    };
    let budgets = key.payer.lines(cx.started_ms);
    let counts = key.payer.counts(held, cx.started_ms).collect();
    let prompt = task.prompt.chars().take(PROMPT_KEPT_CHARS).collect();
    Ok(Spec { prompt, seconds: task.seconds, size: task.size, fps: task.fps, record, held, budgets, counts })
}

fn receipt<'p>(
    rule: &'static str,
    seconds: u64,
    place: Option<&'p Place>,
    held: MicroUsd,
    cost: MicroUsd,
    baseline: MicroUsd,
) -> Receipt<'p> {
    let price = place.map(|place| {
        let priced_as = place.own.as_ref().and_then(|own| own.priced_as.as_ref());
        let rates = ReceiptRates::per_unit(Unit::Second, place.rate);
        ReceiptPrice { model: priced_as.unwrap_or(&place.model), version: place.price_version, rates }
    });
    let own = place.filter(|place| place.own.is_some()).map(|_| OwnShare::of(baseline));
    let usage = Quantity::Steps(seconds).into();
    Receipt { rule, usage, price, held_micros: held, cost_micros: cost, attempts: None, own }
}

/// The charge that ends the hold, with its record; sealed now, also where it is made for a job that does not end.
pub(super) fn charge(
    id: &str,
    record: &UsageRow,
    amount: MicroUsd,
    budgets: Vec<BudgetLine>,
    counts: Vec<Count>,
    now_ms: i64,
) -> Result<Delivery, serde_json::Error> {
    let record_json = Some(serde_json::to_string(&[record])?);
    let capture = Capture { id: record.id.clone(), amount, record: record_json, counts, sealed_at_ms: now_ms };
    let command = wallet::Command::Capture { hold_id: id.to_owned(), capture, close: true, budgets };
    let name = wallet::name(&record.account_id);
    Ok(Delivery { binding: Wallet::BINDING.to_owned(), name, command: serde_json::to_string(&command)? })
}

pub(super) fn complete(
    id: &str,
    spec: Spec,
    place: &Place,
    film: Film,
    now_ms: i64,
) -> Result<Report, serde_json::Error> {
    let baseline = UnitPrice { unit: Unit::Second, rate: place.rate }.cost(film.seconds);
    let cost = place.origin().charge(baseline);
    let receipt = receipt("reported", film.seconds, Some(place), spec.held, cost, baseline);
    // What was promised when it was asked for is the most that is charged.
    let charged = cost.min(spec.held);
    let record = UsageRow {
        routed_model: place.model.clone(),
        routed_provider: place.provider.clone(),
        outcome: Outcome::Completed.name().to_owned(),
        cost_micros: cost.0,
        charged_micros: charged.0,
        latency_ms: now_ms - spec.record.created_at_ms,
        receipt: write_receipt(&receipt),
        source: name_origin(place.origin()),
        baseline_micros: place.own.as_ref().map(|_| baseline.0),
        ..spec.record
    };
    let then = Some(charge(id, &record, charged, spec.budgets, spec.counts, now_ms)?);
    Ok(Report::Completed { result: serde_json::to_string(&Film { charged, ..film })?, then })
}
