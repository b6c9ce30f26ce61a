-- Credits that keys were given: each once, however often its request comes. Rows are kept for as long as it may come again.

CREATE TABLE key_grants (
  account_id TEXT NOT NULL,
  key_id TEXT NOT NULL,
  -- The request's.
  name TEXT NOT NULL,
  amount_micros INTEGER NOT NULL,
  created_at_ms INTEGER NOT NULL,
  PRIMARY KEY (account_id, key_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX key_grants_by_age ON key_grants (created_at_ms);

CREATE TRIGGER key_granted AFTER INSERT ON key_grants BEGIN
  UPDATE api_keys SET credits_micros = COALESCE(credits_micros, 0) + NEW.amount_micros
  WHERE account_id = NEW.account_id AND id = NEW.key_id;
END;
