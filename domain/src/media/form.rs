//! `multipart/form-data` over a whole body: one pass, no copies.
//!
//! Bounds: a boundary of 1 to 70 characters, [`MAX_PARTS`] parts, [`MAX_HEADER_BYTES`] bytes of headers each. The
//! boundary is searched for as a substring in linear time, so no choice of boundary makes a body slow.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem;

use crate::chat::request::InvalidRequest;

/// Most parts of a form.
pub const MAX_PARTS: usize = 64;
/// Longest headers of one part, in bytes.
pub const MAX_HEADER_BYTES: usize = 4_096;
/// Longest boundary, in bytes, as RFC 2046 has it.
const MAX_BOUNDARY_BYTES: usize = 70;

/// A form; it borrows its body.
#[derive(Clone, Debug)]
pub struct Form<'a> {
    body: &'a [u8],
    boundary: String,
    /// Offset of the first delimiter.
    start: usize,
    parts: Vec<Part<'a>>,
}

/// One part of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// The field's name.
    pub name: Cow<'a, str>,
    /// The file's name, when it is a file.
    pub filename: Option<Cow<'a, str>>,
    /// Its content type; empty when none is given.
    pub content_type: &'a str,
    /// The content.
    pub bytes: &'a [u8],
    /// Where the content stands in the body.
    range: Range<usize>,
}

impl<'a> Part<'a> {
    /// The content as text, if it is.
    #[must_use]
    pub fn text(&self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes).ok()
    }
}

impl<'a> Form<'a> {
    /// Whether a content type announces a form.
    #[must_use]
    pub fn is_form(content_type: &str) -> bool {
        let kind = content_type.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("multipart/form-data")
    }

    /// Reads a form.
    ///
    /// # Errors
    /// [`InvalidRequest`] when there is no usable boundary, a part has no name, the end is missing, or a bound is passed.
    pub fn parse(content_type: &str, body: &'a [u8]) -> Result<Self, InvalidRequest> {
        let boundary = read_boundary(content_type)
            .ok_or_else(|| refuse("has no boundary of 1 to 70 characters in its content type"))?;
        let first = format!("--{boundary}");
        let delimiter = format!("\r\n--{boundary}");
        let finder = memmem::Finder::new(delimiter.as_bytes());
        // What stands before the first delimiter is a preamble that nobody reads.
        let start = if body.starts_with(first.as_bytes()) {
            0
        } else {
            finder.find(body).ok_or_else(|| refuse("does not contain its boundary"))? + 2
        };
        let mut parts = Vec::new();
        let mut at = start + first.len();
        loop {
            let rest = body.get(at..).unwrap_or_default();
            if rest.starts_with(b"--") {
                return Ok(Self { body, boundary, start, parts });
            }
            let padding = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
            if !rest.get(padding..).unwrap_or_default().starts_with(b"\r\n") {
                return Err(refuse("has a boundary that no line end follows"));
            }
            if parts.len() == MAX_PARTS {
                return Err(refuse(format!("must have at most {MAX_PARTS} parts")));
            }
            at += padding + 2;
            let (part, end) = read_part(body, at, &finder)?;
            parts.push(part);
            at = end + delimiter.len();
        }
    }

    /// The content type of the body: this boundary, and no other parameter.
    #[must_use]
    pub fn content_type(&self) -> String {
        let boundary = &self.boundary;
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"'+_-.".contains(&byte);
        let quote = if boundary.bytes().all(is_token) { "" } else { "\"" };
        format!("multipart/form-data; boundary={quote}{boundary}{quote}")
    }

    /// The part of this name; an empty text counts as absent, as forms of browsers send it.
    ///
    /// # Errors
    /// [`InvalidRequest`] when there are two.
    pub fn find(&self, name: &str) -> Result<Option<&Part<'a>>, InvalidRequest> {
        let mut found = self.parts.iter().filter(|part| part.name == name);
        let first = found.next();
        if found.next().is_some() {
            return Err(InvalidRequest::new(name, "must not be given twice"));
        }
        Ok(first.filter(|part| part.filename.is_some() || !part.bytes.is_empty()))
    }

    /// All parts.
    #[must_use]
    pub fn parts(&self) -> &[Part<'a>] {
        &self.parts
    }

    /// The body with text fields set, everything else the same bytes in the same order. The boundary stays, and with
    /// it the content type.
    #[must_use]
    pub fn with_texts(&self, texts: &[(&str, &str)]) -> Vec<u8> {
        let mut edits: Vec<_> = texts.iter().map(|(name, value)| self.edit(name, value)).collect();
        edits.sort_by_key(|(range, _)| range.start);
        let mut out = Vec::with_capacity(self.body.len() + edits.iter().map(|(_, text)| text.len()).sum::<usize>());
        let mut copied = 0;
        for (range, text) in edits {
            out.extend_from_slice(&self.body[copied..range.start]);
            out.extend_from_slice(text.as_bytes());
            copied = range.end;
        }
        out.extend_from_slice(&self.body[copied..]);
        out
    }

    /// What takes the place of what: the field's value of its part, or a part of its own of nothing at the beginning.
    fn edit<'v>(&self, name: &str, value: &'v str) -> (Range<usize>, Cow<'v, str>) {
        if let Some(part) = self.parts.iter().find(|part| part.name == name) {
            return (part.range.clone(), Cow::Borrowed(value));
        }
        let head = format!("--{}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n", self.boundary);
        (self.start..self.start, Cow::Owned(format!("{head}{value}\r\n")))
    }
}

