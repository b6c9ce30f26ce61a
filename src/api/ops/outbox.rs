//! The sandbox's mail, in place of a mailbox.

use std::fmt::Write as _;

use guildhall_domain::time::format_rfc3339;
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::Cx;
use crate::config::Mode;
use crate::error::ApiError;
use crate::http::html::{escape, page};
use crate::http::output::{NoStore, Output};
use crate::http::route::Access;
use crate::mail::OUTBOX_MAX;
use crate::routes;
use crate::store::ops::outbox::{MailRow, list_mails};

routes! {
    tag "Sandbox", dialect ToolRouter;
    /// Read the sandbox's mail as a page.
    ///
    /// Not there in live mode.
    Get "/sandbox/outbox" Access::Public => show_outbox;
    /// Read the sandbox's mail.
    ///
    /// The newest 200. Not there in live mode.
    Get "/sandbox/outbox.json" Access::Public => list_outbox;
}

/// The mail, newest first.
#[derive(Serialize, JsonSchema)]
pub struct Outbox {
    mails: Vec<OutboxMail>,
}

/// A mail.
#[derive(Serialize, JsonSchema)]
pub struct OutboxMail {
    id: i64,
    at: String,
    to: String,
    subject: String,
    text: String,
    html: String,
    /// The addresses that the text leads to.
    links: Vec<String>,
}

async fn read_outbox(cx: &Cx) -> Result<Vec<MailRow>, ApiError> {
    if cx.app.config.mode != Mode::Sandbox {
        return Err(ApiError::not_found("outbox"));
    }
    Ok(list_mails(OUTBOX_MAX).run(&*cx.ports.db).await?)
}

async fn list_outbox(cx: Cx, (): ()) -> Result<NoStore<Outbox>, ApiError> {
    let to_mail = |row: MailRow| OutboxMail {
        id: row.id,
        at: format_rfc3339(row.at_ms),
        links: row.text.split_whitespace().filter(|word| is_link(word)).map(str::to_owned).collect(),
        to: row.recipient,
        subject: row.subject,
        text: row.text,
        html: row.html,
    };
    Ok(NoStore(Outbox { mails: read_outbox(&cx).await?.into_iter().map(to_mail).collect() }))
}

async fn show_outbox(cx: Cx, (): ()) -> Result<Output, ApiError> {
    let mails = read_outbox(&cx).await?;
    let mut body = String::from("<p>Mail of this sandbox, newest first: nobody else gets it.</p>\n");
    if mails.is_empty() {
        body.push_str("<p>There is none.</p>\n");
    }
    for mail in &mails {
        let (subject, to, at) = (escape(&mail.subject), escape(&mail.recipient), format_rfc3339(mail.at_ms));
        // Writing to a text cannot fail.
        _ = write!(
            body,
            "<article>\n<h2>{subject}</h2>\n<p>To {to}, {at}</p>\n<pre>{}</pre>\n</article>\n",
            link_up(&mail.text)
        );
    }
    Ok(page("Outbox", &body))
}

/// The text with its addresses as links.
fn link_up(text: &str) -> String {
    let mut out = String::new();
    for part in text.split_inclusive(char::is_whitespace) {
        let word = part.trim_end();
        let (shown, rest) = (escape(word), part.get(word.len()..).unwrap_or_default());
        // As above.
        _ = if is_link(word) {
            write!(out, "<a href=\"{shown}\">{shown}</a>{rest}")
        } else {
            write!(out, "{shown}{rest}")
        };
    }
    out
}

fn is_link(word: &str) -> bool {
    word.starts_with("http://") || word.starts_with("https://")
}
