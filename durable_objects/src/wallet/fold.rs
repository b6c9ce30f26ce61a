//! Folding: old charges make way, so that a journal grows with its days and not with its calls.
//!
//! A charge is found in the journal by its name when it is sent again. So its entry may only go once the wallet knows the
//! charge without it: an entry is folded when its charge was sealed at a time until which all charges count as known. Both
//! times are the sender's, so it does not matter how far the clocks of isolates lie apart.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::draft::Draft;
use super::ledger::{JournalLine, Movement, note_of};
use super::protocol::{Capture, FOLD_AGE_MIN_MS, RefusalCode, Reply};
use super::refusal::{Stop, refuse};
use super::state::WalletMachine;
use crate::machine::{Entry, MachineError, NumberedEntry, Page, Write};

/// The row of what was folded; see [`crate::machine::EXTRA_PREFIX`].
pub const FOLDED_KEY: &str = "x:folded";
/// Entries that one command to fold reads.
pub const PART: u32 = 2_000;
/// Entries that a charge's command reads as long as there is more to fold: far more than it leaves itself, so that a
/// wallet's charges fold faster than they come.
const PART_BESIDE: u32 = 50;
/// A larger entry stays alone, in micro-dollars: so what a part adds up to is below 2^53, as every number of the journal.
const ENTRY_MAX: i64 = 4_000_000_000_000;
const DAY_MS: i64 = 86_400_000;
/// What may be folded, and what stands before the name of the first charge in the id of an entry for many.
const KINDS: [(Movement, &str); 2] = [(Movement::Capture, "captures:"), (Movement::WriteOff, "write_offs:")];

/// How far the journal is folded.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folded {
    /// Charges sealed until then are known. Only rises.
    before_ms: i64,
    /// The number until which entries are as they stay.
    through_seq: i64,
    /// Whether more was left when it was last looked.
    has_more: bool,
}

impl Folded {
    /// Whether a charge may have been made and folded.
    pub const fn may_hold(&self, capture: &Capture) -> bool {
        self.is_past(capture.sealed_at_ms)
    }

    const fn is_past(&self, sealed_at_ms: i64) -> bool {
        0 < sealed_at_ms && sealed_at_ms <= self.before_ms
    }

    /// The entries to go on with.
    pub const fn page(&self, limit: u32) -> Page {
        Page { after: self.through_seq, limit }
    }

    /// The entries that a charge's command goes on with, if there are any.
    pub fn page_beside(&self) -> Option<Page> {
        self.has_more.then(|| self.page(PART_BESIDE))
    }

    /// Which of [`KINDS`] an entry is, if it may be folded.
    fn kind_of(&self, entry: &Entry) -> Option<usize> {
        let is_of = |(movement, many): &(Movement, &str)| {
            let is_one = || entry.id.starts_with(&movement.entry_id(""));
            let is_past = || note_of(entry).is_ok_and(|note| self.is_past(note.sealed_at_ms));
            entry.id.starts_with(many) || (is_one() && is_past())
        };
        KINDS.iter().position(is_of).filter(|_| entry.amount_usd_micros <= ENTRY_MAX)
    }
}

impl WalletMachine {
    /// See [`super::protocol::Command::Fold`].
    pub(super) fn fold_until(
        &mut self,
        before_ms: i64,
        page: &[NumberedEntry],
        draft: &mut Draft,
    ) -> Result<Reply, Stop> {
        if before_ms > draft.now_ms.saturating_sub(FOLD_AGE_MIN_MS) {
            return Err(refuse(RefusalCode::Invalid, "what is folded is at least a day old"));
        }
        self.fold(before_ms.max(self.folded.before_ms), page, PART, draft)?;
        Ok(Reply::Folded { more: self.folded.has_more })
    }

    /// Does a small part, if there is more.
    pub(super) fn fold_beside(&mut self, page: &[NumberedEntry], draft: &mut Draft) -> Result<(), MachineError> {
        if self.folded.has_more { self.fold(self.folded.before_ms, page, PART_BESIDE, draft) } else { Ok(()) }
    }

