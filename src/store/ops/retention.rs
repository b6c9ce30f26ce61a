//! How long what is kept.

use serde::Deserialize;

use crate::queries;
use crate::store::statement::Changed;

/// A retention.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct RetentionRow {
    /// In days, at least 1.
    pub days: i64,
}

queries! {
    /// How long `what` is kept.
    global("a setting of the platform") fn find_retention(what: &str) -> Option<RetentionRow> =
        "SELECT days FROM retention WHERE what = ?1";
    /// Sets how long `what` is kept.
    global("a setting of the platform") fn put_retention(what: &str, days: i64) -> Changed =
        "INSERT INTO retention (what, days) VALUES (?1, ?2) ON CONFLICT (what) DO UPDATE SET days = excluded.days";
}
