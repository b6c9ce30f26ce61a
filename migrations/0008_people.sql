-- People, their sessions, and the workspaces of an account.

CREATE TABLE people (
  id TEXT PRIMARY KEY,
  -- Lower case: two spellings are one person.
  email TEXT NOT NULL UNIQUE,
  created_at_ms INTEGER NOT NULL
) STRICT;

-- The person who may do everything with the account; NULL while nobody has claimed it.
ALTER TABLE accounts ADD COLUMN owner_id TEXT;
ALTER TABLE accounts ADD COLUMN name TEXT NOT NULL DEFAULT '';
-- What all its keys may spend in a month; NULL for no such limit.
ALTER TABLE accounts ADD COLUMN monthly_budget_micros INTEGER;
CREATE INDEX accounts_by_owner ON accounts (owner_id, created_at_ms) WHERE owner_id IS NOT NULL;

-- A person signed in. Only the token's hash is kept.
CREATE TABLE sessions (
  id TEXT PRIMARY KEY,
  hash TEXT NOT NULL UNIQUE,
  person_id TEXT NOT NULL,
  -- The account that the session looks after; one of the person's.
  account_id TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  last_used_at_ms INTEGER NOT NULL,
  -- What the person sees in the list of sessions.
  user_agent TEXT NOT NULL,
  address TEXT NOT NULL
) STRICT;
CREATE INDEX sessions_by_person ON sessions (person_id, created_at_ms DESC);
CREATE INDEX sessions_by_end ON sessions (expires_at_ms);

-- A named part of an account: a customer, a team, an environment.
CREATE TABLE workspaces (
  account_id TEXT NOT NULL,
  -- The name that the owner chose; keys, usage and budgets refer to it.
  workspace_id TEXT NOT NULL,
  id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  -- active or archived: keys of an archived one are refused.
  status TEXT NOT NULL,
  metadata TEXT NOT NULL,
  monthly_budget_micros INTEGER,
  created_at_ms INTEGER NOT NULL,
  updated_at_ms INTEGER NOT NULL,
  PRIMARY KEY (account_id, workspace_id)
) STRICT;

-- What the key may spend in all, a limit beside the month's; NULL for none.
ALTER TABLE api_keys ADD COLUMN credits_micros INTEGER;
-- The agent whose key it is.
ALTER TABLE api_keys ADD COLUMN agent_id TEXT;

ALTER TABLE usage ADD COLUMN workspace_id TEXT NOT NULL DEFAULT '';
-- Who answered, and so how it was charged: managed, cache, byok or local.
ALTER TABLE usage ADD COLUMN source TEXT NOT NULL DEFAULT 'managed';
-- What a managed call would have cost; NULL where that is `cost_micros`.
ALTER TABLE usage ADD COLUMN baseline_micros INTEGER;
