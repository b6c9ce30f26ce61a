-- An owner's list of keys, however many were revoked.
CREATE INDEX api_keys_by_owner ON api_keys (account_id, created_at_ms DESC, id DESC) WHERE status <> 'revoked';
