//! Messages and tools: checked and measured while they are read.

use super::{DOCUMENT_PAGES_UPPER, InvalidRequest, MAX_MESSAGES, MAX_TOOLS};
use crate::json::{Kind, Raw, Reader};

/// How much input a request holds, by what it costs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct InputSize {
    /// Messages.
    pub messages: u64,
    /// Image parts.
    pub images: u64,
    /// Bytes of JSON that the image parts take.
    pub image_bytes: u64,
    /// Bytes of JSON that the audio parts take.
    pub audio_bytes: u64,
    /// Bytes of JSON that the documents take, plain texts not among them.
    pub document_bytes: u64,
    /// Bytes of all these that their escapes add.
    pub media_escape_bytes: u64,
    /// Pages that the documents can't exceed.
    pub pages_upper: u64,
    /// Pages that the documents likely have.
    pub pages_estimate: u64,
    /// Whether it has what is sent otherwise than it is counted: pictures, pages, kinds of parts that are not known here.
    pub is_guessed: bool,
}

/// Fewest bytes of base64 that a page takes.
const PAGE_BYTES_LEAST: u64 = 8 << 10;
/// Bytes of base64 that a page takes usually: scanned ones take more, written ones less.
const PAGE_BYTES: u64 = 64 << 10;
/// Most pages that a document is taken to have usually.
const MAX_PAGES_ESTIMATE: u64 = 50;
/// Pages of a document that is not in the request.
const PAGES_ELSEWHERE: u64 = 10;

impl InputSize {
    /// Bytes of JSON that are no text.
    pub(super) const fn media_bytes(&self) -> u64 {
        self.image_bytes + self.audio_bytes + self.document_bytes
    }

    const fn add_image(&mut self, part_bytes: u64) {
        self.is_guessed = true;
        self.images += 1;
        self.image_bytes += part_bytes;
    }

    /// Adds a part of the type `file`; a plain text counts as the text that it is.
    fn add_document(&mut self, file: Option<Raw<'_>>, part_bytes: u64) {
        let data = file.and_then(find_file_data).map(|data| data.bytes);
        let (upper, estimate) = match data {
            Some([b'"', b'd', b'a', b't', b'a', b':', media @ ..]) if media.starts_with(b"text/") => return,
            Some([b'"', b'd', b'a', b't', b'a', b':', media @ ..]) if media.starts_with(b"image/") => {
                return self.add_image(part_bytes);
            }
            None | Some([b'"', b'h', b't', b't', b'p', ..]) => (DOCUMENT_PAGES_UPPER, PAGES_ELSEWHERE),
            Some(data) => {
                let bytes = data.len() as u64;
                (bytes.div_ceil(PAGE_BYTES_LEAST), bytes.div_ceil(PAGE_BYTES).min(MAX_PAGES_ESTIMATE))
            }
        };
        self.is_guessed = true;
        self.document_bytes += part_bytes;
        self.pages_upper += upper.min(DOCUMENT_PAGES_UPPER);
        self.pages_estimate += estimate;
    }
}

/// The `file_data` of a part's `file`.
fn find_file_data(file: Raw<'_>) -> Option<Raw<'_>> {
    let mut reader = Reader::new(file.bytes);
    reader.enter_object().ok()?;
    while let Some(member) = reader.next_member().ok()? {
        let value = reader.read_value().ok()?;
        if member.key.as_ref() == b"file_data" {
            return Some(value).filter(|value| value.kind() == Kind::String);
        }
    }
    None
}

/// Who speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    System,
    Developer,
    User,
    Assistant,
    Tool,
    Function,
}

impl Role {
    fn parse(value: Raw<'_>) -> Option<Self> {
        Some(match value.to_text()?.as_ref() {
            "system" => Self::System,
            "developer" => Self::Developer,
            "user" => Self::User,
            "assistant" => Self::Assistant,
            "tool" => Self::Tool,
            "function" => Self::Function,
            _ => return None,
        })
    }

    /// Whether a message of this role says nothing without content. The others may: an assistant
    /// that only calls tools, a tool that returns nothing.
    const fn needs_content(self) -> bool {
        matches!(self, Self::System | Self::Developer | Self::User)
    }
}

pub(super) fn read_messages(reader: &mut Reader<'_>, size: &mut InputSize) -> Result<(), InvalidRequest> {
    if reader.peek()? != Kind::Array {
        return Err(InvalidRequest::new("messages", "must be an array of messages"));
    }
    reader.enter_array()?;
    let mut index = 0;
    while reader.next_item()? {
        if index == MAX_MESSAGES {
            return Err(InvalidRequest::new("messages", format_args!("must have at most {MAX_MESSAGES} items")));
        }
        read_message(reader, index, size)?;
        index += 1;
    }
    if index == 0 {
        return Err(InvalidRequest::new("messages", "must not be empty"));
    }
    size.messages = index as u64;
    Ok(())
}

