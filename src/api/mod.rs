//! The handlers: one file per resource, each with its `routes!` list.

pub mod identity;
pub mod models;
pub mod money;
pub mod ops;

use crate::http::route::Route;

/// Every route of the platform. Dispatch, scope checks, the `OpenAPI` document and the coverage tests all read it.
pub const ALL: &[&[Route]] = &[
    identity::accounts::ROUTES,
    identity::provision::ROUTES,
    models::aliases::ROUTES,
    models::audio::ROUTES,
    models::chat::ROUTES,
    models::embeddings::ROUTES,
    models::images::ROUTES,
    models::list::ROUTES,
    models::models::ROUTES,
    models::providers::ROUTES,
    models::routing::ROUTES,
    models::videos::ROUTES,
    money::balance::ROUTES,
    money::usage::ROUTES,
    ops::docs::ROUTES,
    ops::health::ROUTES,
    ops::metrics::ROUTES,
];
