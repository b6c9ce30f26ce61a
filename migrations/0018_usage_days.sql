-- Usage summed up by day: sums over long times read few rows, and outlive the rows of single calls.

CREATE TABLE usage_days (
  account_id TEXT NOT NULL,
  -- The UTC day on which the requests came in, as days since 1970.
  day INTEGER NOT NULL,
  api_key_id TEXT NOT NULL,
  workspace_id TEXT NOT NULL,
  request_type TEXT NOT NULL,
  mode TEXT NOT NULL,
  model TEXT NOT NULL,
  source TEXT NOT NULL,
  requests INTEGER NOT NULL,
  -- Of those, how many the client got an answer to.
  completed INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  cost_micros INTEGER NOT NULL,
  charged_micros INTEGER NOT NULL,
  latency_ms INTEGER NOT NULL,
  -- What completed calls that the cache answered would have cost, less what they were charged.
  saved_micros INTEGER NOT NULL,
  PRIMARY KEY (account_id, day, api_key_id, workspace_id, request_type, mode, model, source)
) STRICT, WITHOUT ROWID;

-- One statement, for which D1 has thirty seconds: enough for some millions of rows.
INSERT INTO usage_days
SELECT account_id, created_at_ms / 86400000, api_key_id, workspace_id, request_type, mode, model, source, COUNT(*),
  SUM(outcome = 'completed'), SUM(input_tokens), SUM(output_tokens), SUM(cost_micros), SUM(charged_micros), SUM(latency_ms),
  SUM(CASE WHEN source = 'cache' AND outcome = 'completed' THEN COALESCE(baseline_micros - charged_micros, 0) ELSE 0 END)
FROM usage GROUP BY 1, 2, 3, 4, 5, 6, 7, 8;

-- 1 where whoever wrote the row wrote its sums too. A release that knows nothing of them has the trigger do it: both go when
-- no such release is left.
ALTER TABLE usage ADD COLUMN is_summed INTEGER NOT NULL DEFAULT 0;
CREATE TRIGGER usage_day_summed AFTER INSERT ON usage WHEN NEW.is_summed = 0 BEGIN
  INSERT INTO usage_days (account_id, day, api_key_id, workspace_id, request_type, mode, model, source, requests, completed,
    input_tokens, output_tokens, cost_micros, charged_micros, latency_ms, saved_micros)
  VALUES (NEW.account_id, NEW.created_at_ms / 86400000, NEW.api_key_id, NEW.workspace_id, NEW.request_type, NEW.mode, NEW.model,
    NEW.source, 1, NEW.outcome = 'completed', NEW.input_tokens, NEW.output_tokens, NEW.cost_micros, NEW.charged_micros, NEW.latency_ms,
    CASE WHEN NEW.source = 'cache' AND NEW.outcome = 'completed' THEN COALESCE(NEW.baseline_micros - NEW.charged_micros, 0) ELSE 0 END)
  ON CONFLICT (account_id, day, api_key_id, workspace_id, request_type, mode, model, source) DO UPDATE SET
    requests = requests + excluded.requests, completed = completed + excluded.completed,
    input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens,
    cost_micros = cost_micros + excluded.cost_micros, charged_micros = charged_micros + excluded.charged_micros,
    latency_ms = latency_ms + excluded.latency_ms, saved_micros = saved_micros + excluded.saved_micros;
END;