fn read_message(reader: &mut Reader<'_>, index: usize, size: &mut InputSize) -> Result<(), InvalidRequest> {
    // Texts are made on the way out only: a request without faults allocates none.
    let fault = |name: &str, text: &str| InvalidRequest::new(format!("messages[{index}]{name}"), text);
    if reader.peek()? != Kind::Object {
        return Err(fault("", "must be an object"));
    }
    reader.enter_object()?;
    let mut role = None;
    let mut content = None;
    while let Some(member) = reader.next_member()? {
        match member.key.as_ref() {
            b"role" if role.is_some() => return Err(fault(".role", "must not be given twice")),
            b"role" => {
                let parsed = Role::parse(reader.read_value()?);
                role = Some(parsed.ok_or_else(|| {
                    fault(".role", "must be one of system, developer, user, assistant, tool, function")
                })?);
            }
            b"content" if content.is_some() => {
                return Err(fault(".content", "must not be given twice"));
            }
            b"content" => content = Some(read_content(reader, index, size)?),
            b"tool_calls" => {
                if !matches!(reader.peek()?, Kind::Array | Kind::Null) {
                    return Err(fault(".tool_calls", "must be an array"));
                }
                reader.read_value()?;
            }
            _ => {
                reader.read_value()?;
            }
        }
    }
    let role = role.ok_or_else(|| fault(".role", "is required"))?;
    if role.needs_content() && content.is_none_or(|kind| kind == Kind::Null) {
        return Err(fault(".content", "is required"));
    }
    Ok(())
}

fn read_content(reader: &mut Reader<'_>, index: usize, size: &mut InputSize) -> Result<Kind, InvalidRequest> {
    let kind = reader.peek()?;
    match kind {
        Kind::String | Kind::Null => {
            reader.read_value()?;
        }
        Kind::Array => {
            reader.enter_array()?;
            let mut part = 0;
            while reader.next_item()? {
                read_part(reader, index, part, size)?;
                part += 1;
            }
        }
        _ => {
            let param = format!("messages[{index}].content");
            return Err(InvalidRequest::new(param, "must be a string or an array of parts"));
        }
    }
    Ok(kind)
}

fn read_part(reader: &mut Reader<'_>, index: usize, part: usize, size: &mut InputSize) -> Result<(), InvalidRequest> {
    let fault = |name: &str, text: &str| InvalidRequest::new(format!("messages[{index}].content[{part}]{name}"), text);
    if reader.peek()? != Kind::Object {
        return Err(fault("", "must be an object"));
    }
    let (start, escaped) = (reader.position(), reader.escape_bytes());
    reader.enter_object()?;
    let (mut kind, mut file) = (None, None);
    while let Some(member) = reader.next_member()? {
        let value = reader.read_value()?;
        if member.key.as_ref() == b"file" && value.kind() == Kind::Object {
            file = Some(value);
        }
        if member.key.as_ref() == b"type" {
            if kind.is_some() {
                return Err(fault(".type", "must not be given twice"));
            }
            kind = Some(value.to_text().ok_or_else(|| fault(".type", "must be a string"))?);
        }
    }
    let part_bytes = (reader.position() - start) as u64;
    let media_bytes = size.media_bytes();
    match kind.as_deref() {
        None => return Err(fault(".type", "is required")),
        Some("image_url" | "image" | "input_image") => size.add_image(part_bytes),
        Some("input_audio") => size.audio_bytes += part_bytes,
        Some("file") => size.add_document(file, part_bytes),
        // Their bytes bound their tokens.
        Some("text" | "refusal") => {}
        Some(_) => size.is_guessed = true,
    }
    if size.media_bytes() > media_bytes {
        size.media_escape_bytes += (reader.escape_bytes() - escaped) as u64;
    }
    Ok(())
}

/// Whether a tool of this type is called by whoever asks, and not run, and billed, by the provider.
#[must_use]
pub fn is_callers_tool(kind: &str) -> bool {
    matches!(kind, "function" | "custom")
}

/// Whether one of the tools is the provider's.
pub(super) fn read_tools(reader: &mut Reader<'_>) -> Result<bool, InvalidRequest> {
    match reader.peek()? {
        Kind::Array => {}
        Kind::Null => {
            reader.read_value()?;
            return Ok(false);
        }
        _ => return Err(InvalidRequest::new("tools", "must be an array")),
    }
    reader.enter_array()?;
    let mut index = 0;
    let mut has_providers = false;
    while reader.next_item()? {
        if index == MAX_TOOLS {
            return Err(InvalidRequest::new("tools", format_args!("must have at most {MAX_TOOLS} items")));
        }
        if reader.peek()? != Kind::Object {
            return Err(InvalidRequest::new(format!("tools[{index}]"), "must be an object"));
        }
        reader.enter_object()?;
        while let Some(member) = reader.next_member()? {
            let value = reader.read_value()?;
            has_providers |=
                member.key.as_ref() == b"type" && value.to_text().is_some_and(|kind| !is_callers_tool(&kind));
        }
        index += 1;
    }
    Ok(has_providers)
}
