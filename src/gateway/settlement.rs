//! The end of a call: what it costs, who pays, and the record of it. `docs/MONEY.md` has the rules as a table.

use std::rc::Rc;

use guildhall_domain::chat::quirks::Quirks;
use guildhall_domain::media::{ModelKind, Quantity};
use guildhall_domain::money::MicroUsd;
use guildhall_domain::own::{Origin, is_plausible};
use guildhall_domain::pricing::{TOKENS_MAX, TokenUsage};
use guildhall_domain::routing::ErrorClass;

use super::cache::{Found, Keep, Worth};
use super::choice::Choice;
use super::own::name_origin;
use super::provider::ProviderKind;
use super::receipt::{CacheReceipt, OwnShare, Receipt, ReceiptPrice, write_receipt};
use super::table::Offer;
use crate::app::Cx;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::meter::money::Reservation;
use crate::payments::auto_pay;
use crate::store::money::usage::{AttemptRecord, Source, UsageRow};

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The client has the whole answer.
    Completed,
    /// The upstream refused the client's request.
    Rejected,
    /// No upstream gave an answer.
    UpstreamFailed,
    /// Nor did one before the client's patience was over, which is not the fault of whoever was asked last.
    GivenUp,
    /// The answer began and broke off.
    StreamBroken,
    /// The client left.
    ClientGone,
}

impl Outcome {
    /// As records say it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Rejected => "rejected",
            Self::UpstreamFailed | Self::GivenUp => "upstream_failed",
            Self::StreamBroken => "stream_broken",
            Self::ClientGone => "client_gone",
        }
    }

    /// As logs class it; empty when nothing went wrong.
    const fn error_class(self) -> &'static str {
        match self {
            Self::Completed => "",
            Self::Rejected => "client_error",
            Self::UpstreamFailed | Self::GivenUp => "routing_failure",
            Self::StreamBroken => "stream_error",
            Self::ClientGone => "client_gone",
        }
    }

    /// Whether it says anything about the model and its provider.
    const fn is_evidence(self) -> bool {
        matches!(self, Self::Completed | Self::UpstreamFailed | Self::StreamBroken)
    }
}

/// A call that runs: its reservation, and what its record will say.
pub struct RunningCall {
    /// The request's context.
    pub cx: Cx,
    /// The money set aside.
    pub reservation: Reservation,
    /// What is asked for.
    pub kind: ModelKind,
    /// The routing mode.
    pub mode: &'static str,
    /// The model as the client asked for it.
    pub asked_model: String,
    /// What usage calls it.
    pub recorded_as: String,
    /// Whether the answer names the model that the router took, instead of what was asked for.
    pub echoes_negotiated: bool,
    /// The name that an alias replaced.
    pub alias_from: Option<String>,
    /// Why the model that is asked now, in `TokenHub`'s words.
    pub reason: String,
    /// Input tokens, as estimated here, for when no upstream counts them.
    pub input_tokens_estimate: u64,
    /// When the client's patience ends.
    pub deadline_ms: Option<i64>,
    /// How long it is, in milliseconds, where the client said so.
    pub asked_latency_ms: Option<i64>,
    /// The attempts so far; the last is the one that counts.
    pub tried: Vec<Tried>,
    /// Keeps the answer, where it may be kept.
    pub keep: Option<Box<Keep>>,
}

/// One attempt.
pub struct Tried {
    /// Who was asked.
    pub offer: Rc<Offer>,
    /// When.
    pub started_ms: i64,
    /// How it failed, if it did, and how long that took.
    pub failed: Option<(ErrorClass, i64)>,
}

/// What was used, and how it is known.
#[derive(Debug, Clone, Copy)]
pub enum Used {
    /// Nothing was delivered and nothing is charged.
    Nothing,
    /// As the upstream counted it.
    Reported(TokenUsage),
    /// As the upstream counted it, or as the request says: what is not counted in tokens.
    Counted(Quantity),
    /// Estimated by us, as [`Used::Counted`].
    Measured(Quantity),
    /// Estimated by us: so many output tokens were delivered.
    Estimated {
        /// Output tokens delivered.
        output: u64,
    },
}

