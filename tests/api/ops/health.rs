//! `/healthz`.

use serde_json::json;

use crate::support::{Fault, run};

#[test]
fn it_says_whether_there_is_anything_to_serve_with() {
    run(async |app| {
        let empty = app.get("/healthz").send().await.expect(503).json();
        assert_eq!(empty, json!({ "ok": false, "status": "unhealthy", "adapters": 0, "models": 0 }));
        app.add_provider("p1").await;
        let modelless = app.get("/healthz").send().await.expect(503).json();
        assert_eq!(modelless, json!({ "ok": false, "status": "unhealthy", "adapters": 1, "models": 0 }));
        app.add_model("m1", "p1", 5).await;
        let full = app.get("/healthz").send().await.expect(200).json();
        assert_eq!(full, json!({ "ok": true, "status": "ok", "adapters": 1, "models": 1 }));
    });
}

#[test]
fn it_needs_no_credential_and_ignores_a_wrong_one() {
    run(async |app| {
        app.with_model().await;
        app.get("/healthz").send().await.expect(200);
        app.get("/healthz").bearer("nonsense").send().await.expect(200);
    });
}

#[test]
fn a_provider_that_was_switched_off_does_not_count() {
    run(async |app| {
        app.with_model().await;
        app.admin("PATCH", "/admin/v1/providers/p1").body(r#"{"enabled":false}"#).send().await.expect(200);
        let answer = app.get("/healthz").send().await.expect(503).json();
        assert_eq!((&answer["ok"], &answer["adapters"]), (&json!(false), &json!(0)));
    });
}

#[test]
fn a_model_that_was_switched_off_does_not_count() {
    run(async |app| {
        app.with_model().await;
        app.add_model("m2", "p1", 5).await;
        for (model, status, models) in [("m2", 200, 1), ("m1", 503, 0)] {
            let path = format!("/admin/v1/models/{model}");
            app.admin("PATCH", &path).body(r#"{"enabled":false}"#).send().await.expect(200);
            assert_eq!(app.get("/healthz").send().await.expect(status).json()["models"], models);
        }
    });
}

#[test]
fn a_database_that_does_not_answer_is_no_success_and_no_secret() {
    run(async |app| {
        app.faults.fail_db(Fault::Before);
        let answer = app.get("/healthz").send().await;
        assert!(matches!(answer.status, 500 | 503), "{}", answer.text());
        assert!(!answer.text().contains("test: failed"), "{}", answer.text());
        assert!(app.log.borrow().iter().any(|line| line.contains("test: failed before")), "the cause is logged");
    });
}
