//! Everything that runs natively over the whole stack, in one binary: linking it once is what costs.

mod api;
mod architecture;
mod config;
mod coverage;
mod faults;
mod migrations;
mod openapi;
mod sql;
mod support;
