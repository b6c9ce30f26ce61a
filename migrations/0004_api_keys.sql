-- What a key may do beyond its scopes: one shape for the keys of every surface.

ALTER TABLE api_keys ADD COLUMN workspace_id TEXT;
-- JSON object, the owner's own.
ALTER TABLE api_keys ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}';
-- NULL for no budget. What is spent of it stands in the account's wallet.
ALTER TABLE api_keys ADD COLUMN monthly_budget_micros INTEGER;
-- Spending before it no longer counts.
ALTER TABLE api_keys ADD COLUMN budget_reset_at_ms INTEGER;
ALTER TABLE api_keys ADD COLUMN expires_at_ms INTEGER;
-- Days after its last rotation from which the key is refused; 0 for never.
ALTER TABLE api_keys ADD COLUMN rotation_days INTEGER NOT NULL DEFAULT 0;
-- NULL until the first rotation.
ALTER TABLE api_keys ADD COLUMN rotated_at_ms INTEGER;
ALTER TABLE api_keys ADD COLUMN last_used_at_ms INTEGER;
-- Requests a second: 0 for the account's limits, -1 for none, else instead of them.
ALTER TABLE api_keys ADD COLUMN rate_limit_rps INTEGER NOT NULL DEFAULT 0;
-- The key's own limits; NULL means the account's.
ALTER TABLE api_keys ADD COLUMN requests_per_minute INTEGER;
ALTER TABLE api_keys ADD COLUMN requests_per_hour INTEGER;
ALTER TABLE api_keys ADD COLUMN concurrent INTEGER;

-- The administrator's list. A revoked key stays for the records that name it, but is listed no more.
CREATE INDEX api_keys_by_time ON api_keys (created_at_ms DESC, id DESC) WHERE status <> 'revoked';
