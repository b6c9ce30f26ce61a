//! What administrators changed.

use guildhall_domain::time::format_rfc3339;
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::Cx;
use crate::error::ApiError;
use crate::http::input::Query;
use crate::http::output::Reply;
use crate::http::page::PageQuery;
use crate::http::route::Access;
use crate::routes;
use crate::store::ops::audit::{AuditRow, count_audit, list_audit};
use crate::store::statement::run_all;

routes! {
    tag "Observability", dialect TokenHub;
    /// List changes that administrators made.
    ///
    /// Newest first; kept for 90 days.
    Get "/admin/v1/audit" Access::Admin => get_audit;
}

/// A page of the audit log.
#[derive(Serialize, JsonSchema)]
pub struct AuditPage {
    logs: Vec<AuditEntry>,
    total: i64,
    limit: i64,
    offset: i64,
}

/// One change.
#[derive(Serialize, JsonSchema)]
pub struct AuditEntry {
    id: i64,
    timestamp: String,
    /// Such as `model.upsert`.
    action: String,
    /// The id of what was changed; empty where there is only one.
    resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
    request_id: String,
}

async fn get_audit(cx: Cx, Query(page): Query<PageQuery>) -> Result<Reply<AuditPage>, ApiError> {
    let (limit, offset) = (page.log_limit(), page.offset());
    let (rows, total) = run_all(&*cx.ports.db, (list_audit(limit, offset), count_audit())).await?;
    let logs = rows.into_iter().map(AuditEntry::from).collect();
    Ok(Reply(AuditPage { logs, total: total.map_or(0, |t| t.total), limit, offset }))
}

impl From<AuditRow> for AuditEntry {
    fn from(row: AuditRow) -> Self {
        let AuditRow { id, at_ms, action, resource, detail, request_id } = row;
        Self { id, timestamp: format_rfc3339(at_ms), action, resource, detail, request_id }
    }
}
