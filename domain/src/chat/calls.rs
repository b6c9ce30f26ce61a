//! Which of an answer's calls a piece of a tool call belongs to.

use std::collections::{HashMap, HashSet};

/// A call that is gathered.
#[derive(Debug, Default)]
pub(crate) struct Call {
    pub id: String,
    /// The function's name; empty until it is known.
    pub name: String,
    /// Arguments that came before the name.
    pub early: String,
    /// Its item or block in the output, once there is one.
    pub item: Option<usize>,
}

/// The calls of one answer.
///
/// Pieces carry an index, and the first one an id and a name. Some servers leave the index out, or give all calls the
/// same: another id then tells a new call.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    pub list: Vec<Call>,
    by_index: HashMap<u64, usize>,
    /// The ids that items have.
    taken: HashSet<String>,
    /// Bytes of the ids, names and early arguments that are kept.
    pub kept_bytes: usize,
}

impl Calls {
    /// The place of the call that a piece with this index, id and name belongs to, which keeps the id and the name that
    /// came first; a new one if need be.
    pub fn place_of(&mut self, index: Option<u64>, id: &str, name: &str) -> usize {
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
        if let Some(call) = self.list.get_mut(place) {
            for (kept, told) in [(&mut call.id, id), (&mut call.name, name)] {
                if kept.is_empty() {
                    kept.push_str(told);
                    self.kept_bytes += told.len();
                }
            }
        }
        place
    }

    /// Keeps arguments until the call has a name.
    pub fn keep_early(&mut self, place: usize, arguments: &str) {
        if let Some(call) = self.list.get_mut(place) {
            call.early.push_str(arguments);
            self.kept_bytes += arguments.len();
        }
    }

    /// The server's id of a call, or `spare` where it gave none or gave it to another call already: results must find
    /// their call.
    pub fn take_id(&mut self, id: &str, spare: String) -> String {
        let id = if id.is_empty() || self.taken.contains(id) { spare } else { id.to_owned() };
        self.taken.insert(id.clone());
        id
    }
}
