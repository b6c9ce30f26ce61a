//! The class `Vault` of the Workers runtime.

use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

use super::state::VaultMachine;
use crate::shell::Shell;

/// The vault of the platform.
#[durable_object(alarm)]
pub struct Vault {
    shell: Shell<VaultMachine>,
}

impl DurableObject for Vault {
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
