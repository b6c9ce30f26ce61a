//! Pages of usage: `limit` and `before`.

use std::collections::HashSet;

use guildhall::store::money::record::UsageColumns;
use guildhall::store::money::usage::{UsageRow, insert_usage};
use serde_json::json;

use super::{ids, page};
use crate::support::{Key, TestApp, join_all, run};

/// Reads page after page as a client does: `before` is the last row's time.
async fn read_all(app: &TestApp, key: &Key, limit: usize) -> Vec<String> {
    let (mut all, mut query) = (Vec::new(), format!("?limit={limit}"));
    for _ in 0..100 {
        let page = page(app, key, &query).await;
        let found = ids(&page);
        let more = page["has_more"] == true;
        assert!(!more || !found.is_empty(), "a page that promises more has something");
        all.extend(found);
        let Some(last) = page["data"].as_array().unwrap().last().filter(|_| more) else { return all };
        query = format!("?limit={limit}&before={}", last["created_at"].as_str().unwrap());
    }
    panic!("endless paging");
}

#[test]
fn the_newest_come_first_and_pages_join() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let mut made = Vec::new();
        for _ in 0..7 {
            let answer = app.hello(&key).send().await.expect(200);
            made.insert(0, answer.header("x-request-id").unwrap().to_owned());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        for limit in [1, 2, 3, 7, 100] {
            assert_eq!(read_all(&app, &key, limit).await, made, "{limit} a page, on their way");
        }
        app.pass_ms(200).await;
        for limit in [1, 2, 3, 7, 100] {
            assert_eq!(read_all(&app, &key, limit).await, made, "{limit} a page, delivered");
        }
    });
}

#[test]
fn has_more_is_true_exactly_when_there_is_more() {
    run(async |app| {
        let key = app.with_busy_key().await;
        for _ in 0..3 {
            app.hello(&key).send().await.expect(200);
        }
        for (limit, rows, has_more) in [(1, 1, true), (2, 2, true), (3, 3, false), (4, 3, false)] {
            let page = page(&app, &key, &format!("?limit={limit}")).await;
            assert_eq!((ids(&page).len(), &page["has_more"]), (rows, &json!(has_more)), "limit {limit}");
            assert_eq!(page["total_calls"], 3, "the summary is of the period, not of the page");
        }
    });
}

#[test]
fn a_hundred_rows_are_a_page_unless_said_otherwise() {
    run(async |app| {
        let key = app.with_busy_key().await;
        for _ in 0..101 {
            app.hello(&key).send().await.expect(200);
        }
        let first = page(&app, &key, "").await;
        assert_eq!((ids(&first).len(), &first["has_more"]), (100, &json!(true)));
        app.pass_ms(200).await;
        let first = page(&app, &key, "").await;
        assert_eq!((ids(&first).len(), &first["has_more"]), (100, &json!(true)));
    });
}

#[test]
fn before_leaves_out_what_came_at_that_time_or_later() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let mut times = Vec::new();
        for _ in 0..3 {
            app.hello(&key).send().await.expect(200);
            times.push(app.last_usage(&key).await["created_at"].as_str().unwrap().to_owned());
            tokio::time::sleep(std::time::Duration::from_millis(1_000)).await;
        }
        for (at, rows) in [(0, 0), (1, 1), (2, 2)] {
            let page = page(&app, &key, &format!("?before={}", times[at])).await;
            assert_eq!(ids(&page).len(), rows, "before {}", times[at]);
        }
        // The same moment, as another clock shows it.
        let elsewhere = times[2].replace("T08:", "T10:").replace('Z', "%2B02:00");
        assert_ne!(elsewhere, times[2]);
        assert_eq!(ids(&page(&app, &key, &format!("?before={elsewhere}")).await).len(), 2);
    });
}

#[test]
fn calls_of_one_millisecond_are_all_on_some_page() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        let answers = join_all((0..9).map(|_| app.hello(&key).send())).await;
        let made: HashSet<_> = answers.iter().map(|answer| answer.header("x-request-id").unwrap().to_owned()).collect();
        for delivered in [false, true] {
            let found = read_all(&app, &key, 4).await;
            let distinct: HashSet<_> = found.iter().cloned().collect();
            assert!(made.is_subset(&distinct), "delivered {delivered}: {} of 9", made.intersection(&distinct).count());
            assert_eq!((found.len(), distinct.len()), (10, 10), "delivered {delivered}: none twice");
            app.pass_ms(200).await;
        }
    });
}

#[test]
fn one_kind_of_request_is_found_behind_many_of_another() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let answer = app.hello(&key).send().await.expect(200);
        app.pass_ms(200).await;
        let newer: Vec<_> = (0..20)
            .map(|number| {
                json!({
                    "id": format!("req_image_{number}"), "account_id": key.account_id, "api_key_id": app.key_id(&key),
                    "created_at_ms": app.now_ms() + number, "request_type": "image", "mode": "auto", "model": "m1",
                    "routed_model": "m1", "routed_provider": "p1", "status": 200, "outcome": "completed",
                    "input_tokens": 0, "output_tokens": 0, "cost_micros": 0, "charged_micros": 0, "latency_ms": 1,
                    "receipt": "{}",
                })
            })
            .collect();
        let newer: Vec<UsageRow> = serde_json::from_value(json!(newer)).unwrap();
        let columns: Vec<_> = newer.iter().map(UsageColumns).collect();
        app.database.run(&[insert_usage(&json!(columns).to_string()).statement]).unwrap();
        let chats = page(&app, &key, "?request_type=chat&limit=1").await;
        assert_eq!(ids(&chats), [answer.header("x-request-id").unwrap()]);
        assert_eq!(chats["has_more"], false);
        let images = page(&app, &key, "?request_type=image&limit=5").await;
        assert_eq!((ids(&images).len(), &images["has_more"]), (5, &json!(true)));
        assert_eq!(ids(&page(&app, &key, "?request_type=video").await).len(), 0);
    });
}
