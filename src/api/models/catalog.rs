//! The reference catalogue, for everybody.

use std::sync::LazyLock;

use guildhall_domain::catalogue::{Capability, CatalogueEntry, entries, researched_at};
use guildhall_domain::money::Rate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::app::Cx;
use crate::error::ApiError;
use crate::http::input::{IfNoneMatch, Query};
use crate::http::output::{Output, RawReply};
use crate::http::route::Access;
use crate::routes;

routes! {
    tag "Models", dialect Tokaroo;
    /// Read the reference catalogue.
    ///
    /// List prices, context windows and capabilities of the well-known providers' models, by provider and id. Reference
    /// data: what a call really costs stands in `x-tokaroo-cost`, and what can be called in `/v1/models`.
    Get "/v1/models/catalog" Access::Public => read_catalogue;
    /// Read the reference catalogue.
    ///
    /// Another name of `/v1/models/catalog`.
    Get "/v1/pricing" Access::Public => read_catalogue;
}

/// Which models.
#[derive(Deserialize, JsonSchema)]
pub struct CatalogueQuery {
    /// Only this provider's, such as `openai`; an unknown one has none.
    provider: Option<String>,
    /// Only those that can do this.
    capability: Option<Capability>,
}

/// The catalogue.
#[derive(Serialize, JsonSchema)]
pub struct Catalogue {
    object: &'static str,
    data: Vec<CatalogueModel>,
    /// Up to when prices were looked up, in RFC 3339.
    researched_at: &'static str,
}

/// A model of the catalogue.
#[derive(Serialize, JsonSchema)]
pub struct CatalogueModel {
    id: &'static str,
    name: &'static str,
    provider: &'static str,
    /// US dollars per 1,000,000 input tokens; 0 where `price_note` says what is charged instead.
    input_per_1m: f64,
    /// US dollars per 1,000,000 output tokens.
    output_per_1m: f64,
    /// US dollars per 1,000,000 input tokens read from the provider's cache; left out when unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_read_per_1m: Option<f64>,
    capabilities: Vec<Capability>,
    /// Tokens; 0 where it is unknown or makes no sense.
    context_window: u64,
    /// Longest answer in tokens; left out when unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    /// What a call costs beyond the rates or instead of them; left out when tokens are all.
    #[serde(skip_serializing_if = "Option::is_none")]
    price_note: Option<&'static str>,
}

impl From<CatalogueEntry> for CatalogueModel {
    fn from(entry: CatalogueEntry) -> Self {
        Self {
            id: entry.id,
            name: entry.name,
            provider: entry.provider,
            input_per_1m: entry.price.input.to_usd_per_1m(),
            output_per_1m: entry.price.output.to_usd_per_1m(),
            cache_read_per_1m: entry.price.cache_read.map(Rate::to_usd_per_1m),
            capabilities: entry.capabilities().collect(),
            context_window: entry.context_window,
            max_output_tokens: Some(entry.max_output_tokens).filter(|tokens| *tokens > 0),
            price_note: Some(entry.price_note).filter(|note| !note.is_empty()),
        }
    }
}

/// The whole catalogue as it goes out, and its version.
struct Rendered {
    body: Vec<u8>,
    etag: String,
}

/// The data is part of the program: an isolate renders it once.
static WHOLE: LazyLock<Rendered> = LazyLock::new(|| {
    let body = render(|_| true);
    let digest = format!("{:x}", Sha256::digest(&body));
    let etag = format!("\"{}\"", digest.get(..16).unwrap_or_default());
    Rendered { body, etag }
});

fn render(keep: impl Fn(&CatalogueEntry) -> bool) -> Vec<u8> {
    let data = entries().filter(keep).map(CatalogueModel::from).collect();
    let catalogue = Catalogue { object: "list", data, researched_at: researched_at() };
    // Plain fields: writing them cannot fail.
    serde_json::to_vec(&catalogue).unwrap_or_default()
}

async fn read_catalogue(
    _: Cx,
    (known, Query(wanted)): (IfNoneMatch, Query<CatalogueQuery>),
) -> Result<RawReply<Catalogue>, ApiError> {
    // A part changes only with the whole, so one tag serves all of them.
    let etag = &WHOLE.etag;
    let output = if known.has(etag) {
        Output::empty().status(304)
    } else {
        let body = match &wanted {
            CatalogueQuery { provider: None, capability: None } => WHOLE.body.clone(),
            CatalogueQuery { provider, capability } => render(|entry| {
                provider.as_ref().is_none_or(|name| entry.provider.eq_ignore_ascii_case(name))
                    && capability.is_none_or(|capability| entry.can(capability))
            }),
        };
        Output::bytes("application/json", body)
    };
    // A shared cache must not give a page of another origin an answer that was made for nobody's.
    let output = output.header("etag", etag).header("vary", "origin");
    Ok(output.header("cache-control", "public, max-age=3600").into())
}
