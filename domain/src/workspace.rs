//! Names of workspaces.

use sha2::{Digest as _, Sha256};

use crate::hex;
use crate::slug::slug;

/// Longest name that an owner may choose for a workspace, in characters. The wallet names leases by it.
pub const WORKSPACE_ID_MAX_CHARS: usize = 64;

/// Whether an owner may call a workspace so: 1 to 64 letters, digits, `.`, `_`, `:` and `-`.
#[must_use]
pub fn is_workspace_id(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    (1..=WORKSPACE_ID_MAX_CHARS).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// Of a name that can't be an id itself: letters of it, and bytes of its digest.
const SLUG_MAX_CHARS: usize = 40;
const DIGEST_BYTES: usize = 4;

/// The id of a workspace of which only the title is said: the title itself where it can be one, else a text made of it. One
/// title has one id, and two titles have two.
#[must_use]
pub fn workspace_id_of(title: &str) -> String {
    if is_workspace_id(title) {
        return title.to_owned();
    }
    let mut id = slug(title, SLUG_MAX_CHARS);
    if !id.is_empty() {
        id.push('-');
    }
    hex::push_hex(Sha256::digest(title).get(..DIGEST_BYTES).unwrap_or_default(), &mut id);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_makes_an_id() {
        for (title, begins, chars) in
            [("Acme", "Acme", 4), ("Acme Corp", "acme-corp-", 18), ("模型", "", 8), (&"a b".repeat(60), "a-ba-b", 48)]
        {
            let id = workspace_id_of(title);
            assert!(id.starts_with(begins) && is_workspace_id(&id), "{title}: {id}");
            assert!(id.len() == chars || id.len() == chars + 1, "{title}: {id}");
            assert_eq!(id, workspace_id_of(title));
        }
        assert_ne!(workspace_id_of("Acme Corp"), workspace_id_of("Acme  Corp"));
    }

    #[test]
    fn a_name_is_short_and_plain() {
        for name in ["a", "team-7", "customer:acme.eu_1", &"x".repeat(64)] {
            assert!(is_workspace_id(name), "{name}");
        }
        for name in ["", "a b", "a/b", "é", "a\n", &"x".repeat(65)] {
            assert!(!is_workspace_id(name), "{name}");
        }
    }
}
