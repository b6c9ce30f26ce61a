//! Signing in: a link by e-mail, used once, opens a session. Whoever has no account gets one; nothing on the way tells
//! whether an address is known.

use guildhall_domain::credential::{issue_session, issue_token};
use guildhall_domain::email::EmailAddress;
use guildhall_domain::ids::{OwnAccountId, PersonId, SessionId};

use super::claim::{Claim, ClaimOutcome, ClaimStatus, attach_claim, find_claim};
use crate::app::Cx;
use crate::error::{ApiError, Kind};
use crate::http::html::escape;
use crate::mail::{Mail, check_mail, send_mail};
use crate::meter::address::count_for_address;
use crate::store::identity::people::{PersonRow, ensure_own_account, ensure_person, find_home, find_person};
use crate::store::identity::sessions::{end_sessions_beyond, open_session};
use crate::store::identity::sign_ins::{SignInRow, find_sign_in, insert_sign_in, use_sign_in};
use crate::store::statement::{Changed, run_all};

/// How long a link may be used, in seconds.
pub const LINK_LIVES_S: u32 = 900;
/// Links that one IP address may ask for, as a multiple of those to one address of mail: an office has one.
const LINKS_PER_IP: u32 = 6;
/// How long a session lasts, in milliseconds.
const SESSION_MS: i64 = 30 * 86_400_000;
/// Sessions that one person may have; the oldest end first.
pub const SESSIONS_MAX: i64 = 100;

/// Somebody has signed in.
pub struct SignedIn {
    /// The session's token, which is stored nowhere.
    pub token: String,
    /// When the session ends by itself; milliseconds since 1970.
    pub expires_at_ms: i64,
    /// Who.
    pub person: PersonRow,
    /// The account that the session looks after.
    pub account_id: String,
    /// Whether they are here for the first time.
    pub is_new: bool,
    /// What became of the claim that the link carried.
    pub claim: Option<ClaimOutcome>,
}

/// A link that was not used yet, for the page that asks.
pub struct PendingLink {
    /// Whom it was mailed to.
    pub email: String,
    /// What it attaches besides.
    pub claim: Option<Claim>,
}

/// Reads an address of mail out of a request.
///
/// # Errors
/// 400 that names the field.
pub fn read_email(text: &str) -> Result<EmailAddress, ApiError> {
    EmailAddress::parse(text).map_err(|error| ApiError::invalid("email", format!("email {error}")))
}

/// Mails a link that signs its reader in, and attaches a claim besides.
///
/// # Errors
/// 429 when the mailbox or the caller's address had too many, 503 when no mail can be sent.
pub async fn mail_link(cx: &Cx, email: &EmailAddress, claim: Option<&Claim>) -> Result<(), ApiError> {
    check_mail(&cx.app.config)?;
    let per_hour = cx.app.config.sign_ins_per_hour;
    let per_ip = per_hour.saturating_mul(LINKS_PER_IP);
    count_for_address(&cx.ports, "sign_in", &cx.address, per_ip, &cx.request_id).await?;
    // Hashed: the names of objects are no place for people's addresses.
    let mailbox = cx.app.hasher.hash(email.as_str());
    count_for_address(&cx.ports, "mailbox", &mailbox, per_hour, &cx.request_id).await?;
    let token = issue_token(cx.draw());
    let (now_ms, hash) = (cx.ports.clock.now_ms(), cx.app.hasher.hash(&token));
    let claim_hash = claim.map(|claim| claim.hash.as_str());
    let until_ms = now_ms + i64::from(LINK_LIVES_S) * 1_000;
    insert_sign_in(&hash, email.as_str(), claim_hash, now_ms, until_ms).run(&*cx.ports.db).await?;
    let link = format!("{}/auth/verify?token={token}", cx.origin);
    send_mail(cx, &write_mail(email, &link, claim)).await
}

fn write_mail(email: &EmailAddress, link: &str, claim: Option<&Claim>) -> Mail {
    let minutes = LINK_LIVES_S / 60;
    let (subject, what) = match claim {
        None => ("Sign in to Guildhall", "Sign in to Guildhall with this link:".to_owned()),
        Some(claim) => {
            ("Claim your Guildhall account", format!("{}\n\nSign in and attach it with this link:", describe(claim)))
        }
    };
    let rest =
        format!("It works once, for {minutes} minutes. If you did not ask for it, ignore this mail: nothing happens.");
    let (what_html, link_html) = (escape(&what).replace("\n\n", "</p>\n<p>"), escape(link));
    Mail {
        to: email.as_str().to_owned(),
        subject: subject.to_owned(),
        text: format!("{what}\n\n{link}\n\n{rest}\n"),
        html: format!("<p>{what_html}</p>\n<p><a href=\"{link_html}\">{link_html}</a></p>\n<p>{rest}</p>\n"),
    }
}

