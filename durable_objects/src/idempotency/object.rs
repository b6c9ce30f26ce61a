//! The class `Idempotency` of the Workers runtime.

use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

use super::state::IdempotencyMachine;
use crate::shell::Shell;

/// The guard of one caller's `Idempotency-Key`.
#[durable_object(alarm)]
pub struct Idempotency {
    shell: Shell<IdempotencyMachine>,
}

impl DurableObject for Idempotency {
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
