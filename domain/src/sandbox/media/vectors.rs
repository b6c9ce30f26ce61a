//! Embeddings: character trigrams and words hashed into a vector of length one, so that similar texts are near.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::media::{EmbeddingInput, EmbeddingsTask, EncodingFormat};

/// Numbers of a vector when nobody says; those of `text-embedding-3-small`.
const DEFAULT_DIMENSIONS: u32 = 1_536;
/// The length of a vector, in the steps in which its numbers are written.
const UNIT: i64 = 10_000_000;

/// The list of vectors as JSON.
pub(super) fn to_list(task: &EmbeddingsTask<'_>) -> String {
    let dimensions = task.dimensions.unwrap_or(DEFAULT_DIMENSIONS) as usize;
    let mut list = String::from("[");
    for (index, input) in task.inputs.iter().enumerate() {
        let vector = embed(input, dimensions);
        if index > 0 {
            list.push(',');
        }
        list.push_str(r#"{"object":"embedding","index":"#);
        // Writing to a `String` can't fail.
        _ = write!(list, "{index},\"embedding\":");
        match task.encoding {
            EncodingFormat::Float => push_numbers(&mut list, &vector),
            EncodingFormat::Base64 => {
                list.push('"');
                STANDARD.encode_string(
                    vector.iter().flat_map(|n| to_float(*n).to_le_bytes()).collect::<Vec<u8>>(),
                    &mut list,
                );
                list.push('"');
            }
        }
        list.push('}');
    }
    list.push(']');
    list
}

/// The vector, its numbers in parts of [`UNIT`].
fn embed(input: &EmbeddingInput<'_>, dimensions: usize) -> Vec<i64> {
    let mut sums = vec![0_i64; dimensions];
    let mut add = |bytes: &[u8], weight: i64| {
        let hash = hash(bytes);
        let sign = if hash >> 63 == 0 { weight } else { -weight };
        let at = usize::try_from(hash % dimensions as u64).unwrap_or(0);
        if let Some(sum) = sums.get_mut(at) {
            *sum += sign;
        }
    };
    match input {
        EmbeddingInput::Text(text) => {
            let text = format!(" {} ", text.to_lowercase());
            let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            for window in ends.windows(4) {
                if let [start, .., end] = window {
                    add(&text.as_bytes()[*start..*end], 1);
                }
            }
            let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
            words.for_each(|word| add(word.as_bytes(), 2));
        }
        EmbeddingInput::Tokens(tokens) => {
            tokens.iter().for_each(|token| add(&token.to_le_bytes(), 2));
            for pair in tokens.windows(2) {
                add(&pair.iter().flat_map(|token| token.to_le_bytes()).collect::<Vec<u8>>(), 1);
            }
        }
    }
    normalise(sums)
}

fn normalise(mut sums: Vec<i64>) -> Vec<i64> {
    let mut squares: i128 = sums.iter().map(|sum| i128::from(*sum) * i128::from(*sum)).sum();
    if squares == 0 {
        // What cancelled out still gets a direction.
        squares = 1;
        sums.iter_mut().take(1).for_each(|sum| *sum = 1);
    }
    // A million times the length.
    let length = (squares.saturating_mul(1_000_000_000_000)).isqrt();
    let scale = |sum: i64| i64::try_from(i128::from(sum) * i128::from(UNIT) * 1_000_000 / length).unwrap_or(0);
    sums.into_iter().map(scale).collect()
}

/// FNV-1a of 64 bits, its bits mixed.
fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (fnv ^ fnv >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ mixed >> 33
}

fn push_numbers(list: &mut String, vector: &[i64]) {
    list.push('[');
    for (at, number) in vector.iter().enumerate() {
        if at > 0 {
            list.push(',');
        }
        if *number == 0 {
            list.push('0');
            continue;
        }
        let sign = if *number < 0 { "-" } else { "" };
        let (whole, rest) = (number.abs() / UNIT, number.abs() % UNIT);
        _ = write!(list, "{sign}{whole}.{rest:07}");
    }
    list.push(']');
}

#[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "a coordinate, never money")]
fn to_float(number: i64) -> f32 {
    number as f32 / UNIT as f32
}
