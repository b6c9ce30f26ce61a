//! Payments, without I/O: fees, Stripe's forms, objects and events, the rules of auto pay, and Stripe in miniature for
//! the sandbox and the tests.

pub mod fee;
pub mod form;
pub mod objects;
pub mod sandbox;
pub mod signature;
