//! A vault for tests.

use std::cell::Cell;

use durable_objects::local::LocalObjects;
use durable_objects::vault::protocol::{Command, Reply, Rotate, Status, Unlock, Vault};
use guildhall_domain::password::KdfCost;
use guildhall_domain::secret::{SecretText, Seed};
use zeroize::Zeroizing;

/// A vault that is asked at times.
pub struct Bench {
    pub objects: LocalObjects,
    seeds: Cell<u64>,
}

impl Bench {
    pub fn new() -> Self {
        Self { objects: LocalObjects::new(), seeds: Cell::new(0) }
    }

    /// Never the same twice.
    pub fn seed(&self) -> Seed {
        self.seeds.set(self.seeds.get() + 1);
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.seeds.get().to_le_bytes());
        Seed::new(Zeroizing::new(bytes))
    }

    pub fn ask(&self, command: &Command, now_ms: i64) -> Reply {
        self.objects.ask::<Vault>("vault", command, now_ms).unwrap()
    }

    pub fn unlock_command(&self, password: &str, by_hand: bool) -> Command {
        let (password, seed) = (SecretText::from(password), self.seed());
        Command::Unlock(Unlock { password, seed, cost: quick(), by_hand })
    }

    pub fn unlock(&self, password: &str, now_ms: i64) -> Reply {
        self.ask(&self.unlock_command(password, true), now_ms)
    }

    pub fn open_headless(&self, password: &str, now_ms: i64) -> Reply {
        self.ask(&self.unlock_command(password, false), now_ms)
    }

    pub fn rotate_command(&self, old: &str, new: &str) -> Command {
        let (old_password, new_password) = (old.into(), new.into());
        Command::Rotate(Rotate { old_password, new_password, seed: self.seed(), cost: quick() })
    }

    pub fn rotate(&self, old: &str, new: &str, now_ms: i64) -> Reply {
        self.ask(&self.rotate_command(old, new), now_ms)
    }

    pub fn put_command(&self, name: &str, value: &str) -> Command {
        Command::Put { name: name.to_owned(), value: value.into(), seed: self.seed() }
    }

    pub fn put(&self, name: &str, value: &str, now_ms: i64) -> Reply {
        self.ask(&self.put_command(name, value), now_ms)
    }

    pub fn get(&self, name: &str, now_ms: i64) -> Option<String> {
        match self.ask(&Command::Get { names: vec![name.to_owned()] }, now_ms) {
            Reply::Values { values, broken } if broken.is_empty() => values.get(name).map(|v| v.expose().to_owned()),
            other => panic!("{other:?}"),
        }
    }

    pub fn status(&self, now_ms: i64) -> Status {
        match self.ask(&Command::Status, now_ms) {
            Reply::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    pub fn is_locked(&self, now_ms: i64) -> bool {
        self.status(now_ms).locked
    }
}

/// A derivation that costs nothing.
pub fn quick() -> KdfCost {
    "m=8,t=1,p=1".parse().unwrap()
}
