//! The database fails.

use super::{assert_clear, settle};
use crate::support::{Fault, HELLO_MICROS, run};

#[test]
fn at_any_step_of_a_cold_call() {
    for fault in [Fault::Before, Fault::After] {
        // The key, the routing table, and beside them the note of the key's use.
        for passing in 0..5 {
            run(async |app| {
                let key = app.with_busy_key().await;
                app.crash_isolate();
                app.faults.fail_db_after(passing, fault);
                let answer = app.hello(&key).send().await;
                assert_clear(&answer, &[200, 500, 503]);
                let paid = i64::from(answer.status == 200);
                assert!(passing < 3 || paid == 1, "what fails later fails nobody");
                let books = settle(&app, &key).await;
                assert_eq!((books.calls, books.charged), (paid, paid * HELLO_MICROS), "{fault:?} after {passing}");
                app.hello(&key).send().await.expect(200);
            });
        }
    }
}

#[test]
fn a_warm_key_is_served_through_a_short_outage() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        for _ in 0..20 {
            app.faults.fail_db(Fault::Before);
        }
        for _ in 0..8 {
            app.hello(&key).send().await.expect(200);
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        let books = settle(&app, &key).await;
        assert_eq!((books.calls, books.charged), (9, 9 * HELLO_MICROS));
    });
}

#[test]
fn usage_that_could_not_be_filed_is_filed_later_and_once() {
    for fault in [Fault::Before, Fault::After] {
        run(async |app| {
            let key = app.with_busy_key().await;
            for _ in 0..3 {
                app.hello(&key).send().await.expect(200);
            }
            tokio::time::sleep(std::time::Duration::from_millis(60)).await;
            app.faults.clear();
            app.faults.fail_db(fault);
            app.deliver().await;
            let page = app.get("/v1/usage").bearer(&key.key).send().await.expect(200).json();
            assert_eq!(page["total_calls"], 3, "{fault:?}: shown all the same");
            let books = settle(&app, &key).await;
            assert_eq!((books.calls, books.charged), (3, 3 * HELLO_MICROS), "{fault:?}");
            assert_eq!(app.database.number("SELECT SUM(requests) FROM usage_totals"), 3, "{fault:?}: counted once");
        });
    }
}

#[test]
fn usage_whose_acknowledgement_is_lost_is_there_once() {
    for fault in [Fault::Before, Fault::After] {
        run(async |app| {
            let key = app.with_busy_key().await;
            app.hello(&key).send().await.expect(200);
            tokio::time::sleep(std::time::Duration::from_millis(60)).await;
            app.faults.clear();
            app.faults.fail_object("WALLET", fault);
            app.deliver().await;
            let page = app.get("/v1/usage").bearer(&key.key).send().await.expect(200).json();
            assert_eq!((&page["total_calls"], page["data"].as_array().unwrap().len()), (&1.into(), 1), "{fault:?}");
            let books = settle(&app, &key).await;
            assert_eq!((books.calls, books.charged), (1, HELLO_MICROS), "{fault:?}");
            assert_eq!(app.database.number("SELECT SUM(requests) FROM usage_totals"), 1, "{fault:?}");
        });
    }
}

#[test]
fn a_key_that_was_stored_without_an_answer_is_nobodys() {
    for fault in [Fault::Before, Fault::After] {
        run(async |app| {
            app.faults.fail_db(fault);
            assert_clear(&app.post("/v1/auth/provision").send().await, &[500, 503]);
            app.provision("1").await;
        });
    }
}

#[test]
fn limits_that_could_not_be_stored_are_not_told_as_stored() {
    for passing in 0..3 {
        run(async |app| {
            let key = app.provision("0").await;
            app.faults.fail_db_after(passing, Fault::Before);
            let path = format!("/admin/v1/accounts/{}/limits", key.account_id);
            let call = || app.admin("PATCH", &path).body(r#"{"concurrent":7}"#);
            assert_clear(&call().send().await, &[500, 503]);
            assert_eq!(call().send().await.expect(200).json()["concurrent"], 7);
        });
    }
}

#[test]
fn a_list_that_could_not_be_read_is_no_empty_list() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        app.pass_ms(200).await;
        app.faults.fail_db(Fault::Before);
        assert_clear(&app.get("/v1/usage").bearer(&key.key).send().await, &[500, 503]);
        assert_eq!(app.get("/v1/usage").bearer(&key.key).send().await.json()["total_calls"], 1);
    });
}
