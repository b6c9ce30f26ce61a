-- Answers of /v1/responses that the client asked to keep, with what they answered: each turn holds its own input alone.

CREATE TABLE responses (
  account_id TEXT NOT NULL,
  id TEXT NOT NULL,
  previous_id TEXT,
  created_at_ms INTEGER NOT NULL,
  -- JSON of domain::responses::StoredTurn.
  turn TEXT NOT NULL,
  PRIMARY KEY (account_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX responses_by_age ON responses (created_at_ms);
