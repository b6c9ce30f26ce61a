//! What differs between kinds of providers.

use guildhall_domain::chat::request::MaxOutputField;

use crate::config::Mode;

/// A kind of provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderKind {
    /// `OpenAI`, or any server that speaks its API.
    OpenAi,
    /// vLLM: the same API; a key is optional.
    Vllm,
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
            ("sandbox", Mode::Sandbox) => Ok(Self::Sandbox),
            ("sandbox", Mode::Live) => Err("type sandbox is refused in live mode".to_owned()),
            _ => Err(format!("type must be openai, vllm or sandbox, not {name:?}")),
        }
    }

    /// The field for a limit of output tokens where the client used none.
    #[must_use]
    pub const fn max_output_field(self) -> MaxOutputField {
        match self {
            Self::OpenAi => MaxOutputField::MaxCompletionTokens,
            Self::Vllm | Self::Sandbox => MaxOutputField::MaxTokens,
        }
    }
}
