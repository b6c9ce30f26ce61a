//! The handlers: one file per resource, each with its `routes!` list.

pub mod identity;
pub mod models;
pub mod money;
pub mod ops;
pub mod vault;

use crate::http::route::Route;

/// Every route of the platform. Dispatch, scope checks, the `OpenAPI` document and the coverage tests all read it.
pub const ALL: &[&[Route]] = &[
    identity::accounts::ROUTES,
    identity::apikeys::ROUTES,
    identity::claims::ROUTES,
    identity::closure::ROUTES,
    identity::export::ROUTES,
    identity::provision::ROUTES,
    identity::sessions::ROUTES,
    identity::sign_in::ROUTES,
    models::aliases::ROUTES,
    models::cache::ROUTES,
    models::catalog::ROUTES,
    models::chat::ROUTES,
    models::discover::ROUTES,
    models::engine::ROUTES,
    models::audio::ROUTES,
    models::embeddings::ROUTES,
    models::images::ROUTES,
    models::list::ROUTES,
    models::messages::ROUTES,
    models::models::ROUTES,
    models::native::ROUTES,
    models::plan::ROUTES,
    models::providers::ROUTES,
    models::responses::ROUTES,
    models::routing::ROUTES,
    models::videos::ROUTES,
    money::balance::ROUTES,
    money::ledger::ROUTES,
    money::reconciliation::ROUTES,
    money::usage::ROUTES,
    ops::admin_token::ROUTES,
    money::usage_history::ROUTES,
    money::usage_stats::ROUTES,
    ops::audit::ROUTES,
    ops::docs::ROUTES,
    ops::events::ROUTES,
    ops::health::ROUTES,
    ops::info::ROUTES,
    ops::metrics::ROUTES,
    ops::outbox::ROUTES,
    vault::lock::ROUTES,
    vault::secrets::ROUTES,
    ops::logs::ROUTES,
    ops::provider_health::ROUTES,
    ops::rewards::ROUTES,
    ops::session::ROUTES,
    ops::stats::ROUTES,
    ops::tsdb::ROUTES,
    ops::workflows::ROUTES,
];
