//! Another admin token.

use guildhall_domain::credential::{is_key_shaped, is_session_shaped, issue_token};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::Cx;
use crate::auth::admin_token::put_token;
use crate::error::ApiError;
use crate::http::input::Json;
use crate::http::output::NoStore;
use crate::http::route::Access;
use crate::routes;

routes! {
    tag "Administration", dialect TokenHub;
    /// Rotate the admin token.
    ///
    /// The new one holds everywhere at once, and all sessions of browsers end. It is shown this once and stored as a hash. A
    /// new `ADMIN_TOKEN` secret of the deployment stands above it.
    Post "/admin/v1/admin-token/rotate" Access::Admin, audit = "admin_token.rotate", is_kept = false => rotate_admin_token;
}

/// The token to be.
#[derive(Deserialize, JsonSchema)]
pub struct NewAdminToken {
    /// 16 to 256 printable ASCII characters without spaces; left out or empty, 64 random hex digits.
    token: Option<String>,
}

/// The token that holds now.
#[derive(Serialize, JsonSchema)]
pub struct RotatedAdminToken {
    ok: bool,
    /// Shown this once.
    token: String,
}

const TOKEN_MIN_CHARS: usize = 16;
const TOKEN_MAX_CHARS: usize = 256;

async fn rotate_admin_token(cx: Cx, Json(new): Json<NewAdminToken>) -> Result<NoStore<RotatedAdminToken>, ApiError> {
    let token = match new.token.filter(|token| !token.is_empty()) {
        Some(token) => check_token(token)?,
        None => issue_token(cx.draw()),
    };
    cx.audit_resource("admin");
    put_token(&cx.app, &cx.ports, &token).await?;
    Ok(NoStore(RotatedAdminToken { ok: true, token }))
}

/// A token that no request could bring would lock everybody out.
fn check_token(token: String) -> Result<String, ApiError> {
    let refuse = |text: &str| Err(ApiError::invalid("token", text));
    match token.chars().count() {
        ..TOKEN_MIN_CHARS => refuse("token must be at least 16 characters"),
        TOKEN_MIN_CHARS..=TOKEN_MAX_CHARS if !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
            refuse("token must be printable ASCII without spaces")
        }
        TOKEN_MIN_CHARS..=TOKEN_MAX_CHARS if is_key_shaped(&token) || is_session_shaped(&token) => {
            refuse("token must not look like an API key or a session")
        }
        TOKEN_MIN_CHARS..=TOKEN_MAX_CHARS => Ok(token),
        _ => refuse("token must be at most 256 characters"),
    }
}
