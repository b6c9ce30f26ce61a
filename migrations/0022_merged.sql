-- What a merged account leaves to the other one's keys: the videos that it ordered, which are asked for by the accounts that went
-- up in one, and its kept answers of /v1/responses, which move, and with them what they take.
CREATE INDEX accounts_merged ON accounts (merged_into, merged_at_ms DESC) WHERE merged_into IS NOT NULL;

CREATE TRIGGER response_moved AFTER UPDATE OF account_id ON responses BEGIN
  UPDATE response_bytes SET bytes = bytes - length(CAST(OLD.turn AS BLOB)) WHERE account_id = OLD.account_id;
  INSERT INTO response_bytes (account_id, bytes) VALUES (NEW.account_id, length(CAST(NEW.turn AS BLOB)))
  ON CONFLICT (account_id) DO UPDATE SET bytes = bytes + excluded.bytes;
END;
