-- Accounts, their keys, the providers and models they call, and what they used.
-- Money is integer micro-dollars, rates are integer pico-dollars per token, times are milliseconds since 1970.

CREATE TABLE accounts (
  id TEXT PRIMARY KEY,
  created_at_ms INTEGER NOT NULL,
  status TEXT NOT NULL DEFAULT 'active',
  -- HMAC of the token in the claim link; NULL once claimed.
  claim_hash TEXT,
  -- Limits of each of the account's keys; NULL means the default.
  requests_per_minute INTEGER,
  requests_per_hour INTEGER,
  concurrent INTEGER
) STRICT;

CREATE TABLE api_keys (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL REFERENCES accounts (id),
  -- HMAC-SHA256 of the key under the server's pepper; the key itself is stored nowhere.
  hash TEXT NOT NULL UNIQUE,
  product TEXT NOT NULL,
  masked TEXT NOT NULL,
  name TEXT NOT NULL,
  -- JSON array; [] means every scope.
  scopes TEXT NOT NULL DEFAULT '[]',
  status TEXT NOT NULL DEFAULT 'active',
  created_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX api_keys_by_account ON api_keys (account_id, created_at_ms);

CREATE TABLE providers (
  id TEXT PRIMARY KEY,
  type TEXT NOT NULL,
  base_url TEXT NOT NULL,
  enabled INTEGER NOT NULL,
  cred_store TEXT NOT NULL,
  -- Sealed with AES-256-GCM; NULL when the provider needs no key.
  sealed_key TEXT,
  created_at_ms INTEGER NOT NULL,
  updated_at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE models (
  id TEXT PRIMARY KEY,
  provider_id TEXT NOT NULL REFERENCES providers (id) ON DELETE CASCADE,
  -- What the provider calls it.
  upstream_model TEXT NOT NULL,
  weight INTEGER NOT NULL,
  max_context_tokens INTEGER NOT NULL,
  max_output_tokens INTEGER NOT NULL,
  -- NULL until somebody has said; a model without both takes no traffic.
  input_rate INTEGER,
  output_rate INTEGER,
  cache_read_rate INTEGER,
  enabled INTEGER NOT NULL,
  pricing_source TEXT NOT NULL,
  -- Goes up by one with every change of a rate; receipts name it.
  price_version INTEGER NOT NULL DEFAULT 1,
  created_at_ms INTEGER NOT NULL,
  updated_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX models_by_provider ON models (provider_id);

-- One row: a number that every change of providers and models raises, so that isolates see the change cheaply.
CREATE TABLE routing_state (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  version INTEGER NOT NULL
) STRICT;
INSERT INTO routing_state (id, version) VALUES (1, 1);
CREATE TRIGGER providers_inserted AFTER INSERT ON providers BEGIN UPDATE routing_state SET version = version + 1 WHERE id = 1; END;
CREATE TRIGGER providers_updated AFTER UPDATE ON providers BEGIN UPDATE routing_state SET version = version + 1 WHERE id = 1; END;
CREATE TRIGGER providers_deleted AFTER DELETE ON providers BEGIN UPDATE routing_state SET version = version + 1 WHERE id = 1; END;
CREATE TRIGGER models_inserted AFTER INSERT ON models BEGIN UPDATE routing_state SET version = version + 1 WHERE id = 1; END;
CREATE TRIGGER models_updated AFTER UPDATE ON models BEGIN UPDATE routing_state SET version = version + 1 WHERE id = 1; END;
CREATE TRIGGER models_deleted AFTER DELETE ON models BEGIN UPDATE routing_state SET version = version + 1 WHERE id = 1; END;

-- One row per request that reached a handler of paid work; a projection of the wallets' outboxes.
-- `receipt` holds what the charge can be recomputed from.
CREATE TABLE usage (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL,
  api_key_id TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  request_type TEXT NOT NULL,
  mode TEXT NOT NULL,
  model TEXT NOT NULL,
  routed_model TEXT NOT NULL,
  routed_provider TEXT NOT NULL,
  status INTEGER NOT NULL,
  outcome TEXT NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  cost_micros INTEGER NOT NULL,
  charged_micros INTEGER NOT NULL,
  latency_ms INTEGER NOT NULL,
  receipt TEXT NOT NULL
) STRICT;
CREATE INDEX usage_by_account ON usage (account_id, created_at_ms DESC);
CREATE INDEX usage_by_key ON usage (account_id, api_key_id, created_at_ms DESC);

-- Counters behind /metrics; one row per series, so its size is bounded by the models registered.
CREATE TABLE usage_totals (
  mode TEXT NOT NULL,
  model TEXT NOT NULL,
  provider TEXT NOT NULL,
  outcome TEXT NOT NULL,
  status INTEGER NOT NULL,
  requests INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  charged_micros INTEGER NOT NULL,
  latency_ms INTEGER NOT NULL,
  PRIMARY KEY (mode, model, provider, outcome, status)
) STRICT, WITHOUT ROWID;

-- A record that arrives twice is ignored by its primary key, and then this trigger does not fire: counted once.
CREATE TRIGGER usage_counted AFTER INSERT ON usage BEGIN
  INSERT INTO usage_totals (mode, model, provider, outcome, status, requests, input_tokens, output_tokens, charged_micros, latency_ms)
  VALUES (NEW.mode, NEW.routed_model, NEW.routed_provider, NEW.outcome, NEW.status, 1, NEW.input_tokens, NEW.output_tokens, NEW.charged_micros, NEW.latency_ms)
  ON CONFLICT (mode, model, provider, outcome, status) DO UPDATE SET
    requests = requests + 1,
    input_tokens = input_tokens + excluded.input_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    charged_micros = charged_micros + excluded.charged_micros,
    latency_ms = latency_ms + excluded.latency_ms;
END;
