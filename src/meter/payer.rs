//! Who pays for a call, and within which budgets.

use durable_objects::wallet::protocol::BudgetLine;
use guildhall_domain::money::MicroUsd;
use guildhall_domain::time::month_of;

/// Whose spending a budget limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetOf {
    /// A key's, in a month.
    Key,
    /// A key's, in all: the credits that its owner set aside for it.
    KeyCredits,
    /// A workspace's, in a month.
    Workspace,
    /// The whole account's, in a month.
    Account,
}

/// A limit on spending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Whose.
    pub of: BudgetOf,
    /// Its line in the wallet.
    pub id: String,
    /// The most that may be spent, in a UTC month or in all.
    pub limit: MicroUsd,
    /// When it was last reset; milliseconds since 1970, 0 when never.
    pub since_ms: i64,
}

impl Budget {
    /// The monthly budget of a key.
    #[must_use]
    pub fn of_key(key_id: &str, limit: MicroUsd, since_ms: i64) -> Self {
        Self { of: BudgetOf::Key, id: format!("key:{key_id}"), limit, since_ms }
    }

    /// The credits of a key.
    #[must_use]
    pub fn of_key_credits(key_id: &str, limit: MicroUsd) -> Self {
        Self { of: BudgetOf::KeyCredits, id: format!("credits:{key_id}"), limit, since_ms: 0 }
    }

    /// The monthly budget of a workspace, by its owner's name for it.
    #[must_use]
    pub fn of_workspace(workspace_id: &str, limit: MicroUsd) -> Self {
        Self { of: BudgetOf::Workspace, id: format!("workspace:{workspace_id}"), limit, since_ms: 0 }
    }

    /// The monthly limit of the whole account.
    #[must_use]
    pub fn of_account(limit: MicroUsd) -> Self {
        Self { of: BudgetOf::Account, id: "account".to_owned(), limit, since_ms: 0 }
    }

    /// As the wallet is told of it now.
    #[must_use]
    pub fn line(&self, now_ms: i64) -> BudgetLine {
        let period = if self.of == BudgetOf::KeyCredits { String::new() } else { month_of(now_ms) };
        BudgetLine { id: self.id.clone(), period, limit: self.limit, since_ms: self.since_ms }
    }
}

/// Who pays: the owner of a wallet, and the budgets that the call counts against. Calls with budgets spend from a lease
/// of their own, so that both kinds stay off the wallet's doorstep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payer {
    owner: String,
    budgets: Vec<Budget>,
    /// Names the isolate's lease.
    purse: String,
    /// The balance below which the owner's card is charged.
    reloads_below: Option<MicroUsd>,
}

impl Payer {
    /// An owner without budgets.
    #[must_use]
    pub fn new(owner: &str) -> Self {
        Self::with_budgets(owner, Vec::new())
    }

    /// An owner whose call counts against these budgets.
    #[must_use]
    pub fn with_budgets(owner: &str, budgets: Vec<Budget>) -> Self {
        let purse = budgets.iter().fold(owner.to_owned(), |purse, budget| purse + " " + &budget.id);
        Self { owner: owner.to_owned(), budgets, purse, reloads_below: None }
    }

    /// With auto pay below this balance.
    #[must_use]
    pub fn reloading_below(self, below: Option<MicroUsd>) -> Self {
        Self { reloads_below: below, ..self }
    }

    /// The balance below which the owner's card is charged; `None` without auto pay.
    #[must_use]
    pub const fn reloads_below(&self) -> Option<MicroUsd> {
        self.reloads_below
    }

    /// The owner of the wallet.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The budgets.
    #[must_use]
    pub fn budgets(&self) -> &[Budget] {
        &self.budgets
    }

    /// The name of the isolate's lease for calls like this.
    #[must_use]
    pub fn purse(&self) -> &str {
        &self.purse
    }

    /// The name under which the wallet holds that lease for an isolate.
    #[must_use]
    pub fn holder(&self, isolate: &str) -> String {
        self.budgets.iter().fold(isolate.to_owned(), |holder, budget| holder + " " + &budget.id)
    }

    /// The budgets as the wallet is told of them.
    #[must_use]
    pub fn lines(&self, now_ms: i64) -> Vec<BudgetLine> {
        self.budgets.iter().map(|budget| budget.line(now_ms)).collect()
    }
}
