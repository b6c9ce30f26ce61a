//! Payments: Stripe, and what its answers and events do to wallets.

pub mod stripe;
pub mod withdrawals;
