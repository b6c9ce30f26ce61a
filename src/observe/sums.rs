//! What a batch of calls adds to the sums: few rows, however many calls it holds.

use std::collections::BTreeMap;

use guildhall_domain::latency::bucket_of;
use guildhall_domain::reward::{reward, token_bucket};
use serde::{Serialize, Serializer};

use crate::store::money::usage::{AttemptRecord, UsageRow};
use crate::store::ops::rollups::STEP_FINE_MS;

const DAY_MS: i64 = 86_400_000;

/// When a call ended, whether it is an error, and how long it took, each as coarse as the finest sums tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Moment {
    at_ms: i64,
    is_error: u8,
    bucket: u8,
}

impl Moment {
    fn of(row: &UsageRow) -> Self {
        let latency_ms = u64::try_from(row.latency_ms).unwrap_or(0);
        Self {
            at_ms: row.ended_at_ms() / STEP_FINE_MS * STEP_FINE_MS,
            is_error: u8::from(row.is_error()),
            bucket: bucket_of(latency_ms),
        }
    }
}

/// What is added up of calls that are alike.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    requests: u64,
    latency_ms: i64,
    charged_micros: i64,
    input_tokens: u64,
    output_tokens: u64,
}

impl Tally {
    const fn add(&mut self, row: &UsageRow) {
        self.requests += 1;
        self.latency_ms = self.latency_ms.saturating_add(row.latency_ms);
        self.charged_micros = self.charged_micros.saturating_add(row.charged_micros);
        self.input_tokens = self.input_tokens.saturating_add(row.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(row.output_tokens);
    }
}

/// Calls of one moment that are alike by `names`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct CallSum<N> {
    #[serde(flatten)]
    moment: Moment,
    #[serde(flatten)]
    names: N,
    #[serde(flatten)]
    tally: Tally,
}

/// What was asked, and who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Served<'r> {
    mode: &'r str,
    model: &'r str,
    provider: &'r str,
}

impl<'r> Served<'r> {
    /// Of a call.
    #[must_use]
    pub fn of(row: &'r UsageRow) -> Self {
        Self { mode: &row.mode, model: &row.routed_model, provider: &row.routed_provider }
    }
}

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Asking<'r> {
    api_key_id: &'r str,
}

impl<'r> Asking<'r> {
    /// Of a call.
    #[must_use]
    pub fn of(row: &'r UsageRow) -> Self {
        Self { api_key_id: &row.api_key_id }
    }
}

/// Adds up calls by moment and by what `names_of` says of them.
pub fn sum_calls<'r, N: Ord>(rows: &'r [UsageRow], names_of: impl Fn(&'r UsageRow) -> N) -> Vec<CallSum<N>> {
    let mut sums: BTreeMap<_, Tally> = BTreeMap::new();
    for row in rows {
        sums.entry((Moment::of(row), names_of(row))).or_default().add(row);
    }
    sums.into_iter().map(|((moment, names), tally)| CallSum { moment, names, tally }).collect()
}

/// What calls have in common that usage of a day tells together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct OfDay<'r> {
    account_id: &'r str,
    day: i64,
    api_key_id: &'r str,
    workspace_id: &'r str,
    request_type: &'r str,
    mode: &'r str,
    model: &'r str,
    source: &'static str,
}

impl<'r> OfDay<'r> {
    fn of(row: &'r UsageRow) -> Self {
        Self {
            account_id: &row.account_id,
            day: row.created_at_ms / DAY_MS,
            api_key_id: &row.api_key_id,
            workspace_id: &row.workspace_id,
            request_type: &row.request_type,
            mode: &row.mode,
            model: &row.model,
            source: row.source.name(),
        }
    }
}

/// Usage of a day that is alike.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct DaySum<'r> {
    #[serde(flatten)]
    of: OfDay<'r>,
    #[serde(flatten)]
    tally: Tally,
    completed: u64,
    cost_micros: i64,
    saved_micros: i64,
}

impl<'r> DaySum<'r> {
    fn nothing(of: OfDay<'r>) -> Self {
        Self { of, tally: Tally::default(), completed: 0, cost_micros: 0, saved_micros: 0 }
    }

    fn add(&mut self, row: &UsageRow) {
        self.tally.add(row);
        self.completed += u64::from(!row.is_error());
        self.cost_micros = self.cost_micros.saturating_add(row.cost_micros);
        self.saved_micros = self.saved_micros.saturating_add(row.saved_micros());
    }
}

