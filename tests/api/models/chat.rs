//! `POST /v1/chat/completions`, whole answers.

use crate::support::{Reply, run};

const HELLO: &str = r#"{"model":"m1","messages":[{"role":"user","content":"hello there"}],"max_tokens":100}"#;

#[test]
fn an_answer_is_priced_settled_and_recorded() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.then(Reply::chat("hi", 10, 5));
        let answer = app.post("/v1/chat/completions").bearer(&key.key).body(HELLO).send().await.expect(200);
        assert_eq!(answer.json()["model"], "m1");
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "hi");
        // 10 × $10/M + 5 × $30/M
        assert_eq!(answer.header("x-tokaroo-cost"), Some("0.00025"));
        assert_eq!(answer.header("x-tokaroo-cache"), Some("miss"));
        assert_eq!(app.balance_micros(&key).await, 10_000_000 - 250);
        let usage = app.last_usage(&key).await;
        assert_eq!(usage["charged_usd"], 0.00025);
        assert_eq!(usage["outcome"], "completed");
        assert_eq!(usage["input_tokens"], 10);
    });
}
