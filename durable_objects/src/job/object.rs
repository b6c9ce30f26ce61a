//! The class `Job` of the Workers runtime.

use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

use super::state::JobMachine;
use crate::shell::Shell;

/// One asynchronous job.
#[durable_object(alarm)]
pub struct Job {
    shell: Shell<JobMachine>,
}

impl DurableObject for Job {
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
