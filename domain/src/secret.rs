//! Values that must not outlive their use, and must not be printed.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

/// A text such as a password or a provider's key: wiped when it is dropped, its length is all that debug output tells.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretText({} bytes)", self.0.len())
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

/// 32 random bytes from which a rule that draws none itself makes its salts, keys and nonces. Never used for two
/// purposes: each value is drawn under a label of its own, each command brings a seed of its own.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed(Zeroizing<[u8; Self::BYTES]>);

impl Seed {
    /// How long it is.
    pub const BYTES: usize = 32;

    /// A seed of these bytes, which must come from a cryptographic source.
    #[must_use]
    pub const fn new(bytes: Zeroizing<[u8; Self::BYTES]>) -> Self {
        Self(bytes)
    }

    /// The bytes that belong to a label: HMAC-SHA256 of the label under the seed, cut to `N`, at most 32.
    #[must_use]
    pub fn draw<const N: usize>(&self, label: &str) -> Zeroizing<[u8; N]> {
        const { assert!(N <= 32, "one block of SHA-256 gives no more") };
        let mut drawn = Zeroizing::new([0; N]);
        // A key of any length is accepted.
        if let Ok(mut mac) = <Hmac<Sha256> as Mac>::new_from_slice(&*self.0) {
            mac.update(label.as_bytes());
            let mut code = mac.finalize().into_bytes();
            drawn.copy_from_slice(&code[..N]);
            code.as_mut_slice().zeroize();
        }
        drawn
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed")
    }
}

impl Serialize for Seed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(URL_SAFE_NO_PAD.encode(self.0.as_slice())))
    }
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = URL_SAFE_NO_PAD.decode(&*text).map(Zeroizing::new).map_err(|_| de::Error::custom("no seed"))?;
        let bytes = <[u8; Self::BYTES]>::try_from(bytes.as_slice()).map_err(|_| de::Error::custom("no seed"))?;
        Ok(Self::new(Zeroizing::new(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_tells_nothing() {
        assert_eq!(format!("{:?}", SecretText::from("hunter2")), "SecretText(7 bytes)");
        assert_eq!(format!("{:?}", Seed::new(Zeroizing::new([7; 32]))), "Seed");
        let json = format!("\"{}\"", "hunter2");
        assert!(!serde_json::from_str::<Seed>(&json).unwrap_err().to_string().contains("hunter2"));
    }

    #[test]
    fn a_seed_gives_other_bytes_for_every_label_and_travels_whole() {
        let seed = Seed::new(Zeroizing::new([7; 32]));
        assert_ne!(*seed.draw::<12>("a"), *seed.draw::<12>("b"));
        assert_ne!(*seed.draw::<12>("a"), *Seed::new(Zeroizing::new([8; 32])).draw::<12>("a"));
        assert_eq!(seed.draw::<32>("a")[..12], *seed.draw::<12>("a"));
        let json = serde_json::to_string(&seed).unwrap();
        assert_eq!(serde_json::from_str::<Seed>(&json).unwrap(), seed);
    }
}
