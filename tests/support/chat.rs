//! The call that most scenarios make.

use super::{Call, Key, Reply, TestApp};

/// To `m1`: 85 bytes, at most 100 output tokens.
pub const HELLO: &str = r#"{"model":"m1","messages":[{"role":"user","content":"hello there"}],"max_tokens":100}"#;

/// What a `HELLO` costs whose answer is [`TestApp::answer_hello`]: 10 × $10/M + 5 × $30/M.
pub const HELLO_MICROS: i64 = 250;

impl TestApp {
    pub fn hello(&self, key: &Key) -> Call<'_> {
        self.post("/v1/chat/completions").bearer(&key.key).body(HELLO)
    }

    /// From now on the upstream answers with 10 input and 5 output tokens.
    pub fn answer_hello(&self) {
        self.upstream.always(Reply::chat("hi", 10, 5));
    }

    /// [`TestApp::with_model`], a price list of its own, no limit that a test would meet, and an upstream that answers.
    pub async fn with_busy_key(&self) -> Key {
        let key = self.with_model().await;
        self.set_limits(&key, 1_000_000, 10_000_000, 10_000).await;
        self.answer_hello();
        key
    }
}
