//! From the call to the database: a record shows at once, stays, and is never there twice.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;

use super::{ids, page};
use crate::support::{Fault, HELLO_MICROS, Key, TestApp, join_all, run};

#[test]
fn a_call_shows_as_soon_as_it_has_ended_and_stays() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let mut made = Vec::new();
        for step in 0..60 {
            if step % 3 == 0 {
                let answer = app.hello(&key).send().await.expect(200);
                made.insert(0, answer.header("x-request-id").unwrap().to_owned());
            }
            let page = page(&app, &key, "").await;
            assert_eq!(ids(&page), made, "step {step}");
            assert_eq!(page["total_calls"], made.len(), "step {step}");
            if step % 7 == 0 {
                app.deliver().await;
            }
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
    });
}

#[test]
fn a_record_on_its_way_into_the_database_is_listed_exactly_once() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.faults.db_extra_ms.set(9);
        for offset_ms in 0..40 {
            let answer = app.hello(&key).send().await.expect(200);
            let made = answer.header("x-request-id").unwrap();
            tokio::time::sleep(Duration::from_millis(45)).await;
            let delivery = async {
                tokio::time::sleep(Duration::from_millis(offset_ms)).await;
                app.deliver().await;
            };
            let (page, ()) = tokio::join!(page(&app, &key, "?limit=1000"), delivery);
            let found = ids(&page);
            let times = found.iter().filter(|id| *id == made).count();
            assert_eq!(times, 1, "delivered {offset_ms} ms after it was asked for");
            assert_eq!(page["total_calls"], offset_ms + 1, "at {offset_ms} ms");
        }
    });
}

#[test]
fn a_receipt_is_found_while_its_record_is_on_its_way() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.faults.db_extra_ms.set(9);
        app.faults.object_extra_ms.set(4);
        for offset_ms in 0..40 {
            let answer = app.hello(&key).send().await.expect(200);
            let path = format!("/v1/usage/{}", answer.header("x-request-id").unwrap());
            tokio::time::sleep(Duration::from_millis(60)).await;
            // Something else to flush makes the reader take longer.
            app.hello(&key).send().await.expect(200);
            let delivery = async {
                tokio::time::sleep(Duration::from_millis(offset_ms)).await;
                app.deliver().await;
            };
            let (found, ()) = tokio::join!(app.get(&path).bearer(&key.key).send(), delivery);
            assert_eq!(found.status, 200, "delivered {offset_ms} ms after it was asked for");
        }
    });
}

#[test]
fn the_database_ends_with_one_row_for_each_call() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let other = app.new_isolate();
        let calls = (0..150).map(|at| {
            let call = app.hello(&key);
            if at % 3 == 0 { call.to(&other) } else { call }
        });
        let answers = join_all(calls.map(crate::support::Call::send)).await;
        let made: HashSet<_> =
            answers.into_iter().map(|answer| answer.expect(200).header("x-request-id").unwrap().to_owned()).collect();
        assert_eq!(made.len(), 150);
        app.pass_ms(3_000).await;
        let books = app.assert_books_rest(&key);
        assert_eq!((books.calls, books.charged), (150, 150 * HELLO_MICROS));
        assert_eq!(ids(&page(&app, &key, "?limit=1000").await).into_iter().collect::<HashSet<_>>(), made);
    });
}

/// Makes a call; gives the messages of its record, which nobody delivers.
async fn call_and_drain(app: &TestApp, key: &Key) -> Vec<String> {
    app.hello(key).send().await.expect(200);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let messages = app.objects.drain_queue();
    assert!(!messages.is_empty());
    messages
}

#[test]
fn what_is_delivered_twice_counts_once() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let messages = call_and_drain(&app, &key).await;
        for _ in 0..2 {
            guildhall::jobs::usage::file_usage(&app.ports(), &messages).await.unwrap();
        }
        let books = app.assert_books_balance(&key);
        assert_eq!((books.calls, books.charged), (1, HELLO_MICROS));
        assert_eq!(app.database.number("SELECT requests FROM usage_totals"), 1);
        assert_eq!(page(&app, &key, "").await["total_calls"], 1);
    });
}

#[test]
fn a_record_that_cannot_be_read_keeps_no_other_back() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let sound = call_and_drain(&app, &key).await;
        let strange = json!([{ "wallet": key.account_id, "id": "strange", "record": "[{}]" }]).to_string();
        let messages = [vec![strange], sound].concat();
        guildhall::jobs::usage::file_usage(&app.ports(), &messages).await.unwrap();
        let books = app.assert_books_balance(&key);
        assert_eq!((books.calls, books.charged), (1, HELLO_MICROS));
        assert!(app.log.borrow().iter().any(|line| line.contains("is not filed")));
    });
}

#[test]
fn of_a_delivery_that_is_filed_in_part_the_rest_is_filed() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let mut deliveries = Vec::new();
        for _ in 0..2 {
            deliveries.push(call_and_drain(&app, &key).await);
        }
        let [first, second] = deliveries.try_into().unwrap();
        guildhall::jobs::usage::file_usage(&app.ports(), &first).await.unwrap();
        guildhall::jobs::usage::file_usage(&app.ports(), &[second, first].concat()).await.unwrap();
        let books = app.assert_books_balance(&key);
        assert_eq!((books.calls, books.charged), (2, 2 * HELLO_MICROS));
        for sum in [
            "SELECT requests FROM usage_totals",
            "SELECT requests FROM call_rollups WHERE step_ms = 0",
            "SELECT SUM(requests) FROM key_rollups WHERE step_ms = 3600000",
            "SELECT requests FROM provider_attempts",
            "SELECT attempts FROM reward_arms",
            "SELECT COUNT(*) FROM reward_logs",
        ] {
            assert_eq!(app.database.number(sum), 2, "{sum}");
        }
    });
}

