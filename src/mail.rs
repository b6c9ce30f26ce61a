//! Mail: an HTTP API sends it in live mode; the sandbox shows it on a page, and sends it too where an API is set.

use std::rc::Rc;

use serde::Serialize;

use crate::app::Cx;
use crate::config::{Config, MailApi, Mode};
use crate::error::{ApiError, Kind};
use crate::ports::{Outbound, ReadMode};
use crate::store::ops::outbox::{insert_mail, trim_outbox};

/// A mail to one person.
#[derive(Debug, Clone)]
pub struct Mail {
    /// The address, which is one: see [`guildhall_domain::email`].
    pub to: String,
    /// One line.
    pub subject: String,
    /// What it says.
    pub text: String,
    /// The same as HTML.
    pub html: String,
}

/// A mail in the words of the API.
#[derive(Serialize)]
struct Posted<'m> {
    from: &'m str,
    to: [&'m str; 1],
    subject: &'m str,
    text: &'m str,
    html: &'m str,
}

/// Mails that the sandbox keeps.
pub const OUTBOX_MAX: i64 = 200;
const ANSWER_MAX_BYTES: u32 = 64 << 10;
const ANSWER_MS: u32 = 10_000;
const RETRY_S: u32 = 30;

/// Whether mail can be sent at all: to be asked before anything is done that is of no use without it.
///
/// # Errors
/// 503 that says what the operator sets.
pub fn check_mail(config: &Config) -> Result<(), ApiError> {
    if config.mode == Mode::Sandbox || config.mail.is_some() {
        return Ok(());
    }
    Err(ApiError::new(
        Kind::Unavailable,
        "This deployment sends no e-mail yet: its operator sets MAIL_API_URL, MAIL_FROM and MAIL_API_KEY",
    ))
}

/// Sends a mail.
///
/// # Errors
/// 503 when there is nothing to send it with, or the mail API does not take it; 500 when the outbox fails.
pub async fn send_mail(cx: &Cx, mail: &Mail) -> Result<(), ApiError> {
    check_mail(&cx.app.config)?;
    if cx.app.config.mode == Mode::Sandbox {
        let put = insert_mail(cx.ports.clock.now_ms(), &mail.to, &mail.subject, &mail.text, &mail.html);
        cx.ports.db.run(vec![put.statement, trim_outbox(OUTBOX_MAX).statement]).await?;
    }
    match &cx.app.config.mail {
        Some(api) => post_mail(cx, api, mail).await,
        None => Ok(()),
    }
}

async fn post_mail(cx: &Cx, api: &MailApi, mail: &Mail) -> Result<(), ApiError> {
    let Mail { to, subject, text, html } = mail;
    let posted = Posted { from: &api.from, to: [to], subject, text, html };
    let request = Outbound {
        method: "POST",
        url: api.url.clone(),
        headers: vec![
            ("authorization", format!("Bearer {}", api.key.expose())),
            ("content-type", "application/json".to_owned()),
        ],
        body: Some(serde_json::to_vec(&posted).map_err(ApiError::internal)?),
        read: ReadMode::Whole { max_bytes: ANSWER_MAX_BYTES },
        first_byte_ms: ANSWER_MS,
        may_be_given_up: false,
        outlives_client: false,
    };
    let refused = |cause: String| {
        let error = ApiError::new(Kind::Unavailable, "The mail could not be sent; try again in a moment");
        error.retry_after_s(RETRY_S).caused_by(cause)
    };
    match cx.ports.fetch.send(request, Rc::new(|| ())).await {
        Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
        Ok(answer) => Err(refused(format!("the mail API answered {}", answer.status))),
        Err(error) => Err(refused(format!("the mail API: {error:?}"))),
    }
}
