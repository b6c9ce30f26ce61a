-- A charge that is paid and not credited: looked for before an account's card is charged again.
CREATE INDEX payments_uncredited ON payments (account_id) WHERE status = 'paid' AND credited = 0;
