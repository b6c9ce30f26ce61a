//! Properties of the parsers and of the arithmetic, tried on random input.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod anthropic;
mod anthropic_values;
mod cache;
mod chat_request;
mod chat_stream;
mod json_reader;
mod json_values;
mod money;
mod native;
mod responses;
