//! Which of an answer's calls a piece of a tool call belongs to.

use std::collections::{HashMap, HashSet};

/// A call that is gathered.
#[derive(Debug, Default)]
pub(super) struct Call {
    pub id: String,
    /// The function's name; empty until it is known.
    pub name: String,
    /// Arguments that came before the name.
    pub early: String,
    /// The output item, once there is one.
    pub item: Option<usize>,
}

/// The calls of one answer.
///
/// Pieces carry an index, and the first one an id and a name. Some servers leave the index out, or give all calls the
/// same: another id then tells a new call.
#[derive(Debug, Default)]
pub(super) struct Calls {
    pub list: Vec<Call>,
    by_index: HashMap<u64, usize>,
    /// The ids that items have.
    taken: HashSet<String>,
}

impl Calls {
    /// The place of the call that a piece with this index, id and name belongs to; a new one if need be.
    pub(super) fn place_of(&mut self, index: Option<u64>, id: &str, name: &str) -> usize {
        let known = match index {
            Some(index) => self.by_index.get(&index).copied(),
            None => self.list.len().checked_sub(1),
        };
        let is_another = |call: &Call| !id.is_empty() && !name.is_empty() && !call.id.is_empty() && call.id != id;
        let place = known.filter(|place| !self.list.get(*place).is_some_and(is_another)).unwrap_or_else(|| {
            self.list.push(Call::default());
            self.list.len() - 1
        });
        if let Some(index) = index {
            self.by_index.insert(index, place);
        }
        place
    }

    /// The server's id of a call, or `spare` where it gave none or gave it to another call already: results must find
    /// their call.
    pub(super) fn take_id(&mut self, id: &str, spare: String) -> String {
        let id = if id.is_empty() || self.taken.contains(id) { spare } else { id.to_owned() };
        self.taken.insert(id.clone());
        id
    }
}
