//! Whether an endpoint answers, and what it serves: asked when it is registered, when its owner wants to know, every hour,
//! and, while it does not answer, when a call would have gone there.

use std::rc::Rc;

use guildhall_domain::own::guess_kind;
use guildhall_domain::secret::SecretText;

use super::secret::open_secret;
use super::{MODELS_KEPT, OwnModel, OwnTable};
use crate::app::{App, Cx};
use crate::error::Kind;
use crate::gateway::discovery::{Upstream, list_upstream_models};
use crate::gateway::provider::ProviderKind;
use crate::ports::{PortError, Ports};
use crate::store::models::local_endpoints::{
    LocalEndpointRow, claim_check, find_local_endpoint, list_unchecked, note_reachable, note_unreachable,
};
use crate::store::statement::Changed;

/// An endpoint that does not answer is asked again no sooner, in milliseconds.
const PAUSE_MS: i64 = 60_000;
/// The hour's check leaves out what was asked since, in milliseconds.
const HOUR_MS: i64 = 50 * 60_000;
/// Endpoints of one hour's check.
const HOURLY_MAX: i64 = 200;
/// How long an hour's check may take, in milliseconds; what it does not reach comes first in the next.
const HOURLY_MS: i64 = 5 * 60_000;
/// What is kept of a reason, in characters.
const REASON_CHARS: usize = 200;

/// What an endpoint that answers serves; else why it does not.
///
/// # Errors
/// The reason, for its owner.
pub async fn examine(
    app: &App,
    ports: &Ports,
    base_url: &str,
    key: Option<&SecretText>,
) -> Result<Vec<OwnModel>, String> {
    let upstream = Upstream { kind: ProviderKind::Vllm, base_url, key };
    match list_upstream_models(app, ports, &upstream).await {
        Ok(models) => Ok(models
            .into_iter()
            .take(MODELS_KEPT)
            .map(|model| OwnModel { kind: guess_kind(model.id.as_str()), id: model.id.to_string() })
            .collect()),
        Err(error) if error.kind == Kind::InvalidInput => Err("its address is refused".to_owned()),
        Err(error) => Err(error.message.chars().take(REASON_CHARS).collect()),
    }
}

/// Asks an endpoint and writes down what came of it.
///
/// # Errors
/// When the database fails.
pub async fn recheck(app: &App, ports: &Ports, row: &LocalEndpointRow) -> Result<(), PortError> {
    let key = row.sealed_key.as_ref().map(|sealed| open_secret(app, &row.account_id, &row.id, sealed)).transpose();
    let found = match &key {
        Ok(key) => examine(app, ports, &row.base_url, key.as_ref()).await,
        Err(error) => Err(error.to_string()),
    };
    let now_ms = ports.clock.now_ms();
    match found {
        Ok(models) => {
            let models = serde_json::to_string(&models).map_err(|e| PortError(format!("models: {e}")))?;
            note_reachable(&row.account_id, &row.id, &models, now_ms).run(&*ports.db).await?;
        }
        Err(reason) => _ = note_unreachable(&row.account_id, &row.id, &reason, now_ms).run(&*ports.db).await?,
    }
    app.gateway.own.forget(&row.account_id);
    Ok(())
}

/// A call has come by endpoints that do not answer: those that were not asked for a while are asked again, in the
/// background, by one isolate each.
pub fn recheck_unreachable(cx: &Cx, table: &OwnTable) {
    let now_ms = cx.ports.clock.now_ms();
    for endpoint in table.endpoints.iter().filter(|endpoint| !endpoint.is_healthy) {
        let Some(own) = &endpoint.provider.own else { continue };
        if now_ms - endpoint.checked_ms.get() < PAUSE_MS {
            continue;
        }
        endpoint.checked_ms.set(now_ms);
        let (app, ports) = (Rc::clone(&cx.app), Rc::clone(&cx.ports));
        let (account_id, id) = (table.account_id.clone(), own.id.clone());
        cx.ports.background.spawn(Box::pin(async move {
            if let Err(error) = claim_and_recheck(&app, &ports, &account_id, &id, now_ms - PAUSE_MS).await {
                ports.background.log(&format!("check of {id}: {error}"));
            }
        }));
    }
}

async fn claim_and_recheck(
    app: &App,
    ports: &Ports,
    account_id: &str,
    id: &str,
    unless_after_ms: i64,
) -> Result<(), PortError> {
    let now_ms = ports.clock.now_ms();
    if claim_check(account_id, id, now_ms, unless_after_ms).run(&*ports.db).await? == Changed(0) {
        return Ok(());
    }
    match find_local_endpoint(account_id, id).run(&*ports.db).await? {
        Some(row) => recheck(app, ports, &row).await,
        None => Ok(()),
    }
}

/// Asks all endpoints that nobody has asked for an hour, as far as the time reaches.
///
/// # Errors
/// When the database fails.
pub async fn recheck_all(app: &App, ports: &Ports) -> Result<(), PortError> {
    let begun_ms = ports.clock.now_ms();
    for row in list_unchecked(begun_ms - HOUR_MS, HOURLY_MAX).run(&*ports.db).await? {
        if ports.clock.now_ms() - begun_ms > HOURLY_MS {
            break;
        }
        claim_and_recheck(app, ports, &row.account_id, &row.id, begun_ms - HOUR_MS).await?;
    }
    Ok(())
}
