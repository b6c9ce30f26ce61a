-- What the hour's job looks after, in the order in which it does: what money waits for, and apart from it pages that their
-- customers have left open.
DROP INDEX payments_open;
CREATE INDEX payments_open ON payments (looked_at_ms) WHERE is_open = 1 AND (status <> 'pending' OR kind IN ('charge', 'auto'));
CREATE INDEX payments_pages ON payments (looked_at_ms) WHERE status = 'pending' AND kind NOT IN ('charge', 'auto');
CREATE INDEX payments_pages_by_account ON payments (account_id, created_at_ms DESC) WHERE status = 'pending' AND kind NOT IN ('charge', 'auto');

-- How far Stripe's events were read: those created in [since_s, until_s) are being read, newest first, the last one was
-- after_id. One row.
CREATE TABLE stripe_reading (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  since_s INTEGER NOT NULL,
  until_s INTEGER NOT NULL,
  after_id TEXT
) STRICT;
