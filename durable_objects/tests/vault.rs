//! The vault: only its password opens it, nothing is lost by a crash, nothing stands in clear.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use durable_objects::local::{FaultPoint, LocalObjects};
use durable_objects::protocol::Protocol;
use durable_objects::vault::protocol::{
    Command, NAME_MAX_BYTES, PASSWORD_MAX_BYTES, Reply, Rotate, SECRETS_MAX, Status, Unlock, VALUE_MAX_BYTES, Vault,
};
use durable_objects::vault::state::{AWAKE_MS, GUESSES_MAX, GUESSES_MS, IDLE_MS, SEALED_MAX_BYTES};
use guildhall_domain::password::KdfCost;
use guildhall_domain::secret::{SecretText, Seed};
use proptest::prelude::*;
use std::cell::Cell;
use zeroize::Zeroizing;

const PASSWORD: &str = "correct horse";

/// A vault that is asked at times.
struct Bench {
    objects: LocalObjects,
    seeds: Cell<u64>,
}

impl Bench {
    fn new() -> Self {
        Self { objects: LocalObjects::new(), seeds: Cell::new(0) }
    }

    /// Never the same twice.
    fn seed(&self) -> Seed {
        self.seeds.set(self.seeds.get() + 1);
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.seeds.get().to_le_bytes());
        Seed::new(Zeroizing::new(bytes))
    }

    fn ask(&self, command: &Command, now_ms: i64) -> Reply {
        self.objects.ask::<Vault>("vault", command, now_ms).unwrap()
    }

    fn unlock_command(&self, password: &str, by_hand: bool) -> Command {
        let (password, seed) = (SecretText::from(password), self.seed());
        Command::Unlock(Unlock { password, seed, cost: quick(), by_hand })
    }

    fn unlock(&self, password: &str, now_ms: i64) -> Reply {
        self.ask(&self.unlock_command(password, true), now_ms)
    }

    fn open_headless(&self, password: &str, now_ms: i64) -> Reply {
        self.ask(&self.unlock_command(password, false), now_ms)
    }

    fn rotate_command(&self, old: &str, new: &str) -> Command {
        let (old_password, new_password) = (old.into(), new.into());
        Command::Rotate(Rotate { old_password, new_password, seed: self.seed(), cost: quick() })
    }

    fn rotate(&self, old: &str, new: &str, now_ms: i64) -> Reply {
        self.ask(&self.rotate_command(old, new), now_ms)
    }

    fn put_command(&self, name: &str, value: &str) -> Command {
        Command::Put { name: name.to_owned(), value: value.into(), seed: self.seed() }
    }

    fn put(&self, name: &str, value: &str, now_ms: i64) -> Reply {
        self.ask(&self.put_command(name, value), now_ms)
    }

    fn get(&self, name: &str, now_ms: i64) -> Option<String> {
        match self.ask(&Command::Get { names: vec![name.to_owned()] }, now_ms) {
            Reply::Values { values, broken } if broken.is_empty() => values.get(name).map(|v| v.expose().to_owned()),
            other => panic!("{other:?}"),
        }
    }

    fn status(&self, now_ms: i64) -> Status {
        match self.ask(&Command::Status, now_ms) {
            Reply::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    fn is_locked(&self, now_ms: i64) -> bool {
        self.status(now_ms).locked
    }
}

fn quick() -> KdfCost {
    "m=8,t=1,p=1".parse().unwrap()
}

/// Unlocked, with one secret.
fn opened() -> Bench {
    let vault = Bench::new();
    assert_eq!(vault.unlock(PASSWORD, 0), Reply::Done);
    assert_eq!(vault.put("secret:a", "value of a", 0), Reply::Done);
    vault
}

#[test]
fn the_first_password_makes_the_vault_and_only_it_opens_it() {
    let vault = Bench::new();
    assert_eq!(vault.status(0), Status { initialized: false, locked: true, shut: false });
    assert_eq!(vault.unlock(PASSWORD, 0), Reply::Done);
    assert_eq!(vault.status(0), Status { initialized: true, locked: false, shut: false });
    vault.objects.restart();
    assert_eq!(vault.status(0), Status { initialized: true, locked: true, shut: false });
    assert_eq!(vault.unlock("correct horsf", 0), Reply::WrongPassword);
    assert!(vault.is_locked(0));
    assert_eq!(vault.unlock(PASSWORD, 0), Reply::Done);
}

#[test]
fn a_wrong_password_changes_nothing_even_in_an_open_vault() {
    let vault = opened();
    assert_eq!(vault.unlock("another password", 1), Reply::WrongPassword);
    assert_eq!(vault.rotate("another password", "new password", 1), Reply::WrongPassword);
    assert_eq!(vault.get("secret:a", 1).as_deref(), Some("value of a"));
    vault.put("secret:b", "value of b", 1);
    vault.objects.restart();
    assert_eq!(vault.unlock("another password", 2), Reply::WrongPassword);
    assert_eq!(vault.unlock("new password", 2), Reply::WrongPassword);
    assert_eq!(vault.unlock(PASSWORD, 2), Reply::Done);
    assert_eq!(vault.get("secret:a", 2).as_deref(), Some("value of a"));
    assert_eq!(vault.get("secret:b", 2).as_deref(), Some("value of b"));
}

#[test]
fn a_locked_vault_gives_and_takes_nothing() {
    let vault = opened();
    assert_eq!(vault.ask(&Command::Lock, 1), Reply::Shut { already_locked: false });
    assert_eq!(vault.ask(&Command::Lock, 1), Reply::Shut { already_locked: true });
    let locked = Reply::Locked(Status { initialized: true, locked: true, shut: true });
    for command in [
        Command::List { prefix: String::new() },
        Command::Get { names: vec!["secret:a".to_owned()] },
        vault.put_command("secret:a", "other"),
        Command::Delete { name: "secret:a".to_owned() },
        vault.rotate_command(PASSWORD, "new password"),
    ] {
        assert_eq!(vault.ask(&command, 1), locked, "{command:?}");
    }
    vault.unlock(PASSWORD, 2);
    assert_eq!(vault.get("secret:a", 2).as_deref(), Some("value of a"));
}

#[test]
fn what_has_no_owner_is_discarded_without_the_key() {
    let vault = opened();
    vault.ask(&Command::Lock, 1);
    let discard = Command::Discard { name: "secret:a".to_owned() };
    assert_eq!((vault.ask(&discard, 1), vault.ask(&discard, 1)), (Reply::Done, Reply::Done));
    vault.objects.restart();
    vault.unlock(PASSWORD, 2);
    assert_eq!(vault.get("secret:a", 2), None);
}

#[test]
fn a_lock_by_hand_holds_until_an_unlock_by_hand() {
    let vault = opened();
    vault.ask(&Command::Lock, 1);
    for _ in 0..2 {
        let locked = Reply::Locked(Status { initialized: true, locked: true, shut: true });
        assert_eq!(vault.open_headless(PASSWORD, 2), locked);
        vault.objects.restart();
    }
    assert_eq!(vault.unlock(PASSWORD, 3), Reply::Done);
    vault.objects.restart();
    assert_eq!(vault.open_headless(PASSWORD, 4), Reply::Done, "it only slept");
    assert_eq!(vault.open_headless("another password", 4), Reply::Done, "it is open already, and stays as it is");
    vault.objects.restart();
    assert_eq!(vault.open_headless("another password", 4), Reply::WrongPassword);
    assert!(vault.is_locked(4));
}

#[test]
fn what_was_never_made_cannot_be_locked_by_hand() {
    let vault = Bench::new();
    assert_eq!(vault.ask(&Command::Lock, 0), Reply::Shut { already_locked: true });
    assert!(vault.objects.is_vacant(Vault::BINDING, "vault"));
    assert_eq!(vault.open_headless(PASSWORD, 0), Reply::Done);
}

#[test]
fn an_idle_vault_locks_itself_and_a_used_one_stays_open() {
    let vault = opened();
    let mut now_ms = 0;
    for _ in 0..3 {
        now_ms += IDLE_MS - 1;
        assert!(!vault.is_locked(now_ms), "asking how it stands is no use, but it is not over yet");
        vault.get("secret:a", now_ms);
    }
    assert!(!vault.is_locked(now_ms + IDLE_MS - 1));
    assert!(vault.is_locked(now_ms + IDLE_MS));
    assert_eq!(vault.objects.next_alarm_ms(), None, "a locked one may sleep");
}

#[test]
fn an_open_vault_is_kept_awake_until_it_has_been_idle_for_long() {
    let vault = opened();
    let mut wakings = 0;
    while let Some(at_ms) = vault.objects.next_alarm_ms() {
        assert!(at_ms <= (wakings + 1) * AWAKE_MS && at_ms <= IDLE_MS, "{at_ms}");
        vault.objects.run_due_alarms(at_ms);
        wakings += 1;
    }
    assert_eq!(wakings, IDLE_MS / AWAKE_MS);
    assert!(vault.is_locked(IDLE_MS));
    // An alarm that comes after an eviction opens nothing.
    vault.unlock(PASSWORD, IDLE_MS);
    vault.objects.restart();
    vault.objects.run_due_alarms(2 * IDLE_MS);
    assert!(vault.is_locked(2 * IDLE_MS) && vault.objects.next_alarm_ms().is_none());
}

#[test]
fn guessing_is_slow() {
    let vault = opened();
    vault.ask(&Command::Lock, 0);
    for guess in 0..GUESSES_MAX {
        // Forgetting is no help.
        vault.objects.restart();
        assert_eq!(vault.unlock(&format!("guess number {guess}"), i64::from(guess)), Reply::WrongPassword);
    }
    let refused = |now_ms| Reply::TooManyGuesses { retry_after_ms: GUESSES_MS - now_ms };
    assert_eq!(vault.unlock(PASSWORD, 100), refused(100), "not even the right one is tried");
    assert_eq!(vault.unlock(PASSWORD, GUESSES_MS - 1), refused(GUESSES_MS - 1));
    assert_eq!(vault.unlock(PASSWORD, GUESSES_MS), Reply::Done);
    // The right password, and the deployment's own wrong one, leave no count behind.
    for round in 0..3 * GUESSES_MAX {
        assert_eq!(vault.unlock("a wrong one", GUESSES_MS + 1), Reply::WrongPassword, "{round}");
        assert_eq!(vault.unlock(PASSWORD, GUESSES_MS + 1), Reply::Done);
        vault.objects.restart();
        assert_eq!(vault.open_headless("a wrong one", GUESSES_MS + 1), Reply::WrongPassword);
    }
    vault.unlock(PASSWORD, GUESSES_MS + 2);
    for _ in 0..GUESSES_MAX {
        assert_eq!(vault.rotate("a wrong one", "new password", GUESSES_MS + 2), Reply::WrongPassword);
    }
    assert!(matches!(vault.rotate(PASSWORD, "new password", GUESSES_MS + 3), Reply::TooManyGuesses { .. }));
    vault.objects.restart();
    assert_eq!(
        vault.open_headless(PASSWORD, GUESSES_MS + 3),
        Reply::Done,
        "others' guesses do not stop the deployment"
    );
}

#[test]
fn bounds_are_kept() {
    let vault = Bench::new();
    let long = |bytes: usize| "x".repeat(bytes);
    for password in ["", "short", "seven b", &long(PASSWORD_MAX_BYTES + 1)] {
        assert!(matches!(vault.unlock(password, 0), Reply::Refused { .. }));
    }
    assert!(!vault.status(0).initialized);
    vault.unlock(PASSWORD, 0);
    for password in ["", "seven b", &long(PASSWORD_MAX_BYTES + 1)] {
        assert!(matches!(vault.rotate(PASSWORD, password, 0), Reply::Refused { .. }));
    }
    for (name, value) in [("", "v"), ("n", ""), (&*long(NAME_MAX_BYTES + 1), "v"), ("n", &*long(VALUE_MAX_BYTES + 1))] {
        assert!(matches!(vault.put(name, value, 0), Reply::Refused { .. }));
    }
    assert_eq!(vault.put(&long(NAME_MAX_BYTES), &long(VALUE_MAX_BYTES), 0), Reply::Done);
    let names = vec![String::new(); SECRETS_MAX + 1];
    assert!(matches!(vault.ask(&Command::Get { names }, 0), Reply::Refused { .. }));
}

#[test]
fn a_full_vault_takes_replacements_only() {
    let vault = Bench::new();
    vault.unlock(PASSWORD, 0);
    for number in 0..SECRETS_MAX {
        assert_eq!(vault.put(&format!("n{number}"), "v", 0), Reply::Done);
    }
    assert_eq!(vault.put("another", "v", 0), Reply::Full);
    assert_eq!(vault.put("n7", "w", 0), Reply::Done);
    let large = Bench::new();
    large.unlock(PASSWORD, 0);
    let value = "x".repeat(VALUE_MAX_BYTES);
    let stored = (0..SECRETS_MAX).take_while(|number| large.put(&format!("n{number}"), &value, 0) == Reply::Done);
    let stored = stored.count();
    assert!(stored * VALUE_MAX_BYTES < SEALED_MAX_BYTES && stored * VALUE_MAX_BYTES > SEALED_MAX_BYTES / 2, "{stored}");
    assert_eq!(large.rotate(PASSWORD, "new password", 0), Reply::Done);
}

#[test]
fn a_rotation_changes_the_password_the_salt_and_every_stored_secret() {
    let vault = opened();
    let before = vault.objects.dump();
    assert_eq!(vault.rotate(PASSWORD, "new password", 0), Reply::Done);
    let after = vault.objects.dump();
    let words = |text: &str| -> BTreeSet<String> {
        text.split('"').filter(|word| word.len() > 16).map(str::to_owned).collect()
    };
    let kept: Vec<_> = words(&before).intersection(&words(&after)).cloned().collect();
    assert!(kept.iter().all(|word| !word.starts_with("v1.")), "{kept:?}");
    assert_eq!(vault.get("secret:a", 0).as_deref(), Some("value of a"), "it stays open");
    vault.objects.restart();
    assert_eq!(vault.unlock(PASSWORD, 0), Reply::WrongPassword);
    assert_eq!(vault.unlock("new password", 0), Reply::Done);
    assert_eq!(vault.get("secret:a", 0).as_deref(), Some("value of a"));
}

#[test]
fn a_rotation_derives_with_the_cost_of_the_day() {
    let vault = opened();
    assert!(vault.objects.dump().contains("m=8,t=1,p=1"));
    let (old_password, new_password, cost) = (PASSWORD.into(), "new password".into(), "m=16,t=2,p=1".parse().unwrap());
    let seed = vault.seed();
    let rotate = Command::Rotate(Rotate { old_password, new_password, seed, cost });
    assert_eq!(vault.ask(&rotate, 0), Reply::Done);
    assert!(vault.objects.dump().contains("m=16,t=2,p=1") && !vault.objects.dump().contains("m=8,t=1,p=1"));
    vault.objects.restart();
    assert_eq!(vault.unlock("new password", 0), Reply::Done, "the cost stands beside the salt");
}

#[test]
fn a_rotation_that_dies_leaves_the_old_vault_or_the_new_one() {
    for (point, holds) in [(FaultPoint::BeforePersist, PASSWORD), (FaultPoint::AfterPersist, "new password")] {
        let vault = opened();
        for number in 0..100 {
            vault.put(&format!("n{number}"), &format!("v{number}"), 0);
        }
        vault.objects.fail_next(Vault::BINDING, point);
        vault.objects.ask::<Vault>("vault", &vault.rotate_command(PASSWORD, "new password"), 0).unwrap_err();
        assert!(vault.is_locked(0), "what failed half-way forgets its key");
        for password in [PASSWORD, "new password"] {
            let reply = if password == holds { Reply::Done } else { Reply::WrongPassword };
            vault.objects.restart();
            assert_eq!(vault.unlock(password, 0), reply, "{point:?}");
        }
        vault.objects.restart();
        vault.unlock(holds, 0);
        for number in 0..100 {
            assert_eq!(vault.get(&format!("n{number}"), 0), Some(format!("v{number}")), "{point:?}");
        }
    }
}

#[test]
fn nothing_stands_in_clear_and_a_sealed_secret_is_bound_to_its_name() {
    let vault = opened();
    vault.put("secret:b", "value of b", 0);
    vault.put("secret:c", "value of a", 0);
    vault.unlock("a wrong password", 0);
    vault.rotate(PASSWORD, "new password", 0);
    let dump = vault.objects.dump();
    for secret in ["value of", PASSWORD, "new password", "a wrong password"] {
        assert!(!dump.contains(secret), "{dump}");
    }
    assert!(dump.contains("secret:b"), "names are no secrets");
}

#[test]
fn debug_output_of_messages_tells_no_secret() {
    let vault = Bench::new();
    let values = [("n".to_owned(), SecretText::from("hunter2222"))].into();
    let text = format!(
        "{:?} {:?} {:?} {:?}",
        vault.unlock_command("hunter2222", true),
        vault.rotate_command("hunter2222", "hunter2222"),
        vault.put_command("n", "hunter2222"),
        Reply::Values { values, broken: vec![] }
    );
    assert!(!text.contains("hunter"), "{text}");
}

/// What happens to a vault, and what must come of it.
#[derive(Clone, Debug)]
enum Event {
    Unlock { password: u8, by_hand: bool },
    Rotate { old: u8, new: u8 },
    Lock,
    Put { name: u8, value: u8 },
    Delete { name: u8 },
    Discard { name: u8 },
    FailNext(FaultPoint),
    Evict,
    Wait { ms: i64 },
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..3_u8, any::<bool>()).prop_map(|(password, by_hand)| Event::Unlock { password, by_hand }),
        3 => (0..3_u8, 0..3_u8).prop_map(|(old, new)| Event::Rotate { old, new }),
        1 => Just(Event::Lock),
        4 => (0..4_u8, any::<u8>()).prop_map(|(name, value)| Event::Put { name, value }),
        1 => (0..4_u8).prop_map(|name| Event::Delete { name }),
        1 => (0..4_u8).prop_map(|name| Event::Discard { name }),
        1 => Just(Event::FailNext(FaultPoint::BeforePersist)),
        1 => Just(Event::FailNext(FaultPoint::AfterPersist)),
        1 => Just(Event::Evict),
        2 => prop_oneof![Just(1), Just(GUESSES_MS), Just(IDLE_MS)].prop_map(|ms| Event::Wait { ms }),
    ]
}

