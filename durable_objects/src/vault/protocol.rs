//! The vault as its callers see it: one object.

use std::collections::BTreeMap;

use guildhall_domain::password::KdfCost;
use guildhall_domain::secret::{SecretText, Seed};
use serde::{Deserialize, Serialize};

use crate::protocol::Protocol;

/// The only object of its class.
pub const NAME: &str = "vault";
/// The shortest password, in bytes.
pub const PASSWORD_MIN_BYTES: usize = 8;
/// The longest password, in bytes.
pub const PASSWORD_MAX_BYTES: usize = 1_024;
/// The longest name of a secret, in bytes.
pub const NAME_MAX_BYTES: usize = 512;
/// The longest secret, in bytes.
pub const VALUE_MAX_BYTES: usize = 16 * 1_024;
/// How many secrets it keeps at most, and so the most that one `Get` may name.
pub const SECRETS_MAX: usize = 1_000;

/// The protocol of the `Vault` object.
#[derive(Debug)]
pub enum Vault {}

impl Protocol for Vault {
    const BINDING: &'static str = "VAULT";
    type Command = Command;
    type Reply = Reply;
}

/// What a caller may ask of the vault. Secrets have names such as `provider:openai:api_key` and `secret:smtp`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Asks how it stands.
    Status,
    /// Opens it; the first password makes it.
    Unlock(Unlock),
    /// Locks it until somebody unlocks it by hand.
    Lock,
    /// Puts another password in place, and all secrets under a fresh key.
    Rotate(Rotate),
    /// Asks for the names that begin with this.
    List {
        /// May be empty.
        prefix: String,
    },
    /// Asks for secrets.
    Get {
        /// At most [`SECRETS_MAX`].
        names: Vec<String>,
    },
    /// Keeps a secret, in place of an earlier one of that name.
    Put {
        /// 1 to [`NAME_MAX_BYTES`] bytes.
        name: String,
        /// 1 to [`VALUE_MAX_BYTES`] bytes.
        value: SecretText,
        /// Fresh.
        seed: Seed,
    },
    /// Removes a secret on request.
    Delete {
        /// Its name.
        name: String,
    },
    /// Removes a secret because its owner is gone. Needs no key: a locked vault does it too.
    Discard {
        /// Its name.
        name: String,
    },
}

/// What opens the vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlock {
    /// [`PASSWORD_MIN_BYTES`] to [`PASSWORD_MAX_BYTES`] bytes.
    pub password: SecretText,
    /// Fresh.
    pub seed: Seed,
    /// What a derivation costs, when the vault is made.
    pub cost: KdfCost,
    /// Whether a person asks. What the deployment's own password may do is less: it never opens what a person locked. It
    /// also is no guess that would be counted.
    pub by_hand: bool,
}

/// What changes the password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotate {
    /// The one that holds.
    pub old_password: SecretText,
    /// The one that is to hold; bounds as in [`Unlock`].
    pub new_password: SecretText,
    /// Fresh.
    pub seed: Seed,
    /// What a derivation costs from now on.
    pub cost: KdfCost,
}

/// What the vault answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// To `Status`.
    Status(Status),
    /// To `Unlock`, `Rotate`, `Put` and `Discard`: done.
    Done,
    /// To `Lock`: it is locked.
    Shut {
        /// Whether it was before.
        already_locked: bool,
    },
    /// To `List`.
    Names {
        /// In order.
        names: Vec<String>,
    },
    /// To `Get`.
    Values {
        /// Those that there are, by name.
        values: BTreeMap<String, SecretText>,
        /// Those that are there and do not open: the row was altered.
        broken: Vec<String>,
    },
    /// To `Delete`.
    Deleted {
        /// Whether there was one.
        found: bool,
    },
    /// It is locked, and the command needs its key; or it was locked by hand, and the password is the deployment's.
    Locked(Status),
    /// The password does not fit. Nothing has changed.
    WrongPassword,
    /// Too many wrong passwords within a minute; this one was not even tried.
    TooManyGuesses {
        /// When to come again, in milliseconds.
        retry_after_ms: i64,
    },
    /// To `Put`: there is no room.
    Full,
    /// The command breaks a bound of the protocol.
    Refused {
        /// Which one; for the log.
        message: String,
    },
}

/// How the vault stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whether it was ever made.
    pub initialized: bool,
    /// Whether its key is not in memory.
    pub locked: bool,
    /// Whether somebody locked it by hand and nobody has unlocked it by hand since.
    pub shut: bool,
}
