//! The machine of the providers' health: a row per provider.

use std::collections::BTreeMap;

use guildhall_domain::routing::ProviderHealth as Record;

use super::protocol::{Command, PROVIDERS_MAX, ProviderHealth, RUNS_MAX, Reply, Run, apply_runs};
use crate::machine::{Facts, Machine, MachineError, Outcome, Row, Step, Write};

/// A provider that nobody has called for so long is forgotten: a day.
const FORGET_MS: u64 = 24 * 60 * 60 * 1_000;

/// What is known.
#[derive(Debug, Default)]
pub struct ProviderHealthMachine {
    providers: BTreeMap<String, Record>,
}

impl Machine for ProviderHealthMachine {
    type Protocol = ProviderHealth;
    const HAS_LEDGER: bool = false;

    fn load(_name: &str, rows: Vec<Row>) -> Result<Self, MachineError> {
        let read = |row: Row| match serde_json::from_str(&row.value) {
            Ok(record) => Ok((row.key, record)),
            Err(error) => Err(MachineError::unreadable(&row.key, &error)),
        };
        Ok(Self { providers: rows.into_iter().map(read).collect::<Result<_, _>>()? })
    }

    fn apply(&mut self, command: Command, _facts: Facts, now_ms: i64) -> Step<Reply> {
        let seen = match command {
            Command::Report { seen } => seen,
            Command::Forget { provider } => {
                let forgotten = self.providers.remove(&provider);
                let writes = forgotten.map(|_| Write::Delete { key: provider }).into_iter().collect();
                return Ok(Outcome { reply: Reply::Known { providers: self.providers.clone() }, writes });
            }
        };
        if seen.len() > PROVIDERS_MAX || seen.values().any(|runs| runs.len() > RUNS_MAX) {
            return Ok(Outcome::of(Reply::Refused { message: "the report is too long".to_owned() }));
        }
        let now_ms = u64::try_from(now_ms).unwrap_or(0);
        let mut writes = if seen.is_empty() { Vec::new() } else { self.forget_old(now_ms) };
        for (provider, runs) in seen {
            self.take(provider, &runs, now_ms, &mut writes)?;
        }
        Ok(Outcome { reply: Reply::Known { providers: self.providers.clone() }, writes })
    }
}

impl ProviderHealthMachine {
    fn take(
        &mut self,
        provider: String,
        runs: &[Run],
        now_ms: u64,
        writes: &mut Vec<Write>,
    ) -> Result<(), MachineError> {
        if self.providers.len() >= PROVIDERS_MAX && !self.providers.contains_key(&provider) {
            return Ok(());
        }
        writes.retain(|write| !matches!(write, Write::Delete { key } if *key == provider));
        let record = self.providers.entry(provider.clone()).or_default();
        apply_runs(record, runs, now_ms);
        writes.push(Write::put(&provider, record)?);
        Ok(())
    }

    fn forget_old(&mut self, now_ms: u64) -> Vec<Write> {
        let is_old = |record: &Record| now_ms.saturating_sub(record.heard_ms()) > FORGET_MS;
        let old: Vec<_> =
            self.providers.iter().filter(|(_, record)| is_old(record)).map(|(key, _)| key.clone()).collect();
        self.providers.retain(|_, record| !is_old(record));
        old.into_iter().map(|key| Write::Delete { key }).collect()
    }
}

#[cfg(test)]
mod tests {
    use guildhall_domain::routing::{ErrorClass, Health};

    use super::*;

    const FAILED: Run = Run::Failed { class: ErrorClass::Transient, retry_after_ms: None, at_ms: u64::MAX };

    fn report(machine: &mut ProviderHealthMachine, provider: &str, runs: Vec<Run>, now_ms: i64) -> Outcome<Reply> {
        let seen = BTreeMap::from([(provider.to_owned(), runs)]);
        machine.apply(Command::Report { seen }, Facts::default(), now_ms).unwrap()
    }