/// The vault in plain words.
#[derive(Default)]
struct Model {
    password: Option<u8>,
    secrets: BTreeMap<u8, u8>,
    shut: bool,
    open_since_ms: Option<i64>,
}

fn password(number: u8) -> String {
    format!("password {number}")
}

fn secret_name(number: u8) -> String {
    format!("secret:{number}")
}

impl Model {
    fn is_open(&self, now_ms: i64) -> bool {
        self.open_since_ms.is_some_and(|since_ms| now_ms - since_ms < IDLE_MS)
    }

    fn status(&self, now_ms: i64) -> Status {
        Status { initialized: self.password.is_some(), locked: !self.is_open(now_ms), shut: self.shut }
    }

    /// The reply to come, with its effect.
    fn obey(&mut self, event: &Event, now_ms: i64) -> Reply {
        let is_open = self.is_open(now_ms);
        let locked = Reply::Locked(self.status(now_ms));
        match *event {
            Event::Unlock { by_hand: false, .. } if self.shut => locked,
            Event::Unlock { by_hand: false, .. } if is_open => Reply::Done,
            Event::Unlock { password, .. } => {
                if *self.password.get_or_insert(password) != password {
                    return Reply::WrongPassword;
                }
                (self.shut, self.open_since_ms) = (false, Some(now_ms));
                Reply::Done
            }
            Event::Lock => {
                self.shut = self.password.is_some();
                self.open_since_ms = None;
                Reply::Shut { already_locked: !is_open }
            }
            Event::Discard { name } => {
                self.secrets.remove(&name);
                Reply::Done
            }
            _ if !is_open => locked,
            Event::Rotate { old, new } => {
                self.open_since_ms = Some(now_ms);
                if self.password != Some(old) {
                    return Reply::WrongPassword;
                }
                self.password = Some(new);
                Reply::Done
            }
            Event::Put { name, value } => {
                self.open_since_ms = Some(now_ms);
                self.secrets.insert(name, value);
                Reply::Done
            }
            Event::Delete { name } => {
                self.open_since_ms = Some(now_ms);
                Reply::Deleted { found: self.secrets.remove(&name).is_some() }
            }
            Event::FailNext(_) | Event::Evict | Event::Wait { .. } => Reply::Done,
        }
    }
}

