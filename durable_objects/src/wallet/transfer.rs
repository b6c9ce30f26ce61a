//! Transfers between wallets: out of one balance at once, into the other exactly once.
//!
//! ```text
//! Transfer ─▶ balance ▶ in_flight  ┐ one transaction          Receive ─▶ wallets ▶ balance
//!             outbox: Receive      ┘ ── delivered until answered ──▶     once by (from, id)
//! answer ───▶ in_flight ▶ wallets (or ▶ balance when refused), outbox entry struck out
//! ```

use guildhall_domain::money::MicroUsd;

use super::draft::Draft;
use super::ledger::Movement;
use super::protocol::{Command, Note, RefusalCode, Reply, Wallet};
use super::refusal::{Stop, check_amount, check_id, check_reason, refuse};
use super::state::{WalletMachine, is_repeated};
use crate::machine::{Effect, Enlisted, Facts, MachineError, Write};
use crate::protocol::Protocol;

/// How soon a delivery that failed is tried again, in milliseconds; then twice as long each time.
const TRANSFER_RETRY_MS: i64 = 1_000;

/// The name of a transfer at the wallet that receives it. The length keeps `("a", "b:c")` and `("a:b", "c")` apart.
pub fn received_id(from: &str, id: &str) -> String {
    format!("{}:{from}:{id}", from.len())
}

impl WalletMachine {
    /// Sends money to another wallet.
    pub(super) fn transfer(
        &mut self,
        id: String,
        to: String,
        amount: MicroUsd,
        reason: String,
        facts: &Facts,
        draft: &mut Draft,
    ) -> Result<Reply, Stop> {
        check_id("a transfer's id", &id)?;
        check_id("a wallet's name", &to)?;
        check_amount(amount)?;
        check_reason(&reason)?;
        if to == self.name {
            return Err(refuse(RefusalCode::OwnWallet, "a transfer goes to another wallet"));
        }
        let note = Note { reason: Some(reason.clone()), wallet: Some(to.clone()), hold: None };
        if is_repeated(facts, &Movement::Send.entry_id(&id), amount, &note)? {
            return self.moved(true);
        }
        self.check_free(amount)?;
        self.sums.post(Movement::Send, &id, amount, &note, draft)?;
        let enlisted_id = format!("transfer:{id}");
        let receive = Command::Receive { id, from: self.name.clone(), amount, reason };
        let command = serde_json::to_string(&receive).map_err(MachineError::from)?;
        let effect = Effect::Deliver { binding: Wallet::BINDING.to_owned(), name: to, command };
        draft.push(Write::Enlist(Enlisted { id: enlisted_id, effect, retry_after_ms: TRANSFER_RETRY_MS }));
        self.moved(false)
    }

    /// Takes money from another wallet.
    pub(super) fn receive(
        &mut self,
        id: &str,
        from: String,
        amount: MicroUsd,
        reason: String,
        facts: &Facts,
        draft: &mut Draft,
    ) -> Result<Reply, Stop> {
        check_id("a transfer's id", id)?;
        check_id("a wallet's name", &from)?;
        check_amount(amount)?;
        check_reason(&reason)?;
        let received_id = received_id(&from, id);
        let note = Note { reason: Some(reason), wallet: Some(from), hold: None };
        if is_repeated(facts, &Movement::Receive.entry_id(&received_id), amount, &note)? {
            return self.moved(true);
        }
        self.check_room_for(amount)?;
        self.sums.post(Movement::Receive, &received_id, amount, &note, draft)?;
        self.repay(draft)?;
        self.moved(false)
    }

    /// Books the answer of the other wallet: the money has arrived, or comes back.
    pub(super) fn settle_transfer(
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
            return Err(MachineError::unreadable(&delivery.id, &"not a transfer"));
        };
        let movement = match serde_json::from_slice(answer).map_err(unreadable)? {
            Reply::Moved { .. } => Movement::Arrive,
            Reply::Refused { .. } => Movement::Return,
            _ => {
                return Err(MachineError::unreadable(&delivery.id, &"not an answer to a transfer"));
            }
        };
        let note = Note { reason: Some(reason), wallet: Some(name.clone()), hold: None };
        self.sums.post(movement, &id, amount, &note, draft)?;
        draft.push(Write::Strike { id: delivery.id.clone() });
        Ok(())
    }
}