impl RunningCall {
    /// A call whose models are chosen and whose money is set aside; the answer calls its model `asked_model`.
    ///
    /// # Errors
    /// 401 for a caller without a key: only keys reach a route that spends.
    pub fn begin(
        cx: Cx,
        kind: ModelKind,
        asked_model: &str,
        choice: &Choice,
        reservation: Reservation,
    ) -> Result<Self, ApiError> {
        Ok(Self {
            kind,
            asked_model: asked_model.to_owned(),
            recorded_as: choice.recorded_as.clone(),
            // TokenHub's clients read from the answer which model the router took.
            echoes_negotiated: choice.is_negotiated && cx.caller.key()?.product == "tokenhub",
            alias_from: choice.alias_from.clone(),
            reason: String::new(),
            mode: choice.mode.as_str(),
            input_tokens_estimate: choice.expected.input,
            deadline_ms: None,
            asked_latency_ms: None,
            cx,
            reservation,
            tried: Vec::new(),
            keep: None,
        })
    }

    /// An attempt begins.
    pub fn begin_attempt(&mut self, offer: &Rc<Offer>) {
        let started_ms = self.cx.ports.clock.now_ms();
        self.tried.push(Tried { offer: Rc::clone(offer), started_ms, failed: None });
    }

    /// Of the attempts that run, the one at this model counts from now on.
    pub fn bring_last(&mut self, offer: &Rc<Offer>) {
        let is_it = |tried: &Tried| tried.failed.is_none() && Rc::ptr_eq(&tried.offer, offer);
        if let Some(at) = self.tried.iter().rposition(is_it) {
            let tried = self.tried.remove(at);
            self.tried.push(tried);
        }
    }

    /// The attempt that counts has failed.
    pub fn note_failed_attempt(&mut self, class: ErrorClass) {
        let now_ms = self.cx.ports.clock.now_ms();
        if let Some(tried) = self.tried.last_mut() {
            tried.failed = Some((class, now_ms - tried.started_ms));
        }
    }

    /// Whether the client's patience is over.
    #[must_use]
    pub fn is_too_late(&self) -> bool {
        self.deadline_ms.is_some_and(|due_ms| self.cx.ports.clock.now_ms() >= due_ms)
    }

    /// What the answer calls its model.
    #[must_use]
    pub fn model_to_echo(&self) -> &str {
        match self.offer() {
            Some(offer) if self.echoes_negotiated => offer.model_id.as_str(),
            _ => &self.asked_model,
        }
    }

    /// What an answer of this model calls it.
    #[must_use]
    pub fn model_to_echo_of<'m>(&'m self, model: &'m str) -> &'m str {
        if self.echoes_negotiated { model } else { &self.asked_model }
    }

    /// A count of the upstream's, with the output that was seen here. An endpoint that belongs to whoever pays is not its own
    /// judge: it must count at least a quarter of the input that was reckoned with (short requests are mostly JSON) and half of
    /// the output, and what it has cached is its own affair.
    #[must_use]
    pub fn trust(&self, reported: TokenUsage, output_seen: u64) -> Used {
        if !self.judges_itself() {
            return Used::Reported(reported);
        }
        let is_enough = reported.output.saturating_mul(2) >= output_seen;
        if !is_enough || !is_plausible(reported.input, self.input_tokens_estimate) {
            return Used::Estimated { output: output_seen };
        }
        Used::Reported(TokenUsage { input: reported.input, output: reported.output, ..TokenUsage::default() })
    }

    /// Whether an endpoint of the caller's own answers.
    #[must_use]
    pub fn judges_itself(&self) -> bool {
        self.offer().is_some_and(|offer| offer.provider.origin() == Origin::Endpoint)
    }

