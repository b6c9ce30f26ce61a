//! `POST /v1/videos`.

use std::borrow::Cow;

use super::MAX_PROMPT_CHARS;
use super::fields::Fields;
use crate::chat::request::InvalidRequest;

/// Longest video, in seconds.
const MAX_SECONDS: u64 = 60;
/// How long a video is when nobody says, in seconds.
const DEFAULT_SECONDS: u64 = 5;
/// Most frames a second.
const MAX_FPS: u64 = 60;
/// Frames a second when nobody says.
const DEFAULT_FPS: u64 = 24;
/// The shorter side of a video whose size nobody says, in pixels.
const DEFAULT_SIDE: u32 = 720;
/// Smallest and largest side of a picture, in pixels.
const SIDES: std::ops::RangeInclusive<u32> = 64..=4_096;

/// What video is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoTask<'a> {
    /// What it shows.
    pub prompt: Cow<'a, str>,
    /// How long, in seconds.
    pub seconds: u32,
    /// Whether the client said how long.
    pub says_length: bool,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Frames a second.
    pub fps: u32,
}

impl<'a> VideoTask<'a> {
    pub(super) fn read(fields: &Fields<'a>) -> Result<Self, InvalidRequest> {
        // `duration` is the documented name, `seconds` that of OpenAI's libraries.
        let range = 1..=MAX_SECONDS;
        let (duration, seconds) = (fields.whole("duration", &range)?, fields.whole("seconds", &range)?);
        if let (Some(one), Some(other)) = (duration, seconds)
            && one != other
        {
            return Err(InvalidRequest::new("seconds", "must be the same as duration, or left out"));
        }
        let ratio = fields.text("aspect_ratio")?.map(|ratio| parse_ratio(&ratio)).transpose()?;
        let size = fields.text("size")?.map(|size| parse_size(&size)).transpose()?;
        let said = duration.or(seconds);
        let seconds = said.unwrap_or(DEFAULT_SECONDS);
        let fps = fields.whole("fps", &(1..=MAX_FPS))?.unwrap_or(DEFAULT_FPS);
        Ok(Self {
            prompt: fields.required_text("prompt", MAX_PROMPT_CHARS)?,
            seconds: u32::try_from(seconds).unwrap_or(1),
            says_length: said.is_some(),
            size: size.unwrap_or_else(|| size_of(ratio.unwrap_or((16, 9)))),
            fps: u32::try_from(fps).unwrap_or(1),
        })
    }

    /// What is charged, in seconds.
    #[must_use]
    pub const fn seconds(&self) -> u64 {
        self.seconds as u64
    }
}

/// Shortest video of `OpenAI`'s models, in seconds; they take no [`DEFAULT_SECONDS`].
const SORA_SECONDS: u32 = 4;

impl VideoTask<'_> {
    /// How long an upstream that calls its model so is to make it. It is always told: its own default may be longer, and
    /// would be paid by nobody.
    pub(super) fn seconds_for(&self, upstream_model: &str) -> u32 {
        let is_sora = upstream_model.rsplit('/').next().is_some_and(|name| name.starts_with("sora-"));
        if is_sora && !self.says_length { SORA_SECONDS } else { self.seconds }
    }
}

/// Reads `WIDTHxHEIGHT`.
pub(super) fn parse_size(size: &str) -> Result<(u32, u32), InvalidRequest> {
    parse_pair(size, 'x', &SIDES).ok_or_else(|| {
        let (min, max) = (SIDES.start(), SIDES.end());
        InvalidRequest::new("size", format_args!("must be WIDTHxHEIGHT with sides from {min} to {max} pixels"))
    })
}

fn parse_ratio(ratio: &str) -> Result<(u32, u32), InvalidRequest> {
    parse_pair(ratio, ':', &(1..=100))
        .filter(|(width, height)| width.max(height) <= &(4 * width.min(height)))
        .ok_or_else(|| InvalidRequest::new("aspect_ratio", "must be WIDTH:HEIGHT, at most 4:1"))
}

fn parse_pair(text: &str, separator: char, range: &std::ops::RangeInclusive<u32>) -> Option<(u32, u32)> {
    let (one, other) = text.split_once(separator)?;
    let number = |text: &str| text.parse().ok().filter(|number| range.contains(number) && !text.starts_with('+'));
    Some((number(one)?, number(other)?))
}

/// The size of a picture of this ratio whose shorter side is [`DEFAULT_SIDE`]; even, as codecs want it.
fn size_of((width, height): (u32, u32)) -> (u32, u32) {
    let side = |long: u32, short: u32| (DEFAULT_SIDE * long / short).next_multiple_of(2);
    if width >= height { (side(width, height), DEFAULT_SIDE) } else { (DEFAULT_SIDE, side(height, width)) }
}
