//! Transfers between wallets: out of one balance at once, into the other exactly once.
//!
//! ```text
//! Transfer ─▶ balance ▶ in_flight  ┐ one transaction          Receive ─▶ wallets ▶ balance
//!             outbox: Receive      ┘ ── delivered until answered ──▶     once by (from, id)
//! answer ───▶ in_flight ▶ wallets (or ▶ balance when refused), outbox entry struck out
//! ```

use super::draft::Draft;
use super::ledger::Movement;
use super::movement::Asked;
use super::protocol::{Command, Note, RefusalCode, Reply, Wallet};
use super::refusal::{Stop, refuse};
use super::state::WalletMachine;
use crate::machine::{Effect, Enlisted, Facts, MachineError, Write};
use crate::protocol::Protocol;

/// How soon a delivery that failed is tried again, in milliseconds; then twice as long each time.
const TRANSFER_RETRY_MS: i64 = 1_000;

impl WalletMachine {
    /// Sends money to another wallet.
    pub(super) fn transfer(&mut self, asked: Asked<'_>, facts: &Facts, draft: &mut Draft) -> Result<Reply, Stop> {
        let (id, to) = (asked.id.to_owned(), asked.wallet.unwrap_or_default().to_owned());
        let is_new = asked.is_new(facts)?;
        if to == self.name {
            return Err(refuse(RefusalCode::OwnWallet, "a transfer goes to another wallet"));
        }
        if !is_new {
            return self.moved(true);
        }
        self.check_free(asked.amount)?;
        asked.post(&mut self.sums, draft)?;
        self.immature.spend(asked.amount, draft)?;
        let enlisted_id = format!("transfer:{id}");
        let (from, amount, reason) = (self.name.clone(), asked.amount, asked.reason.to_owned());
        let receive = Command::Receive { id, from, amount, reason };
        let command = serde_json::to_string(&receive).map_err(MachineError::from)?;
        let effect = Effect::Deliver { binding: Wallet::BINDING.to_owned(), name: to, command };
        draft.push(Write::Enlist(Enlisted { id: enlisted_id, effect, retry_after_ms: TRANSFER_RETRY_MS }));
        self.moved(false)
    }

    /// Books the answer of the other wallet: the money has arrived, or comes back.
    pub(super) fn settle_delivery(
        &mut self,
        delivery: &Enlisted,
        answer: &[u8],
        draft: &mut Draft,
    ) -> Result<(), MachineError> {
        let unreadable = |error: serde_json::Error| MachineError::unreadable(&delivery.id, &error);
        let Effect::Deliver { name, command, .. } = &delivery.effect else {
            return Err(MachineError::unreadable(&delivery.id, &"not a delivery"));
        };
        let Command::Receive { id, amount, reason, .. } = serde_json::from_str(command).map_err(unreadable)? else {
            return self.settle_handed_on(delivery, answer, draft);
        };
        let movement = match serde_json::from_slice(answer).map_err(unreadable)? {
            Reply::Moved { .. } => Movement::Arrive,
            Reply::Refused { .. } => Movement::Return,
            _ => {
                return Err(MachineError::unreadable(&delivery.id, &"not an answer to a transfer"));
            }
        };
        let note = Note { reason: Some(reason), wallet: Some(name.clone()), ..Note::default() };
        self.sums.post(movement, &id, amount, &note, draft)?;
        draft.push(Write::Strike { id: delivery.id.clone() });
        Ok(())
    }
}
