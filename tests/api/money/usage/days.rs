//! Usage summed up by day, which outlives the rows of single calls.

use std::time::Duration;

use guildhall::jobs::{HOURLY, run_scheduled};
use guildhall::observe::usage::UsageFilter;
use guildhall::store::models::cache::{CacheSum, sum_cache};
use guildhall::store::money::reports::{Dimension, UsageSum};
use guildhall::store::statement::FromRows as _;
use serde_json::{Value, json};

use crate::support::{Answer, DAYS, DAYS_BY_ROWS, Key, TestApp, run, run_with};

const DAY_MS: i64 = 86_400_000;

/// `count` rows of an account that differ in everything, `every_ms` apart; the trigger sums them, as a release does that knows
/// nothing of days.
fn insert_rows(app: &TestApp, account_id: &str, count: i64, every_ms: i64) {
    app.database.execute(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {count})
         INSERT INTO usage (id, account_id, api_key_id, created_at_ms, request_type, mode, model, routed_model, routed_provider,
           status, outcome, input_tokens, output_tokens, cost_micros, charged_micros, latency_ms, receipt, workspace_id, source,
           baseline_micros)
         SELECT 'row_' || i, '{account_id}', 'key_' || (i % 3), i * {every_ms}, IIF(i % 5 = 0, 'image', 'chat'),
           IIF(i % 2 = 0, 'auto', 'fast'), 'm' || (i % 4), 'm', 'p', 200, IIF(i % 7 = 0, 'rejected', 'completed'), i, i * 2, i * 3,
           i * 5, i * 7, '{{}}', IIF(i % 3 = 0, 'acme', ''), IIF(i % 11 = 0, 'cache', 'managed'), IIF(i % 11 = 0, i * 13, NULL)
         FROM n"
    ));
}

#[test]
fn both_ways_of_summing_are_one() {
    run(async |app| {
        let key = app.with_busy_key().await;
        for _ in 0..3 {
            app.hello(&key).send().await.expect(200);
        }
        app.pass_ms(300).await;
        insert_rows(&app, &key.account_id, 500, 5_000_000);
        let account = &key.account_id;
        let days = app.days_of(account, DAYS);
        assert_eq!(days, app.days_of(account, DAYS_BY_ROWS));
        assert!(days.contains("\\\"m1\\\""), "what was filed by the code is among them: {days}");
    });
}

#[test]
fn windows_begin_to_the_millisecond() {
    run(async |app| {
        let key = app.provision("1").await;
        let account = &key.account_id;
        insert_rows(&app, account, 400, 1_000_000);
        let sums = |filter: &UsageFilter, since_ms: i64, by, then_by| -> Vec<UsageSum> {
            let mut sets = app.database.run(&[filter.sum(since_ms, by, then_by).statement]).unwrap();
            Vec::from_rows(sets.remove(0)).unwrap()
        };
        let everything =
            UsageFilter { account_id: account.clone(), api_key_id: None, workspace_id: None, request_type: None };
        let part =
            UsageFilter { api_key_id: Some("key_0".into()), request_type: Some("chat".into()), ..everything.clone() };
        let of_workspace = UsageFilter { workspace_id: Some("acme".into()), ..everything.clone() };
        let conditions = [
            (&everything, ""),
            (&part, "AND api_key_id = 'key_0' AND request_type = 'chat'"),
            (&of_workspace, "AND workspace_id = 'acme'"),
        ];
        let times =
            [0, 1, DAY_MS - 1, DAY_MS, DAY_MS + 1, 2 * DAY_MS + 40_000_000, 399_000_000, 399_000_001, 9 * DAY_MS];
        for (filter, condition) in conditions {
            for since_ms in times {
                let by_day = sums(filter, since_ms, Dimension::Day, Dimension::Model);
                let total = by_day.iter().fold(UsageSum::default(), |mut total, sum| {
                    total.add(sum);
                    total
                });
                let expected = app.database.text(&format!(
                    "SELECT json_array(COUNT(*), COALESCE(SUM(input_tokens), 0), COALESCE(SUM(charged_micros), 0),
                       COALESCE(SUM(latency_ms), 0), COUNT(DISTINCT (created_at_ms / 86400000) || model))
                     FROM usage WHERE account_id = '{account}' AND created_at_ms >= {since_ms} {condition}"
                ));
                let found =
                    json!([total.requests, total.input_tokens, total.charged_micros, total.latency_ms, by_day.len()]);
                assert_eq!(found.to_string(), expected, "{since_ms} {condition}");
            }
        }
        for since_ms in times {
            let mut sets = app.database.run(&[sum_cache(account, since_ms).statement]).unwrap();
            let sum: Option<CacheSum> = Option::from_rows(sets.remove(0)).unwrap();
            let sum = sum.unwrap();
            let expected = app.database.text(&format!(
                "SELECT json_array(COALESCE(SUM(source = 'cache'), 0), COALESCE(SUM(source <> 'cache'), 0),
                   COALESCE(SUM(IIF(source = 'cache', baseline_micros - charged_micros, 0)), 0))
                 FROM usage WHERE account_id = '{account}' AND created_at_ms >= {since_ms} AND outcome = 'completed'
                   AND request_type = 'chat'"
            ));
            assert_eq!(json!([sum.hits, sum.misses, sum.saved_micros]).to_string(), expected, "{since_ms}");
        }
    });
}

async fn stats(app: &TestApp, key: &Key) -> Value {
    app.get("/v1/stats?days=365").bearer(&key.key).send().await.expect(200).json()
}

#[test]
fn the_oldest_rows_go_and_their_sums_stay() {
    run_with(&[("CALLS_KEPT", "2")], async |app| {
        let key = app.with_busy_key().await;
        let id = |answer: &Answer| answer.header("x-request-id").unwrap().to_owned();
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(id(&app.hello(&key).send().await.expect(200)));
        }
        app.pass_ms(300).await;
        let before = stats(&app, &key).await;
        let prune = async || run_scheduled(&app.isolate(), &app.ports(), HOURLY).await;
        prune().await;
        let rows = || app.database.number("SELECT COUNT(*) FROM usage");
        assert_eq!((&before["requests"], rows()), (&json!(5), 5), "a day's rows are kept in any case");
        tokio::time::sleep(Duration::from_secs(86_500)).await;
        prune().await;
        assert_eq!((rows(), app.database.number("SELECT COUNT(*) FROM reward_logs")), (2, 2));
        for (at, id) in ids.iter().enumerate() {
            let status = if at < 3 { 404 } else { 200 };
            app.get(&format!("/v1/usage/{id}")).bearer(&key.key).send().await.expect(status);
        }
        let after = stats(&app, &key).await;
        let sums = |stats: &Value| ["requests", "total_tokens", "charged_usd"].map(|name| stats[name].clone());
        assert_eq!(sums(&after), sums(&before), "sums are of all calls");
        let books = app.admin("POST", "/admin/v1/reconciliation").send().await.expect(200).json();
        assert_eq!(books["differences"], json!([]));
    });
}
