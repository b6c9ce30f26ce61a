//! Transcripts: the sandbox's own speech gives its text back, any other recording is described.

use std::fmt::Write as _;

use serde_json::json;

use super::sound;
use crate::media::{TranscriptFormat, TranscriptionTask, audio};

/// Words of one subtitle.
const WORDS_A_CUE: usize = 8;

/// The transcript in the format that is asked for.
pub(super) fn write_down(task: &TranscriptionTask<'_>) -> Vec<u8> {
    let bytes = task.file.bytes;
    let length_ms = audio::measure_ms(bytes);
    let text = sound::read_text(bytes).map_or_else(|| describe(bytes.len(), length_ms), str::to_owned);
    let length_ms = length_ms.unwrap_or(task.seconds_upper() * 1_000);
    let cues = to_cues(&text, length_ms);
    let answer = match task.format {
        TranscriptFormat::Text => text + "\n",
        TranscriptFormat::Srt => cues.iter().fold(String::new(), |mut out, cue| {
            _ = write!(
                out,
                "{}\n{} --> {}\n{}\n\n",
                cue.number,
                clock(cue.start_ms, ','),
                clock(cue.end_ms, ','),
                cue.text
            );
            out
        }),
        TranscriptFormat::Vtt => cues.iter().fold("WEBVTT\n\n".to_owned(), |mut out, cue| {
            _ = write!(out, "{} --> {}\n{}\n\n", clock(cue.start_ms, '.'), clock(cue.end_ms, '.'), cue.text);
            out
        }),
        TranscriptFormat::Json => json!({
            "text": text,
            "usage": { "type": "duration", "seconds": length_ms.div_ceil(1_000) },
        })
        .to_string(),
        TranscriptFormat::VerboseJson => json!({
            "task": "transcribe",
            "language": "english",
            "duration": seconds(length_ms),
            "text": text,
            "segments": cues.iter().map(Cue::to_segment).collect::<Vec<_>>(),
            "usage": { "type": "duration", "seconds": length_ms.div_ceil(1_000) },
        })
        .to_string(),
    };
    answer.into_bytes()
}

fn describe(bytes: usize, length_ms: Option<u64>) -> String {
    match length_ms {
        Some(ms) => format!("I heard a recording of {}.{:03} seconds.", ms / 1_000, ms % 1_000),
        None => format!("I heard a recording of {bytes} bytes."),
    }
}

/// A few words and when they are said.
struct Cue {
    number: usize,
    start_ms: u64,
    end_ms: u64,
    text: String,
}

impl Cue {
    fn to_segment(&self) -> serde_json::Value {
        json!({
            "id": self.number - 1,
            "seek": 0,
            "start": seconds(self.start_ms),
            "end": seconds(self.end_ms),
            "text": self.text,
            "tokens": [],
            "temperature": 0,
            "avg_logprob": 0,
            "compression_ratio": 1,
            "no_speech_prob": 0,
        })
    }
}

/// The text in pieces, each as long as its share of the words.
fn to_cues(text: &str, length_ms: u64) -> Vec<Cue> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let at_ms = |word: usize| length_ms * word as u64 / words.len().max(1) as u64;
    let cue = |(number, piece): (usize, &[&str])| {
        let first = number * WORDS_A_CUE;
        Cue { number: number + 1, start_ms: at_ms(first), end_ms: at_ms(first + piece.len()), text: piece.join(" ") }
    };
    words.chunks(WORDS_A_CUE).enumerate().map(cue).collect()
}

fn clock(ms: u64, separator: char) -> String {
    let (seconds, rest) = (ms / 1_000, ms % 1_000);
    format!("{:02}:{:02}:{:02}{separator}{rest:03}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// Milliseconds as a JSON number of seconds.
#[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "a time, never money")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}
