//! The checklist of a first key.

use guildhall_domain::billing::auto_pay::AMOUNT_DEFAULT;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::Cx;
use crate::error::ApiError;
use crate::http::input::Json;
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::payments::activation::{ActivationStatus, TERMS_VERSION, read_activation};
use crate::payments::{Desk, read_billing};
use crate::routes;
use crate::store::money::billing::accept_terms;

routes! {
    tag "Billing", dialect Tokaroo;
    /// Read the checklist of the first API key.
    Get "/v1/billing/activation" Access::Session => get_activation;
    /// Accept the activation terms.
    ///
    /// They authorise automatic charges: a card that is saved turns auto pay on, unless its owner has said otherwise. After
    /// the first key auto pay may be turned off.
    Post "/v1/billing/activation/accept" Access::Session, body_max_bytes = 1 << 16 => accept_activation_terms;
    /// Accept the activation terms (the other path).
    Post "/v1/billing/activation/terms" Access::Session, body_max_bytes = 1 << 16 => accept_activation_terms;
}

/// The acceptance.
#[derive(Deserialize, JsonSchema)]
pub struct Acceptance {
    /// True.
    accepted: bool,
}

/// It is written down.
#[derive(Serialize, JsonSchema)]
pub struct Accepted {
    /// Always true.
    ok: bool,
    /// The checklist as it now is.
    activation: ActivationStatus,
}

async fn get_activation(cx: Cx, (): ()) -> Result<Reply<ActivationStatus>, ApiError> {
    read_activation(&Desk::of(&cx), cx.caller.account_id()?).await.map(Reply)
}

async fn accept_activation_terms(cx: Cx, Json(body): Json<Acceptance>) -> Result<Reply<Accepted>, ApiError> {
    if !body.accepted {
        return Err(ApiError::invalid("accepted", "accepted must be true"));
    }
    let (desk, account_id) = (Desk::of(&cx), cx.caller.account_id()?);
    read_billing(&desk, account_id).await?;
    accept_terms(account_id, TERMS_VERSION, cx.started_ms, AMOUNT_DEFAULT.0).run(&*cx.ports.db).await?;
    cx.app.credentials.forget_account(account_id);
    Ok(Reply(Accepted { ok: true, activation: read_activation(&desk, account_id).await? }))
}
