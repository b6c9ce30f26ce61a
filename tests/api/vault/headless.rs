//! A deployment with `VAULT_PASSWORD`.

use serde_json::json;

use super::{PASSWORD, assert_error, get_secret, info, lock, put_secret, restart, rotate, unlock};
use crate::support::{VAULT_PASSWORD, run};

#[test]
fn the_first_provider_key_makes_the_vault_and_a_restart_does_not_lock_it() {
    run(async |app| {
        assert_eq!(info(&app).await, (true, false), "nothing is made unasked");
        let key = app.with_model().await;
        app.answer_hello();
        assert_eq!(info(&app).await, (false, true));
        for _ in 0..2 {
            restart(&app);
            app.hello(&key).send().await.expect(200);
            assert_eq!(info(&app).await, (false, true));
        }
        unlock(&app, VAULT_PASSWORD).await.expect(200);
        assert_error(unlock(&app, "another password").await, 401, "unlock failed");
        // Half an hour without use lets the key go; whoever needs it has it again.
        app.pass_ms(31 * 60_000).await;
        put_secret(&app, "a", "v").await.expect(200);
        app.objects.restart();
        assert_eq!(get_secret(&app, "a").await.expect(200).json()["value"], "v");
    });
}

#[test]
fn a_lock_by_hand_holds_even_over_a_restart() {
    run(async |app| {
        let key = app.with_model().await;
        app.answer_hello();
        app.objects.restart();
        assert_eq!(lock(&app).await, json!({ "ok": true, "already_locked": false }), "it only slept");
        for _ in 0..2 {
            assert_eq!(info(&app).await, (true, true));
            app.hello(&key).send().await.expect(503);
            put_secret(&app, "a", "v").await.expect(503);
            restart(&app);
        }
        assert_eq!(lock(&app).await, json!({ "ok": true, "already_locked": true }));
        unlock(&app, VAULT_PASSWORD).await.expect(200);
        app.hello(&key).send().await.expect(200);
    });
}

#[test]
fn a_vault_of_another_password_is_left_to_its_owner() {
    run(async |app| {
        unlock(&app, PASSWORD).await.expect(200);
        let key = app.with_model().await;
        app.answer_hello();
        app.hello(&key).send().await.expect(200);
        app.objects.restart();
        for _ in 0..30 {
            assert_eq!(info(&app).await, (true, true));
            get_secret(&app, "a").await.expect(503);
            app.pass_ms(2_500).await;
            app.hello(&key).send().await;
        }
        let log = app.log.borrow().join("\n");
        assert_eq!(log.matches("VAULT_PASSWORD does not open").count(), 1, "said once: {log}");
        assert_eq!(log.matches("provider p1").count(), 1, "said once: {log}");
        assert!(!log.contains(VAULT_PASSWORD));
        // The deployment's own tries were no guesses.
        unlock(&app, PASSWORD).await.expect(200);
        app.hello(&key).send().await.expect(200);
    });
}

#[test]
fn after_a_rotation_the_deployment_needs_the_new_password() {
    run(async |app| {
        let key = app.with_model().await;
        app.answer_hello();
        rotate(&app, VAULT_PASSWORD, "new password").await.expect(200);
        app.hello(&key).send().await.expect(200);
        restart(&app);
        assert_eq!(info(&app).await, (true, true));
        app.hello(&key).send().await.expect(503);
        unlock(&app, "new password").await.expect(200);
        app.hello(&key).send().await.expect(200);
    });
}
