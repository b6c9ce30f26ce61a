//! Where models come from and what they cost.

pub mod cache;
pub mod local_endpoints;
#[expect(clippy::module_inception, reason = "the table is called models")]
pub mod models;
pub mod provider_keys;
pub mod providers;
pub mod responses;
pub mod routing;
