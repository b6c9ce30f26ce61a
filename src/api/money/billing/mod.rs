//! Payments: pages, charges, settings, and what Stripe tells.

pub mod activation;
pub mod card;
pub mod charge;
pub mod checkout;
pub mod pages;
pub mod payments;
pub mod preferences;
pub mod sandbox;
pub mod webhook;
