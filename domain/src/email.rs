//! Addresses of mail: what a person signs in with.

use std::fmt;

/// Longest address, in bytes (RFC 5321's path less its brackets).
pub const EMAIL_MAX_BYTES: usize = 254;
const LOCAL_MAX_BYTES: usize = 64;
const LABEL_MAX_BYTES: usize = 63;

/// An address in lower case, so that two spellings are one person. Nothing in it can end a line or begin a header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EmailAddress(String);

/// A text that is no address we mail to. The message goes to the user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidEmail;

impl fmt::Display for InvalidEmail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be an e-mail address such as ada@example.com")
    }
}

impl std::error::Error for InvalidEmail {}

impl EmailAddress {
    /// Reads an address; white space around it is not counted.
    ///
    /// ASCII only: a domain of other letters is given in its `xn--` form. Quoted local parts and address literals, which
    /// nobody signs in with, are refused.
    ///
    /// # Errors
    /// When the text is none.
    pub fn parse(text: &str) -> Result<Self, InvalidEmail> {
        let text = text.trim();
        if text.len() > EMAIL_MAX_BYTES {
            return Err(InvalidEmail);
        }
        let (local, domain) = text.split_once('@').ok_or(InvalidEmail)?;
        if is_local(local) && is_domain(domain) { Ok(Self(text.to_ascii_lowercase())) } else { Err(InvalidEmail) }
    }

    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_local(local: &str) -> bool {
    let is_atom = |atom: &str| {
        !atom.is_empty()
            && atom.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte))
    };
    local.len() <= LOCAL_MAX_BYTES && local.split('.').all(is_atom)
}

fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_MAX_BYTES).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let top = domain.rsplit('.').next().unwrap_or_default();
    domain.contains('.') && domain.split('.').all(is_label) && top.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_lower_case_and_trimmed() {
        for (text, read) in [
            ("ada@example.com", "ada@example.com"),
            (" Ada.Lovelace+news@Mail.Example.COM\n", "ada.lovelace+news@mail.example.com"),
            ("o'brien@xn--bcher-kva.example", "o'brien@xn--bcher-kva.example"),
        ] {
            assert_eq!(EmailAddress::parse(text).unwrap().as_str(), read);
        }
        let longest = format!("{}@{}.com", "a".repeat(64), ["b".repeat(61), "b".repeat(61), "b".repeat(61)].join("."));
        assert_eq!(longest.len(), EMAIL_MAX_BYTES);
        assert!(EmailAddress::parse(&longest).is_ok());
        assert!(EmailAddress::parse(&format!("{longest}a")).is_err());
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@localhost",
            "ada@example.com@example.com",
            "ada@example.com, eve@example.com",
            "ada@example.com\r\nbcc: eve@example.com",
            "ada\n@example.com",
            "ada lovelace@example.com",
            "<ada@example.com>",
            "\"ada\"@example.com",
            ".ada@example.com",
            "a..da@example.com",
            "ada.@example.com",
            "ada@example..com",
            "ada@-example.com",
            "ada@example-.com",
            "ada@127.0.0.1",
            "ada@[127.0.0.1]",
            "ädа@example.com",
            "ada@exämple.com",
            &format!("{}@example.com", "a".repeat(65)),
            &format!("ada@{}.com", "a".repeat(64)),
        ] {
            assert_eq!(EmailAddress::parse(text), Err(InvalidEmail), "{text:?}");
        }
    }
}
