//! `/admin/v1/rewards`, and the sums that routing reads.

use guildhall::ports::FetchError;
use guildhall::store::ops::rewards::{RewardArm, list_reward_arms};
use serde_json::{Value, json};

use crate::support::{Reply, TestApp, run};

async fn list(app: &TestApp, query: &str) -> Value {
    app.admin("GET", &format!("/admin/v1/rewards{query}")).send().await.expect(200).json()
}

async fn arms(app: &TestApp) -> Vec<RewardArm> {
    list_reward_arms(app.now_ms() / 86_400_000 - 6).run(&*app.ports().db).await.unwrap()
}

#[test]
fn an_empty_log_is_a_list() {
    run(async |app| {
        app.get("/admin/v1/rewards").send().await.expect(401);
        let page = app.admin("GET", "/admin/v1/rewards").send().await.expect(200).json();
        assert_eq!(page, json!({ "rewards": [], "total": 0, "limit": 100, "offset": 0 }));
    });
}

#[test]
fn a_success_is_worth_what_it_cost_and_took() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.latency_ms.set(500);
        let answer = app.hello(&key).send().await.expect(200);
        let page = list(&app, "").await;
        let row = &page["rewards"][0];
        assert_eq!(row["request_id"].as_str(), answer.header("x-request-id"));
        for (field, expected) in [
            ("model_id", json!("m1")),
            ("provider_id", json!("p1")),
            ("mode", json!("auto")),
            ("token_bucket", json!("small")),
            ("latency_budget_ms", json!(0)),
            ("cost_usd", json!(0.00025)),
            ("success", json!(true)),
        ] {
            assert_eq!(row[field], expected, "{field}");
        }
        assert!(row["timestamp"].as_str().unwrap().starts_with("2027-"), "a time that can be read: {row}");
        // 0.4 + 0.3 × (1 − 0.00025 / 0.1) + 0.3 × (1 − about 500 ms / 1 s)
        let reward = row["reward"].as_f64().unwrap();
        assert!((0.84..=0.8493).contains(&reward), "{row}");
    });
}

#[test]
fn a_failure_is_evidence_and_a_clients_mistake_is_none() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        app.upstream.then(Reply::Whole(502, "garbage".into(), "30"));
        app.hello(&key).send().await.expect(502);
        app.upstream.then(Reply::error(400, "no"));
        app.hello(&key).send().await.expect(400);
        app.upstream.then(Reply::Fails(FetchError::ClientGone { was_asked: true }));
        app.hello(&key).send().await;
        let page = list(&app, "").await;
        assert_eq!(page["total"], 2, "{page}");
        let failed = &page["rewards"][0];
        assert_eq!(
            (&failed["success"], &failed["reward"], &failed["model_id"]),
            (&json!(false), &json!(0.0), &json!("m1"))
        );
        assert_eq!(failed["error_class"], "transient");
        let arms = arms(&app).await;
        assert_eq!((arms.len(), arms[0].count, arms[0].bucket.as_str()), (1, 2, "small"));
        let sum = page["rewards"][1]["reward"].as_f64().unwrap();
        assert!((arms[0].reward_sum - sum).abs() < 1e-9, "{arms:?}");
    });
}

#[test]
fn an_attempt_whose_place_another_took_is_no_evidence() {
    run(async |app| {
        app.add_provider("a").await;
        app.add_provider("b").await;
        for (id, provider, weight, context) in [("small", "a", 10, 4_000), ("large", "b", 1, 32_000)] {
            let model = json!({ "id": id, "provider_id": provider, "weight": weight, "max_context_tokens": context,
                "input_per_1k": 0.01, "output_per_1k": 0.03, "enabled": true });
            app.admin("POST", "/admin/v1/models").json(&model).send().await.expect(200);
        }
        let key = app.provision("10").await;
        app.upstream.always_at("a", Reply::error(400, "context_length_exceeded"));
        app.upstream.always_at("b", Reply::chat("from the large one", 10, 5));
        let body = crate::support::HELLO.replace("m1", "max");
        app.post("/v1/chat/completions").bearer(&key.key).body(&body).send().await.expect(200);
        let page = list(&app, "").await;
        assert_eq!((&page["total"], &page["rewards"][0]["model_id"]), (&json!(1), &json!("large")), "{page}");
    });
}

#[test]
fn what_is_delivered_twice_counts_once_and_old_days_are_forgotten() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let messages = app.objects.drain_queue();
        for _ in 0..3 {
            guildhall::jobs::usage::file_usage(&app.ports(), &messages).await.unwrap();
        }
        assert_eq!(list(&app, "").await["total"], 1);
        assert_eq!(arms(&app).await[0].count, 1);
        assert_eq!(app.database.number("SELECT requests FROM provider_attempts"), 1);
        app.database.execute("UPDATE reward_arms SET day = day - 7");
        assert_eq!(arms(&app).await, []);
    });
}

#[test]
fn it_pages() {
    run(async |app| {
        let key = app.with_busy_key().await;
        for _ in 0..4 {
            app.hello(&key).send().await.expect(200);
        }
        let page = list(&app, "?limit=2&offset=1").await;
        let ids: Vec<_> = page["rewards"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect();
        assert_eq!((ids, &page["total"]), (vec![3, 2], &json!(4)));
    });
}
