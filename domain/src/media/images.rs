//! `POST /v1/images/generations`.

use std::borrow::Cow;

use super::fields::Fields;
use super::{MAX_PROMPT_CHARS, video};
use crate::chat::request::InvalidRequest;

/// The picture that is meant when no size is named, in pixels.
const DEFAULT_SIZE: (u32, u32) = (1024, 1024);

/// What pictures are asked for.
#[derive(Clone, Debug)]
pub struct ImagesTask<'a> {
    /// What they show.
    pub prompt: Cow<'a, str>,
    /// How many; 1 to 10.
    pub n: u32,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// How fine.
    pub quality: ImageQuality,
    /// How they are handed over.
    pub format: ImageFormat,
}

/// How fine a picture is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageQuality {
    /// `standard`, `auto`, `low` or `medium`.
    #[default]
    Standard,
    /// `hd` or `high`.
    High,
}

/// How a picture is handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageFormat {
    /// An address to load it from.
    #[default]
    Url,
    /// Base64 in the answer.
    Base64,
}

impl<'a> ImagesTask<'a> {
    pub(super) fn read(fields: &Fields<'a>) -> Result<Self, InvalidRequest> {
        use ImageQuality::{High, Standard};
        let qualities = [
            ("standard", Standard),
            ("hd", High),
            ("auto", Standard),
            ("low", Standard),
            ("medium", Standard),
            ("high", High),
        ];
        let formats = [("url", ImageFormat::Url), ("b64_json", ImageFormat::Base64)];
        let n = fields.whole("n", &(1..=10))?.unwrap_or(1);
        let size = match fields.text("size")?.as_deref() {
            None | Some("auto") => DEFAULT_SIZE,
            Some(size) => video::parse_size(size)?,
        };
        fields.one_of("style", &[("vivid", ()), ("natural", ())])?;
        // Pictures that come piece by piece are not read here, and each piece costs.
        if fields.flag("stream")? == Some(true) {
            return Err(InvalidRequest::new("stream", "must be false"));
        }
        fields.whole("partial_images", &(0..=0))?;
        Ok(Self {
            prompt: fields.required_text("prompt", MAX_PROMPT_CHARS)?,
            n: u32::try_from(n).unwrap_or(1),
            size,
            quality: fields.one_of("quality", &qualities)?.unwrap_or_default(),
            format: fields.one_of("response_format", &formats)?.unwrap_or_default(),
        })
    }

    /// What is charged, in images of 1024×1024 pixels and standard quality: each picture counts one, one more if it has
    /// more pixels, and one more if it is fine. This is the ratio of the published price lists.
    #[must_use]
    pub const fn images(&self) -> u64 {
        let (width, height) = self.size;
        let is_large = width as u64 * height as u64 > 1024 * 1024;
        let is_fine = matches!(self.quality, ImageQuality::High);
        self.n as u64 * (1 + is_large as u64 + is_fine as u64)
    }
}
