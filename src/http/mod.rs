//! HTTP: routes as data, inputs, outputs, error dialects, and the pipeline that reads as the security policy.

pub mod dialect;
pub mod html;
pub mod idempotency;
pub mod input;
pub mod output;
pub mod page;
pub mod request;
pub mod room;
pub mod route;
pub mod serve;
pub mod table;
