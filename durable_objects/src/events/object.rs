//! The class `Events` of the Workers runtime.

use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

use super::state::EventsMachine;
use crate::shell::Shell;

/// The live feed of one audience.
#[durable_object(fetch)]
pub struct Events {
    shell: Shell<EventsMachine>,
}

impl DurableObject for Events {
    fn new(state: State, env: Env) -> Self {
        Self { shell: Shell::new(state, env) }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        self.shell.fetch(request).await
    }
}
