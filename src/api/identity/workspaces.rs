//! Workspaces: named parts of an account, with a budget over all of their keys.

use guildhall_domain::money::MicroUsd;
use guildhall_domain::time::format_rfc3339;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::fields::{read_metadata, read_name, read_usd, show_metadata};
use super::workspace_names::{begin_workspace, workspace_not_found};
use crate::app::Cx;
use crate::error::ApiError;
use crate::http::input::{Json, Path, Query};
use crate::http::output::Reply;
use crate::http::page::PageQuery;
use crate::http::route::Access;
use crate::meter::money::read_spent;
use crate::meter::payer::Tally;
use crate::routes;
use crate::store::identity::workspaces::{
    WorkspaceRow, count_workspaces, find_workspace, list_workspaces, update_workspace,
};
use crate::store::statement::run_all;

routes! {
    tag "Workspaces", dialect Tokaroo;
    /// Create a workspace, or change the one of this name.
    ///
    /// What is left out of a workspace that exists stays as it is.
    Post "/v1/workspaces" Access::Session => put_workspace;
    /// List workspaces, by name.
    Get "/v1/workspaces" Access::Session => get_workspaces;
    /// Get a workspace.
    Get "/v1/workspaces/{workspace_id}" Access::Session => get_workspace;
    /// Change parts of a workspace.
    ///
    /// Keys of an archived workspace are refused within two seconds. A workspace is not deleted: its usage refers to it.
    Patch "/v1/workspaces/{workspace_id}" Access::Session => patch_workspace;
}

/// A workspace to create.
#[derive(Deserialize, JsonSchema)]
pub struct NewWorkspace {
    /// The owner's name for it: 1 to 64 letters, digits, `.`, `_`, `:` or `-`.
    workspace_id: String,
    #[serde(flatten)]
    fields: WorkspaceFields,
}

/// What a workspace is, or parts of it.
#[derive(Deserialize, JsonSchema)]
pub struct WorkspaceFields {
    /// What people call it; needed for a new one.
    #[schemars(with = "Option<String>")]
    name: Option<Value>,
    /// `active`, or `archived`: then its keys are refused.
    #[schemars(with = "Option<String>")]
    status: Option<Value>,
    /// A JSON object of the owner's own, up to 4 KiB; it takes the place of the former one.
    #[schemars(with = "Option<Map<String, Value>>")]
    metadata: Option<Value>,
    /// What all its keys together may spend in a UTC month, in US dollars: a hard limit. `null` for none. What the month has
    /// spent already counts.
    #[serde(default, deserialize_with = "read_present")]
    #[schemars(with = "Option<f64>")]
    monthly_budget_usd: Option<Value>,
}

/// Which workspaces.
#[derive(Deserialize, JsonSchema)]
pub struct WorkspacesQuery {
    /// Items at most: 1 to 1,000; anything else counts as 1,000.
    #[schemars(with = "Option<i64>")]
    limit: Option<String>,
    /// Items to skip; anything but a number counts as 0.
    #[schemars(with = "Option<i64>")]
    offset: Option<String>,
}

/// A workspace.
#[derive(Serialize, JsonSchema)]
pub struct Workspace {
    id: String,
    /// The owner's name for it; keys and usage refer to it.
    workspace_id: String,
    name: String,
    /// `active` or `archived`.
    status: String,
    metadata: Map<String, Value>,
    /// US dollars in a UTC month; null for no limit.
    monthly_budget_usd: Option<f64>,
    /// US dollars that its keys have spent this month, by the wallet's books.
    current_spend_usd: f64,
    created_at: String,
    updated_at: String,
}

/// Workspaces.
#[derive(Serialize, JsonSchema)]
pub struct Workspaces {
    /// Always `list`.
    object: &'static str,
    data: Vec<Workspace>,
    /// Whether there are more after these.
    has_more: bool,
    /// How many there are in all.
    total: i64,
}

/// What is to be set of a workspace.
struct Patch {
    name: Option<String>,
    status: Option<&'static str>,
    metadata: Option<String>,
    /// -1 takes it away.
    monthly_budget_micros: Option<i64>,
}

impl Patch {
    fn read(fields: &WorkspaceFields) -> Result<Self, ApiError> {
        let budget = fields.monthly_budget_usd.as_ref();
        Ok(Self {
            name: fields.name.as_ref().map(read_name).transpose()?,
            status: fields.status.as_ref().map(read_status).transpose()?,
            metadata: fields.metadata.as_ref().map(read_metadata).transpose()?,
            monthly_budget_micros: budget.map(read_budget).transpose()?,
        })
    }
}

