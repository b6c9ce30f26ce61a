//! Aliases: names that stand for one of several models.

use std::collections::HashMap;

use guildhall_domain::ids::ModelId;
use guildhall_domain::routing::{Alias as Rule, AliasError, Mode, Sticky, Variant};
use guildhall_domain::time::format_rfc3339;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::done::Done;
use crate::app::Cx;
use crate::error::{ApiError, Kind};
use crate::http::input::{Json, Path};
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::routes;
use crate::store::models::routing::{
    AliasRow, delete_alias as delete_alias_row, find_alias, list_aliases as list_alias_rows, put_alias as put_alias_row,
};

routes! {
    tag "Aliases", dialect TokenHub;
    /// List aliases.
    Get "/admin/v1/aliases" Access::Admin => list_aliases;
    /// Get an alias.
    Get "/admin/v1/aliases/{*name}" Access::Admin => get_alias;
    /// Create or replace an alias.
    ///
    /// Requests for its name go to its variants, each with its share. The name may contain slashes; `*` is what serves
    /// requests that leave the choice to the router.
    Put "/admin/v1/aliases/{*name}" Access::Admin, audit = "alias.upsert" => put_alias;
    /// Delete an alias.
    Delete "/admin/v1/aliases/{*name}" Access::Admin, audit = "alias.delete" => delete_alias;
}

/// Aliases at most.
const ALIASES_MAX: i64 = 1_000;

/// What an alias is to be.
#[derive(Deserialize, JsonSchema)]
pub struct AliasFields {
    /// What it stands for: 1 to 100 models or other aliases, each with its share of the traffic.
    variants: Vec<Variant>,
    /// Whether it is in use; true by default.
    enabled: Option<bool>,
    /// What requests stay with.
    #[serde(default)]
    sticky_by: Sticky,
}

/// An alias.
#[derive(Serialize, JsonSchema)]
pub struct Alias {
    name: String,
    variants: Vec<Variant>,
    enabled: bool,
    sticky_by: Sticky,
    created_at: String,
    updated_at: String,
}

/// The aliases, by name.
#[derive(Serialize, JsonSchema)]
pub struct AliasList {
    items: Vec<Alias>,
    total: usize,
}

async fn list_aliases(cx: Cx, (): ()) -> Result<Reply<AliasList>, ApiError> {
    let rows = list_alias_rows(ALIASES_MAX).run(&*cx.ports.db).await?;
    let items = rows.into_iter().map(Alias::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(Reply(AliasList { total: items.len(), items }))
}

async fn get_alias(cx: Cx, Path(name): Path) -> Result<Reply<Alias>, ApiError> {
    read_alias(&cx, &name).await.map(Reply)
}

async fn put_alias(cx: Cx, (Path(name), Json(fields)): (Path, Json<AliasFields>)) -> Result<Reply<Alias>, ApiError> {
    if name != "*" {
        name.parse::<ModelId>().map_err(|e| ApiError::invalid("name", format!("invalid alias: {e}")))?;
    }
    if Mode::parse_tier(&name).is_some() {
        return Err(ApiError::invalid("name", format!("invalid alias: {name} is a routing mode")));
    }
    let rule = Rule { variants: fields.variants, enabled: fields.enabled.unwrap_or(true), sticky_by: fields.sticky_by };
    let rows = list_alias_rows(ALIASES_MAX).run(&*cx.ports.db).await?;
    let is_new = rows.iter().all(|row| row.name != name);
    if is_new && rows.len() >= usize::try_from(ALIASES_MAX).unwrap_or(usize::MAX) {
        return Err(ApiError::new(Kind::Conflict, format!("there are {ALIASES_MAX} aliases already")));
    }
    let others = rows.iter().filter(|row| row.name != name).map(|row| Ok((row.name.clone(), row.to_alias()?)));
    let others: HashMap<_, _> = others.collect::<Result<_, serde_json::Error>>().map_err(ApiError::internal)?;
    rule.check(&name, &others).map_err(|error| refuse(&error))?;
    let variants = serde_json::to_string(&rule.variants).map_err(ApiError::internal)?;
    cx.audit_detail(&variants);
    let sticky_by = serde_json::to_value(rule.sticky_by).map_err(ApiError::internal)?;
    let sticky_by = sticky_by.as_str().unwrap_or_default();
    put_alias_row(&name, &variants, rule.enabled, sticky_by, cx.started_ms).run(&*cx.ports.db).await?;
    cx.app.gateway.forget();
    read_alias(&cx, &name).await.map(Reply)
}

async fn delete_alias(cx: Cx, Path(name): Path) -> Result<Reply<Done>, ApiError> {
    delete_alias_row(&name).run(&*cx.ports.db).await?;
    cx.app.gateway.forget();
    Ok(Reply(Done { ok: true }))
}

async fn read_alias(cx: &Cx, name: &str) -> Result<Alias, ApiError> {
    let row = find_alias(name).run(&*cx.ports.db).await?;
    row.ok_or_else(|| ApiError::not_found("alias"))?.try_into()
}

fn refuse(error: &AliasError) -> ApiError {
    ApiError::invalid("variants", format!("invalid alias: {error}"))
}

impl TryFrom<AliasRow> for Alias {
    type Error = ApiError;

    fn try_from(row: AliasRow) -> Result<Self, ApiError> {
        let rule = row.to_alias().map_err(ApiError::internal)?;
        Ok(Self {
            name: row.name,
            variants: rule.variants,
            enabled: rule.enabled,
            sticky_by: rule.sticky_by,
            created_at: format_rfc3339(row.created_at_ms),
            updated_at: format_rfc3339(row.updated_at_ms),
        })
    }
}
