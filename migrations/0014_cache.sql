-- What an account wants of the response cache, as JSON; empty for the defaults.
ALTER TABLE accounts ADD COLUMN cache_settings TEXT NOT NULL DEFAULT '';
-- Raised whenever the account forgets what is cached: answers of an older generation are not found any more.
ALTER TABLE accounts ADD COLUMN cache_generation INTEGER NOT NULL DEFAULT 0;
