//! Which wallet a merged one went up in.

use serde::{Deserialize, Serialize};

pub const HEIR_KEY: &str = "heir";
/// Before the name of a merged wallet: the number of its last message.
pub const HEARD_PREFIX: &str = "heard:";

/// Where a merged wallet's keys pay from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heir {
    /// The other wallet.
    pub into: String,
    /// Names what is sent there.
    pub number: u64,
    /// Whether what was told of budgets last has not been answered yet. The next message waits for it: what is taken off
    /// must not come before what it is taken from.
    pub is_telling: bool,
}

impl Heir {
    pub const fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }
}
