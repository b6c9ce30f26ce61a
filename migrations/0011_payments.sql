-- Payments: what was paid in, by whom, and what became of it. Micro-dollars and milliseconds, as everywhere.

-- How an account pays. What Stripe knows of a card is not here, only what may be shown of it.
CREATE TABLE billing (
  account_id TEXT PRIMARY KEY,
  -- Stripe's name for the account.
  customer_id TEXT UNIQUE,
  -- The saved card; NULL when there is none.
  payment_method_id TEXT,
  card_brand TEXT,
  card_last4 TEXT,
  card_exp_month INTEGER,
  card_exp_year INTEGER,
  -- Auto pay, or auto reload: NULL while nobody has said.
  auto_enabled INTEGER,
  auto_amount_micros INTEGER,
  auto_threshold_micros INTEGER NOT NULL,
  -- Declines in a row, and until when it rests after the last.
  auto_declines INTEGER NOT NULL DEFAULT 0,
  auto_rests_until_ms INTEGER NOT NULL DEFAULT 0,
  -- The activation terms as they were accepted.
  terms_version TEXT,
  terms_accepted_at_ms INTEGER,
  created_at_ms INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX billing_by_card ON billing (payment_method_id) WHERE payment_method_id IS NOT NULL;

-- The balance below which the account's card is charged; NULL when it is not. Read with every key, so that accounts
-- without auto pay cost nothing. `auto_declines < 3` is `DECLINES_MAX` of domain/src/billing/auto_pay.rs.
ALTER TABLE accounts ADD COLUMN auto_pay_below_micros INTEGER;
CREATE TRIGGER billing_updated AFTER UPDATE ON billing BEGIN
  UPDATE accounts SET auto_pay_below_micros = CASE
    WHEN NEW.auto_enabled = 1 AND NEW.payment_method_id IS NOT NULL AND NEW.auto_declines < 3 THEN NEW.auto_threshold_micros
  END WHERE id = NEW.account_id;
END;

-- One row per payment: the truth of its state. Columns are facts that Stripe told, in whatever order; what the wallet has
-- got of them follows (src/payments/settle.rs).
CREATE TABLE payments (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL,
  -- Whose wallet gets the money: the account, or one of its agents.
  wallet TEXT NOT NULL,
  -- checkout, charge, auto, deposit; setup saves a card and moves nothing.
  kind TEXT NOT NULL,
  product TEXT NOT NULL,
  -- pending, paid, failed, expired.
  status TEXT NOT NULL DEFAULT 'pending',
  amount_micros INTEGER NOT NULL,
  -- With the fee.
  total_micros INTEGER NOT NULL,
  -- The UTC month, such as 2026-11: what a month's limit of auto pay counts.
  month TEXT NOT NULL,
  -- What the charge is made with, so that it is the same one when it is sent again.
  customer_id TEXT,
  payment_method_id TEXT,
  session_id TEXT UNIQUE,
  intent_id TEXT UNIQUE,
  receipt_url TEXT,
  failure TEXT NOT NULL DEFAULT '',
  -- What went back by refunds, and when Stripe said so, in seconds.
  refunded_micros INTEGER NOT NULL DEFAULT 0,
  refunded_at_s INTEGER NOT NULL DEFAULT 0,
  -- What disputes hold; kept by the triggers below.
  disputed_micros INTEGER NOT NULL DEFAULT 0,
  -- Whether its card is still to be saved.
  saves_card INTEGER NOT NULL DEFAULT 0,
  -- What the wallet has got: the credit, what of it is gone again, and the step that is being taken.
  credited INTEGER NOT NULL DEFAULT 0,
  reversed_micros INTEGER NOT NULL DEFAULT 0,
  step INTEGER NOT NULL DEFAULT 0,
  step_micros INTEGER NOT NULL DEFAULT 0,
  -- Whether there is anything left to do; the hour's job looks after these.
  is_open INTEGER NOT NULL DEFAULT 1,
  -- Rises with every fact.
  version INTEGER NOT NULL DEFAULT 0,
  -- Until when somebody is charging the card.
  leased_until_ms INTEGER NOT NULL DEFAULT 0,
  created_at_ms INTEGER NOT NULL,
  -- When it was last looked after.
  looked_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX payments_by_account ON payments (account_id, created_at_ms DESC, id);
CREATE INDEX payments_open ON payments (looked_at_ms) WHERE is_open = 1;
CREATE INDEX payments_auto_by_month ON payments (account_id, month) WHERE kind = 'auto';
-- At most one charge of a saved card is in flight, over all isolates.
CREATE UNIQUE INDEX payments_in_flight ON payments (account_id) WHERE kind IN ('charge', 'auto') AND status = 'pending';

-- Auto pay never brings more in a month than the account may spend in it.
CREATE TRIGGER payments_auto_limited BEFORE INSERT ON payments
WHEN NEW.kind = 'auto' AND NEW.amount_micros > (SELECT a.monthly_budget_micros - COALESCE(
    (SELECT SUM(p.amount_micros) FROM payments p
     WHERE p.account_id = NEW.account_id AND p.month = NEW.month AND p.kind = 'auto' AND p.status IN ('pending', 'paid')), 0)
  FROM accounts a WHERE a.id = NEW.account_id)
BEGIN
  SELECT RAISE(IGNORE);
END;

CREATE TABLE payment_disputes (
  id TEXT PRIMARY KEY,
  payment_id TEXT NOT NULL,
  amount_micros INTEGER NOT NULL,
  -- open, lost, over.
  state TEXT NOT NULL,
  -- Whether the bank has decided: what comes later does not undo it.
  is_decided INTEGER NOT NULL,
  told_at_s INTEGER NOT NULL
) STRICT;
CREATE INDEX payment_disputes_by_payment ON payment_disputes (payment_id);
CREATE TRIGGER payment_disputes_inserted AFTER INSERT ON payment_disputes BEGIN
  UPDATE payments SET is_open = 1, version = version + 1, disputed_micros = (SELECT COALESCE(SUM(d.amount_micros), 0)
    FROM payment_disputes d WHERE d.payment_id = NEW.payment_id AND d.state <> 'over') WHERE id = NEW.payment_id;
END;
CREATE TRIGGER payment_disputes_updated AFTER UPDATE ON payment_disputes BEGIN
  UPDATE payments SET is_open = 1, version = version + 1, disputed_micros = (SELECT COALESCE(SUM(d.amount_micros), 0)
    FROM payment_disputes d WHERE d.payment_id = NEW.payment_id AND d.state <> 'over') WHERE id = NEW.payment_id;
END;

-- Events that were applied.
CREATE TABLE stripe_events (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  payment_id TEXT,
  received_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX stripe_events_by_age ON stripe_events (received_at_ms);

-- The first key of an account that had to be activated: one, however many charges ask for it.
CREATE TABLE first_keys (
  account_id TEXT PRIMARY KEY,
  key_id TEXT NOT NULL
) STRICT;

-- What the sandbox's Stripe knows. Empty in live mode.
CREATE TABLE sandbox_objects (
  id TEXT PRIMARY KEY,
  object TEXT NOT NULL
) STRICT;
