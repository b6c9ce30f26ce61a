//! Ports that fail before or after they have done their work: money and records survive.

mod crashes;
mod database;
mod deadlines;
mod idempotency;
mod limiter;
mod wallet;

use crate::support::{Answer, Key, TestApp};

/// Whatever failed inside, the client gets an answer of its own API, without the cause.
#[track_caller]
fn assert_clear(answer: &Answer, allowed: &[u16]) {
    assert!(allowed.contains(&answer.status), "{}: {}", answer.status, answer.text());
    if answer.status >= 400 {
        assert!(
            answer.json()["error"].is_string() || answer.json()["error"]["message"].is_string(),
            "{}",
            answer.text()
        );
        for secret in ["test: failed", "Fault(", "WALLET", "RATE_LIMITER", "IDEMPOTENCY"] {
            assert!(!answer.text().contains(secret), "{}", answer.text());
        }
    }
    if answer.status == 503 {
        assert!(answer.header("retry-after").is_some(), "{:?}", answer.headers);
    }
    assert!(answer.header("x-request-id").is_some() && answer.header("x-ratelimit-limit").is_some());
}

/// Time for retries, alarms and leases; then the books must balance.
async fn settle(app: &TestApp, key: &Key) -> crate::support::Books {
    app.faults.clear();
    app.pass_ms(130_000).await;
    app.assert_books_rest(key)
}
