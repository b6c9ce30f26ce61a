//! A person and their sessions.

use guildhall_domain::time::format_rfc3339;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::Cx;
use crate::auth::sign_in::SESSIONS_MAX;
use crate::error::ApiError;
use crate::http::input::{Json, Path, Query};
use crate::http::output::Reply;
use crate::http::page::PageQuery;
use crate::http::route::Access;
use crate::routes;
use crate::store::identity::people::{OwnAccountRow, find_own_account, list_own_accounts};
use crate::store::identity::sessions::{
    SessionRecord, end_other_sessions, end_session as end_session_row, list_sessions as list_session_rows,
    switch_account as switch_account_row,
};
use crate::store::statement::{Changed, run_all};

routes! {
    tag "People", dialect ToolRouter;
    /// Say who is signed in.
    ///
    /// The person, the account that the session looks after, and a page of the person's accounts.
    Get "/v1/auth/me" Access::Session => get_me;
    /// Sign out.
    ///
    /// Ends this session at once.
    Post "/v1/auth/logout" Access::Session, serves_merged = true => log_out;
    /// List your open sessions, the one used last first.
    Get "/v1/auth/sessions" Access::Session => list_sessions;
    /// End all of your other sessions.
    Delete "/v1/auth/sessions" Access::Session, serves_merged = true => end_others;
    /// End one of your sessions.
    Delete "/v1/auth/sessions/{id}" Access::Session, serves_merged = true => end_session;
    /// Look after another of your accounts.
    Post "/v1/auth/switch" Access::Session, serves_merged = true => switch_account;
}

/// Who is signed in.
#[derive(Serialize, JsonSchema)]
pub struct Me {
    person: MePerson,
    /// The account that the session looks after.
    account: Option<MyAccount>,
    /// A page of the person's accounts: those in use first, of these the oldest first.
    accounts: Vec<MyAccount>,
    /// Whether there are more after these.
    has_more: bool,
}

/// Which accounts.
#[derive(Deserialize, JsonSchema)]
pub struct MeQuery {
    /// Accounts at most: 1 to 1,000. Left out or not a number it is 100.
    #[schemars(with = "Option<i64>")]
    limit: Option<String>,
    /// Accounts to skip; anything but a number counts as 0.
    #[schemars(with = "Option<i64>")]
    offset: Option<String>,
}

/// A person.
#[derive(Serialize, JsonSchema)]
pub struct MePerson {
    id: String,
    email: String,
}

/// An account of the person.
#[derive(Serialize, JsonSchema)]
pub struct MyAccount {
    id: String,
    /// Empty when nobody has given it one.
    name: String,
    /// `active`; `merged` when its keys and its money went to another, whose usage stays here to be read; `closed`.
    status: String,
    created_at: String,
    /// The account that took over.
    #[serde(skip_serializing_if = "Option::is_none")]
    merged_into: Option<String>,
}

/// The person's open sessions.
#[derive(Serialize, JsonSchema)]
pub struct SessionList {
    /// The one used last first, at most 100.
    sessions: Vec<MySession>,
}

/// An open session; never its token.
#[derive(Serialize, JsonSchema)]
pub struct MySession {
    id: String,
    /// The account that it looks after.
    account_id: String,
    /// What the client said that it is.
    user_agent: String,
    /// The IP address that it was opened from; empty when unknown.
    address: String,
    created_at: String,
    /// Give or take a minute.
    last_used_at: String,
    expires_at: String,
    /// Whether it is the one that asks.
    is_current: bool,
}

/// Sessions have ended.
#[derive(Serialize, JsonSchema)]
pub struct SessionsEnded {
    ok: bool,
    /// How many.
    ended: u64,
}

/// Which account to look after.
#[derive(Deserialize, JsonSchema)]
pub struct SwitchRequest {
    /// One of the person's accounts.
    #[serde(default)]
    #[schemars(!default)]
    account_id: String,
}

/// The account that the session looks after now.
#[derive(Serialize, JsonSchema)]
pub struct Switched {
    ok: bool,
    account_id: String,
}

async fn get_me(cx: Cx, Query(query): Query<MeQuery>) -> Result<Reply<Me>, ApiError> {
    let session = cx.caller.session()?;
    let page = PageQuery::read(query.limit.as_deref(), query.offset.as_deref());
    let limit = page.log_limit();
    let reads = (
        find_own_account(&session.person_id, &session.account_id),
        list_own_accounts(&session.person_id, limit + 1, page.offset()),
    );
    let (account, mut rows) = run_all(&*cx.ports.db, reads).await?;
    let limit = usize::try_from(limit).map_err(ApiError::internal)?;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let person = MePerson { id: session.person_id.clone(), email: session.email.clone() };
    let accounts = rows.into_iter().map(to_account).collect();
    Ok(Reply(Me { person, account: account.map(to_account), accounts, has_more }))
}

fn to_account(row: OwnAccountRow) -> MyAccount {
    MyAccount {
        id: row.id,
        name: row.name,
        status: row.status,
        created_at: format_rfc3339(row.created_at_ms),
        merged_into: row.merged_into,
    }
}

async fn log_out(cx: Cx, (): ()) -> Result<Reply<SessionsEnded>, ApiError> {
    let session = cx.caller.session()?;
    let Changed(ended) = end_session_row(&session.person_id, &session.session_id).run(&*cx.ports.db).await?;
    Ok(Reply(SessionsEnded { ok: true, ended }))
}

async fn list_sessions(cx: Cx, (): ()) -> Result<Reply<SessionList>, ApiError> {
    let session = cx.caller.session()?;
    let rows = list_session_rows(&session.person_id, cx.started_ms, SESSIONS_MAX).run(&*cx.ports.db).await?;
    let sessions = rows.into_iter().map(|row| to_session(row, &session.session_id)).collect();
    Ok(Reply(SessionList { sessions }))
}

fn to_session(row: SessionRecord, current_id: &str) -> MySession {
    MySession {
        is_current: row.id == current_id,
        id: row.id,
        account_id: row.account_id,
        user_agent: row.user_agent,
        address: row.address,
        created_at: format_rfc3339(row.created_at_ms),
        last_used_at: format_rfc3339(row.last_used_at_ms),
        expires_at: format_rfc3339(row.expires_at_ms),
    }
}

async fn end_session(cx: Cx, Path(id): Path) -> Result<Reply<SessionsEnded>, ApiError> {
    let session = cx.caller.session()?;
    match end_session_row(&session.person_id, &id).run(&*cx.ports.db).await? {
        Changed(0) => Err(ApiError::not_found("session")),
        Changed(ended) => Ok(Reply(SessionsEnded { ok: true, ended })),
    }
}

async fn end_others(cx: Cx, (): ()) -> Result<Reply<SessionsEnded>, ApiError> {
    let session = cx.caller.session()?;
    let Changed(ended) = end_other_sessions(&session.person_id, &session.session_id).run(&*cx.ports.db).await?;
    Ok(Reply(SessionsEnded { ok: true, ended }))
}

async fn switch_account(cx: Cx, Json(request): Json<SwitchRequest>) -> Result<Reply<Switched>, ApiError> {
    if request.account_id.is_empty() {
        return Err(ApiError::invalid("account_id", "account_id is required"));
    }
    let session = cx.caller.session()?;
    let switch = switch_account_row(&session.person_id, &session.session_id, &request.account_id);
    match switch.run(&*cx.ports.db).await? {
        Changed(0) => Err(ApiError::not_found("account")),
        Changed(_) => Ok(Reply(Switched { ok: true, account_id: request.account_id })),
    }
}
