-- What each account's kept answers of /v1/responses take: nobody fills the database with them.

CREATE TABLE response_bytes (
  account_id TEXT PRIMARY KEY,
  bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO response_bytes SELECT account_id, SUM(length(CAST(turn AS BLOB))) FROM responses GROUP BY account_id;

CREATE TRIGGER response_kept AFTER INSERT ON responses BEGIN
  INSERT INTO response_bytes (account_id, bytes) VALUES (NEW.account_id, length(CAST(NEW.turn AS BLOB)))
  ON CONFLICT (account_id) DO UPDATE SET bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER response_forgotten AFTER DELETE ON responses BEGIN
  UPDATE response_bytes SET bytes = bytes - length(CAST(OLD.turn AS BLOB)) WHERE account_id = OLD.account_id;
END;
