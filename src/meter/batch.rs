//! Records that travel to the wallet together and are captured together.

use std::collections::BTreeMap;
use std::rc::Rc;

use durable_objects::wallet::protocol::{AMOUNT_MAX, COUNTS_MAX, Capture, Count};
use guildhall_domain::money::MicroUsd;

use super::payer::Payer;

/// So that a batch, escaped once more, stays below the queue's limit for a message (128 kB).
const RECORDS_MAX_BYTES: usize = 64_000;
/// Payers of one batch: each counts for a few lines of its own.
const PAYERS_MAX: usize = COUNTS_MAX / 4;

/// A batch.
pub struct Batch {
    id: String,
    amount: MicroUsd,
    /// A JSON array without its closing bracket.
    records: String,
    /// Who was charged how much of the amount.
    shares: Vec<(Rc<Payer>, MicroUsd)>,
    /// When it was first sent: from then on its content is fixed, because the wallet knows it by its id.
    sealed_at_ms: Option<i64>,
}

impl Batch {
    /// An empty one.
    pub const fn new(id: String) -> Self {
        Self { id, amount: MicroUsd::ZERO, records: String::new(), shares: Vec::new(), sealed_at_ms: None }
    }

    /// What its records charge.
    pub const fn amount(&self) -> MicroUsd {
        self.amount
    }

    /// Whether one more record of what was charged may be added.
    pub fn has_room_for(&self, charged: MicroUsd, record: &str) -> bool {
        let is_short = self.records.len() + record.len() < RECORDS_MAX_BYTES;
        let is_small = plus(self.amount, charged) <= AMOUNT_MAX;
        self.sealed_at_ms.is_none() && is_short && is_small && self.shares.len() < PAYERS_MAX
    }

    /// Adds the record of what a payer was charged.
    pub fn add(&mut self, payer: &Rc<Payer>, charged: MicroUsd, record: &str) {
        self.amount = plus(self.amount, charged);
        self.records.push(if self.records.is_empty() { '[' } else { ',' });
        self.records.push_str(record);
        let known = self.shares.iter_mut().find(|(other, _)| Rc::ptr_eq(other, payer) || other == payer);
        match known {
            Some((_, share)) => *share = plus(*share, charged),
            None => self.shares.push((Rc::clone(payer), charged)),
        }
    }

    /// As the wallet is told of it; nothing is added afterwards.
    pub fn seal(&mut self, now_ms: i64) -> Capture {
        let sealed_at_ms = *self.sealed_at_ms.get_or_insert(now_ms);
        let mut counts: BTreeMap<String, Count> = BTreeMap::new();
        for count in self.shares.iter().flat_map(|(payer, share)| payer.counts(*share, now_ms)) {
            match counts.get_mut(&count.id) {
                Some(known) => {
                    known.amount = plus(known.amount, count.amount);
                    known.since_ms = known.since_ms.max(count.since_ms);
                }
                None => drop(counts.insert(count.id.clone(), count)),
            }
        }
        let (record, counts) = (Some(format!("{}]", self.records)), counts.into_values().collect());
        Capture { id: self.id.clone(), amount: self.amount, record, counts, sealed_at_ms }
    }
}

fn plus(a: MicroUsd, b: MicroUsd) -> MicroUsd {
    MicroUsd(a.0.saturating_add(b.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::payer::Tally;

    fn payer(key: &str, since_ms: i64, workspace: Option<i64>) -> Rc<Payer> {
        let of_workspace = (Tally::of_workspace("w"), workspace.map(MicroUsd));
        let tallies = vec![(Tally::of_key(key, since_ms), None), of_workspace, (Tally::of_account(), None)];
        Rc::new(Payer::new("ann", tallies))
    }

    #[test]
    fn a_batch_counts_for_each_line_what_its_payers_were_charged() {
        let mut batch = Batch::new("b".to_owned());
        for (payer, charged) in [(payer("1", 0, None), 3), (payer("2", 0, None), 4), (payer("1", 9, None), 5)] {
            batch.add(&payer, MicroUsd(charged), "{}");
        }
        let sent = batch.seal(1_796_083_200_000);
        let counts: Vec<_> =
            sent.counts.iter().map(|count| (count.id.as_str(), count.amount.0, count.since_ms)).collect();
        assert_eq!(counts, [("account", 12, 0), ("key:1", 8, 9), ("key:2", 4, 0), ("workspace:w", 12, 0)]);
        assert!(sent.counts.iter().all(|count| count.period == "2026-12"));
        assert_eq!((sent.amount, sent.record.as_deref()), (MicroUsd(12), Some("[{},{},{}]")));
    }

    #[test]
    fn a_batch_says_when_it_was_first_sent_however_often_it_is() {
        let mut batch = Batch::new("b".to_owned());
        batch.add(&payer("1", 0, None), MicroUsd(3), "{}");
        assert_eq!([7, 8, 900_000].map(|now_ms| batch.seal(now_ms).sealed_at_ms), [7; 3]);
    }

    #[test]
    fn what_is_limited_is_counted_by_its_budget_alone() {
        let mut batch = Batch::new("b".to_owned());
        batch.add(&payer("1", 0, Some(7)), MicroUsd(3), "{}");
        let ids: Vec<_> = batch.seal(0).counts.into_iter().map(|count| count.id).collect();
        assert_eq!(ids, ["account", "key:1"]);
    }

    #[test]
    fn a_batch_of_very_many_keys_is_full_before_its_counts_are_too_many() {
        let mut batch = Batch::new("b".to_owned());
        let mut keys = 0;
        while batch.has_room_for(MicroUsd::ZERO, "{}") {
            batch.add(&payer(&keys.to_string(), 0, None), MicroUsd(1), "{}");
            keys += 1;
        }
        let counts = batch.seal(0).counts.len();
        assert!(keys > 100 && counts <= COUNTS_MAX, "{keys} {counts}");
    }
}
