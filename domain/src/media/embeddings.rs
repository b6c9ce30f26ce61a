//! `POST /v1/embeddings`.

use std::borrow::Cow;

use super::fields::Fields;
use crate::chat::request::InvalidRequest;
use crate::json::{Kind, Raw, Reader};

/// Most inputs of a request.
pub const MAX_INPUTS: usize = 2_048;
/// Most tokens of an input that comes as tokens.
const MAX_INPUT_TOKENS: usize = 8_192;
/// Most dimensions of a vector.
const MAX_DIMENSIONS: u64 = 8_192;
/// Largest token id: vocabularies are far smaller.
const MAX_TOKEN_ID: u64 = 10_000_000;

/// What vectors are asked for.
#[derive(Clone, Debug)]
pub struct EmbeddingsTask<'a> {
    /// The inputs, in order; never empty.
    pub inputs: Vec<EmbeddingInput<'a>>,
    /// Numbers of a vector; the model's own when absent.
    pub dimensions: Option<u32>,
    /// How vectors are written.
    pub encoding: EncodingFormat,
}

/// One input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmbeddingInput<'a> {
    /// A text; never empty.
    Text(Cow<'a, str>),
    /// Token ids; never empty.
    Tokens(Vec<u32>),
}

/// How a vector is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EncodingFormat {
    /// An array of numbers.
    #[default]
    Float,
    /// Little-endian 32-bit floats in base64.
    Base64,
}

impl<'a> EmbeddingsTask<'a> {
    pub(super) fn read(fields: &Fields<'a>) -> Result<Self, InvalidRequest> {
        let input = fields.json("input").ok_or_else(|| InvalidRequest::new("input", "is required"))?;
        let dimensions = fields.whole("dimensions", &(1..=MAX_DIMENSIONS))?;
        let formats = [("float", EncodingFormat::Float), ("base64", EncodingFormat::Base64)];
        fields.short_text("user", 512)?;
        Ok(Self {
            inputs: read_inputs(input)?,
            dimensions: dimensions.and_then(|dimensions| u32::try_from(dimensions).ok()),
            encoding: fields.one_of("encoding_format", &formats)?.unwrap_or_default(),
        })
    }

    /// Tokens that the inputs can't exceed: one a byte, and two that models put around each.
    #[must_use]
    pub fn tokens_upper(&self) -> u64 {
        self.inputs.iter().map(|input| input.size() + 2).sum()
    }

    /// Tokens that the inputs likely have: one per four bytes of text.
    #[must_use]
    pub fn tokens_estimate(&self) -> u64 {
        let tokens = |input: &EmbeddingInput<'_>| match input {
            EmbeddingInput::Text(_) => input.size().div_ceil(4),
            EmbeddingInput::Tokens(_) => input.size(),
        };
        self.inputs.iter().map(tokens).sum()
    }
}

impl EmbeddingInput<'_> {
    /// Bytes of a text, or tokens.
    fn size(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Tokens(tokens) => tokens.len() as u64,
        }
    }
}

fn read_inputs(input: Raw<'_>) -> Result<Vec<EmbeddingInput<'_>>, InvalidRequest> {
    const SHAPE: &str = "must be a string, or an array of strings, tokens or arrays of tokens";
    match input.kind() {
        Kind::String => Ok(vec![read_text(input, "input")?]),
        Kind::Array => {
            let mut reader = Reader::new(input.bytes);
            reader.enter_array()?;
            if !reader.next_item()? {
                return Err(InvalidRequest::new("input", "must not be empty"));
            }
            // The first item decides what the array holds.
            if reader.peek()? == Kind::Number {
                return Ok(vec![read_tokens(input, "input")?]);
            }
            let mut inputs = Vec::new();
            loop {
                if inputs.len() == MAX_INPUTS {
                    return Err(InvalidRequest::new("input", format_args!("must have at most {MAX_INPUTS} items")));
                }
                let name = format!("input[{}]", inputs.len());
                let item = reader.read_value()?;
                inputs.push(match item.kind() {
                    Kind::String => read_text(item, &name)?,
                    Kind::Array => read_tokens(item, &name)?,
                    _ => return Err(InvalidRequest::new(name, "must be a string or an array of tokens")),
                });
                if !reader.next_item()? {
                    return Ok(inputs);
                }
            }
        }
        _ => Err(InvalidRequest::new("input", SHAPE)),
    }
}

fn read_text<'a>(item: Raw<'a>, name: &str) -> Result<EmbeddingInput<'a>, InvalidRequest> {
    let text = item.to_text().ok_or_else(|| InvalidRequest::new(name, "must be a string"))?;
    if text.is_empty() {
        return Err(InvalidRequest::new(name, "must not be empty"));
    }
    Ok(EmbeddingInput::Text(text))
}

fn read_tokens<'a>(item: Raw<'a>, name: &str) -> Result<EmbeddingInput<'a>, InvalidRequest> {
    let mut reader = Reader::new(item.bytes);
    reader.enter_array()?;
    let mut tokens = Vec::new();
    while reader.next_item()? {
        let token = reader.read_value()?.to_u64().filter(|token| *token <= MAX_TOKEN_ID);
        let token = token.and_then(|token| u32::try_from(token).ok());
        tokens.push(token.ok_or_else(|| InvalidRequest::new(name, "must hold token ids: integers from 0"))?);
        if tokens.len() > MAX_INPUT_TOKENS {
            return Err(InvalidRequest::new(name, format_args!("must have at most {MAX_INPUT_TOKENS} tokens")));
        }
    }
    if tokens.is_empty() {
        return Err(InvalidRequest::new(name, "must not be empty"));
    }
    Ok(EmbeddingInput::Tokens(tokens))
}