#[test]
fn one_record_delivered_twice_at_once_counts_once() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let messages = app.objects.drain_queue();
        app.faults.db_extra_ms.set(9);
        let ports = app.ports();
        let file = || guildhall::jobs::usage::file_usage(&ports, &messages);
        let (first, second) = tokio::join!(file(), file());
        first.and(second).unwrap();
        assert_eq!(app.assert_books_balance(&key).calls, 1);
        assert_eq!(app.database.number("SELECT requests FROM call_rollups WHERE step_ms = 0"), 1);
        assert_eq!(app.database.number("SELECT requests FROM provider_attempts"), 1);
    });
}

#[test]
fn a_receipt_is_kept_as_it_was_written_whether_it_came_quoted_or_not() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let id = app.hello(&key).send().await.expect(200).header("x-request-id").unwrap().to_owned();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let messages = app.objects.drain_queue();
        let mut queued: serde_json::Value = serde_json::from_str(&messages[0]).unwrap();
        let mut rows: serde_json::Value = serde_json::from_str(queued[0]["record"].as_str().unwrap()).unwrap();
        let receipt = rows[0][16].take();
        assert!(receipt.is_object(), "{receipt}");
        rows[0][16] = receipt.to_string().into();
        queued[0]["record"] = rows.to_string().into();
        for message in [queued.to_string(), messages[0].clone()] {
            guildhall::jobs::usage::file_usage(&app.ports(), &[message]).await.unwrap();
            let kept: serde_json::Value =
                serde_json::from_str(&app.database.text("SELECT receipt FROM usage")).unwrap();
            assert_eq!(kept, receipt);
            app.database.execute("DELETE FROM usage");
            let shown = app.get(&format!("/v1/usage/{id}")).bearer(&key.key).send().await;
            assert_eq!(shown.status, 404, "acknowledged, and gone");
        }
    });
}

#[test]
fn a_message_that_is_lost_is_sent_again() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!app.objects.drain_queue().is_empty(), "lost here");
        assert_eq!(ids(&page(&app, &key, "").await).len(), 1, "shown all the same");
        assert_eq!(app.books(&key).calls, 0);
        app.pass_ms(70_000).await;
        assert_eq!(app.assert_books_balance(&key).calls, 1);
    });
}

#[test]
fn what_was_acknowledged_is_not_sent_again() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        app.pass_ms(200).await;
        let before = app.faults.db_calls.get();
        // Longer than the vault stays awake, and than limits count.
        app.pass_ms(62 * 60_000).await;
        assert_eq!(app.faults.db_calls.get(), before, "nothing is left to do");
        assert_eq!(app.objects.next_alarm_ms(), None, "and nothing is due");
    });
}

/// Makes calls; gives the messages about them, which nobody has consumed.
async fn lose_messages(app: &TestApp, key: &Key, calls: usize) -> Vec<String> {
    let mut messages = Vec::new();
    for _ in 0..calls {
        app.hello(key).send().await.expect(200);
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        messages.extend(app.objects.drain_queue());
    }
    messages
}

/// One row keeps no other out, and its wallet is told of the others alone.
#[test]
fn a_row_that_the_database_does_not_take_stays_behind_and_the_rest_is_filed() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let mut messages = lose_messages(&app, &key, 9).await;
        let (tokens, too_many) = (r#"\"completed\",10,5,"#, r#"\"completed\",10,18446744073709551615,"#);
        assert!(messages.len() == 9 && messages[4].contains(tokens), "{messages:?}");
        messages[4] = messages[4].replace(tokens, too_many);
        guildhall::jobs::usage::file_usage(&app.ports(), &messages).await.unwrap();
        assert_eq!(app.books(&key).calls, 8);
        assert!(app.log.borrow().iter().any(|line| line.contains("is not filed")));
        // Alone it is an error: what brought it brings it again.
        guildhall::jobs::usage::file_usage(&app.ports(), &messages[4..5]).await.unwrap_err();
        // Its wallet has kept the record as it was.
        app.pass_ms(70_000).await;
        assert_eq!(app.assert_books_balance(&key).calls, 9);
    });
}

/// It is not taken for a row's fault, and not asked for each of them.
#[test]
fn a_database_that_takes_nothing_is_left_alone_and_all_comes_again() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let messages = lose_messages(&app, &key, 9).await;
        // Every write fails, and what is filed can be asked in between.
        app.faults.fail_db(Fault::Before);
        (0..20).for_each(|_| app.faults.fail_db_after(1, Fault::Before));
        let before = app.faults.db_calls.get();
        guildhall::jobs::usage::file_usage(&app.ports(), &messages).await.unwrap_err();
        assert_eq!((app.faults.db_calls.get() - before, app.books(&key).calls), (14, 0));
        app.faults.clear();
        guildhall::jobs::usage::file_usage(&app.ports(), &messages).await.unwrap();
        assert_eq!(app.assert_books_balance(&key).calls, 9);
    });
}

#[test]
fn a_message_that_is_no_record_is_put_aside_and_the_rest_filed() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut messages = app.objects.drain_queue();
        messages.insert(0, "{\"nonsense\":1}".into());
        guildhall::jobs::usage::file_usage(&app.ports(), &messages).await.unwrap();
        assert_eq!(app.assert_books_balance(&key).calls, 1);
        assert!(app.log.borrow().iter().any(|line| line.contains("refused") && line.contains("nonsense")));
    });
}
