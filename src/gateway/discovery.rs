//! What a provider says that it serves.

use std::collections::BTreeMap;
use std::rc::Rc;

use guildhall_domain::ids::ModelId;
use guildhall_domain::outbound::check_url;
use guildhall_domain::sandbox;
use guildhall_domain::secret::SecretText;
use serde::Deserialize;
use serde_json::Value;

use super::provider::{Endpoint, ProviderKind};
use crate::app::{App, Cx};
use crate::error::{ApiError, Kind};
use crate::ports::{FetchError, Inbound, InboundBody, Outbound, Ports, ReadMode};
use crate::store::models::providers::ProviderRow;

/// Longest wait for the whole list, in milliseconds.
pub const WAIT_MS: u32 = 10_000;
/// Longest list, in bytes.
pub const LIST_MAX_BYTES: u32 = 1 << 20;
/// Most models of a list.
pub const MODELS_MAX: usize = 2_000;

/// A model that a provider serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamModel {
    /// What the provider calls it.
    pub id: ModelId,
    /// Who made it, where the provider says so.
    pub owned_by: Option<String>,
}

/// Who is asked.
#[derive(Clone, Copy)]
pub struct Upstream<'u> {
    /// How it is spoken to.
    pub kind: ProviderKind,
    /// Where it answers, without `/v1`.
    pub base_url: &'u str,
    /// Its key, if it needs one.
    pub key: Option<&'u SecretText>,
}

/// The models of a registered provider.
///
/// # Errors
/// As [`list_upstream_models`]; 502 for a kind of provider that is not served here.
pub async fn list_provider_models(
    cx: &Cx,
    provider: &ProviderRow,
    key: Option<&SecretText>,
) -> Result<Vec<UpstreamModel>, ApiError> {
    let kind = ProviderKind::parse(&provider.r#type, cx.app.config.mode).map_err(failed)?;
    list_upstream_models(&cx.app, &cx.ports, &Upstream { kind, base_url: &provider.base_url, key }).await
}

/// Asks a provider for its models; they come by id, without those that no model here could be called.
///
/// # Errors
/// 404 when there is no address to ask; 502 when the provider fails, refuses or does not make sense: its 401 is not ours.
pub async fn list_upstream_models(
    app: &App,
    ports: &Ports,
    upstream: &Upstream<'_>,
) -> Result<Vec<UpstreamModel>, ApiError> {
    if upstream.kind == ProviderKind::Sandbox {
        let own = |id: &str| Some(UpstreamModel { id: id.parse().ok()?, owned_by: Some("sandbox".to_owned()) });
        return Ok(sandbox::MODELS.into_iter().filter_map(own).collect());
    }
    if upstream.base_url.is_empty() {
        return Err(ApiError::new(Kind::NotFound, "provider not found or has no base URL"));
    }
    let request = ask_for_models(app, upstream)?;
    let inbound = ports.fetch.send(request, Rc::new(|| {})).await.map_err(|error| {
        failed(match error {
            FetchError::TooLarge => "failed to parse models response: more than 1 MiB".to_owned(),
            error => format!("failed to reach provider: {error}"),
        })
    })?;
    match inbound {
        Inbound { status: 200..300, body: InboundBody::Whole(body), .. } => parse_list(&body),
        Inbound { status: 200..300, .. } => Err(failed("failed to parse models response: an event stream")),
        Inbound { status, .. } => Err(failed(format!("provider returned {}", status_line(status)))),
    }
}

fn failed(text: impl Into<String>) -> ApiError {
    ApiError::new(Kind::UpstreamFailed, text)
}

fn ask_for_models(app: &App, upstream: &Upstream<'_>) -> Result<Outbound, ApiError> {
    let Upstream { kind, base_url, key } = *upstream;
    let endpoint = Endpoint::new(kind, base_url, key);
    // Anthropic gives 20 models a page unless asked for all.
    let url = endpoint.url(if kind == ProviderKind::Anthropic { "/v1/models?limit=1000" } else { "/v1/models" });
    check_url(&url, app.config.outbound).map_err(|e| ApiError::invalid("base_url", format!("base_url: {e}")))?;
    let mut headers = vec![("accept", "application/json".to_owned())];
    headers.extend(endpoint.headers);
    let read = ReadMode::Whole { max_bytes: LIST_MAX_BYTES };
    Ok(Outbound {
        method: "GET",
        url,
        headers,
        body: None,
        read,
        first_byte_ms: WAIT_MS,
        may_be_given_up: false,
        outlives_client: false,
    })
}

/// `{"data": […]}` as OpenAI, Anthropic and most others have it, or the bare list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Listing {
    Wrapped { data: Vec<ListedModel> },
    Bare(Vec<ListedModel>),
}

