-- How people come in: links by e-mail, claims of provisioned accounts, the sandbox's mail, and the administrator's own token.

-- A link that was mailed and not used yet. Only the HMAC of its token is kept.
CREATE TABLE sign_ins (
  hash TEXT PRIMARY KEY,
  email TEXT NOT NULL,
  -- HMAC of the claim's token that this sign-in attaches; NULL for none.
  claim_hash TEXT,
  created_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX sign_ins_by_end ON sign_ins (expires_at_ms);

CREATE INDEX accounts_by_claim ON accounts (claim_hash) WHERE claim_hash IS NOT NULL;
-- The account that took the keys over when somebody who had one claimed this one (status `merged`).
ALTER TABLE accounts ADD COLUMN merged_into TEXT;
ALTER TABLE accounts ADD COLUMN merged_at_ms INTEGER;
-- When its wallet is looked at again for money that came free since; NULL when it need not be.
ALTER TABLE accounts ADD COLUMN drain_due_ms INTEGER;
CREATE INDEX accounts_to_drain ON accounts (drain_due_ms) WHERE drain_due_ms IS NOT NULL;

-- Mail that the sandbox shows instead of sending it.
CREATE TABLE outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms INTEGER NOT NULL,
  recipient TEXT NOT NULL,
  subject TEXT NOT NULL,
  text TEXT NOT NULL,
  html TEXT NOT NULL
) STRICT;
CREATE INDEX outbox_by_time ON outbox (at_ms);

-- The admin token that was set by API: one row, or none.
CREATE TABLE admin_token (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  -- HMAC of the token.
  hash TEXT NOT NULL,
  -- HMAC of the deployment's secret at that time: another secret voids the row.
  secret_hash TEXT NOT NULL,
  rotated_at_ms INTEGER NOT NULL
) STRICT;
