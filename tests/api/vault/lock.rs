//! `/admin/v1/vault/unlock`, `lock`, `rotate`, and `/admin/v1/info`.

use serde_json::json;

use super::{PASSWORD, assert_error, get_secret, info, lock, put_secret, restart, rotate, run_by_hand, unlock};
use crate::support::{run, run_with};

#[test]
fn the_first_password_makes_the_vault() {
    run_by_hand(async |app| {
        assert_eq!(info(&app).await, (true, false));
        assert_eq!(unlock(&app, PASSWORD).await.expect(200).json(), json!({ "ok": true }));
        assert_eq!(info(&app).await, (false, true));
        restart(&app);
        assert_eq!(info(&app).await, (true, true), "nobody has unlocked it again");
        assert_error(unlock(&app, "another password").await, 401, "unlock failed");
        assert_eq!(info(&app).await, (true, true));
        unlock(&app, PASSWORD).await.expect(200);
        assert_eq!(info(&app).await, (false, true));
    });
}

#[test]
fn a_password_too_short_or_too_long_is_no_password() {
    run_by_hand(async |app| {
        for password in ["", "short", "seven b", &"x".repeat(1_025)] {
            assert_error(unlock(&app, password).await, 401, "unlock failed");
        }
        assert_error(app.admin("POST", "/admin/v1/vault/unlock").send().await, 401, "unlock failed");
        assert_eq!(info(&app).await, (true, false));
        // Eight bytes are enough, and they may be any.
        unlock(&app, "schlüss").await.expect(200);
    });
}

#[test]
fn what_is_no_json_is_refused_without_an_echo() {
    run_by_hand(async |app| {
        unlock(&app, PASSWORD).await.expect(200);
        for path in ["/admin/v1/vault/unlock", "/admin/v1/vault/rotate"] {
            for body in ["garbage", "{", "\"hunter22\"", "null", "{}{}", r#"{"admin_password":5,"old_password":[]}"#] {
                assert_error(app.admin("POST", path).body(body).send().await, 400, "bad json");
            }
        }
    });
}

#[test]
fn a_wrong_password_changes_nothing() {
    run_by_hand(async |app| {
        unlock(&app, PASSWORD).await.expect(200);
        put_secret(&app, "a", "value of a").await.expect(200);
        // While it is unlocked…
        assert_error(unlock(&app, "another password").await, 401, "unlock failed");
        put_secret(&app, "b", "value of b").await.expect(200);
        // …and while it is locked.
        lock(&app).await;
        assert_error(unlock(&app, "another password").await, 401, "unlock failed");
        assert_error(get_secret(&app, "a").await, 503, "vault is locked");
        unlock(&app, PASSWORD).await.expect(200);
        for key in ["a", "b"] {
            assert_eq!(get_secret(&app, key).await.expect(200).json()["value"], format!("value of {key}"));
        }
    });
}

#[test]
fn a_lock_says_whether_it_was_locked() {
    run_by_hand(async |app| {
        assert_eq!(lock(&app).await, json!({ "ok": true, "already_locked": true }));
        unlock(&app, PASSWORD).await.expect(200);
        assert_eq!(lock(&app).await, json!({ "ok": true, "already_locked": false }));
        assert_eq!(info(&app).await, (true, true));
        assert_eq!(lock(&app).await, json!({ "ok": true, "already_locked": true }));
        // A body is not needed, and does no harm.
        let answer = app.admin("POST", "/admin/v1/vault/lock").body("garbage").send().await;
        assert_eq!(answer.expect(200).json(), json!({ "ok": true, "already_locked": true }));
    });
}

#[test]
fn a_rotation_survives_a_restart() {
    run_by_hand(async |app| {
        unlock(&app, PASSWORD).await.expect(200);
        put_secret(&app, "a", "value of a").await.expect(200);
        assert_eq!(rotate(&app, PASSWORD, "new password").await.expect(200).json(), json!({ "ok": true }));
        assert_eq!(get_secret(&app, "a").await.expect(200).json()["value"], "value of a", "it stays unlocked");
        restart(&app);
        assert_error(unlock(&app, PASSWORD).await, 401, "unlock failed");
        unlock(&app, "new password").await.expect(200);
        assert_eq!(get_secret(&app, "a").await.expect(200).json()["value"], "value of a");
    });
}

