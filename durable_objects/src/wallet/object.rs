//! The class `Wallet` of the Workers runtime.

use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

use super::state::WalletMachine;
use crate::shell::Shell;

/// The money of one owner.
#[durable_object(alarm)]
pub struct Wallet {
    shell: Shell<WalletMachine>,
}

impl DurableObject for Wallet {
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
