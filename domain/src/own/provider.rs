//! The providers whose keys a caller may bring.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalogue::{CatalogueEntry, entries};

/// A provider that takes the keys of callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum KeyProvider {
    /// `OpenAI`.
    OpenAi,
    /// Anthropic.
    Anthropic,
    /// Google's Gemini API, spoken to in its OpenAI-compatible form.
    Google,
    /// Groq.
    Groq,
}

impl KeyProvider {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::OpenAi, Self::Anthropic, Self::Google, Self::Groq];

    /// As it is stored and as the catalogue calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Google => "google",
            Self::Groq => "groq",
        }
    }

    /// Reads a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.name() == name)
    }

    /// Where it answers: what the paths of its API are appended to, without their `/v1` where [`Self::has_v1`] says so.
    #[must_use]
    pub const fn base_url(self) -> &'static str {
        match self {
            Self::OpenAi => "https://api.openai.com",
            Self::Anthropic => "https://api.anthropic.com",
            Self::Google => "https://generativelanguage.googleapis.com/v1beta/openai",
            Self::Groq => "https://api.groq.com/openai",
        }
    }

    /// Whether its paths begin with `/v1`.
    #[must_use]
    pub const fn has_v1(self) -> bool {
        !matches!(self, Self::Google)
    }

    /// Its model of this name; one like `openai/gpt-4o` is also found without its first part.
    #[must_use]
    pub fn find_model(self, name: &str) -> Option<CatalogueEntry> {
        let find = |id: &str| entries().find(|entry| entry.provider == self.name() && entry.id == id);
        find(name).or_else(|| find(name.rsplit_once('/')?.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::{OutboundPolicy, check_url};

    #[test]
    fn every_provider_has_an_address_and_models() {
        for provider in KeyProvider::ALL {
            assert_eq!(KeyProvider::parse(provider.name()), Some(provider));
            assert!(check_url(provider.base_url(), OutboundPolicy::default()).is_ok());
            assert!(entries().any(|entry| entry.provider == provider.name()));
            assert_eq!(serde_json::to_value(provider).unwrap(), provider.name());
        }
        assert_eq!(KeyProvider::parse("mistral"), None);
    }

    #[test]
    fn a_provider_knows_its_models() {
        assert_eq!(KeyProvider::OpenAi.find_model("gpt-4o").map(|entry| entry.id), Some("gpt-4o"));
        assert_eq!(KeyProvider::OpenAi.find_model("openai/gpt-4o").map(|entry| entry.id), Some("gpt-4o"));
        assert!(KeyProvider::Anthropic.find_model("gpt-4o").is_none());
        assert!(KeyProvider::Groq.find_model("openai/gpt-oss-120b").is_some());
        assert!(KeyProvider::Google.find_model("").is_none());
    }
}