/// What a claim means for whoever agrees to it, in plain text. Whoever holds a key spends from its account: nobody is to
/// take in a stranger's key without having read that.
#[must_use]
pub fn describe(claim: &Claim) -> String {
    let keys: Vec<_> = claim.keys.iter().map(|key| key.masked.as_str()).collect();
    let keys = if keys.is_empty() { "no key".to_owned() } else { format!("the key {}", keys.join(", the key ")) };
    let more = if claim.more_keys > 0 { format!(" and {} more", claim.more_keys) } else { String::new() };
    // An agent's key stays with the agent's account.
    let rights =
        if claim.is_agent { "" } else { " and may look after the account, its keys, its billing and its export" };
    format!(
        "The account {} with {keys}{more} becomes yours. Whoever holds such a key spends your money{rights}: attach it only if \
         it is you or your agent.",
        claim.account_id
    )
}

/// Finds a link without using it.
///
/// # Errors
/// 401 for a link that was used, has ended or never was; 500 when the database fails.
pub async fn find_link(cx: &Cx, token: &str) -> Result<PendingLink, ApiError> {
    let row = require_link(cx, &cx.app.hasher.hash(token)).await?;
    let claim = match row.claim_hash {
        Some(hash) => find_claim(cx, hash).await?,
        None => None,
    };
    Ok(PendingLink { email: row.email, claim })
}

/// Uses a link: opens a session. Of two uses at once exactly one does.
///
/// # Errors
/// As [`find_link`].
pub async fn use_link(cx: &Cx, token: &str, user_agent: &str) -> Result<SignedIn, ApiError> {
    let (db, now_ms) = (&*cx.ports.db, cx.ports.clock.now_ms());
    let hash = cx.app.hasher.hash(token);
    let SignInRow { email, claim_hash } = require_link(cx, &hash).await?;
    let new_id = PersonId::from_random(cx.draw());
    let (added, person) = run_all(db, (ensure_person(new_id.as_str(), &email, now_ms), find_person(&email))).await?;
    let person = person.ok_or_else(|| ApiError::internal("a person is gone"))?;
    let claim = match claim_hash {
        Some(hash) => Some(settle_claim(cx, hash, &person.id).await?),
        None => None,
    };
    let preferred = claim.as_ref().and_then(|claim| claim.account_id.as_deref()).unwrap_or_default();
    let new_id = OwnAccountId::from_random(cx.draw());
    let open = ensure_own_account(&person.id, new_id.as_str(), now_ms);
    let (_, home) = run_all(db, (open, find_home(&person.id, preferred))).await?;
    let account_id = home.ok_or_else(|| ApiError::internal("an account is gone"))?.id;
    let token = issue_session(cx.draw());
    let (id, expires_at_ms) = (SessionId::from_random(cx.draw()), now_ms + SESSION_MS);
    let (token_hash, address) = (cx.app.hasher.hash(&token), &*cx.address);
    let open = open_session(&hash, &account_id, id.as_str(), &token_hash, now_ms, expires_at_ms, user_agent, address);
    // One transaction, the link last: the other of two uses finds no link, and opens nothing.
    let (opened, ..) = run_all(db, (open, end_sessions_beyond(&person.id, SESSIONS_MAX), use_sign_in(&hash))).await?;
    if opened == Changed(0) {
        return Err(link_is_spent());
    }
    Ok(SignedIn { token, expires_at_ms, person, account_id, is_new: added == Changed(1), claim })
}

/// Signing in goes on when somebody else was first with the claim.
async fn settle_claim(cx: &Cx, hash: String, person_id: &str) -> Result<ClaimOutcome, ApiError> {
    let gone = ClaimOutcome { status: ClaimStatus::Gone, account_id: None };
    let Some(claim) = find_claim(cx, hash).await? else { return Ok(gone) };
    match attach_claim(cx, &claim, person_id, "").await {
        Err(error) if error.kind == Kind::Conflict => Ok(gone),
        outcome => outcome,
    }
}

async fn require_link(cx: &Cx, hash: &str) -> Result<SignInRow, ApiError> {
    let now_ms = cx.ports.clock.now_ms();
    find_sign_in(hash, now_ms).run(&*cx.ports.db).await?.ok_or_else(link_is_spent)
}

fn link_is_spent() -> ApiError {
    ApiError::new(Kind::BadCredential, "This link was used already, has expired, or is incomplete; ask for a new one")
}