fn command_of(vault: &Bench, event: &Event) -> Option<Command> {
    Some(match *event {
        Event::Unlock { password: number, by_hand } => vault.unlock_command(&password(number), by_hand),
        Event::Rotate { old, new } => vault.rotate_command(&password(old), &password(new)),
        Event::Lock => Command::Lock,
        Event::Put { name, value } => vault.put_command(&secret_name(name), &format!("value {value}")),
        Event::Delete { name } => Command::Delete { name: secret_name(name) },
        Event::Discard { name } => Command::Discard { name: secret_name(name) },
        Event::FailNext(_) | Event::Evict | Event::Wait { .. } => return None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever happens, the vault answers as its model; and in the end the password that holds opens all that was kept.
    #[test]
    fn a_vault_does_what_its_model_does(events in prop::collection::vec(any_event(), 1..60)) {
        let vault = Bench::new();
        let (mut model, mut now_ms, mut fault) = (Model::default(), 0_i64, None);
        for event in events {
            // Guessing has a test of its own; here no minute sees too much of it.
            now_ms += GUESSES_MS;
            match event {
                Event::FailNext(point) => {
                    fault = Some(point);
                    continue;
                }
                Event::Evict => {
                    vault.objects.restart();
                    model.open_since_ms = None;
                }
                Event::Wait { ms } => {
                    now_ms += ms;
                    vault.objects.run_due_alarms(now_ms);
                }
                _ => {}
            }
            let Some(command) = command_of(&vault, &event) else { continue };
            if let Some(point) = fault.take() {
                vault.objects.fail_next(Vault::BINDING, point);
                vault.objects.ask::<Vault>("vault", &command, now_ms).unwrap_err();
                if point == FaultPoint::AfterPersist {
                    model.obey(&event, now_ms);
                }
                model.open_since_ms = None;
            } else {
                prop_assert_eq!(vault.ask(&command, now_ms), model.obey(&event, now_ms), "{:?}", event);
            }
            prop_assert_eq!(vault.status(now_ms), model.status(now_ms), "{:?}", event);
        }
        vault.objects.restart();
        now_ms += GUESSES_MS;
        if let Some(number) = model.password {
            prop_assert_eq!(vault.unlock(&password(number), now_ms), Reply::Done);
            let kept = (0..4).filter_map(|name| {
                let value = vault.get(&secret_name(name), now_ms)?;
                Some((name, value.strip_prefix("value ").unwrap().parse().unwrap()))
            });
            prop_assert_eq!(kept.collect::<BTreeMap<u8, u8>>(), model.secrets);
        } else {
            prop_assert!(vault.objects.is_vacant(Vault::BINDING, "vault"));
        }
    }
}
