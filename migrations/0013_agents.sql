-- Agents: who they are, how they are reached, and where their money goes.

-- `agent` for the account of an agent: it is owned by whoever claims the agent, but it is nobody's home, and never merged.
ALTER TABLE accounts ADD COLUMN kind TEXT NOT NULL DEFAULT 'standard';

-- An agent has an account of its own (`agt_…`), and so a wallet, keys and usage as every account has.
CREATE TABLE agents (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL UNIQUE REFERENCES accounts (id),
  -- How its profile is found; for ever.
  slug TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  -- Of the agent's operator, in lower case; empty when it has not said.
  owner_email TEXT NOT NULL,
  -- JSON array.
  tags TEXT NOT NULL,
  webhook_url TEXT NOT NULL,
  avatar_url TEXT NOT NULL DEFAULT '',
  -- The slug and this are the referral code.
  referral_tag TEXT NOT NULL,
  -- The agent who brought it.
  referred_by TEXT,
  -- Where it says that it heard of us.
  source TEXT NOT NULL,
  jobs_completed INTEGER NOT NULL DEFAULT 0,
  rating_sum INTEGER NOT NULL DEFAULT 0,
  ratings INTEGER NOT NULL DEFAULT 0,
  -- Where its withdrawals go; NULL until it connects an account.
  stripe_account_id TEXT,
  created_at_ms INTEGER NOT NULL,
  updated_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX agents_by_owner_email ON agents (owner_email) WHERE owner_email <> '';

-- Money that leaves an agent's wallet for a bank account. The wallet's journal says what was taken and given back; this
-- says how far each withdrawal has come.
CREATE TABLE withdrawals (
  -- Also the name of the debit and of the transfer: each is made once.
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL,
  amount_micros INTEGER NOT NULL,
  stripe_account_id TEXT NOT NULL,
  -- open: asked for, perhaps debited, perhaps sent. returning: refused there, to be given back. paid, returned and
  -- refused (the money was not there) are ends.
  state TEXT NOT NULL,
  -- Until then somebody works on it; nobody else may.
  busy_until_ms INTEGER NOT NULL,
  transfer_id TEXT,
  -- Why it was refused, in words for the operator.
  failure TEXT,
  created_at_ms INTEGER NOT NULL,
  updated_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX withdrawals_by_account ON withdrawals (account_id, created_at_ms DESC);
CREATE INDEX withdrawals_unfinished ON withdrawals (busy_until_ms) WHERE state IN ('open', 'returning');
