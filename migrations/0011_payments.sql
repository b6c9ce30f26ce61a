-- Payments: what was paid in, by whom, and what became of it. Micro-dollars and milliseconds, as everywhere.

-- What the sandbox's Stripe knows. Empty in live mode.
CREATE TABLE sandbox_objects (
  id TEXT PRIMARY KEY,
  object TEXT NOT NULL
) STRICT;
