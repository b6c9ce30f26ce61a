//! The class `VectorIndex` of the Workers runtime.

use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

use super::state::VectorIndexMachine;
use crate::shell::Shell;

/// Vectors of one owner.
#[durable_object(alarm)]
pub struct VectorIndex {
    shell: Shell<VectorIndexMachine>,
}

impl DurableObject for VectorIndex {
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
