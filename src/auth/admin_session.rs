//! Sessions of the console: a cookie in place of the admin token, for browsers.
//!
//! The cookie's value is random and stored as an HMAC together with the admin token's: it says nothing about the token, it
//! can be ended, and a new token ends all of them.

use std::rc::Rc;

use guildhall_domain::credential::{KEY_RANDOM_BYTES, issue_token};

use super::admin_token::read_token;
use crate::app::App;
use crate::error::{ApiError, Kind};
use crate::http::request::Request;
use crate::meter::address::check_address;
use crate::ports::{PortError, Ports};
use crate::store::ops::admin_sessions::{delete_session, find_session, insert_session};

const COOKIE: &str = "th_admin_session";
/// How long a session lasts, in seconds.
const LASTS_S: i64 = 12 * 3_600;

/// The session's value in a request; `None` when it has none.
#[must_use]
pub fn cookie_of(request: &Request) -> Option<&str> {
    let named = |pair: &str| pair.trim().split_once('=').is_some_and(|(name, _)| name == COOKIE);
    let pair = request.rare.cookie.split(';').find(|pair| named(pair))?;
    pair.trim().split_once('=').map(|(_, value)| value).filter(|value| !value.is_empty())
}

/// Opens a session; gives the value of `Set-Cookie`.
///
/// # Errors
/// When the database fails.
pub async fn open_session(app: &App, ports: &Ports, origin: &str) -> Result<String, PortError> {
    let mut random = [0; KEY_RANDOM_BYTES];
    ports.random.fill(&mut random);
    let value = issue_token(random);
    let now_ms = ports.clock.now_ms();
    insert_session(&hash(app, ports, &value).await?, now_ms, now_ms + LASTS_S * 1_000).run(&*ports.db).await?;
    Ok(write_cookie(&value, LASTS_S, origin))
}

/// Ends the session of a request, if it has one; gives the value of `Set-Cookie` that has the browser forget it.
///
/// # Errors
/// When the database fails.
pub async fn end_session(app: &App, ports: &Ports, value: Option<&str>, origin: &str) -> Result<String, PortError> {
    if let Some(value) = value {
        delete_session(&hash(app, ports, value).await?).run(&*ports.db).await?;
    }
    Ok(write_cookie("", 0, origin))
}

/// Whether the request comes from a session that is open. A page of another origin can't use it for changes, even where
/// a browser ignores `SameSite`.
///
/// # Errors
/// 401 for a session that is not open, 429 when the address has tried too many, 500 when the database fails.
pub async fn check_session(
    app: &Rc<App>,
    ports: &Rc<Ports>,
    request: &Request,
    own_origin: &str,
) -> Result<bool, ApiError> {
    let Some(value) = cookie_of(request) else { return Ok(false) };
    let head = &request.head;
    if head.method != "GET" && !head.origin.is_empty() && head.origin != own_origin {
        return Ok(false);
    }
    let now_ms = ports.clock.now_ms();
    check_address(app, &head.address, now_ms)?;
    match find_session(&hash(app, ports, value).await?, now_ms).run(&*ports.db).await? {
        Some(_) => Ok(true),
        None => Err(ApiError::new(Kind::BadCredential, "The session has ended")),
    }
}

async fn hash(app: &App, ports: &Ports, value: &str) -> Result<String, PortError> {
    let token = read_token(app, ports).await?;
    Ok(app.hasher.hash(&format!("{value}:{}", token.hash)))
}

fn write_cookie(value: &str, lasts_s: i64, origin: &str) -> String {
    let host = origin.split("://").nth(1).unwrap_or_default();
    let is_loopback = ["localhost", "127.0.0.1", "[::1]"]
        .iter()
        .any(|name| host.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(':')));
    let secure = if is_loopback { "" } else { "; Secure" };
    format!("{COOKIE}={value}; Path=/admin; Max-Age={lasts_s}; HttpOnly; SameSite=Strict{secure}")
}
