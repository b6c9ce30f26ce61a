//! SQL, and nothing else: one `queries!` list per table family.

pub mod identity;
pub mod market;
pub mod models;
pub mod money;
pub mod ops;
pub mod sql;
pub mod statement;

use statement::QueryInfo;

/// Every query of the project, for `tests/sql.rs`.
pub const ALL: &[&[QueryInfo]] = &[
    identity::accounts::QUERIES,
    identity::claims::QUERIES,
    identity::erasure::QUERIES,
    identity::export::QUERIES,
    identity::keys::QUERIES,
    identity::people::QUERIES,
    identity::sessions::QUERIES,
    market::agents::QUERIES,
    market::withdrawals::QUERIES,
    identity::sign_ins::QUERIES,
    models::local_endpoints::QUERIES,
    models::provider_keys::QUERIES,
    identity::workspaces::QUERIES,
    models::cache::QUERIES,
    models::providers::QUERIES,
    models::models::QUERIES,
    models::responses::QUERIES,
    models::routing::QUERIES,
    money::reconciliations::QUERIES,
    money::reports::QUERIES,
    money::billing::QUERIES,
    money::payments::QUERIES,
    money::sandbox::QUERIES,
    money::usage::QUERIES,
    ops::admin_sessions::QUERIES,
    ops::admin_token::QUERIES,
    ops::audit::QUERIES,
    ops::counters::QUERIES,
    ops::logs::QUERIES,
    ops::outbox::QUERIES,
    ops::retention::QUERIES,
    ops::rewards::QUERIES,
    ops::rollups::QUERIES,
    ops::workflows::QUERIES,
];

/// A count.
#[derive(Debug, Clone, Copy, serde::Deserialize)]
pub struct Total {
    /// How many.
    pub total: i64,
}
