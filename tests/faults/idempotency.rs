//! The keeper of answers fails.

use super::{assert_clear, settle};
use crate::support::{Fault, HELLO_MICROS, run};

#[test]
fn before_the_call_it_runs_once_all_the_same() {
    for fault in [Fault::Before, Fault::After] {
        for faults in [1, 2, 8] {
            run(async |app| {
                let key = app.with_busy_key().await;
                for _ in 0..faults {
                    app.faults.fail_object("IDEMPOTENCY", fault);
                }
                let first = app.hello(&key).idempotency_key("k1").send().await;
                assert_clear(&first, &[200, 500, 503]);
                if first.status != 200 {
                    assert!(app.upstream.sent.borrow().is_empty(), "what is refused has not run");
                }
                app.faults.clear();
                let began_ms = app.now_ms();
                let retried = app.hello(&key).idempotency_key("k1").send().await;
                assert_eq!(retried.status, 200, "{faults} × {fault:?}: {}", retried.text());
                assert!(app.now_ms() - began_ms < 5_000, "nobody waits for a run that never was");
                assert_eq!(app.upstream.sent.borrow().len(), 1);
                assert_eq!(settle(&app, &key).await.charged, HELLO_MICROS);
            });
        }
    }
}

#[test]
fn after_the_call_the_client_has_its_answer_and_a_retry_pays_nothing() {
    for fault in [Fault::Before, Fault::After] {
        run(async |app| {
            let key = app.with_busy_key().await;
            app.faults.fail_object_after("IDEMPOTENCY", 1, fault);
            let first = app.hello(&key).idempotency_key("k1").send().await.expect(200);
            let again = app.hello(&key).idempotency_key("k1").send().await.expect(200);
            assert_eq!((again.header("idempotency-replay"), &again.body), (Some("true"), &first.body), "{fault:?}");
            assert_eq!(app.upstream.sent.borrow().len(), 1);
            assert_eq!(settle(&app, &key).await.charged, HELLO_MICROS);
        });
    }
}

#[test]
fn an_answer_that_could_not_be_kept_is_not_run_again() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.faults.fail_object_after("IDEMPOTENCY", 1, Fault::Before);
        for _ in 0..9 {
            app.faults.fail_object("IDEMPOTENCY", Fault::Before);
        }
        app.hello(&key).idempotency_key("k1").send().await.expect(200);
        app.faults.clear();
        let again = app.hello(&key).idempotency_key("k1").send().await;
        assert!(matches!(again.status, 200 | 409), "{}", again.text());
        assert_eq!(app.upstream.sent.borrow().len(), 1);
        assert_eq!(settle(&app, &key).await.charged, HELLO_MICROS);
    });
}

#[test]
fn a_stream_that_could_not_be_kept_at_once_is_kept_all_the_same() {
    for fault in [Fault::Before, Fault::After] {
        run(async |app| {
            let key = app.with_busy_key().await;
            let body = crate::support::HELLO.replace("}],", r#"}],"stream":true,"#);
            app.upstream.then(crate::support::Reply::stream(&["a", "b"], Some((10, 5))));
            app.faults.fail_object_after("IDEMPOTENCY", 1, fault);
            let call = || app.post("/v1/chat/completions").bearer(&key.key).body(&body).idempotency_key("s1");
            let first = call().send().await.expect(200);
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            assert_eq!(call().send().await.expect(200).text(), first.text());
            assert_eq!(settle(&app, &key).await.charged, HELLO_MICROS);
        });
    }
}