    /// The kind of the provider that answers.
    #[must_use]
    pub fn provider_kind(&self) -> Option<ProviderKind> {
        self.offer().map(|offer| offer.provider.kind)
    }

    /// What is peculiar to the model that answers.
    #[must_use]
    pub fn quirks(&self) -> Option<&Rc<Quirks>> {
        self.offer().and_then(|offer| offer.quirks.as_ref())
    }

    fn offer(&self) -> Option<&Rc<Offer>> {
        self.tried.last().map(|tried| &tried.offer)
    }

    /// What an answer that is kept was worth.
    #[must_use]
    pub fn worth(&self, used: Used) -> Worth {
        let (_, quantity, _) = self.price(used);
        let cost = self.offer().map_or(MicroUsd::ZERO, |offer| offer.baseline(quantity));
        Worth { model: self.routed_model(), usage: tokens_of(quantity), cost }
    }

    fn price(&self, used: Used) -> (&'static str, Quantity, MicroUsd) {
        let (rule, quantity) = match used {
            Used::Nothing => ("nothing_delivered", Quantity::Tokens(TokenUsage::default())),
            Used::Reported(usage) => ("reported", Quantity::Tokens(usage)),
            Used::Counted(quantity) => ("reported", quantity),
            Used::Measured(quantity) => ("estimated", quantity),
            Used::Estimated { output } => {
                let (input, output) = (self.input_tokens_estimate, output.min(TOKENS_MAX));
                ("estimated", Quantity::Tokens(TokenUsage { input, output, ..TokenUsage::default() }))
            }
        };
        (rule, quantity, self.offer().map_or(MicroUsd::ZERO, |offer| offer.cost(quantity)))
    }

    /// Ends the call; gives what was charged.
    pub fn settle(self, outcome: Outcome, status: u16, used: Used) -> MicroUsd {
        let (rule, quantity, cost) = self.price(used);
        let baseline = self.own_offer().map(|offer| offer.baseline(quantity));
        let receipt = write_receipt(&self.receipt(rule, quantity, cost, baseline));
        let record = UsageRow {
            baseline_micros: baseline.map(|baseline| baseline.0),
            ..self.record(outcome, status, &tokens_of(quantity), cost, receipt)
        };
        let charged = self.reservation.settle(cost, record);
        if let Caller::Key(key) = &self.cx.caller {
            auto_pay::note_spending(&self.cx.app, &self.cx.ports, &key.payer);
        }
        charged
    }

    /// Ends a call that a kept answer answers: no model has worked, so it costs nothing.
    pub fn settle_cached(mut self, found: &Found) {
        let entry = &found.entry;
        let receipt = CacheReceipt {
            rule: "cache",
            tier: found.tier.name(),
            age_ms: found.age_ms,
            usage: Quantity::Tokens(entry.usage).into(),
            held_micros: self.reservation.amount,
            cost_micros: MicroUsd::ZERO,
            baseline_micros: entry.cost_micros,
            attempts: 0,
        };
        self.reason = format!("cache-{}", found.tier.name());
        let receipt = write_receipt(&receipt);
        let record = self.record(Outcome::Completed, 200, &entry.usage, MicroUsd::ZERO, receipt);
        let record = UsageRow {
            routed_model: entry.model.clone(),
            // So that nobody's latency looks better than it is.
            routed_provider: Source::Cache.name().to_owned(),
            source: Source::Cache,
            baseline_micros: Some(entry.cost_micros.0),
            ..record
        };
        self.reservation.settle(MicroUsd::ZERO, record);
    }

    /// The model that answers, where an upstream of the caller's own has it.
    fn own_offer(&self) -> Option<&Rc<Offer>> {
        self.offer().filter(|offer| offer.provider.own.is_some())
    }

