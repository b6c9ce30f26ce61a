//! The class `RateLimiter` of the Workers runtime.

use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

use super::state::RateLimiterMachine;
use crate::shell::Shell;

/// The rate limits of one key or address.
#[durable_object(alarm)]
pub struct RateLimiter {
    shell: Shell<RateLimiterMachine>,
}

impl DurableObject for RateLimiter {
    fn new(state: State, env: Env) -> Self {
        Self { shell: Shell::new(state, env) }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        self.shell.fetch(request).await
    }

    async fn alarm(&self) -> Result<Response> {
        self.shell.alarm().await
    }
}
