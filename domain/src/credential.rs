//! API keys: how they are written, stored, shown and compared.

use hmac::digest::{CtOutput, Key, Mac};
use hmac::{Hmac, digest::KeyInit};
use sha2::{Digest, Sha256};
use siphasher::sip128::SipHasher24;

use crate::hex;

/// Random bytes in an API key.
pub const KEY_RANDOM_BYTES: usize = 32;

/// Shortest text of which [`mask`] shows anything.
const MIN_MASKED_CHARS: usize = 24;

/// What an API key begins with; the route that issues it decides, and any key works on every
/// surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPrefix {
    /// `tok_`, as Tokaroo documents.
    Tokaroo,
    /// `tr_live_`, as ToolRouter documents.
    ToolRouter,
    /// `tokenhub_`, as TokenHub documents.
    TokenHub,
    /// `clx`: the key of a Toku agent, which looks like one of its ids.
    Toku,
}

impl KeyPrefix {
    /// Every prefix.
    pub const ALL: [Self; 4] = [Self::Tokaroo, Self::ToolRouter, Self::TokenHub, Self::Toku];

    /// The prefix as text, with its underscore.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tokaroo => "tok_",
            Self::ToolRouter => "tr_live_",
            Self::TokenHub => "tokenhub_",
            Self::Toku => "clx",
        }
    }

    /// The product whose routes issue such keys, as key rows name it.
    #[must_use]
    pub const fn product(self) -> &'static str {
        match self {
            Self::Tokaroo => "tokaroo",
            Self::ToolRouter => "toolrouter",
            Self::TokenHub => "tokenhub",
            Self::Toku => "toku",
        }
    }
}

/// Writes a new API key: the prefix and 64 lower-case hex digits of 32 random bytes.
#[must_use]
pub fn issue(prefix: KeyPrefix, random: [u8; KEY_RANDOM_BYTES]) -> String {
    let mut key = String::with_capacity(prefix.as_str().len() + 2 * KEY_RANDOM_BYTES);
    key.push_str(prefix.as_str());
    hex::push_hex(&random, &mut key);
    key
}

/// What a session's token begins with.
pub const SESSION_PREFIX: &str = "sess_";

/// Writes a new session token: [`SESSION_PREFIX`] and 64 lower-case hex digits of 32 random bytes.
#[must_use]
pub fn issue_session(random: [u8; KEY_RANDOM_BYTES]) -> String {
    let mut token = String::from(SESSION_PREFIX);
    hex::push_hex(&random, &mut token);
    token
}

/// Writes the token of a link or a cookie: 64 lower-case hex digits of 32 random bytes. It looks like no key and no session.
#[must_use]
pub fn issue_token(random: [u8; KEY_RANDOM_BYTES]) -> String {
    let mut token = String::new();
    hex::push_hex(&random, &mut token);
    token
}

/// Whether the text is shaped like a key that [`issue`] writes: cheap, and spares storage a lookup
/// for rubbish.
#[must_use]
pub fn is_key_shaped(text: &str) -> bool {
    KeyPrefix::ALL.iter().any(|prefix| has_digits_after(prefix.as_str(), text))
}

/// Whether the text is shaped like a token that [`issue_session`] writes.
#[must_use]
pub fn is_session_shaped(text: &str) -> bool {
    has_digits_after(SESSION_PREFIX, text)
}

fn has_digits_after(prefix: &str, text: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|digits| digits.len() == 2 * KEY_RANDOM_BYTES && hex::is_lower_hex(digits))
}

/// Shows a credential without giving it away: its first 12 characters, `...`, and its last 4
/// (`tr_live_fb8c...7a83`).
///
/// A text too short to keep a secret that way is hidden whole.
#[must_use]
pub fn mask(key: &str) -> String {
    if key.chars().count() < MIN_MASKED_CHARS {
        return "****".to_owned();
    }
    let head = key.char_indices().nth(12).map_or(key, |(end, _)| &key[..end]);
    let tail = key.char_indices().nth_back(3).map_or("", |(start, _)| &key[start..]);
    format!("{head}...{tail}")
}

/// Keyed hashes of credentials under the server's pepper.
///
/// Built once per isolate: the two blocks of HMAC that depend on the pepper only are computed here,
/// not per request.
#[derive(Clone)]
pub struct KeyHasher {
    keyed: Hmac<Sha256>,
    tagger: SipHasher24,
}

