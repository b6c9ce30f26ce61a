//! What the sandbox's Stripe knows: objects as JSON, by id.

use serde::Deserialize;

use crate::queries;
use crate::store::statement::Changed;

/// An object.
#[derive(Debug, Clone, Deserialize)]
pub struct ObjectRow {
    /// As JSON.
    pub object: String,
}

queries! {
    /// Finds an object.
    global("the sandbox's Stripe serves every account, as Stripe does") fn find_object(id: &str) -> Option<ObjectRow> =
        "SELECT object FROM sandbox_objects WHERE id = ?1";
    /// Keeps an object; fails when there is one.
    global("the sandbox's Stripe serves every account, as Stripe does") fn insert_object(id: &str, object: &str) -> Changed =
        "INSERT INTO sandbox_objects (id, object) VALUES (?1, ?2)";
    /// Keeps an object in place of what was there.
    global("the sandbox's Stripe serves every account, as Stripe does") fn put_object(id: &str, object: &str) -> Changed =
        "INSERT INTO sandbox_objects (id, object) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET object = excluded.object";
}