fn read_status(status: &Value) -> Result<&'static str, ApiError> {
    let known = ["active", "archived"].into_iter().find(|known| status == known);
    known.ok_or_else(|| ApiError::invalid("status", "status must be active or archived"))
}

fn read_budget(budget: &Value) -> Result<i64, ApiError> {
    if budget.is_null() { Ok(-1) } else { read_usd("monthly_budget_usd", budget).map(|budget| budget.0) }
}

/// A field that is `null` is given; one that is left out is not.
fn read_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

async fn put_workspace(cx: Cx, Json(new): Json<NewWorkspace>) -> Result<Reply<Workspace>, ApiError> {
    let account_id = &cx.caller.session()?.account_id;
    let patch = Patch::read(&new.fields)?;
    let known = find_workspace(account_id, &new.workspace_id).run(&*cx.ports.db).await?;
    if known.is_some() {
        return write(&cx, account_id, &new.workspace_id, patch).await;
    }
    let name = patch.name.as_deref().ok_or_else(|| ApiError::invalid("name", "name required"))?;
    let begin = begin_workspace(&cx, account_id, &new.workspace_id, name).await?;
    cx.ports.db.run(vec![begin]).await?;
    write(&cx, account_id, &new.workspace_id, patch).await
}

async fn get_workspaces(cx: Cx, Query(query): Query<WorkspacesQuery>) -> Result<Reply<Workspaces>, ApiError> {
    let account_id = &cx.caller.session()?.account_id;
    let page = PageQuery::read(query.limit.as_deref(), query.offset.as_deref());
    let (limit, offset) = (page.limit(), page.offset());
    let reads = (list_workspaces(account_id, limit, offset), count_workspaces(account_id));
    let (rows, total) = run_all(&*cx.ports.db, reads).await?;
    let data = show(&cx, account_id, rows).await?;
    let total = total.map_or(0, |count| count.total);
    let shown = i64::try_from(data.len()).map_err(ApiError::internal)?;
    Ok(Reply(Workspaces { object: "list", data, has_more: offset.saturating_add(shown) < total, total }))
}

async fn get_workspace(cx: Cx, Path(workspace_id): Path) -> Result<Reply<Workspace>, ApiError> {
    show_one(&cx, &cx.caller.session()?.account_id, &workspace_id).await
}

async fn patch_workspace(
    cx: Cx,
    (Path(workspace_id), Json(fields)): (Path, Json<WorkspaceFields>),
) -> Result<Reply<Workspace>, ApiError> {
    let patch = Patch::read(&fields)?;
    write(&cx, &cx.caller.session()?.account_id, &workspace_id, patch).await
}

async fn write(cx: &Cx, account_id: &str, workspace_id: &str, patch: Patch) -> Result<Reply<Workspace>, ApiError> {
    let Patch { name, status, metadata, monthly_budget_micros } = patch;
    let (name, metadata) = (name.as_deref(), metadata.as_deref());
    let now_ms = cx.started_ms;
    let update = update_workspace(account_id, workspace_id, now_ms, name, status, metadata, monthly_budget_micros);
    update.run(&*cx.ports.db).await?;
    cx.app.credentials.forget_account(account_id);
    show_one(cx, account_id, workspace_id).await
}

async fn show_one(cx: &Cx, account_id: &str, workspace_id: &str) -> Result<Reply<Workspace>, ApiError> {
    let row = find_workspace(account_id, workspace_id).run(&*cx.ports.db).await?;
    let shown = show(cx, account_id, row.into_iter().collect()).await?;
    shown.into_iter().next().map(Reply).ok_or_else(workspace_not_found)
}

async fn show(cx: &Cx, account_id: &str, rows: Vec<WorkspaceRow>) -> Result<Vec<Workspace>, ApiError> {
    let tallies: Vec<_> = rows.iter().map(|row| Tally::of_workspace(&row.workspace_id)).collect();
    let spent = read_spent(&cx.app, &cx.ports, account_id, &tallies).await?;
    Ok(rows.into_iter().zip(spent).map(to_workspace).collect())
}

fn to_workspace((row, spent): (WorkspaceRow, MicroUsd)) -> Workspace {
    Workspace {
        id: row.id,
        workspace_id: row.workspace_id,
        name: row.name,
        status: row.status,
        metadata: show_metadata(&row.metadata),
        monthly_budget_usd: row.monthly_budget_micros.map(|micros| MicroUsd(micros).to_usd()),
        current_spend_usd: spent.to_usd(),
        created_at: format_rfc3339(row.created_at_ms),
        updated_at: format_rfc3339(row.updated_at_ms),
    }
}
