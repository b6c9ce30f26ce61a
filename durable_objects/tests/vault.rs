//! The vault: only its password opens it, nothing is lost by a crash, nothing stands in clear.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeSet;

use durable_objects::local::FaultPoint;
use durable_objects::protocol::Protocol;
use durable_objects::vault::protocol::{
    Command, NAME_MAX_BYTES, PASSWORD_MAX_BYTES, Reply, Rotate, SECRETS_MAX, Status, VALUE_MAX_BYTES, Vault,
};
use durable_objects::vault::state::{AWAKE_MS, GUESSES_MAX, GUESSES_MS, IDLE_MS, SEALED_MAX_BYTES};
use guildhall_domain::secret::SecretText;
use support::vault::Bench;

const PASSWORD: &str = "correct horse";

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