#[derive(Deserialize)]
struct ListedModel {
    #[serde(default)]
    id: Value,
    #[serde(default)]
    owned_by: Value,
}

fn parse_list(body: &[u8]) -> Result<Vec<UpstreamModel>, ApiError> {
    let (Listing::Wrapped { data: listed } | Listing::Bare(listed)) =
        serde_json::from_slice(body).map_err(|_| failed("failed to parse models response"))?;
    if listed.len() > MODELS_MAX {
        return Err(failed(format!("failed to parse models response: more than {MODELS_MAX} models")));
    }
    let models = listed.into_iter().filter_map(|model| {
        let id: ModelId = model.id.as_str()?.parse().ok()?;
        let owned_by = model.owned_by.as_str().filter(|name| !name.is_empty()).map(str::to_owned);
        Some((id.as_str().to_owned(), UpstreamModel { id, owned_by }))
    });
    Ok(models.collect::<BTreeMap<_, _>>().into_values().collect())
}

/// The status as HTTP/1.1 writes it, where it is one that a list of models meets.
fn status_line(status: u16) -> String {
    let reason = match status {
        400 => " Bad Request",
        401 => " Unauthorized",
        403 => " Forbidden",
        404 => " Not Found",
        429 => " Too Many Requests",
        500 => " Internal Server Error",
        502 => " Bad Gateway",
        503 => " Service Unavailable",
        _ => "",
    };
    format!("{status}{reason}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(body: &str) -> Vec<String> {
        parse_list(body.as_bytes()).unwrap().into_iter().map(|model| model.id.as_str().to_owned()).collect()
    }

    #[test]
    fn both_forms_of_a_list_are_read() {
        assert_eq!(ids(r#"{"object":"list","data":[{"id":"b","owned_by":"x"},{"id":"a"}]}"#), ["a", "b"]);
        assert_eq!(ids(r#"[{"id":"org/b","created":1},{"id":"a"}]"#), ["a", "org/b"]);
        assert_eq!(
            ids(r#"{"data":[{"type":"model","id":"claude-x","display_name":"X"}],"has_more":false}"#),
            ["claude-x"]
        );
        assert_eq!(ids(r#"{"data":[]}"#), [""; 0]);
    }

    #[test]
    fn what_cannot_be_a_name_is_left_out_and_nothing_comes_twice() {
        let body =
            r#"[{"id":"a"},{"id":"a"},{"id":""},{"id":7},{},{"id":"with space"},{"id":"line\nbreak"},{"id":"b"}]"#;
        assert_eq!(ids(body), ["a", "b"]);
        let owners = parse_list(br#"[{"id":"a","owned_by":""},{"id":"b","owned_by":5},{"id":"c","owned_by":"me"}]"#);
        let owners: Vec<_> = owners.unwrap().into_iter().map(|model| model.owned_by).collect();
        assert_eq!(owners, [None, None, Some("me".to_owned())]);
    }

    #[test]
    fn nonsense_and_floods_are_refused() {
        let flood = format!("[{}]", vec![r#"{"id":"a"}"#; MODELS_MAX + 1].join(","));
        for body in ["", "nonsense", "{}", "null", r#"{"data":null}"#, r#"{"data":{}}"#, r#"["a"]"#, &flood] {
            let error = parse_list(body.as_bytes()).unwrap_err();
            assert_eq!(error.kind, Kind::UpstreamFailed);
            assert!(error.message.starts_with("failed to parse models response"), "{}", error.message);
        }
    }
}
