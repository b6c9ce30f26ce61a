-- Usage by workspace, the comparison of usage with the ledgers, and accounts that were closed.

-- Rows without a workspace, which are most, cost nothing here.
CREATE INDEX usage_by_workspace ON usage (account_id, workspace_id, created_at_ms DESC) WHERE workspace_id <> '';

-- One row per comparison of all accounts' usage with their wallets' ledgers. It goes on over several events: `cursor` is the
-- last account that was compared.
CREATE TABLE reconciliations (
  id INTEGER PRIMARY KEY,
  -- cron or admin
  origin TEXT NOT NULL,
  started_at_ms INTEGER NOT NULL,
  -- NULL while accounts are left.
  finished_at_ms INTEGER,
  cursor TEXT NOT NULL,
  -- Accounts compared so far.
  accounts INTEGER NOT NULL,
  -- Of those, how many were charged while they were compared, so that only bounds could be held against each other.
  moving INTEGER NOT NULL
) STRICT;

-- Accounts whose usage is not what their ledger says.
CREATE TABLE ledger_differences (
  reconciliation_id INTEGER NOT NULL REFERENCES reconciliations (id) ON DELETE CASCADE,
  account_id TEXT NOT NULL,
  -- Charged by the wallet's journal, less what nothing covered.
  ledger_micros INTEGER NOT NULL,
  usage_micros INTEGER NOT NULL,
  -- What is wrong beside the sums, such as a journal that does not add up; empty when nothing is.
  fault TEXT NOT NULL,
  found_at_ms INTEGER NOT NULL,
  PRIMARY KEY (reconciliation_id, account_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX ledger_differences_by_account ON ledger_differences (account_id, found_at_ms);

-- When its owner closed the account.
ALTER TABLE accounts ADD COLUMN closed_at_ms INTEGER;
-- When the money that was left was written off as forfeited; NULL while some may be.
ALTER TABLE accounts ADD COLUMN forfeited_at_ms INTEGER;
CREATE INDEX accounts_to_forfeit ON accounts (closed_at_ms) WHERE closed_at_ms IS NOT NULL AND forfeited_at_ms IS NULL;