/// Hands on a body in pieces: all of it, but for a form's boundary wherever that stands.
pub fn pass_without_boundary<'b>(content_type: &str, body: &'b [u8], mut pass: impl FnMut(&'b [u8])) {
    let boundary = Some(content_type).filter(|content_type| Form::is_form(content_type)).and_then(read_boundary);
    let mut at = 0;
    if let Some(boundary) = boundary {
        let delimiter = format!("--{boundary}");
        for found in memmem::find_iter(body, &delimiter) {
            pass(body.get(at..found).unwrap_or_default());
            at = found + delimiter.len();
        }
    }
    pass(body.get(at..).unwrap_or_default());
}

fn refuse(fault: impl std::fmt::Display) -> InvalidRequest {
    InvalidRequest::body(format!("The multipart body {fault}."))
}

/// The boundary that a content type names.
fn read_boundary(content_type: &str) -> Option<String> {
    let (_, parameters) = content_type.split_once(';')?;
    let value = read_parameter(parameters, "boundary")?;
    // RFC 2046's characters but the space, which no client uses.
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
    let fits = !value.is_empty() && value.len() <= MAX_BOUNDARY_BYTES && value.bytes().all(is_valid);
    fits.then(|| value.into_owned())
}

/// The value of a parameter in `a=b; c="d\"e"`.
fn read_parameter<'p>(parameters: &'p str, wanted: &str) -> Option<Cow<'p, str>> {
    let mut rest = parameters;
    loop {
        rest = rest.trim_start_matches([';', ' ', '\t']);
        let (name, after) = rest.split_once('=')?;
        let (value, after) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => read_quoted(quoted)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (Cow::Borrowed(after.get(..end)?.trim()), after.get(end..)?)
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after;
    }
}

/// The text up to the closing quote, and what follows it. A backslash takes the next quote or backslash literally.
fn read_quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut escaped = false;
    let end = text.find(|c| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    })?;
    let (inner, after) = (text.get(..end)?, text.get(end + 1..)?);
    if !inner.contains('\\') {
        return Some((Cow::Borrowed(inner), after));
    }
    Some((Cow::Owned(inner.replace("\\\"", "\"").replace("\\\\", "\\")), after))
}

