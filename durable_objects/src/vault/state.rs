//! The machine of the vault.
//!
//! Stored are the envelope, the sealed secrets, whether it was locked by hand, and the wrong passwords of the last
//! minute. The open key is in memory only: whatever drops the machine (a failure to write, a deployment, the platform's
//! eviction of an idle object) locks the vault.

use std::collections::BTreeMap;

use guildhall_domain::secret::{SecretText, Seed};
use serde::{Deserialize, Serialize};

use super::envelope::{DataKey, Envelope};
use super::protocol::{
    Command, NAME_MAX_BYTES, PASSWORD_MAX_BYTES, PASSWORD_MIN_BYTES, Reply, Rotate, SECRETS_MAX, Status, Unlock,
    VALUE_MAX_BYTES, Vault,
};
use crate::machine::{Facts, Machine, MachineError, Outcome, Row, Step, Write};

/// How long an unlocked vault that nobody uses stays open.
pub const IDLE_MS: i64 = 30 * 60 * 1_000;
/// How often an open vault wakes up: the platform drops an object from memory, and with it the key, that has had no
/// event for ten seconds.
pub const AWAKE_MS: i64 = 5_000;
/// Wrong passwords within [`GUESSES_MS`] before none is tried any more.
pub const GUESSES_MAX: u32 = 10;
/// See [`GUESSES_MAX`].
pub const GUESSES_MS: i64 = 60 * 1_000;
/// The most that all sealed secrets may take, in bytes: they are all in memory, and a rotation holds them twice.
pub const SEALED_MAX_BYTES: usize = 4 * 1_024 * 1_024;

const ENVELOPE_KEY: &str = "envelope";
/// The row that exists while the vault is locked by hand.
const SHUT_KEY: &str = "shut";
const GUESSES_KEY: &str = "guesses";
const SEALED_PREFIX: &str = "sealed:";

/// The vault.
#[derive(Debug)]
pub struct VaultMachine {
    envelope: Option<Envelope>,
    /// By name.
    sealed: BTreeMap<String, String>,
    shut: bool,
    guesses: Guesses,
    /// In memory only.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    key: DataKey,
    used_at_ms: i64,
    wake_at_ms: i64,
}

/// Wrong passwords within a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Guesses {
    since_ms: i64,
    count: u32,
}

/// What came of a password.
enum PasswordCheck {
    /// The key that it opens, and what to write.
    Fits(DataKey, Vec<Write>),
    Fails(Outcome<Reply>),
}

impl Machine for VaultMachine {
    type Protocol = Vault;
    const HAS_LEDGER: bool = false;

    fn load(_name: &str, rows: Vec<Row>) -> Result<Self, MachineError> {
        let mut vault =
            Self { envelope: None, sealed: BTreeMap::new(), shut: false, guesses: Guesses::default(), open: None };
        for Row { key, value } in rows {
            let unreadable = |error: serde_json::Error| MachineError::unreadable(&key, &error);
            match key.as_str() {
                ENVELOPE_KEY => vault.envelope = Some(serde_json::from_str(&value).map_err(unreadable)?),
                SHUT_KEY => vault.shut = true,
                GUESSES_KEY => vault.guesses = serde_json::from_str(&value).map_err(unreadable)?,
                other => {
                    let name = other.strip_prefix(SEALED_PREFIX);
                    let name = name.ok_or_else(|| MachineError::unreadable(other, &"no row of a vault"))?;
                    vault.sealed.insert(name.to_owned(), serde_json::from_str(&value).map_err(unreadable)?);
                }
            }
        }
        Ok(vault)
    }

    fn apply(&mut self, command: Command, _facts: Facts, now_ms: i64) -> Step<Reply> {
        self.expire(now_ms);
        match command {
            Command::Status => Ok(Outcome::of(Reply::Status(self.status()))),
            Command::Unlock(unlock) => self.unlock(&unlock, now_ms),
            Command::Lock => self.lock(),
            Command::Discard { name } => {
                let (_, writes) = self.remove(&name);
                Ok(Outcome { reply: Reply::Done, writes })
            }
            _ if !self.touch(now_ms) => Ok(Outcome::of(Reply::Locked(self.status()))),
            Command::Rotate(rotate) => self.rotate(&rotate, now_ms),
            Command::List { prefix } => {
                let names = self.sealed.keys().filter(|name| name.starts_with(&prefix)).cloned().collect();
                Ok(Outcome::of(Reply::Names { names }))
            }
            Command::Get { names } => Ok(Outcome::of(self.get(names))),
            Command::Put { name, value, seed } => self.put(name, &value, &seed),
            Command::Delete { name } => {
                let (found, writes) = self.remove(&name);
                Ok(Outcome { reply: Reply::Deleted { found }, writes })
            }
        }
    }