/// Adds up usage by day.
#[must_use]
pub fn sum_days(rows: &[UsageRow]) -> Vec<DaySum<'_>> {
    let mut sums = BTreeMap::new();
    for row in rows {
        let of = OfDay::of(row);
        sums.entry(of).or_insert_with(|| DaySum::nothing(of)).add(row);
    }
    sums.into_values().collect()
}

/// One attempt, with what it was worth.
#[derive(Debug)]
pub struct Try<'r> {
    call: &'r UsageRow,
    tried: &'r AttemptRecord,
    number: usize,
    reward: f64,
}

impl<'r> Try<'r> {
    /// The attempts of a call.
    pub fn all_of(call: &'r UsageRow) -> impl Iterator<Item = Self> {
        call.attempts.iter().enumerate().map(move |(number, tried)| {
            let reward = reward(tried.success, tried.cost_micros, tried.latency_ms, tried.latency_budget_ms);
            Self { call, tried, number, reward }
        })
    }

    const fn at_ms(&self) -> i64 {
        self.call.ended_at_ms()
    }
}

/// In the order of the columns of `reward_logs`.
impl Serialize for Try<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { call, tried, number, reward } = self;
        (
            self.at_ms(),
            &call.id,
            number,
            &call.mode,
            &tried.model_id,
            &tried.provider_id,
            tried.estimated_tokens,
            token_bucket(tried.estimated_tokens),
            tried.latency_budget_ms,
            tried.latency_ms,
            tried.cost_micros,
            u8::from(tried.success),
            &tried.error_class,
            reward,
        )
            .serialize(serializer)
    }
}

/// Attempts of one day at one arm of the bandit.
#[derive(Debug, PartialEq, Serialize)]
pub struct ArmSum<'r> {
    day: i64,
    model_id: &'r str,
    token_bucket: &'static str,
    attempts: u64,
    reward: f64,
}

/// Adds up attempts by arm.
#[must_use]
#[expect(clippy::float_arithmetic, reason = "a reward orders models and is never money")]
pub fn sum_arms<'r>(tries: &[Try<'r>]) -> Vec<ArmSum<'r>> {
    let mut sums: BTreeMap<_, (u64, f64)> = BTreeMap::new();
    for tried in tries {
        let of = tried.tried;
        let arm = (tried.at_ms() / DAY_MS, of.model_id.as_str(), token_bucket(of.estimated_tokens));
        let (attempts, reward) = sums.entry(arm).or_default();
        *attempts += 1;
        *reward += tried.reward;
    }
    let row =
        |((day, model_id, token_bucket), (attempts, reward))| ArmSum { day, model_id, token_bucket, attempts, reward };
    sums.into_iter().map(row).collect()
}

/// Attempts at one provider.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct ProviderSum<'r> {
    provider_id: &'r str,
    requests: u64,
    errors: u64,
    latency_ms: i64,
    last_success_ms: i64,
    last_error_ms: i64,
    last_error: &'r str,
}

impl<'r> ProviderSum<'r> {
    fn add(&mut self, tried: &Try<'r>) {
        let (of, at_ms) = (tried.tried, tried.at_ms());
        self.requests += 1;
        if of.success {
            self.latency_ms = self.latency_ms.saturating_add(of.latency_ms);
            self.last_success_ms = self.last_success_ms.max(at_ms);
            return;
        }
        self.errors += 1;
        if at_ms >= self.last_error_ms {
            self.last_error_ms = at_ms;
            self.last_error = &of.error_class;
        }
    }
}

