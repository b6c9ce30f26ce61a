//! Who pays for a call, and within which budgets.

use durable_objects::wallet::protocol::{BudgetLine, Count};
use guildhall_domain::money::MicroUsd;
use guildhall_domain::time::month_of;

use crate::error::{ApiError, Kind};

/// Whose spending is counted together.
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

impl BudgetOf {
    /// The limit is reached. Trying again helps only in another month, or with more credits, and clients are told so.
    #[must_use]
    pub fn exceeded(self, budget: MicroUsd, spent: MicroUsd) -> ApiError {
        let (what, kind) = match self {
            Self::Key => ("The monthly budget", Kind::BudgetExceeded),
            Self::Workspace => ("The workspace's monthly budget", Kind::BudgetExceeded),
            Self::Account => ("The account's monthly spending limit", Kind::BudgetExceeded),
            Self::KeyCredits => ("The key's credit", Kind::InsufficientFunds),
        };
        let (budget_text, spent_text) = (budget.to_usd_string(), spent.to_usd_string());
        let text = format!("{what} of ${budget_text} does not cover this request; ${spent_text} is spent");
        ApiError::new(kind, text)
            .with("budget_usd", budget.to_usd())
            .with("spent_usd", spent.to_usd())
            .header("x-should-retry", "false".to_owned())
    }
}

/// What is counted together, whether or not anything limits it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Whose.
    pub of: BudgetOf,
    /// Its line in the wallet.
    pub id: String,
    /// When it was last reset; milliseconds since 1970, 0 when never.
    pub since_ms: i64,
}

impl Tally {
    /// What a key spends in a month.
    #[must_use]
    pub fn of_key(key_id: &str, since_ms: i64) -> Self {
        Self { of: BudgetOf::Key, id: format!("key:{key_id}"), since_ms }
    }

    /// What a key spends of its credits.
    #[must_use]
    pub fn of_key_credits(key_id: &str) -> Self {
        Self { of: BudgetOf::KeyCredits, id: format!("credits:{key_id}"), since_ms: 0 }
    }

    /// What a workspace spends in a month, by its owner's name for it.
    #[must_use]
    pub fn of_workspace(workspace_id: &str) -> Self {
        Self { of: BudgetOf::Workspace, id: format!("workspace:{workspace_id}"), since_ms: 0 }
    }

    /// What the whole account spends in a month.
    #[must_use]
    pub fn of_account() -> Self {
        Self { of: BudgetOf::Account, id: "account".to_owned(), since_ms: 0 }
    }

    fn period(&self, now_ms: i64) -> String {
        if self.of == BudgetOf::KeyCredits { String::new() } else { month_of(now_ms) }
    }

    /// The line of the wallet with this limit, as it is now.
    #[must_use]
    pub fn line(&self, limit: MicroUsd, now_ms: i64) -> BudgetLine {
        BudgetLine { id: self.id.clone(), period: self.period(now_ms), limit, since_ms: self.since_ms }
    }

    fn count(&self, amount: MicroUsd, now_ms: i64) -> Count {
        Count { id: self.id.clone(), period: self.period(now_ms), since_ms: self.since_ms, amount }
    }
}

/// A limit on spending, in a UTC month or in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// What it limits.
    pub tally: Tally,
    /// The most that may be spent.
    pub limit: MicroUsd,
}

/// Who pays: the owner of a wallet, and the budgets that the call counts against. Calls with budgets spend from a lease
/// of their own, so that both kinds stay off the wallet's doorstep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payer {
    owner: String,
    budgets: Vec<Budget>,
    /// What is counted and not limited.
    unlimited: Vec<Tally>,
    /// Names the isolate's lease.
    purse: String,
    /// The balance below which the owner's card is charged.
    reloads_below: Option<MicroUsd>,
}

impl Payer {
    /// An owner whose calls count for these, within the limits that they have.
    #[must_use]
    pub fn new(owner: &str, tallies: Vec<(Tally, Option<MicroUsd>)>) -> Self {
        let (mut budgets, mut unlimited) = (Vec::new(), Vec::new());
        for (tally, limit) in tallies {
            match limit {
                Some(limit) => budgets.push(Budget { tally, limit }),
                None => unlimited.push(tally),
            }
        }
        let purse = budgets.iter().fold(owner.to_owned(), |purse, budget| purse + " " + &budget.tally.id);
        Self { owner: owner.to_owned(), budgets, unlimited, purse, reloads_below: None }
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
        self.budgets.iter().fold(isolate.to_owned(), |holder, budget| holder + " " + &budget.tally.id)
    }

    /// The budgets as the wallet is told of them.
    #[must_use]
    pub fn lines(&self, now_ms: i64) -> Vec<BudgetLine> {
        self.budgets.iter().map(|budget| budget.tally.line(budget.limit, now_ms)).collect()
    }

    /// For what a charge counts beside the budgets.
    pub fn counts(&self, amount: MicroUsd, now_ms: i64) -> impl Iterator<Item = Count> {
        self.unlimited.iter().map(move |tally| tally.count(amount, now_ms))
    }
}
