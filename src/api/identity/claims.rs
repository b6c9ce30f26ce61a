//! Claims: what a `claim_url` leads to.

use guildhall_domain::time::format_rfc3339;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::Cx;
use crate::auth::Caller;
use crate::auth::claim::{Claim, ClaimOutcome, attach_claim, require_claim};
use crate::auth::sign_in::{LINK_LIVES_S, describe, mail_link, read_email};
use crate::config::Mode;
use crate::error::ApiError;
use crate::http::html::{escape, page, refuse};
use crate::http::input::{Form, Json, Query};
use crate::http::output::{Output, Reply};
use crate::http::route::Access;
use crate::routes;

routes! {
    tag "People", dialect ToolRouter;
    /// Claim a provisioned account.
    ///
    /// With a session the account is attached at once: a person who has an account gets its keys and its money into the one
    /// that the session looks after. Without, `email` is mailed a sign-in link that attaches it.
    Post "/v1/auth/claim" Access::Visitor, serves_merged = true, body_max_bytes = 1 << 16 => claim_account;
    /// Open a claim link.
    ///
    /// A page that says what is claimed, and asks for an address of mail.
    Get "/claim" Access::Public => show_claim;
    /// Claim in a browser.
    ///
    /// Mails the sign-in link.
    Post "/claim" Access::Public, body_max_bytes = 1 << 16 => claim_in_browser;
}

/// What is claimed.
#[derive(Deserialize, JsonSchema)]
pub struct ClaimRequest {
    /// The token of the `claim_url`.
    #[serde(default)]
    #[schemars(!default)]
    token: String,
    /// Whose it is to be; needed without a session.
    #[serde(default)]
    email: String,
}

/// The token of a claim link.
#[derive(Deserialize, JsonSchema)]
pub struct ClaimToken {
    /// As it stands in the link.
    #[serde(default)]
    #[schemars(!default)]
    token: String,
}

/// What became of the claim.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Claimed {
    /// The account is attached.
    Attached {
        /// Always true.
        ok: bool,
        /// What became of it.
        #[serde(flatten)]
        outcome: ClaimOutcome,
    },
    /// The link is on its way.
    Mailed {
        /// Always true.
        ok: bool,
        /// `mail_sent`.
        status: &'static str,
        /// What to do next.
        message: &'static str,
        /// How long the link may be used.
        expires_in_seconds: u32,
    },
}

async fn claim_account(cx: Cx, Json(request): Json<ClaimRequest>) -> Result<Reply<Claimed>, ApiError> {
    let claim = require_claim(&cx, &request.token).await?;
    if let Caller::Session(session) = &cx.caller {
        let outcome = attach_claim(&cx, &claim, &session.person_id, &session.account_id).await?;
        return Ok(Reply(Claimed::Attached { ok: true, outcome }));
    }
    if request.email.is_empty() {
        return Err(ApiError::invalid("email", "email is required without a session"));
    }
    mail_link(&cx, &read_email(&request.email)?, Some(&claim)).await?;
    let message = "A sign-in link is on its way to this address. Opening it attaches the account.";
    Ok(Reply(Claimed::Mailed { ok: true, status: "mail_sent", message, expires_in_seconds: LINK_LIVES_S }))
}

async fn show_claim(cx: Cx, Query(link): Query<ClaimToken>) -> Result<Output, ApiError> {
    match require_claim(&cx, &link.token).await {
        Ok(claim) => Ok(ask(&claim, &link.token)),
        Err(error) => refuse(error),
    }
}

fn ask(claim: &Claim, token: &str) -> Output {
    let more = if claim.is_agent {
        "It is an agent: its keys and its wallet stay its own."
    } else {
        "If you have an account already, its keys and its money go there."
    };
    let (what, since, token) = (escape(&describe(claim)), format_rfc3339(claim.created_at_ms), escape(token));
    page(
        "Claim your account",
        &format!(
            "<p>{what}</p>\n<p>It was opened at {since}. Say who you are: we mail you a link, and whoever opens it owns the \
             account. {more}</p>\n\
             <form method=\"post\" action=\"/claim\">\n<input type=\"hidden\" name=\"token\" value=\"{token}\">\n\
             <label>E-mail <input type=\"email\" name=\"email\" autocomplete=\"email\" required></label>\n\
             <button>Mail me the link</button>\n</form>"
        ),
    )
}

async fn claim_in_browser(cx: Cx, Form(request): Form<ClaimRequest>) -> Result<Output, ApiError> {
    match mail_claim(&cx, &request).await {
        Ok(()) => {
            let outbox = match cx.app.config.mode {
                Mode::Sandbox => {
                    "\n<p>This is a sandbox: its mail is on <a href=\"/sandbox/outbox\">/sandbox/outbox</a>.</p>"
                }
                Mode::Live => "",
            };
            let minutes = LINK_LIVES_S / 60;
            Ok(page(
                "Look at your mail",
                &format!("<p>A link is on its way. It works once, for {minutes} minutes.</p>{outbox}"),
            ))
        }
        Err(error) => refuse(error),
    }
}

async fn mail_claim(cx: &Cx, request: &ClaimRequest) -> Result<(), ApiError> {
    let claim = require_claim(cx, &request.token).await?;
    mail_link(cx, &read_email(&request.email)?, Some(&claim)).await
}
