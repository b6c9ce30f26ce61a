//! Signing up and signing in: one mechanism, a link by e-mail.

use guildhall_domain::time::format_rfc3339;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::Cx;
use crate::auth::claim::{ClaimOutcome, require_claim};
use crate::auth::sign_in::{LINK_LIVES_S, PendingLink, SignedIn, describe, find_link, mail_link, read_email, use_link};
use crate::error::ApiError;
use crate::http::html::{escape, page, refuse};
use crate::http::input::{Form, Json, Query, UserAgent};
use crate::http::output::{NoStore, Output, Reply};
use crate::http::route::Access;
use crate::routes;

routes! {
    tag "People", dialect ToolRouter;
    /// Sign in by e-mail.
    ///
    /// Mails a link that works once, for 15 minutes. Whoever has no account gets one; the answer never tells whether the
    /// address is known. Limited per mailbox and per IP address.
    Post "/v1/auth/login" Access::Public, body_max_bytes = 1 << 16 => request_link;
    /// Sign up by e-mail.
    ///
    /// The same as `/v1/auth/login`.
    Post "/v1/auth/signup" Access::Public, body_max_bytes = 1 << 16 => request_link;
    /// Use a sign-in link.
    ///
    /// Gives the session's token, this once. Of two uses of a link exactly one succeeds.
    Post "/v1/auth/verify" Access::Public, body_max_bytes = 1 << 16 => verify;
    /// Open a sign-in link.
    ///
    /// A page that asks; only its button uses the link, because mail scanners open links too.
    Get "/auth/verify" Access::Public => show_link;
    /// Use a sign-in link in a browser.
    ///
    /// Shows the session's token.
    Post "/auth/verify" Access::Public, body_max_bytes = 1 << 16 => verify_in_browser;
}

/// Who wants to sign in.
#[derive(Deserialize, JsonSchema)]
pub struct SignInRequest {
    /// The address that the link is mailed to.
    #[serde(default)]
    #[schemars(!default)]
    email: String,
    /// The token of a `claim_url`: signing in attaches its account.
    claim_token: Option<String>,
}

/// A mail is on its way.
#[derive(Serialize, JsonSchema)]
pub struct LinkMailed {
    ok: bool,
    message: &'static str,
    /// How long the link may be used.
    expires_in_seconds: u32,
}

/// The token of a link.
#[derive(Deserialize, JsonSchema)]
pub struct LinkToken {
    /// As it stands in the link.
    #[serde(default)]
    #[schemars(!default)]
    token: String,
}

/// A session.
#[derive(Serialize, JsonSchema)]
pub struct NewSession {
    /// The session's token (`sess_…`), a bearer credential; shown this once.
    session_token: String,
    expires_at: String,
    person: NewSessionPerson,
    account: NewSessionAccount,
    /// Whether this person is here for the first time.
    is_new: bool,
    /// What became of the claim, where the link carried one.
    #[serde(skip_serializing_if = "Option::is_none")]
    claim: Option<ClaimOutcome>,
}

/// Who has signed in.
#[derive(Serialize, JsonSchema)]
pub struct NewSessionPerson {
    id: String,
    email: String,
}

/// The account that the session looks after.
#[derive(Serialize, JsonSchema)]
pub struct NewSessionAccount {
    id: String,
}

impl From<SignedIn> for NewSession {
    fn from(signed_in: SignedIn) -> Self {
        Self {
            session_token: signed_in.token,
            expires_at: format_rfc3339(signed_in.expires_at_ms),
            person: NewSessionPerson { id: signed_in.person.id, email: signed_in.person.email },
            account: NewSessionAccount { id: signed_in.account_id },
            is_new: signed_in.is_new,
            claim: signed_in.claim,
        }
    }
}

async fn request_link(cx: Cx, Json(request): Json<SignInRequest>) -> Result<Reply<LinkMailed>, ApiError> {
    let email = read_email(&request.email)?;
    let claim = match request.claim_token.as_deref().filter(|token| !token.is_empty()) {
        Some(token) => Some(require_claim(&cx, token).await?),
        None => None,
    };
    mail_link(&cx, &email, claim.as_ref()).await?;
    let message = "A sign-in link is on its way to this address. It works once; open it soon.";
    Ok(Reply(LinkMailed { ok: true, message, expires_in_seconds: LINK_LIVES_S }))
}

async fn verify(
    cx: Cx,
    (UserAgent(user_agent), Json(link)): (UserAgent, Json<LinkToken>),
) -> Result<NoStore<NewSession>, ApiError> {
    if link.token.is_empty() {
        return Err(ApiError::invalid("token", "token is required"));
    }
    use_link(&cx, &link.token, &user_agent).await.map(|signed_in| NoStore(signed_in.into()))
}

async fn show_link(cx: Cx, Query(link): Query<LinkToken>) -> Result<Output, ApiError> {
    match find_link(&cx, &link.token).await {
        Ok(pending) => Ok(ask(&pending, &link.token)),
        Err(error) => refuse(error),
    }
}

fn ask(pending: &PendingLink, token: &str) -> Output {
    let PendingLink { email, claim } = pending;
    let (claim, action) = match claim {
        Some(claim) => (format!("<p>{}</p>\n", escape(&describe(claim))), "Sign in and attach it"),
        None => (String::new(), "Sign in"),
    };
    let (email, token) = (escape(email), escape(token));
    page(
        "Sign in",
        &format!(
            "<p>You are about to sign in as <b>{email}</b>.</p>\n{claim}<form method=\"post\" action=\"/auth/verify\">\n\
             <input type=\"hidden\" name=\"token\" value=\"{token}\">\n<button>{action}</button>\n</form>"
        ),
    )
}

async fn verify_in_browser(
    cx: Cx,
    (UserAgent(user_agent), Form(link)): (UserAgent, Form<LinkToken>),
) -> Result<Output, ApiError> {
    let signed_in = match use_link(&cx, &link.token, &user_agent).await {
        Ok(signed_in) => signed_in,
        Err(error) => return refuse(error),
    };
    let (email, account) = (escape(&signed_in.person.email), escape(&signed_in.account_id));
    let (token, until) = (escape(&signed_in.token), format_rfc3339(signed_in.expires_at_ms));
    Ok(page(
        "You are signed in",
        &format!(
            "<p>As <b>{email}</b>, for the account <code>{account}</code>, until {until}.</p>\n\
             <p>This is your session's token. Keep it to yourself; it is shown this once.</p>\n<pre id=\"token\">{token}</pre>\n\
             <p>It goes where an API key goes: <code>Authorization: Bearer sess_…</code>, for example with \
             <code>GET /v1/auth/me</code>.</p>"
        ),
    ))
}