#[test]
fn a_rotation_that_cannot_be_is_refused() {
    run_by_hand(async |app| {
        let post = async |body| app.admin("POST", "/admin/v1/vault/rotate").json(&body).send().await;
        for body in [
            json!({}),
            json!({ "old_password": PASSWORD }),
            json!({ "new_password": "new password" }),
            json!({ "old_password": "", "new_password": "new password" }),
            json!({ "old_password": PASSWORD, "new_password": null }),
        ] {
            assert_error(post(body).await, 400, "old_password and new_password required");
        }
        assert_error(rotate(&app, PASSWORD, "new password").await, 400, "vault is locked");
        unlock(&app, PASSWORD).await.expect(200);
        assert_error(rotate(&app, PASSWORD, "seven b").await, 400, "new password too short");
        assert_error(rotate(&app, PASSWORD, &"x".repeat(1_025)).await, 400, "new password too long");
        let text = "rotation failed: old password does not match";
        assert_error(rotate(&app, "another password", "new password").await, 401, text);
        lock(&app).await;
        assert_error(rotate(&app, PASSWORD, "new password").await, 400, "vault is locked");
        unlock(&app, PASSWORD).await.expect(200);
    });
}

#[test]
fn guessing_is_slow() {
    run_by_hand(async |app| {
        unlock(&app, PASSWORD).await.expect(200);
        lock(&app).await;
        for guess in 0..10 {
            assert_error(unlock(&app, &format!("guess number {guess}")).await, 401, "unlock failed");
        }
        restart(&app);
        let answer = unlock(&app, PASSWORD).await.expect(429);
        let wait_s: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((50..=61).contains(&wait_s), "{wait_s}");
        app.pass_ms(wait_s * 1_000).await;
        unlock(&app, PASSWORD).await.expect(200);
    });
}

#[test]
fn an_idle_vault_locks_itself() {
    run_by_hand(async |app| {
        unlock(&app, PASSWORD).await.expect(200);
        put_secret(&app, "a", "value of a").await.expect(200);
        app.pass_ms(29 * 60_000).await;
        assert_eq!(info(&app).await, (false, true));
        get_secret(&app, "a").await.expect(200);
        app.pass_ms(29 * 60_000).await;
        get_secret(&app, "a").await.expect(200);
        app.pass_ms(31 * 60_000).await;
        assert_eq!(info(&app).await, (true, true));
        assert_error(get_secret(&app, "a").await, 503, "vault is locked");
    });
}

#[test]
fn a_vault_that_does_not_answer_is_an_error_without_a_cause() {
    use crate::support::Fault;
    run_by_hand(async |app| {
        app.faults.fail_object("VAULT", Fault::Before);
        let answer = unlock(&app, PASSWORD).await.expect(500);
        assert!(!answer.text().contains("VAULT") && !answer.text().contains(PASSWORD), "{}", answer.text());
        // What was done and not heard of may be done again.
        app.faults.fail_object("VAULT", Fault::After);
        unlock(&app, PASSWORD).await.expect(500);
        unlock(&app, PASSWORD).await.expect(200);
        app.faults.fail_object("VAULT", Fault::Before);
        assert_eq!(lock(&app).await["already_locked"], false, "it is locked although its state could not be asked");
        assert!(!app.log.borrow().join("\n").contains(PASSWORD));
    });
}

/// A stored digest that anybody can compute would be a way round the vault's slow derivation.
#[test]
fn a_repeated_unlock_leaves_nothing_to_guess_by() {
    use sha2::{Digest, Sha256};
    run_by_hand(async |app| {
        let body = json!({ "admin_password": PASSWORD }).to_string();
        let call = || app.admin("POST", "/admin/v1/vault/unlock").idempotency_key("k").body(&body).send();
        assert_eq!(call().await.expect(200).header("idempotency-replay"), None);
        assert_eq!(call().await.expect(200).header("idempotency-replay"), Some("true"));
        let stored = app.objects.dump();
        for guessable in [body.clone(), PASSWORD.to_owned(), format!("POST /admin/v1/vault/unlock?\n{body}")] {
            assert!(!stored.contains(&format!("{:x}", Sha256::digest(&guessable))), "{stored}");
        }
    });
}

#[test]
fn a_part_whose_settings_are_not_whole_is_off_and_the_rest_is_served() {
    let settings = [("MODE", "live"), ("STRIPE_SECRET_KEY", "sk_live_0123456789"), ("MAIL_FROM", "hello@example.com")];
    run_with(&settings, async |app| {
        let info = app.admin("GET", "/admin/v1/info").send().await.expect(200).json();
        let faults = info["config_faults"].as_array().unwrap();
        assert_eq!(faults.len(), 2);
        assert!(faults[0].as_str().unwrap().starts_with("MAIL_API_URL"), "{info}");
        assert!(faults[1].as_str().unwrap().starts_with("STRIPE_WEBHOOK_SECRETS"), "{info}");
        let key = app.provision("0").await;
        app.get("/v1/balance").bearer(&key.key).send().await.expect(200);
    });
    run(async |app| {
        let info = app.admin("GET", "/admin/v1/info").send().await.expect(200).json();
        assert_eq!(info["config_faults"], json!([]));
    });
}
