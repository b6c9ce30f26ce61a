//! Mail that the sandbox shows instead of sending it.

use serde::Deserialize;

use crate::queries;
use crate::store::statement::Changed;

/// A mail.
#[derive(Debug, Clone, Deserialize)]
pub struct MailRow {
    /// Its number, rising.
    pub id: i64,
    /// When it would have gone out.
    pub at_ms: i64,
    /// To whom.
    pub recipient: String,
    /// Its subject.
    pub subject: String,
    /// Its text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
}

queries! {
    /// Puts a mail down.
    global("the sandbox has one outbox") fn insert_mail(at_ms: i64, recipient: &str, subject: &str, text: &str, html: &str) -> Changed =
        "INSERT INTO outbox (at_ms, recipient, subject, text, html) VALUES (?1, ?2, ?3, ?4, ?5)";
    /// Keeps so many, the newest.
    global("the sandbox has one outbox") fn trim_outbox(kept: i64) -> Changed =
        "DELETE FROM outbox WHERE id <= (SELECT MAX(id) FROM outbox) - ?1";
    /// The newest mails.
    global("the sandbox has one outbox") fn list_mails(limit: i64) -> Vec<MailRow> =
        "SELECT id, at_ms, recipient, subject, text, html FROM outbox ORDER BY id DESC LIMIT ?1";
    /// Deletes old mail.
    global("the hour's job looks after the sandbox's outbox") fn prune_outbox(before_ms: i64) -> Changed =
        "DELETE FROM outbox WHERE at_ms < ?1";
}
