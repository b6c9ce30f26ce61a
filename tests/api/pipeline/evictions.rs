//! The platform evicts an object that nobody calls for ten seconds; limits go on all the same.

use durable_objects::rate_limiter::protocol::Command;
use serde_json::json;

use crate::support::{Answer, Key, TestApp, join_all, run, run_with};

async fn statuses(app: &TestApp, key: &Key, calls: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..calls {
        statuses.push(app.get("/v1/usage/none").bearer(&key.key).send().await.status);
    }
    statuses
}

fn reset_s(answer: &Answer) -> u32 {
    answer.header("x-ratelimit-reset").unwrap().parse().unwrap()
}

#[test]
fn a_minute_and_an_hour_go_on() {
    for (per_minute, per_hour, closes_s) in [(2, 1_000, 60), (100, 2, 3_600)] {
        run(async |app| {
            let key = app.provision("1").await;
            app.set_limits(&key, per_minute, per_hour, 5).await;
            assert_eq!(statuses(&app, &key, 3).await, [404, 404, 429]);
            for idle_s in [13, 26] {
                app.idle().await;
                assert_eq!(statuses(&app, &key, 2).await, [429, 429]);
                let refused = app.get("/v1/balance").bearer(&key.key).send().await.expect(429);
                assert!((closes_s - idle_s - 1..=closes_s - idle_s + 1).contains(&reset_s(&refused)), "{refused:?}");
            }
            app.pass_ms(u64::from(closes_s) * 1_000 - 26_000).await;
            assert_eq!(statuses(&app, &key, 1).await, [404], "the window is open again");
        });
    }
}

#[test]
fn a_leased_minute_goes_on() {
    run(async |app| {
        let key = app.provision("1").await;
        app.set_limits(&key, 600, 100_000, 100).await;
        let mut passed = 0;
        for _ in 0..3 {
            passed += statuses(&app, &key, 700).await.iter().filter(|status| **status == 404).count();
            app.idle().await;
        }
        assert_eq!(passed, 600);
        assert_eq!(app.limiter(&key, &Command::Status).minute_count, 600);
    });
}

#[test]
fn calls_that_run_on_keep_their_places_and_give_them_back() {
    run(async |app| {
        let key = app.with_model().await;
        app.set_limits(&key, 60, 1_000, 2).await;
        app.answer_hello();
        app.upstream.latency_ms.set(25_000);
        let hellos = || join_all((0..3).map(|_| app.hello(&key).send()));
        let later = async {
            app.idle().await;
            let answers = hellos().await;
            app.pass_ms(4_000).await;
            app.objects.restart();
            answers
        };
        let (answers, later) = tokio::join!(hellos(), later);
        let of = |answers: &[Answer], status| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((of(&answers, 200), of(&answers, 429), of(&later, 429)), (2, 1, 3));
        app.idle().await;
        let status = app.limiter(&key, &Command::Status);
        assert_eq!((status.slots, status.leases, status.hour_count), (0, 0, 2));
        app.upstream.latency_ms.set(1);
        app.hello(&key).send().await.expect(200);
    });
}

/// Each is worth money, so not even an object that dies at once forgets it.
#[test]
fn keys_and_links_of_an_address_are_counted_for_an_hour() {
    run_with(&[("PROVISIONS_PER_HOUR", "1"), ("SIGN_INS_PER_HOUR", "1")], async |app| {
        let provision = || app.post("/v1/auth/provision").send();
        let ask_for_link = || app.post("/v1/auth/login").json(&json!({ "email": "ada@example.com" })).send();
        provision().await.expect(200);
        ask_for_link().await.expect(200);
        for _ in 0..3 {
            app.objects.restart();
            provision().await.expect(429);
            ask_for_link().await.expect(429);
            app.idle().await;
        }
        app.pass_ms(3_600_000 + 30_000).await;
        assert!(app.objects.is_vacant("RATE_LIMITER", "ip:provision:"), "nothing of it is kept longer");
        provision().await.expect(200);
        ask_for_link().await.expect(200);
    });
}