    fn receipt(
        &self,
        rule: &'static str,
        quantity: Quantity,
        cost: MicroUsd,
        baseline: Option<MicroUsd>,
    ) -> Receipt<'_> {
        Receipt {
            rule,
            usage: quantity.into(),
            price: self.offer().map(|offer| ReceiptPrice::of(offer)),
            held_micros: self.reservation.amount,
            cost_micros: cost,
            attempts: Some(self.tried.len()),
            own: baseline.map(OwnShare::of),
        }
    }

    /// The model as records name it. An endpoint's own names are for its owner alone.
    fn routed_model(&self) -> String {
        match self.offer() {
            Some(offer) if offer.provider.origin() == Origin::Endpoint => offer.provider.id.to_string(),
            Some(offer) => offer.model_id.to_string(),
            None => String::new(),
        }
    }

    fn record(&self, outcome: Outcome, status: u16, usage: &TokenUsage, cost: MicroUsd, receipt: String) -> UsageRow {
        let (account_id, api_key_id, workspace_id) = match self.cx.caller.key() {
            Ok(key) => (key.account_id.clone(), key.key_id.clone(), key.workspace_id.clone().unwrap_or_default()),
            // Only keys reach a route that spends.
            Err(_) => (String::new(), String::new(), String::new()),
        };
        let latency_ms = self.cx.ports.clock.now_ms() - self.cx.started_ms;
        UsageRow {
            id: self.cx.request_id.to_string(),
            account_id,
            api_key_id,
            created_at_ms: self.cx.started_ms,
            request_type: self.kind.name().to_owned(),
            mode: self.mode.to_owned(),
            model: self.recorded_as.clone(),
            routed_model: self.routed_model(),
            routed_provider: self.offer().map_or_else(String::new, |offer| offer.provider.id.to_string()),
            status,
            outcome: outcome.name().to_owned(),
            input_tokens: usage.input,
            output_tokens: usage.output,
            cost_micros: cost.0,
            charged_micros: 0,
            latency_ms,
            receipt,
            alias_from: self.alias_from.clone().unwrap_or_default(),
            error_class: outcome.error_class().to_owned(),
            routing_reason: self.reason.clone(),
            workspace_id,
            source: self.offer().map_or(Source::Managed, |offer| name_origin(offer.provider.origin())),
            baseline_micros: None,
            attempts: self.record_attempts(outcome, cost),
        }
    }

    /// What the attempts tell. One that neither failed nor counts was given up, or did not fit, and tells nothing.
    fn record_attempts(&self, outcome: Outcome, cost: MicroUsd) -> Vec<AttemptRecord> {
        let Some((last, others)) = self.tried.split_last() else { return Vec::new() };
        let failed = others.iter().filter(|tried| tried.failed.is_some());
        failed.chain([last]).filter_map(|tried| self.record_attempt(tried, outcome, cost)).collect()
    }

    /// What an attempt tells of its model; nothing when it ended by the client's doing, or at an upstream of the client's own.
    fn record_attempt(&self, tried: &Tried, outcome: Outcome, cost: MicroUsd) -> Option<AttemptRecord> {
        if tried.offer.provider.own.is_some() {
            return None;
        }
        let (latency_ms, error_class) = match tried.failed {
            Some((class, took_ms)) => (took_ms, class.as_str()),
            None if outcome.is_evidence() => (self.cx.ports.clock.now_ms() - tried.started_ms, outcome.error_class()),
            None => return None,
        };
        let success = tried.failed.is_none() && outcome == Outcome::Completed;
        Some(AttemptRecord {
            model_id: tried.offer.model_id.to_string(),
            provider_id: tried.offer.provider.id.to_string(),
            latency_ms,
            cost_micros: if tried.failed.is_none() { cost.0 } else { 0 },
            success,
            error_class: error_class.to_owned(),
            estimated_tokens: self.input_tokens_estimate,
            latency_budget_ms: self.asked_latency_ms.unwrap_or(0),
        })
    }
}

/// The tokens of a quantity; none of one that is not counted in them.
fn tokens_of(quantity: Quantity) -> TokenUsage {
    match quantity {
        Quantity::Tokens(usage) => usage,
        Quantity::Steps(_) => TokenUsage::default(),
    }
}
