//! Whether the platform can serve.

use schemars::JsonSchema;
use serde::Serialize;

use crate::app::Cx;
use crate::error::ApiError;
use crate::gateway::table::read_snapshot;
use crate::http::output::{Output, Reply, Shaped, Under};
use crate::http::route::Access;
use crate::routes;

routes! {
    tag "Health", dialect TokenHub;
    /// Check health.
    ///
    /// 200 when at least one provider and one model take traffic, else 503. The body is the union of both documented forms.
    Get "/healthz" Access::Public => check_health;
}

/// Health.
#[derive(Serialize, JsonSchema)]
pub struct Health {
    ok: bool,
    /// `ok` or `unhealthy`.
    status: &'static str,
    /// Enabled providers.
    adapters: usize,
    /// Enabled models.
    models: usize,
}

async fn check_health(cx: Cx, (): ()) -> Result<Shaped<(Reply<Health>, Under<503, Reply<Health>>)>, ApiError> {
    let snapshot = read_snapshot(&cx.app, &cx.ports).await?;
    let models = snapshot.offers.iter().filter(|offer| offer.enabled).count();
    let adapters = snapshot.adapters;
    let ok = adapters > 0 && models > 0;
    let health = Health { ok, status: if ok { "ok" } else { "unhealthy" }, adapters, models };
    Ok(Output::json(&health).status(if ok { 200 } else { 503 }).into())
}
