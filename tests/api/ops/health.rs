//! `/healthz`.

use crate::support::run;

#[test]
fn it_says_whether_there_is_anything_to_serve_with() {
    run(async |app| {
        let empty = app.get("/healthz").send().await.expect(503).json();
        assert_eq!(empty, serde_json::json!({ "ok": false, "status": "unhealthy", "adapters": 0, "models": 0 }));
        app.with_model().await;
        let full = app.get("/healthz").send().await.expect(200).json();
        assert_eq!(full, serde_json::json!({ "ok": true, "status": "ok", "adapters": 1, "models": 1 }));
    });
}
