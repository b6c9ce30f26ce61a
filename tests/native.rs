//! Everything that runs natively over the whole stack, in one binary: linking it once is what costs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod api;
mod architecture;
mod config;
mod contract;
mod coverage;
mod faults;
mod migrations;
mod openapi;
mod properties;
mod sql;
mod support;
mod tenancy;
