//! The one registry of ids: every id of the platform is a type declared in this file.
//!
//! A *random* id is a fixed prefix and 32 lower-case hex digits (16 random bytes). It is stored
//! inline, so that copying one allocates nothing. A *name* is text chosen by people.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, fmt, str::FromStr};

use crate::hex;

/// Random bytes in an id.
pub const RANDOM_ID_BYTES: usize = 16;

/// Longest name, in characters.
pub const MAX_NAME_CHARS: usize = 200;

/// A text that is not an id of the wanted kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidId {
    expected: &'static str,
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be ")?;
        f.write_str(self.expected)
    }
}

impl std::error::Error for InvalidId {}

/// Reads an id straight from the deserializer's text, without a `String` in between.
struct TextVisitor<T>(std::marker::PhantomData<T>);

impl<T: FromStr<Err = InvalidId>> de::Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! text_traits {
    ($name:ident, $pattern:expr) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.as_str())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(TextVisitor(std::marker::PhantomData))
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}

macro_rules! random_ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; { $prefix.len() + 2 * RANDOM_ID_BYTES }]);

        impl $name {
            /// What every id of this kind begins with.
            pub const PREFIX: &'static str = $prefix;

            /// The id made of these random bytes.
            #[must_use]
            pub fn from_random(random: [u8; RANDOM_ID_BYTES]) -> Self {
                let mut text = [0; { $prefix.len() + 2 * RANDOM_ID_BYTES }];
                let (prefix, digits) = text.split_at_mut($prefix.len());
                prefix.copy_from_slice($prefix.as_bytes());
                hex::encode_into(&random, digits);
                Self(text)
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                // ASCII by construction: the fallback is never taken.
                std::str::from_utf8(&self.0).unwrap_or_default()
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let digits = text.strip_prefix($prefix).filter(|digits| hex::is_lower_hex(digits));
                match (digits, text.as_bytes().try_into()) {
                    (Some(_), Ok(text)) => Ok(Self(text)),
                    _ => Err(InvalidId {
                        expected: concat!("\"", $prefix, "\" and 32 lower-case hex digits"),
                    }),
                }
            }
        }

        text_traits!($name, concat!("^", $prefix, "[0-9a-f]{32}$"));
    )+};
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if is_name(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidId { expected: "1 to 200 printable characters without spaces" })
                }
            }
        }

        // Lets a map keyed by the id be searched with text that came in a request.
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        text_traits!($name, r"^\S{1,200}$");
    )+};
}

random_ids! {
    /// Who owns things and pays. The prefix is the one ToolRouter documents for `POST
    /// /v1/auth/provision`.
    AccountId = "prov_";
    /// The account of somebody who signed up; one that was provisioned and claimed keeps its [`AccountId`].
    OwnAccountId = "acc_";
    /// The account of an agent: its wallet is the agent's.
    AgentAccountId = "agt_";
    /// An agent; Toku's clients know its ids by how they begin.
    AgentId = "clx";
    /// A person who signs in.
    PersonId = "person_";
    /// A person's session; its token is never an id.
    SessionId = "session_";
    /// A workspace's own id, beside the name that its owner chose.
    WorkspaceId = "ws_";
    /// An API key's public id; the key itself is never an id.
    KeyId = "key_";
    /// One request to the platform; also the id of its usage record.
    RequestId = "req_";
    /// An answer of the Responses API; the ids of its output items are made of it.
    ResponseId = "resp_";
    /// A payment.
    PaymentId = "pay_";
    /// A video that is made or was made; the id of its job.
    VideoId = "video_";
    /// A caller's key for a provider; the key itself is never an id.
    ProviderKeyId = "pkey_";
    /// A caller's own endpoint.
    LocalEndpointId = "local_";
}

/// A usage record: the id of the request that made it, so that a retry of the write can't count
/// twice.
pub type UsageId = RequestId;

names! {
    /// A provider as the administrator named it.
    ProviderId;
    /// A model as the administrator named it; may contain slashes (`meta-llama/Llama-3.3-70B`).
    ModelId;
}

/// Whether the text can be a name: 1 to 200 characters, none of them a space or a control.
fn is_name(text: &str) -> bool {
    // A character takes at most four bytes: a far longer text is refused before it is walked.
    !text.is_empty()
        && text.len() <= 4 * MAX_NAME_CHARS
        && text.chars().count() <= MAX_NAME_CHARS
        && !text.chars().any(|c| c.is_control() || c.is_whitespace() || is_invisible(c))
}

/// Characters that print nothing or reorder what is printed: two names must not look alike through
/// them.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_id_is_prefix_and_hex() {
        let id = KeyId::from_random([0xab; 16]);
        assert_eq!(id.as_str(), "key_abababababababababababababababab");
        assert_eq!(id.to_string().parse::<KeyId>(), Ok(id));
        assert_eq!(format!("{id:?}"), "KeyId(key_abababababababababababababababab)");
        assert!(AccountId::from_random([0; 16]).as_str().starts_with("prov_0000"));
    }

    #[test]
    fn random_id_refuses_everything_else() {
        let hex32 = "0123456789abcdef0123456789abcdef";
        assert!(format!("req_{hex32}").parse::<RequestId>().is_ok());
        for text in [
            String::new(),
            "req_".into(),
            format!("key_{hex32}"),
            format!("req_{hex32}0"),
            format!("req_{}", &hex32[1..]),
            format!("req_{}", hex32.to_uppercase()),
            format!("req_{}é", &hex32[2..]),
        ] {
            assert!(text.parse::<RequestId>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_printable_and_bounded() {
        for text in ["gpt-4o", "meta-llama/Llama-3.3-70B", "a/b/c", "模型", &"x".repeat(200), &"模".repeat(200)] {
            assert_eq!(text.parse::<ModelId>().unwrap().as_str(), text);
        }
        for text in ["", "a b", "a\n", "\u{7f}", "a\u{a0}b", "a\u{202e}b", &"x".repeat(201), &"模".repeat(201)] {
            assert!(text.parse::<ModelId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn ids_are_json_strings() {
        let id = RequestId::from_random([1; 16]);
        let text = serde_json::to_string(&id).unwrap();
        assert_eq!(text, r#""req_01010101010101010101010101010101""#);
        assert_eq!(serde_json::from_str::<RequestId>(&text).unwrap(), id);
        assert_eq!(serde_json::from_str::<ModelId>(r#""a\u002fb""#).unwrap().as_str(), "a/b");
        let error = serde_json::from_str::<KeyId>(r#""nope""#).unwrap_err().to_string();
        assert!(error.contains("must be \"key_\" and 32 lower-case hex digits"), "{error}");
    }
}