/// Adds up attempts by provider.
#[must_use]
pub fn sum_providers<'r>(tries: &[Try<'r>]) -> Vec<ProviderSum<'r>> {
    let mut sums: BTreeMap<_, ProviderSum<'r>> = BTreeMap::new();
    for tried in tries {
        let provider_id = tried.tried.provider_id.as_str();
        sums.entry(provider_id).or_insert(ProviderSum { provider_id, ..ProviderSum::default() }).add(tried);
    }
    sums.into_values().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::store::money::usage::Source;

    fn row(id: &str, ended_ms: i64, latency_ms: i64, outcome: &str, model: &str, key: &str) -> UsageRow {
        let row = json!({
            "id": id, "account_id": "a", "api_key_id": key, "created_at_ms": ended_ms - latency_ms, "request_type": "chat",
            "mode": "auto", "model": "asked", "routed_model": model, "routed_provider": "p", "status": 200,
            "outcome": outcome, "input_tokens": 10, "output_tokens": 5, "cost_micros": 7, "charged_micros": 6,
            "latency_ms": latency_ms, "receipt": {},
        });
        serde_json::from_value(row).unwrap()
    }

    #[test]
    fn calls_that_are_alike_are_one_row() {
        let rows = [
            row("1", 10_000, 10, "completed", "m", "k1"),
            row("2", 19_999, 10, "completed", "m", "k2"),
            row("3", 20_000, 10, "completed", "m", "k1"),
            row("4", 19_999, 10, "rejected", "m", "k1"),
            row("5", 19_999, 90, "completed", "m", "k1"),
            row("6", 19_999, 10, "completed", "n", "k1"),
        ];
        let calls = json!(sum_calls(&rows, Served::of));
        let alike = json!({ "at_ms": 10_000, "is_error": 0, "bucket": bucket_of(10), "mode": "auto", "model": "m", "provider": "p",
            "requests": 2, "latency_ms": 20, "charged_micros": 12, "input_tokens": 20, "output_tokens": 10 });
        assert_eq!(calls.as_array().unwrap().len(), 5);
        assert!(calls.as_array().unwrap().contains(&alike), "{calls}");
        let keys = json!(sum_calls(&rows, Asking::of));
        let requests = |sum: &Value| (sum["api_key_id"].clone(), sum["at_ms"].clone(), sum["requests"].clone());
        let found: Vec<_> = keys.as_array().unwrap().iter().map(requests).collect();
        assert!(found.contains(&(json!("k1"), json!(10_000), json!(2))), "{keys}");
    }

    #[test]
    fn usage_is_added_up_by_day() {
        let mut rows = [
            row("1", DAY_MS + 10, 10, "completed", "m", "k1"),
            row("2", DAY_MS + 9, 10, "completed", "n", "k1"),
            row("3", DAY_MS + 30, 10, "rejected", "m", "k1"),
            row("4", DAY_MS + 30, 10, "completed", "m", "k1"),
            row("5", DAY_MS + 30, 10, "rejected", "m", "k1"),
        ];
        for row in &mut rows[3..] {
            (row.source, row.baseline_micros, row.charged_micros) = (Source::Cache, Some(9), 2);
        }
        let of = |day: i64, source: &str, requests: i64, completed: i64, charged: i64, saved: i64| {
            json!({ "account_id": "a", "day": day, "api_key_id": "k1", "workspace_id": "", "request_type": "chat", "mode": "auto",
                "model": "asked", "source": source, "requests": requests, "completed": completed, "latency_ms": 10 * requests,
                "input_tokens": 10 * requests, "output_tokens": 5 * requests, "cost_micros": 7 * requests,
                "charged_micros": charged, "saved_micros": saved })
        };
        let expected = json!([of(0, "managed", 1, 1, 6, 0), of(1, "cache", 2, 1, 4, 7), of(1, "managed", 2, 1, 12, 0)]);
        assert_eq!(json!(sum_days(&rows)), expected, "the day is that of the beginning, and only answers save");
    }

    #[test]
    fn attempts_are_added_up_by_arm_and_by_provider() {
        let attempt = |provider_id: &str, latency_ms, error_class: &str| AttemptRecord {
            model_id: "m".into(),
            provider_id: provider_id.into(),
            latency_ms,
            success: error_class.is_empty(),
            error_class: error_class.into(),
            estimated_tokens: 10,
            ..AttemptRecord::default()
        };
        let mut rows = [row("1", DAY_MS, 10, "completed", "m", "k"), row("2", DAY_MS + 5, 10, "completed", "m", "k")];
        rows[0].attempts = vec![attempt("p", 3, "timeout"), attempt("q", 4, "")];
        rows[1].attempts = vec![attempt("p", 5, ""), attempt("p", 6, "rate_limited")];
        let tries: Vec<_> = rows.iter().flat_map(Try::all_of).collect();
        let providers = json!(sum_providers(&tries));
        assert_eq!(
            providers,
            json!([
                { "provider_id": "p", "requests": 3, "errors": 2, "latency_ms": 5, "last_success_ms": DAY_MS + 5,
                  "last_error_ms": DAY_MS + 5, "last_error": "rate_limited" },
                { "provider_id": "q", "requests": 1, "errors": 0, "latency_ms": 4, "last_success_ms": DAY_MS,
                  "last_error_ms": 0, "last_error": "" },
            ])
        );
        let arms = json!(sum_arms(&tries));
        let worth: f64 = tries.iter().map(|tried| tried.reward).sum();
        assert_eq!(
            arms,
            json!([{ "day": 1, "model_id": "m", "token_bucket": "small", "attempts": 4, "reward": worth }])
        );
    }
}