    /// Folds what of a page of at most `limit` entries is old enough, and of what audits have added up: sums stay as they
    /// are, but entries that an audit has yet to read must not change under it.
    fn fold(
        &mut self,
        before_ms: i64,
        page: &[NumberedEntry],
        limit: u32,
        draft: &mut Draft,
    ) -> Result<(), MachineError> {
        let audited_seq = self.audited.last_seq();
        let is_old = |one: &&NumberedEntry| one.seq <= audited_seq && one.entry.at_ms < before_ms;
        let mut folded = Folded { before_ms, ..self.folded };
        let with_kind = |one| Old { one, kind: folded.kind_of(&one.entry) };
        let old: Vec<_> = page.iter().take_while(is_old).map(with_kind).collect();
        if old.chunk_by(Old::goes_on_with).all(|run| run.len() == 1) {
            // Where nothing is folded nothing is promised either: what comes late is charged.
            folded.before_ms = self.folded.before_ms;
        }
        folded.has_more = old.len() >= limit as usize;
        for run in old.chunk_by(Old::goes_on_with) {
            folded.through_seq = fold_run(run, draft).unwrap_or(folded.through_seq);
        }
        if folded != self.folded {
            draft.put(FOLDED_KEY.to_owned(), &folded)?;
            self.folded = folded;
        }
        Ok(())
    }
}

impl JournalLine {
    /// The id; where it stands for many charges, that of the first of them.
    #[must_use]
    pub fn first_id(&self) -> Cow<'_, str> {
        let first = |(movement, many): &(Movement, &str)| Some(movement.entry_id(self.id.strip_prefix(many)?));
        KINDS.iter().find_map(first).map_or(Cow::Borrowed(&self.id), Cow::Owned)
    }
}

/// An entry that is old enough.
struct Old<'p> {
    one: &'p NumberedEntry,
    /// Which of [`KINDS`] it is, if it may be folded.
    kind: Option<usize>,
}

impl Old<'_> {
    /// Whether both are charges of a day.
    fn goes_on_with(&self, next: &Self) -> bool {
        let day = |old: &Self| old.one.entry.at_ms.div_euclid(DAY_MS);
        self.kind.is_some() && next.kind.is_some() && day(self) == day(next)
    }
}

/// Folds charges of a day with nothing between them, kind by kind. Gives the number until which entries are as they stay:
/// what is left of charges may go on with those that come after them.
fn fold_run(run: &[Old<'_>], draft: &mut Draft) -> Option<i64> {
    let mut left = Vec::new();
    for (kind, (_, many)) in KINDS.iter().enumerate() {
        let entries: Vec<_> = run.iter().filter(|old| old.kind == Some(kind)).map(|old| old.one).collect();
        left.extend(entries.last().map(|newest| newest.seq));
        if let (2.., Some(into)) = (entries.len(), sum_of(&entries, many)) {
            draft.push(Write::Fold { seqs: entries.iter().map(|one| one.seq).collect(), into });
        }
    }
    let stays = run.last().map(|old| old.one.seq);
    left.into_iter().min().map(|seq| seq.saturating_sub(1)).or(stays)
}

/// One entry for many: with the number of the last, and the name and the time of those of its parts that moved anything,
/// so that a statement stays as it was.
fn sum_of(entries: &[&NumberedEntry], many: &str) -> Option<NumberedEntry> {
    let newest = entries.last()?;
    let mut moving = entries.iter().filter(|one| one.entry.amount_usd_micros > 0);
    let first = moving.next().or(entries.first())?;
    let last = moving.next_back().unwrap_or(first);
    let (_, name) = first.entry.id.split_once(':')?;
    let amount_usd_micros = entries.iter().map(|one| one.entry.amount_usd_micros).fold(0, i64::saturating_add);
    let (id, note) = (format!("{many}{name}"), "{}".to_owned());
    let entry = Entry { id, at_ms: last.entry.at_ms, amount_usd_micros, note, ..newest.entry.clone() };
    Some(NumberedEntry { seq: newest.seq, entry })
}
