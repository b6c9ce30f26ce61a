//! Two keys: a random one seals the secrets, and one that is derived from the password seals the random one.
//!
//! That seal is also what a password is checked against: a wrong one does not open it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use guildhall_domain::password::{KdfCost, SALT_BYTES, derive_key};
use guildhall_domain::seal::{open, open_text, seal};
use guildhall_domain::secret::{SecretText, Seed};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::machine::MachineError;

/// What the data key is sealed for; no secret has this name.
const CONTEXT: &str = "vault:data_key";

/// The data key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// What deriving the key that opens it costs.
    cost: KdfCost,
    /// Base64.
    salt: String,
    /// The data key, sealed.
    data_key: String,
}

/// The key that seals the secrets, open. Wiped when it is dropped.
pub struct DataKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey")
    }
}

impl Envelope {
    /// A fresh data key, and the envelope that only this password opens.
    pub fn make(password: &SecretText, cost: KdfCost, seed: &Seed) -> Result<(Self, DataKey), MachineError> {
        let salt = seed.draw::<SALT_BYTES>("salt");
        let data_key = DataKey(seed.draw("data_key"));
        let password_key = derive_key(password.expose(), &*salt, cost).map_err(failed)?;
        let sealed = seal(&password_key, *seed.draw("data_key nonce"), CONTEXT, &*data_key.0).map_err(failed)?;
        Ok((Self { cost, salt: URL_SAFE_NO_PAD.encode(*salt), data_key: sealed }, data_key))
    }

    /// The data key; `None` when the password is another one.
    pub fn open(&self, password: &SecretText) -> Result<Option<DataKey>, MachineError> {
        let salt = URL_SAFE_NO_PAD.decode(&self.salt).map_err(failed)?;
        let password_key = derive_key(password.expose(), &salt, self.cost).map_err(failed)?;
        let Ok(bytes) = open(&password_key, CONTEXT, &self.data_key) else {
            return Ok(None);
        };
        let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(failed)?;
        Ok(Some(DataKey(Zeroizing::new(bytes))))
    }
}

impl DataKey {
    /// Seals a secret for its name. `seed` must be fresh.
    pub fn seal(&self, name: &str, value: &SecretText, seed: &Seed) -> Result<String, MachineError> {
        let nonce = seed.draw(&format!("nonce of {name}"));
        seal(&self.0, *nonce, name, value.expose().as_bytes()).map_err(failed)
    }

    /// Opens a secret; `None` when it is not one that this key has sealed for this name.
    pub fn open(&self, name: &str, sealed: &str) -> Option<SecretText> {
        open_text(&self.0, name, sealed).ok()
    }
}

fn failed(error: impl fmt::Display) -> MachineError {
    MachineError(format!("the vault's key: {error}"))
}
