-- What callers bring along: keys of providers, and endpoints of their own. Secrets are sealed (docs/VAULT.md).

CREATE TABLE provider_keys (
  account_id TEXT NOT NULL,
  id TEXT NOT NULL,
  -- openai, anthropic, google or groq.
  provider TEXT NOT NULL,
  label TEXT NOT NULL,
  -- The workspace whose calls may use it; NULL for all of the account's.
  workspace_id TEXT,
  sealed_secret TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  last_success_at_ms INTEGER,
  last_failure_at_ms INTEGER,
  -- A status of the provider's, or a word for what came instead.
  last_failure_code TEXT,
  -- Until when it is left alone.
  rests_until_ms INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (account_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE local_endpoints (
  account_id TEXT NOT NULL,
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  base_url TEXT NOT NULL,
  -- What serves there, as its owner says: ollama, vllm, localai or other.
  runtime TEXT NOT NULL,
  workspace_id TEXT,
  sealed_key TEXT,
  enabled INTEGER NOT NULL,
  priority INTEGER NOT NULL,
  -- JSON: names that callers ask for, and the endpoint's models that serve them.
  model_map TEXT NOT NULL,
  -- healthy or unreachable.
  status TEXT NOT NULL,
  -- Why it is unreachable; NULL when it is not.
  last_error TEXT,
  -- JSON: the models that it listed when it last answered, with what they do.
  models TEXT NOT NULL,
  last_checked_at_ms INTEGER NOT NULL,
  created_at_ms INTEGER NOT NULL,
  updated_at_ms INTEGER NOT NULL,
  PRIMARY KEY (account_id, id)
) STRICT;
CREATE INDEX local_endpoints_by_check ON local_endpoints (last_checked_at_ms);
