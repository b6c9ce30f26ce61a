//! What differs between kinds of providers.

use guildhall_domain::anthropic::VERSION;
use guildhall_domain::chat::request::MaxOutputField;
use guildhall_domain::secret::SecretText;

use crate::config::Mode;

/// A kind of provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderKind {
    /// `OpenAI`, or any server that speaks its API.
    OpenAi,
    /// vLLM: the same API; a key is optional.
    Vllm,
    /// Anthropic's own API.
    Anthropic,
    /// The deterministic model that comes with the sandbox.
    Sandbox,
}

impl ProviderKind {
    /// Reads a kind.
    ///
    /// # Errors
    /// The text for the administrator.
    pub fn parse(name: &str, mode: Mode) -> Result<Self, String> {
        match (name, mode) {
            ("openai" | "", _) => Ok(Self::OpenAi),
            ("vllm", _) => Ok(Self::Vllm),
            ("anthropic", _) => Ok(Self::Anthropic),
            ("sandbox", Mode::Sandbox) => Ok(Self::Sandbox),
            ("sandbox", Mode::Live) => Err("type sandbox is refused in live mode".to_owned()),
            _ => Err(format!("type must be openai, anthropic, vllm or sandbox, not {name:?}")),
        }
    }

    /// Where it takes chats.
    #[must_use]
    pub const fn chat_path(self) -> &'static str {
        match self {
            Self::Anthropic => "/v1/messages",
            Self::OpenAi | Self::Vllm | Self::Sandbox => "/v1/chat/completions",
        }
    }
}

/// Where a provider answers, and what it is shown.
pub struct Endpoint {
    base_url: String,
    /// Whether its paths begin with `/v1`; where not, the base has its own version.
    has_v1: bool,
    /// Headers of every request to it.
    pub headers: Vec<(&'static str, String)>,
    /// Whether OpenAI itself answers there, or Azure for it.
    pub is_openais: bool,
}

impl Endpoint {
    /// Of a provider of this kind; `key` if it needs one.
    #[must_use]
    pub fn new(kind: ProviderKind, base_url: &str, key: Option<&SecretText>) -> Self {
        let mut headers = Vec::new();
        if kind == ProviderKind::Anthropic {
            headers.push(("anthropic-version", VERSION.to_owned()));
        }
        if let Some(key) = key {
            headers.push(match kind {
                ProviderKind::Anthropic => ("x-api-key", key.expose().to_owned()),
                ProviderKind::OpenAi | ProviderKind::Vllm | ProviderKind::Sandbox => {
                    ("authorization", format!("Bearer {}", key.expose()))
                }
            });
        }
        Self { base_url: base_url.to_owned(), has_v1: true, headers, is_openais: is_openais(base_url) }
    }

    /// The field in which it takes a limit of output tokens: OpenAI's newest models refuse the old one; others that speak its
    /// protocol may not know the new one, and what they do not know limits nothing. There a client's own choice stands.
    #[must_use]
    pub fn max_output_field(&self, chosen: Option<MaxOutputField>) -> MaxOutputField {
        match chosen {
            _ if self.is_openais => MaxOutputField::MaxCompletionTokens,
            Some(field) => field,
            None => MaxOutputField::MaxTokens,
        }
    }

    /// The same, with paths that have no `/v1`.
    #[must_use]
    pub fn without_v1(self) -> Self {
        Self { has_v1: false, ..self }
    }

    /// The address of a path there.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        let path = if self.has_v1 { path } else { path.strip_prefix("/v1").unwrap_or(path) };
        format!("{}{path}", self.base_url)
    }
}

/// Whether OpenAI itself answers at an address, or Azure for it, be it behind Cloudflare's gateway.
fn is_openais(base_url: &str) -> bool {
    let address = base_url.split("://").nth(1).unwrap_or_default();
    let host = address.split(['/', ':']).next().unwrap_or_default();
    ["openai.com", "azure.com"].iter().any(|domain| host == *domain || host.ends_with(&format!(".{domain}")))
        || host == "gateway.ai.cloudflare.com" && address.contains("openai")
}
