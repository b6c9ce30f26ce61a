//! The class `ProviderHealth` of the Workers runtime.

use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

use super::state::ProviderHealthMachine;
use crate::shell::Shell;

/// How the providers are doing.
#[durable_object(fetch)]
pub struct ProviderHealth {
    shell: Shell<ProviderHealthMachine>,
}

impl DurableObject for ProviderHealth {
    fn new(state: State, env: Env) -> Self {
        Self { shell: Shell::new(state, env) }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        self.shell.fetch(request).await
    }
}
