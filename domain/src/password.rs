//! A key from a password: Argon2id (RFC 9106), with its cost as data.

use std::fmt;
use std::str::FromStr;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Length of a salt.
pub const SALT_BYTES: usize = 16;
/// The most memory that a derivation may take: beside it an isolate of 128 MB still has room for everything else.
const MEMORY_MAX_KIB: u32 = 46 * 1_024;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 4;

/// What a derivation costs, written as in a PHC string: `m=19456,t=2,p=1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KdfCost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// Why no key was derived. Tells nothing about the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KdfError {
    /// The cost is not written as `m=…,t=…,p=…`, or out of its bounds.
    Cost,
    /// There is no memory for it.
    Memory,
    /// The salt is shorter than Argon2 allows.
    Salt,
}

impl fmt::Display for KdfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cost => write!(
                f,
                "the cost must be m=<KiB>,t=<passes>,p=<lanes>, at most m={MEMORY_MAX_KIB},t={PASSES_MAX},p={LANES_MAX}, \
                 with 8 KiB a lane at least"
            ),
            Self::Memory => f.write_str("there is not enough memory to derive a key"),
            Self::Salt => f.write_str("the salt is too short"),
        }
    }
}

impl std::error::Error for KdfError {}

impl KdfCost {
    /// OWASP's second choice, 19 MiB: the first one that leaves an isolate of 128 MB, shared with requests, its room.
    pub const STANDARD: Self = Self { memory_kib: 19 * 1_024, passes: 2, lanes: 1 };

    /// Whether it is no less than [`KdfCost::STANDARD`].
    #[must_use]
    pub const fn is_enough(self) -> bool {
        self.memory_kib >= Self::STANDARD.memory_kib && self.passes >= Self::STANDARD.passes
    }
}

impl fmt::Display for KdfCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m={},t={},p={}", self.memory_kib, self.passes, self.lanes)
    }
}

impl From<KdfCost> for String {
    fn from(cost: KdfCost) -> Self {
        cost.to_string()
    }
}

impl FromStr for KdfCost {
    type Err = KdfError;

    fn from_str(text: &str) -> Result<Self, KdfError> {
        let mut parts = text.split(',');
        let mut read = |name: &str| -> Option<u32> { parts.next()?.strip_prefix(name)?.parse().ok() };
        let cost = (read("m="), read("t="), read("p="));
        let (Some(memory_kib), Some(passes), Some(lanes)) = cost else {
            return Err(KdfError::Cost);
        };
        let is_bounded = (1..=LANES_MAX).contains(&lanes)
            && (1..=PASSES_MAX).contains(&passes)
            && (8 * lanes..=MEMORY_MAX_KIB).contains(&memory_kib);
        if is_bounded && parts.next().is_none() { Ok(Self { memory_kib, passes, lanes }) } else { Err(KdfError::Cost) }
    }
}

impl TryFrom<String> for KdfCost {
    type Error = KdfError;

    fn try_from(text: String) -> Result<Self, KdfError> {
        text.parse()
    }
}

/// Derives a key. What it worked in is wiped before it returns.
///
/// # Errors
/// [`KdfError`]; a cost that was read by [`KdfCost::from_str`] and a salt of [`SALT_BYTES`] leave [`KdfError::Memory`].
pub fn derive_key(password: &str, salt: &[u8], cost: KdfCost) -> Result<Zeroizing<[u8; 32]>, KdfError> {
    let mut key = Zeroizing::new([0; 32]);
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(key.len())).map_err(|_| KdfError::Cost)?;
    let mut memory = Zeroizing::new(Vec::<Block>::new());
    // A trap would take the whole isolate along.
    memory.try_reserve_exact(params.block_count()).map_err(|_| KdfError::Memory)?;
    memory.resize(params.block_count(), Block::default());
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(password.as_bytes(), salt, &mut *key, memory.as_mut_slice())
        .map_err(|_| KdfError::Salt)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(text: &str) -> KdfCost {
        text.parse().unwrap()
    }

    /// From the test suite of the reference implementation.
    #[test]
    fn the_reference_implementation_derives_the_same_key() {
        let key = derive_key("password", b"somesalt", cost("m=256,t=2,p=1")).unwrap();
        let mut text = String::new();
        crate::hex::push_hex(&*key, &mut text);
        assert_eq!(text, "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe");
        let key = derive_key("password", b"somesalt", cost("m=256,t=2,p=2")).unwrap();
        text.clear();
        crate::hex::push_hex(&*key, &mut text);
        assert_eq!(text, "6d093c501fd5999645e0ea3bf620d7b8be7fd2db59c20d9fff9539da2bf57037");
    }

    #[test]
    fn everything_counts() {
        let key =
            |password: &str, salt: u8, text: &str| *derive_key(password, &[salt; SALT_BYTES], cost(text)).unwrap();
        let one = key("password", 1, "m=8,t=1,p=1");
        assert_eq!(one, key("password", 1, "m=8,t=1,p=1"));
        for other in [
            key("passwore", 1, "m=8,t=1,p=1"),
            key("password", 2, "m=8,t=1,p=1"),
            key("password", 1, "m=9,t=1,p=1"),
            key("password", 1, "m=8,t=2,p=1"),
        ] {
            assert_ne!(one, other);
        }
        assert_eq!(derive_key("password", b"short", cost("m=8,t=1,p=1")), Err(KdfError::Salt));
    }

    #[test]
    fn a_cost_is_written_as_it_is_read_and_bounded() {
        assert_eq!(KdfCost::STANDARD.to_string(), "m=19456,t=2,p=1");
        assert_eq!(cost("m=19456,t=2,p=1"), KdfCost::STANDARD);
        for text in ["m=8,t=1,p=1", "m=47104,t=16,p=4"] {
            assert_eq!(cost(text).to_string(), text);
        }
        for wrong in [
            "",
            "m=8",
            "m=8,t=1",
            "t=1,m=8,p=1",
            "m=8,t=1,p=1,",
            "m=7,t=1,p=1",
            "m=8,t=1,p=2",
            "m=8,t=0,p=1",
            "m=8,t=1,p=0",
            "m=47105,t=1,p=1",
            "m=64,t=17,p=1",
            "m=64,t=1,p=5",
            "m=-8,t=1,p=1",
            "m=99999999999,t=1,p=1",
        ] {
            assert_eq!(wrong.parse::<KdfCost>(), Err(KdfError::Cost), "{wrong}");
        }
    }

    #[test]
    fn the_standard_is_the_least_that_is_enough() {
        assert!(KdfCost::STANDARD.is_enough() && cost("m=47104,t=3,p=1").is_enough());
        assert!(!cost("m=19455,t=2,p=1").is_enough() && !cost("m=47104,t=1,p=4").is_enough());
    }
}