impl KeyHasher {
    /// Takes the pepper, of any length; 32 random bytes or more make a good one.
    #[must_use]
    pub fn new(pepper: &[u8]) -> Self {
        // RFC 2104: a key longer than the block is hashed first, a shorter one is padded with
        // zeros. Done here because the crate's constructor for any length returns a `Result` that
        // can't fail.
        let mut block = Key::<Hmac<Sha256>>::default();
        if pepper.len() > block.len() {
            let digest = Sha256::digest(pepper);
            block[..digest.len()].copy_from_slice(&digest);
        } else {
            block[..pepper.len()].copy_from_slice(pepper);
        }
        let keyed = <Hmac<Sha256> as KeyInit>::new(&block);
        let secret: [u8; 32] = code(&keyed, "tags of keys").into_bytes().into();
        let mut half = [0; 16];
        half.copy_from_slice(&secret[..16]);
        Self { keyed, tagger: SipHasher24::new_with_key(&half) }
    }

    /// What a cache in memory looks a key up by: 128 bits of SipHash-2-4, whose secret is the pepper's. Without it nobody
    /// finds two keys with one tag, and it costs far less than [`hash`](Self::hash). Never stored.
    #[must_use]
    pub fn tag(&self, key: &str) -> u128 {
        self.tagger.hash(key.as_bytes()).as_u128()
    }

    /// HMAC-SHA256 of a text.
    #[must_use]
    pub fn digest(&self, text: &str) -> [u8; 32] {
        code(&self.keyed, text).into_bytes().into()
    }

    /// HMAC-SHA256 of a key as 64 lower-case hex digits: what storage looks it up by.
    #[must_use]
    pub fn hash(&self, key: &str) -> String {
        let mut text = String::new();
        hex::push_hex(&self.digest(key), &mut text);
        text
    }

    /// Whether two secrets are equal, in a time that tells nothing about where they differ, nor how
    /// long the expected one is.
    #[must_use]
    pub fn are_equal(&self, presented: &str, expected: &str) -> bool {
        code(&self.keyed, presented) == code(&self.keyed, expected)
    }
}

fn code(keyed: &Hmac<Sha256>, text: &str) -> CtOutput<Hmac<Sha256>> {
    let mut mac = keyed.clone();
    mac.update(text.as_bytes());
    mac.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issued_keys_have_the_documented_shape() {
        let key = issue(KeyPrefix::ToolRouter, [0xfb; 32]);
        assert_eq!(key, format!("tr_live_{}", "fb".repeat(32)));
        assert!(issue(KeyPrefix::Tokaroo, [0; 32]).starts_with("tok_00"));
        for prefix in KeyPrefix::ALL {
            assert!(is_key_shaped(&issue(prefix, [7; 32])));
        }
        for text in ["", "tok_", "tok_xyz", &format!("sk-{}", "0".repeat(64)), &format!("tok_{}", "A".repeat(64))] {
            assert!(!is_key_shaped(text), "{text}");
        }
    }

    #[test]
    fn a_session_is_no_key() {
        let token = issue_session([7; 32]);
        assert_eq!(token, format!("sess_{}", "07".repeat(32)));
        assert!(is_session_shaped(&token) && !is_key_shaped(&token));
        assert!(!is_session_shaped("sess_") && !is_session_shaped(&issue(KeyPrefix::Tokaroo, [7; 32])));
    }

    #[test]
    fn a_token_is_neither() {
        let token = issue_token([7; 32]);
        assert_eq!(token, "07".repeat(32));
        assert!(!is_session_shaped(&token) && !is_key_shaped(&token));
    }

    #[test]
    fn mask_shows_twelve_and_four() {
        let key = format!("tr_live_fb8c6a1a78551d0f{}7a83", "0".repeat(44));
        assert_eq!(mask(&key), "tr_live_fb8c...7a83");
        assert_eq!(mask("short"), "****");
        assert_eq!(mask(""), "****");
        assert_eq!(mask(&"é".repeat(30)), format!("{}...{}", "é".repeat(12), "é".repeat(4)));
    }

    /// Key hashes are stored: RFC 4231's vectors pin the algorithm, the last one for a key longer
    /// than the block.
    #[test]
    fn hashes_are_rfc_4231() {
        assert_eq!(
            KeyHasher::new(&[0x0b; 20]).hash("Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        assert_eq!(
            KeyHasher::new(b"Jefe").hash("what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            KeyHasher::new(&[0xaa; 131]).hash("Test Using Larger Than Block-Size Key - Hash Key First"),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn a_tag_is_of_one_key_and_one_pepper() {
        let (one, other) = (KeyHasher::new(b"pepper"), KeyHasher::new(b"papper"));
        assert_eq!(one.tag("tok_1"), one.clone().tag("tok_1"));
        assert_ne!(one.tag("tok_1"), one.tag("tok_2"));
        assert_ne!(one.tag("tok_1"), other.tag("tok_1"));
    }

    #[test]
    fn comparison_tells_equal_from_different() {
        let hasher = KeyHasher::new(b"pepper");
        assert!(hasher.are_equal("admin-token", "admin-token"));
        for other in ["", "admin-toke", "admin-token ", "Admin-token"] {
            assert!(!hasher.are_equal(other, "admin-token"), "{other}");
        }
    }
}