    fn alarm(&mut self, now_ms: i64) -> Step<()> {
        self.expire(now_ms);
        if let Some(open) = &mut self.open {
            open.wake_at_ms = now_ms.saturating_add(AWAKE_MS);
        }
        Ok(Outcome::of(()))
    }

    fn next_alarm_ms(&self) -> Option<i64> {
        self.open.as_ref().map(|open| open.wake_at_ms.min(open.used_at_ms.saturating_add(IDLE_MS)))
    }
}

impl VaultMachine {
    /// Drops the key of a vault that nobody has used for long.
    fn expire(&mut self, now_ms: i64) {
        self.open.take_if(|open| now_ms.saturating_sub(open.used_at_ms) >= IDLE_MS);
    }

    /// Notes that the open vault is used; whether it is open.
    fn touch(&mut self, now_ms: i64) -> bool {
        if let Some(open) = &mut self.open {
            open.used_at_ms = now_ms;
        }
        self.open.is_some()
    }

    const fn status(&self) -> Status {
        Status { initialized: self.envelope.is_some(), locked: self.open.is_none(), shut: self.shut }
    }

    fn unlock(&mut self, unlock: &Unlock, now_ms: i64) -> Step<Reply> {
        let Unlock { password, seed, cost, by_hand } = unlock;
        if let Some(refusal) = refuse_password(password) {
            return Ok(Outcome::of(refusal));
        }
        if !by_hand && self.shut {
            return Ok(Outcome::of(Reply::Locked(self.status())));
        }
        if !by_hand && self.open.is_some() {
            return Ok(Outcome::of(Reply::Done));
        }
        let (key, mut writes) = match &self.envelope {
            None => {
                let (envelope, key) = Envelope::make(password, *cost, seed)?;
                let write = Write::put(ENVELOPE_KEY, &envelope)?;
                self.envelope = Some(envelope);
                (key, vec![write])
            }
            Some(_) => match self.check_password(password, *by_hand, now_ms)? {
                PasswordCheck::Fits(key, writes) => (key, writes),
                PasswordCheck::Fails(refusal) => return Ok(refusal),
            },
        };
        if std::mem::take(&mut self.shut) {
            writes.push(Write::Delete { key: SHUT_KEY.to_owned() });
        }
        self.open = Some(Open { key, used_at_ms: now_ms, wake_at_ms: now_ms.saturating_add(AWAKE_MS) });
        Ok(Outcome { reply: Reply::Done, writes })
    }

    /// Tries a password, unless too many were wrong lately. Only a guess is counted.
    fn check_password(
        &mut self,
        password: &SecretText,
        is_guess: bool,
        now_ms: i64,
    ) -> Result<PasswordCheck, MachineError> {
        let closes_at_ms = self.guesses.since_ms.saturating_add(GUESSES_MS);
        if self.guesses.count == 0 || !(self.guesses.since_ms..closes_at_ms).contains(&now_ms) {
            self.guesses = Guesses { since_ms: now_ms, count: 0 };
        }
        if is_guess && self.guesses.count >= GUESSES_MAX {
            let retry_after_ms = closes_at_ms.saturating_sub(now_ms);
            return Ok(PasswordCheck::Fails(Outcome::of(Reply::TooManyGuesses { retry_after_ms })));
        }
        let opened = self.envelope.as_ref().map(|envelope| envelope.open(password)).transpose()?.flatten();
        if let Some(key) = opened {
            let had_guesses = std::mem::take(&mut self.guesses).count > 0;
            let strike = || Write::Delete { key: GUESSES_KEY.to_owned() };
            return Ok(PasswordCheck::Fits(key, had_guesses.then(strike).into_iter().collect()));
        }
        if !is_guess {
            return Ok(PasswordCheck::Fails(Outcome::of(Reply::WrongPassword)));
        }
        self.guesses.count += 1;
        let writes = vec![Write::put(GUESSES_KEY, &self.guesses)?];
        Ok(PasswordCheck::Fails(Outcome { reply: Reply::WrongPassword, writes }))
    }

