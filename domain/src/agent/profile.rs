//! What an agent says of itself, checked and brought into one spelling.

use crate::email::EmailAddress;
use crate::outbound::{MAX_URL_BYTES, OutboundPolicy, OutboundRefusal, check_url};

/// Longest name, in characters.
pub const NAME_MAX_CHARS: usize = 100;
/// Longest description, in characters.
pub const DESCRIPTION_MAX_CHARS: usize = 5_000;
/// Most tags.
pub const TAGS_MAX: usize = 20;
/// Longest tag, in characters.
pub const TAG_MAX_CHARS: usize = 50;

/// A field that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidField {
    /// The field as the client wrote it.
    pub param: Option<String>,
    /// What is wrong, for the client.
    pub message: String,
}

impl InvalidField {
    fn new(field: &str, what: impl std::fmt::Display) -> Self {
        Self { param: Some(field.to_owned()), message: format!("{field} {what}") }
    }
}

/// A name, without the spaces around it.
///
/// # Errors
/// [`InvalidField`] when it is empty, too long, or has line breaks or other controls.
pub fn check_name(name: &str) -> Result<&str, InvalidField> {
    let name = name.trim();
    if name.is_empty() {
        return Err(InvalidField::new("name", "is required"));
    }
    if name.chars().count() > NAME_MAX_CHARS || name.chars().any(char::is_control) {
        return Err(InvalidField::new("name", format_args!("must be one line of at most {NAME_MAX_CHARS} characters")));
    }
    Ok(name)
}

/// A description, which may be empty.
///
/// # Errors
/// [`InvalidField`] when it is too long.
pub fn check_description(description: &str) -> Result<&str, InvalidField> {
    let description = description.trim();
    if description.chars().count() > DESCRIPTION_MAX_CHARS {
        return Err(InvalidField::new(
            "description",
            format_args!("must have at most {DESCRIPTION_MAX_CHARS} characters"),
        ));
    }
    Ok(description)
}

/// Tags: without the spaces around them, without empty ones, each once.
///
/// # Errors
/// [`InvalidField`] when there are too many, or one is too long or has controls.
pub fn check_tags(tags: &[String]) -> Result<Vec<&str>, InvalidField> {
    if tags.len() > TAGS_MAX {
        return Err(InvalidField::new("tags", format_args!("must be at most {TAGS_MAX}")));
    }
    let mut checked = Vec::new();
    for tag in tags.iter().map(|tag| tag.trim()) {
        if tag.chars().count() > TAG_MAX_CHARS || tag.chars().any(char::is_control) {
            return Err(InvalidField::new("tags", format_args!("must have at most {TAG_MAX_CHARS} characters each")));
        }
        if !tag.is_empty() && !checked.contains(&tag) {
            checked.push(tag);
        }
    }
    Ok(checked)
}

/// The operator's address in lower case; empty stays empty. Clients call it by two names.
///
/// # Errors
/// [`InvalidField`] when it can't be one.
pub fn check_email(field: &str, email: &str) -> Result<String, InvalidField> {
    if email.trim().is_empty() {
        return Ok(String::new());
    }
    let address = EmailAddress::parse(email).map_err(|refusal| InvalidField::new(field, refusal))?;
    Ok(address.as_str().to_owned())
}

/// Where messages to the agent go; empty stays empty.
///
/// # Errors
/// [`InvalidField`] when the guard refuses it.
pub fn check_webhook(url: &str, policy: OutboundPolicy) -> Result<&str, InvalidField> {
    let url = url.trim();
    if !url.is_empty() {
        check_url(url, policy).map_err(|refusal| InvalidField::new("webhookUrl", refusal))?;
    }
    Ok(url)
}

/// The agent's picture: a path on this platform or an address; empty stays empty.
///
/// # Errors
/// [`InvalidField`] when it is neither.
pub fn check_avatar(url: &str, policy: OutboundPolicy) -> Result<&str, InvalidField> {
    let url = url.trim();
    let is_path = url.starts_with('/') && !url.starts_with("//") && !url.contains('\\');
    if is_path && (url.len() > MAX_URL_BYTES || url.chars().any(|c| c.is_control() || c.is_whitespace())) {
        return Err(InvalidField::new("avatarUrl", OutboundRefusal::NotAUrl));
    }
    if !url.is_empty() && !is_path {
        check_url(url, policy).map_err(|refusal| InvalidField::new("avatarUrl", refusal))?;
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: OutboundPolicy = OutboundPolicy { allow_loopback: false };

    #[test]
    fn a_name_is_one_line() {
        assert_eq!(check_name("  My Agent "), Ok("My Agent"));
        assert_eq!(check_name(" \t").unwrap_err().message, "name is required");
        assert!(check_name(&"ü".repeat(100)).is_ok());
        for name in [&"x".repeat(101), "a\nb", "a\u{7}b"] {
            assert!(check_name(name).unwrap_err().message.starts_with("name must be"), "{name:?}");
        }
    }

    #[test]
    fn a_description_has_a_limit() {
        assert_eq!(check_description(" a\nb "), Ok("a\nb"));
        assert!(check_description(&"x".repeat(5_000)).is_ok());
        assert!(check_description(&"x".repeat(5_001)).is_err());
    }

    #[test]
    fn tags_are_few_and_short() {
        let tags = |list: &[&str]| list.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        assert_eq!(check_tags(&tags(&["python", " python ", "", "code-review"])), Ok(vec!["python", "code-review"]));
        assert!(check_tags(&vec!["x".to_owned(); 21]).is_err());
        assert!(check_tags(&tags(&[&"x".repeat(51)])).is_err());
        assert!(check_tags(&tags(&["a\nb"])).is_err());
    }

    #[test]
    fn an_address_looks_like_one() {
        assert_eq!(check_email("ownerEmail", " Me@Example.COM "), Ok("me@example.com".to_owned()));
        assert_eq!(check_email("ownerEmail", ""), Ok(String::new()));
        let refused = check_email("email", "me@host").unwrap_err();
        assert!(refused.message.starts_with("email must be an e-mail address"), "{}", refused.message);
    }

    #[test]
    fn addresses_pass_the_guard() {
        assert_eq!(check_webhook(" https://example.com/hook ", PUBLIC), Ok("https://example.com/hook"));
        assert_eq!(check_webhook("", PUBLIC), Ok(""));
        for url in ["http://127.0.0.1/", "http://169.254.169.254/latest", "file:///etc/passwd", "/hook", "x"] {
            let refused = check_webhook(url, PUBLIC).unwrap_err();
            assert!(refused.message.starts_with("webhookUrl must"), "{url}: {}", refused.message);
        }
        for url in ["", "/avatars/lily.png", "https://example.com/a.png"] {
            assert_eq!(check_avatar(url, PUBLIC), Ok(url));
        }
        for url in ["//evil.example/x", "/\\evil.example", "javascript:alert(1)", "/a b", "http://localhost/a.png"] {
            assert!(check_avatar(url, PUBLIC).is_err(), "{url}");
        }
    }
}
