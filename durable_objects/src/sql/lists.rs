//! Writes as the lists that the statements take.

use super::Value;
use crate::machine::{Effect, Enlisted, Entry, NumberedEntry, Row, Write};

/// An entry: id, time, debit, credit, amount, note.
type Appending<'a> = (&'a str, i64, &'a str, &'a str, i64, &'a str);
/// An entry that has its number already: the number, then as [`Appending`].
type Placing<'a> = (i64, &'a str, i64, &'a str, &'a str, i64, &'a str);
/// An effect: id, binding, name, body, delay, time. A body is long, and commits have few: quoting it in a list would cost
/// more than a statement of its own.
type Enlisting = [Value; 6];

/// Writes, sorted by statement.
#[derive(Default)]
pub struct Lists<'a> {
    pub puts: Vec<(&'a str, &'a str)>,
    pub deletes: Vec<&'a str>,
    /// Numbers of the entries that others stand for.
    pub folded: Vec<i64>,
    pub placings: Vec<Placing<'a>>,
    pub appends: Vec<Appending<'a>>,
    pub enlists: Vec<Enlisting>,
    pub strikes: Vec<&'a str>,
}

impl<'a> Lists<'a> {
    pub fn of(writes: &'a [Write], now_ms: i64) -> Self {
        let mut lists = Self::default();
        for write in writes {
            match write {
                Write::Put(Row { key, value }) => lists.puts.push((key, value)),
                Write::Delete { key } => lists.deletes.push(key),
                Write::Append(Entry { id, at_ms, debit, credit, amount_usd_micros, note }) => {
                    lists.appends.push((id, *at_ms, debit, credit, *amount_usd_micros, note));
                }
                Write::Fold { seqs, into: NumberedEntry { seq, entry } } => {
                    lists.folded.extend(seqs);
                    let Entry { id, at_ms, debit, credit, amount_usd_micros, note } = entry;
                    lists.placings.push((*seq, id, *at_ms, debit, credit, *amount_usd_micros, note));
                }
                Write::Enlist(Enlisted { id, effect, retry_after_ms }) => {
                    let text = |text: &String| Value::Text(text.clone());
                    let (binding, name, body) = match effect {
                        Effect::Enqueue { item } => (Value::Null, Value::Null, text(item)),
                        Effect::Deliver { binding, name, command } => (text(binding), text(name), text(command)),
                    };
                    let [delay, due] = [*retry_after_ms, now_ms.saturating_add(*retry_after_ms)].map(Value::Integer);
                    lists.enlists.push([text(id), binding, name, body, delay, due]);
                }
                Write::Strike { id } => lists.strikes.push(id),
            }
        }
        lists
    }
}
