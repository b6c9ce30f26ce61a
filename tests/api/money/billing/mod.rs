//! Payments.

mod stripe;
