//! The end of a call: what it costs, who pays, and the record of it. `docs/MONEY.md` has the rules as a table.

use std::rc::Rc;

use guildhall_domain::money::MicroUsd;
use guildhall_domain::pricing::TokenUsage;
use serde_json::json;

use super::table::Offer;
use crate::app::Cx;
use crate::meter::money::Reservation;
use crate::store::money::usage::{AttemptRecord, UsageRow};

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The client has the whole answer.
    Completed,
    /// The upstream refused the client's request.
    Rejected,
    /// No upstream gave an answer.
    UpstreamFailed,
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
            Self::UpstreamFailed => "upstream_failed",
            Self::StreamBroken => "stream_broken",
            Self::ClientGone => "client_gone",
        }
    }

    /// As logs class it; empty when nothing went wrong.
    const fn error_class(self) -> &'static str {
        match self {
            Self::Completed => "",
            Self::Rejected => "client_error",
            Self::UpstreamFailed => "routing_failure",
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
    /// The routing mode.
    pub mode: &'static str,
    /// The model as the client asked for it.
    pub asked_model: String,
    /// Input tokens, estimated, for when no upstream counts them.
    pub input_tokens_estimate: u64,
    /// The route that answered, once one has.
    pub offer: Option<Rc<Offer>>,
    /// Upstreams tried.
    pub attempts: u32,
}

/// What was used, and how it is known.
#[derive(Debug, Clone, Copy)]
pub enum Used {
    /// Nothing was delivered and nothing is charged.
    Nothing,
    /// As the upstream counted it.
    Reported(TokenUsage),
    /// Estimated by us: so many output tokens were delivered.
    Estimated {
        /// Output tokens delivered.
        output: u64,
    },
}

impl RunningCall {
    /// Ends the call; gives what was charged.
    pub fn settle(self, outcome: Outcome, status: u16, used: Used) -> MicroUsd {
        let (rule, usage) = match used {
            Used::Nothing => ("nothing_delivered", TokenUsage::default()),
            Used::Reported(usage) => ("reported", usage),
            Used::Estimated { output } => {
                ("estimated", TokenUsage { input: self.input_tokens_estimate, output, ..TokenUsage::default() })
            }
        };
        let cost = self.offer.as_ref().map_or(MicroUsd::ZERO, |offer| offer.price.cost(&usage));
        let receipt = self.receipt(rule, &usage, cost);
        let record = self.record(outcome, status, &usage, cost, receipt);
        self.reservation.settle(cost, record)
    }

    fn receipt(&self, rule: &str, usage: &TokenUsage, cost: MicroUsd) -> String {
        let price = self.offer.as_ref().map(|offer| {
            json!({
                "model": offer.model_id,
                "version": offer.price_version,
                "input_pico_usd_per_token": offer.price.input.pico_usd_per_token(),
                "output_pico_usd_per_token": offer.price.output.pico_usd_per_token(),
                "cache_read_pico_usd_per_token": offer.price.cache_read.map(guildhall_domain::money::Rate::pico_usd_per_token),
            })
        });
        json!({
            "rule": rule,
            "usage": { "input": usage.input, "output": usage.output, "cache_read": usage.cache_read },
            "price": price,
            "held_micros": self.reservation.amount,
            "cost_micros": cost,
            "attempts": self.attempts,
        })
        .to_string()
    }

    fn record(&self, outcome: Outcome, status: u16, usage: &TokenUsage, cost: MicroUsd, receipt: String) -> UsageRow {
        let (account_id, api_key_id) = match self.cx.caller.key() {
            Ok(key) => (key.account_id.clone(), key.key_id.clone()),
            // Only keys reach a route that spends.
            Err(_) => (String::new(), String::new()),
        };
        let latency_ms = self.cx.ports.clock.now_ms() - self.cx.started_ms;
        let attempt = self.offer.as_ref().filter(|_| outcome.is_evidence()).map(|offer| AttemptRecord {
            model_id: offer.model_id.to_string(),
            provider_id: offer.provider.id.to_string(),
            latency_ms,
            cost_micros: cost.0,
            success: outcome == Outcome::Completed,
            error_class: outcome.error_class().to_owned(),
            estimated_tokens: self.input_tokens_estimate,
            latency_budget_ms: 0,
        });
        UsageRow {
            id: self.cx.request_id.to_string(),
            account_id,
            api_key_id,
            created_at_ms: self.cx.started_ms,
            request_type: "chat".to_owned(),
            mode: self.mode.to_owned(),
            model: self.asked_model.clone(),
            routed_model: self.offer.as_ref().map_or_else(String::new, |offer| offer.model_id.to_string()),
            routed_provider: self.offer.as_ref().map_or_else(String::new, |offer| offer.provider.id.to_string()),
            status,
            outcome: outcome.name().to_owned(),
            input_tokens: usage.input,
            output_tokens: usage.output,
            cost_micros: cost.0,
            charged_micros: 0,
            latency_ms,
            receipt,
            alias_from: String::new(),
            error_class: outcome.error_class().to_owned(),
            routing_reason: String::new(),
            attempts: attempt.into_iter().collect(),
        }
    }
}