    fn known(outcome: Outcome<Reply>) -> BTreeMap<String, Record> {
        match outcome.reply {
            Reply::Known { providers } => providers,
            Reply::Refused { message } => panic!("{message}"),
        }
    }

    #[test]
    fn what_several_isolates_saw_adds_up() {
        let mut machine = ProviderHealthMachine::default();
        report(&mut machine, "p", vec![FAILED; 3], 1_000);
        let providers = known(report(&mut machine, "p", vec![FAILED; 2], 1_100));
        assert_eq!(providers["p"].health(1_100), Health::Down);
        // What was served before the last failure counts, and says nothing of how the provider is now.
        for (at_ms, health, requests) in [(1_099, Health::Down, 1_005), (1_100, Health::Healthy, 2_005)] {
            let served = Run::Served { count: 1_000, latency_ms: 40, at_ms };
            let providers = known(report(&mut machine, "p", vec![served], 1_200));
            assert_eq!((providers["p"].health(1_200), providers["p"].requests()), (health, requests));
        }
    }

    #[test]
    fn what_was_written_is_read_again_and_the_format_is_unchanged() {
        let mut machine = ProviderHealthMachine::default();
        let outcome =
            report(&mut machine, "p", vec![Run::Served { count: 1, latency_ms: 40, at_ms: 1_000 }, FAILED], 1_000);
        let [Write::Put(row)] = outcome.writes.as_slice() else { panic!("{:?}", outcome.writes) };
        let text = r#"{"consecutive_errors":1,"down_until_ms":0,"probed_until_ms":0,"set_aside_until_ms":0,"latency_ms":40.0,"failure_rate":0.1,"rated_at_ms":1000,"requests":2,"errors":1,"succeeded_ms":1000,"failed_ms":1000}"#;
        assert_eq!(row.value, text);
        let again = ProviderHealthMachine::load("all", vec![row.clone()]).unwrap();
        assert_eq!(again.providers, machine.providers);
    }

    #[test]
    fn a_provider_that_nobody_calls_is_forgotten() {
        let mut machine = ProviderHealthMachine::default();
        report(&mut machine, "old", vec![FAILED], 1_000);
        let day_ms = i64::try_from(FORGET_MS).unwrap();
        let outcome = report(&mut machine, "new", vec![FAILED], 2_000 + day_ms);
        assert!(outcome.writes.contains(&Write::Delete { key: "old".to_owned() }));
        assert_eq!(known(outcome).keys().collect::<Vec<_>>(), ["new"]);
        let outcome = report(&mut machine, "new", vec![FAILED], 3_000 + 3 * day_ms);
        assert!(matches!(outcome.writes.as_slice(), [Write::Put(_)]), "put and deleted at once: {:?}", outcome.writes);
    }

    #[test]
    fn a_provider_that_is_gone_is_forgotten_at_once() {
        let mut machine = ProviderHealthMachine::default();
        report(&mut machine, "p", vec![FAILED; 5], 1_000);
        for writes in [1, 0] {
            let forget = Command::Forget { provider: "p".to_owned() };
            let outcome = machine.apply(forget, Facts::default(), 1_100).unwrap();
            assert_eq!((outcome.writes.len(), known(outcome).len()), (writes, 0));
        }
    }

    #[test]
    fn what_is_told_late_counts_from_when_it_was_seen() {
        let mut machine = ProviderHealthMachine::default();
        let failed = Run::Failed { class: ErrorClass::Transient, retry_after_ms: None, at_ms: 1_000 };
        let providers = known(report(&mut machine, "p", vec![failed; 5], 29_000));
        assert_eq!(providers["p"].health(30_999), Health::Down);
        assert_eq!(providers["p"].health(31_000), Health::HalfOpen);
    }

    #[test]
    fn reports_have_bounds() {
        let mut machine = ProviderHealthMachine::default();
        let outcome = report(&mut machine, "p", vec![FAILED; RUNS_MAX + 1], 1_000);
        assert!(matches!(outcome.reply, Reply::Refused { .. }) && outcome.writes.is_empty());
    }
}
