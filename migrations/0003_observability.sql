-- What operators look at: changes they made, calls, attempts, time series, workflows, sessions.

-- One row per change that an administrator made; written in the transaction of the change itself where that is in this
-- database. Ids have no gaps, so that the first and the last one tell how many there are.
CREATE TABLE audit_log (
  id INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  action TEXT NOT NULL,
  resource TEXT NOT NULL,
  detail TEXT NOT NULL,
  request_id TEXT NOT NULL UNIQUE
) STRICT;

ALTER TABLE usage ADD COLUMN alias_from TEXT NOT NULL DEFAULT '';
ALTER TABLE usage ADD COLUMN error_class TEXT NOT NULL DEFAULT '';

-- Calls, summed per step of time: 10 s, a minute, an hour, and 0 for ever. `bucket` is the step of
-- domain::latency that the latencies fall into: what percentiles and histograms are read from.
CREATE TABLE call_rollups (
  step_ms INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  mode TEXT NOT NULL,
  model TEXT NOT NULL,
  provider TEXT NOT NULL,
  is_error INTEGER NOT NULL,
  bucket INTEGER NOT NULL,
  requests INTEGER NOT NULL,
  latency_ms INTEGER NOT NULL,
  charged_micros INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  PRIMARY KEY (step_ms, at_ms, mode, model, provider, is_error, bucket)
) STRICT, WITHOUT ROWID;

-- The same, per key.
CREATE TABLE key_rollups (
  step_ms INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  api_key_id TEXT NOT NULL,
  is_error INTEGER NOT NULL,
  bucket INTEGER NOT NULL,
  requests INTEGER NOT NULL,
  latency_ms INTEGER NOT NULL,
  charged_micros INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  PRIMARY KEY (step_ms, at_ms, api_key_id, is_error, bucket)
) STRICT, WITHOUT ROWID;

-- One row per attempt at a provider, failed ones included: what routing learns from.
CREATE TABLE reward_logs (
  id INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  request_id TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  mode TEXT NOT NULL,
  model_id TEXT NOT NULL,
  provider_id TEXT NOT NULL,
  estimated_tokens INTEGER NOT NULL,
  token_bucket TEXT NOT NULL,
  latency_budget_ms INTEGER NOT NULL,
  latency_ms INTEGER NOT NULL,
  cost_micros INTEGER NOT NULL,
  success INTEGER NOT NULL,
  error_class TEXT NOT NULL,
  reward REAL NOT NULL,
  UNIQUE (request_id, attempt)
) STRICT;

-- Their sums per day (days since 1970): a few rows per model, so that routing reads them cheaply and forgets old days.
CREATE TABLE reward_arms (
  day INTEGER NOT NULL,
  model_id TEXT NOT NULL,
  token_bucket TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  reward REAL NOT NULL,
  PRIMARY KEY (day, model_id, token_bucket)
) STRICT, WITHOUT ROWID;

-- How each provider has done so far.
CREATE TABLE provider_attempts (
  provider_id TEXT PRIMARY KEY,
  requests INTEGER NOT NULL,
  errors INTEGER NOT NULL,
  latency_ms INTEGER NOT NULL,
  last_success_ms INTEGER NOT NULL,
  last_error_ms INTEGER NOT NULL,
  last_error TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- How long what is kept; in days.
CREATE TABLE retention (
  what TEXT PRIMARY KEY,
  days INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO retention (what, days) VALUES ('tsdb', 7);

-- Sessions of the console. The cookie's value is stored nowhere, only its HMAC.
CREATE TABLE admin_sessions (
  hash TEXT PRIMARY KEY,
  created_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX admin_sessions_by_expiry ON admin_sessions (expires_at_ms);

-- Work in several steps, and what happened in it: append only but for the workflow's state.
CREATE TABLE workflows (
  id TEXT PRIMARY KEY,
  run_id TEXT NOT NULL,
  type TEXT NOT NULL,
  -- RUNNING, COMPLETED, FAILED, CANCELED, TERMINATED, CONTINUED_AS_NEW, TIMED_OUT
  status TEXT NOT NULL,
  started_at_ms INTEGER NOT NULL,
  closed_at_ms INTEGER
) STRICT;
CREATE INDEX workflows_by_start ON workflows (started_at_ms DESC, id);
CREATE INDEX workflows_by_status ON workflows (status, started_at_ms DESC, id);

CREATE TABLE workflow_events (
  workflow_id TEXT NOT NULL REFERENCES workflows (id) ON DELETE CASCADE,
  event_id INTEGER NOT NULL,
  type TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  -- JSON, or empty.
  detail TEXT NOT NULL,
  PRIMARY KEY (workflow_id, event_id)
) STRICT, WITHOUT ROWID;

-- Counters that no other table holds, such as refusals by a rate limit: added to by each isolate every few seconds.
CREATE TABLE counters (
  name TEXT NOT NULL,
  -- As Prometheus writes them, or empty.
  labels TEXT NOT NULL,
  value INTEGER NOT NULL,
  PRIMARY KEY (name, labels)
) STRICT, WITHOUT ROWID;
