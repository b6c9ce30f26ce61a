//! Payments, without I/O: fees, Stripe's forms, objects and events, the rules of auto pay, and Stripe in miniature for
//! the sandbox and the tests.

pub mod auto_pay;
pub mod event;
pub mod fee;
pub mod form;
pub mod ledger;
pub mod objects;
pub mod sandbox;
pub mod signature;
