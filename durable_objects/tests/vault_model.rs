//! The vault beside a model of it, through every order of commands, failures, evictions and waits.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeMap;

use durable_objects::local::FaultPoint;
use durable_objects::protocol::Protocol;
use durable_objects::vault::protocol::{Command, Reply, Status, Vault};
use durable_objects::vault::state::{GUESSES_MS, IDLE_MS};
use proptest::prelude::*;
use support::vault::Bench;

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
