//! Scenarios, one file per resource, as in `src/api/`.

mod identity;
mod market;
mod models;
mod money;
mod ops;
mod pipeline;
mod vault;