    /// Locks it by hand. What was never made is locked as it is.
    fn lock(&mut self) -> Step<Reply> {
        let already_locked = self.open.take().is_none();
        let is_new = self.envelope.is_some() && !self.shut;
        self.shut |= is_new;
        let writes = if is_new { vec![Write::put(SHUT_KEY, &true)?] } else { Vec::new() };
        Ok(Outcome { reply: Reply::Shut { already_locked }, writes })
    }

    /// Puts everything under a fresh data key, sealed under the new password: one transaction, so a crash leaves the old
    /// vault or the new one.
    fn rotate(&mut self, rotate: &Rotate, now_ms: i64) -> Step<Reply> {
        let Rotate { old_password, new_password, seed, cost } = rotate;
        if let Some(refusal) = refuse_password(new_password) {
            return Ok(Outcome::of(refusal));
        }
        let (old_key, mut writes) = match self.check_password(old_password, true, now_ms)? {
            PasswordCheck::Fits(key, writes) => (key, writes),
            PasswordCheck::Fails(refusal) => return Ok(refusal),
        };
        let (envelope, key) = Envelope::make(new_password, *cost, seed)?;
        let mut sealed = BTreeMap::new();
        for (name, text) in &self.sealed {
            // A secret that was altered is kept as it is: it does not open under any key, and says so when asked for.
            let text = match old_key.open(name, text) {
                Some(value) => key.seal(name, &value, seed)?,
                None => text.clone(),
            };
            writes.push(put_sealed(name, &text)?);
            sealed.insert(name.clone(), text);
        }
        writes.push(Write::put(ENVELOPE_KEY, &envelope)?);
        self.envelope = Some(envelope);
        self.sealed = sealed;
        self.open = Some(Open { key, used_at_ms: now_ms, wake_at_ms: now_ms.saturating_add(AWAKE_MS) });
        Ok(Outcome { reply: Reply::Done, writes })
    }

    fn get(&self, names: Vec<String>) -> Reply {
        if names.len() > SECRETS_MAX {
            return Reply::Refused { message: format!("at most {SECRETS_MAX} names at once") };
        }
        let (mut values, mut broken) = (BTreeMap::new(), Vec::new());
        let known = |name: String| Some((self.sealed.get(&name)?, name));
        for (sealed, name) in names.into_iter().filter_map(known) {
            match self.open.as_ref().and_then(|open| open.key.open(&name, sealed)) {
                Some(value) => drop(values.insert(name, value)),
                None => broken.push(name),
            }
        }
        Reply::Values { values, broken }
    }

    fn put(&mut self, name: String, value: &SecretText, seed: &Seed) -> Step<Reply> {
        let value_bytes = value.expose().len();
        if name.is_empty() || name.len() > NAME_MAX_BYTES || value_bytes == 0 || value_bytes > VALUE_MAX_BYTES {
            let message = format!("a name has 1 to {NAME_MAX_BYTES} bytes, a secret 1 to {VALUE_MAX_BYTES}");
            return Ok(Outcome::of(Reply::Refused { message }));
        }
        let Some(open) = &self.open else {
            return Ok(Outcome::of(Reply::Locked(self.status())));
        };
        let text = open.key.seal(&name, value, seed)?;
        let others = self.sealed.iter().filter(|(other, _)| **other != name);
        let (count, bytes) = others.fold((0, 0), |(count, bytes), (_, text)| (count + 1, bytes + text.len()));
        if count >= SECRETS_MAX || bytes + text.len() > SEALED_MAX_BYTES {
            return Ok(Outcome::of(Reply::Full));
        }
        let writes = vec![put_sealed(&name, &text)?];
        self.sealed.insert(name, text);
        Ok(Outcome { reply: Reply::Done, writes })
    }

    /// Removes a secret; whether there was one, and what to write.
    fn remove(&mut self, name: &str) -> (bool, Vec<Write>) {
        let found = self.sealed.remove(name).is_some();
        let write = || Write::Delete { key: format!("{SEALED_PREFIX}{name}") };
        (found, found.then(write).into_iter().collect())
    }
}

fn put_sealed(name: &str, text: &str) -> Result<Write, MachineError> {
    Write::put(&format!("{SEALED_PREFIX}{name}"), &text)
}

fn refuse_password(password: &SecretText) -> Option<Reply> {
    let is_bounded = (PASSWORD_MIN_BYTES..=PASSWORD_MAX_BYTES).contains(&password.expose().len());
    let message = || format!("a password has {PASSWORD_MIN_BYTES} to {PASSWORD_MAX_BYTES} bytes");
    (!is_bounded).then(|| Reply::Refused { message: message() })
}