/// Reads the part whose headers begin at `at`, and gives the offset of the delimiter behind it.
fn read_part<'a>(body: &'a [u8], at: usize, finder: &memmem::Finder<'_>) -> Result<(Part<'a>, usize), InvalidRequest> {
    let rest = body.get(at..).unwrap_or_default();
    let window = rest.get(..rest.len().min(MAX_HEADER_BYTES)).unwrap_or_default();
    let (header_bytes, gap) = if window.starts_with(b"\r\n") {
        (0, 2)
    } else {
        let end = memmem::find(window, b"\r\n\r\n");
        (end.ok_or_else(|| refuse(format!("has a part without headers of at most {MAX_HEADER_BYTES} bytes")))?, 4)
    };
    let headers = std::str::from_utf8(window.get(..header_bytes).unwrap_or_default())
        .map_err(|_| refuse("has a part whose headers are not UTF-8"))?;
    let content_at = at + header_bytes + gap;
    // The line end before the delimiter may be the one that ends the headers of an empty part.
    let search_at = content_at - 2;
    let found = finder.find(body.get(search_at..).unwrap_or_default());
    let end = search_at + found.ok_or_else(|| refuse("ends before its closing boundary"))?;
    let range = content_at..end.max(content_at);
    let mut part =
        Part { name: Cow::Borrowed(""), filename: None, content_type: "", bytes: &body[range.clone()], range };
    for line in headers.split("\r\n") {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if name.trim().eq_ignore_ascii_case("content-type") {
            part.content_type = value.trim();
        } else if name.trim().eq_ignore_ascii_case("content-disposition") {
            let (kind, parameters) = value.split_once(';').unwrap_or((value, ""));
            if !kind.trim().eq_ignore_ascii_case("form-data") {
                return Err(refuse("has a part that is no form data"));
            }
            part.name = read_parameter(parameters, "name").unwrap_or_default();
            part.filename = read_parameter(parameters, "filename");
        }
    }
    if part.name.is_empty() {
        return Err(refuse("has a part without a name"));
    }
    Ok((part, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=\"XX\"";

    fn parse(body: &str) -> Result<Form<'_>, InvalidRequest> {
        Form::parse(TYPE, body.as_bytes())
    }

    const BODY: &str = "--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nauto\r\n--XX\r\n\
        content-disposition: form-data; filename=\"a \\\"b\\\".wav\"; name=file\r\nContent-Type: audio/wav\r\n\r\n\
        RIFF\r\n--X\r\n\r\n--XX--\r\n";

    #[test]
    fn parts_keep_their_names_types_and_bytes() {
        let form = parse(BODY).unwrap();
        let file = form.find("file").unwrap().unwrap();
        assert_eq!(file.filename.as_deref(), Some("a \"b\".wav"));
        assert_eq!((file.content_type, file.bytes), ("audio/wav", b"RIFF\r\n--X\r\n".as_slice()));
        let model = form.find("model").unwrap().unwrap();
        assert_eq!((model.text(), model.filename.as_deref()), (Some("auto"), None));
        assert!(form.find("absent").unwrap().is_none());
    }

    #[test]
    fn a_field_is_replaced_or_put_in_and_all_else_kept() {
        let form = parse(BODY).unwrap();
        let out = String::from_utf8(form.with_texts(&[("model", "whisper")])).unwrap();
        assert_eq!(out, BODY.replace("auto", "whisper"));
        let preamble = "preamble\r\n--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--XX--";
        let out = parse(preamble).unwrap().with_texts(&[("model", "m")]);
        let form = Form::parse(TYPE, &out).unwrap();
        assert_eq!(form.find("model").unwrap().unwrap().text(), Some("m"));
        assert_eq!(form.find("a").unwrap().unwrap().text(), Some("1"));
        assert_eq!(form.parts().len(), 2);
    }

    #[test]
    fn empty_contents_and_padding_are_read() {
        let form = parse(
            "--XX  \r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n--XX\r\nContent-Disposition: form-data; name=b\r\n\r\n--XX--",
        );
        let form = form.unwrap();
        assert!(form.find("a").unwrap().is_none(), "an empty text is absent");
        assert!(form.parts().iter().all(|part| part.bytes.is_empty()));
        assert!(parse("--XX--").unwrap().parts().is_empty());
    }

    #[test]
    fn the_content_type_is_what_was_read() {
        for (written, said) in [
            ("multipart/form-data; boundary=XX; boundary=YY", "multipart/form-data; boundary=XX"),
            ("Multipart/Form-Data; charset=utf-8; boundary=\"XX\"; x=y", "multipart/form-data; boundary=XX"),
        ] {
            assert_eq!(Form::parse(written, BODY.as_bytes()).unwrap().content_type(), said);
        }
        let body = BODY.replace("XX", "a/b:c");
        let form = Form::parse("multipart/form-data; boundary=\"a/b:c\"", body.as_bytes()).unwrap();
        assert_eq!(form.content_type(), "multipart/form-data; boundary=\"a/b:c\"");
        assert_eq!(Form::parse(&form.content_type(), body.as_bytes()).unwrap().parts(), form.parts());
    }

    #[test]
    fn without_its_boundary_a_form_is_the_same_however_it_is_sent() {
        let pass = |content_type: &str, body: &str| {
            let mut passed = Vec::new();
            pass_without_boundary(content_type, body.as_bytes(), |piece| passed.extend_from_slice(piece));
            String::from_utf8(passed).unwrap()
        };
        let again = pass("multipart/form-data; boundary=other-one", &BODY.replace("XX", "other-one"));
        assert_eq!(pass(TYPE, BODY), again);
        assert_ne!(pass(TYPE, &BODY.replace("RIFF", "RIFX")), again);
        assert_eq!(pass("application/json; boundary=XX", BODY), BODY, "no form");
        assert_eq!(pass("multipart/form-data", BODY), BODY, "no boundary");
    }

    #[test]
    fn malformed_forms_are_refused() {
        let part = "--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n";
        let twice = format!("{part}{part}--XX--");
        assert!(parse(&twice).unwrap().find("a").is_err());
        let endless_headers =
            format!("--XX\r\nContent-Disposition: form-data; name=a\r\nx: {}\r\n\r\n1\r\n--XX--", "y".repeat(5_000));
        let too_many = part.repeat(MAX_PARTS + 1) + "--XX--";
        for body in [
            "",
            "nothing",
            "--XX",
            "--XXrest",
            part,
            "--XX\r\n\r\nno name\r\n--XX--",
            "--XX\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--XX--",
            &endless_headers,
            &too_many,
        ] {
            assert!(parse(body).is_err(), "{body}");
        }
        for content_type in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"a b\"",
            "multipart/form-data; boundary=\"open",
            &format!("multipart/form-data; boundary={}", "x".repeat(71)),
        ] {
            assert!(Form::parse(content_type, BODY.as_bytes()).is_err(), "{content_type}");
        }
    }

    /// A boundary that nearly matches everywhere, over a body of the largest size: a quadratic search would not end.
    #[test]
    fn a_hostile_boundary_costs_no_more() {
        let boundary = "-".repeat(69) + "x";
        let mut body = b"\r\n--".repeat(200_000);
        body.extend_from_slice(&vec![b'-'; 4 << 20]);
        assert!(Form::parse(&format!("multipart/form-data; boundary={boundary}"), &body).is_err());
    }
}
