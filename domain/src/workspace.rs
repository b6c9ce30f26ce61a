//! Names of workspaces.

/// Longest name that an owner may choose for a workspace, in characters. The wallet names leases by it.
pub const WORKSPACE_ID_MAX_CHARS: usize = 64;

/// Whether an owner may call a workspace so: 1 to 64 letters, digits, `.`, `_`, `:` and `-`.
#[must_use]
pub fn is_workspace_id(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    (1..=WORKSPACE_ID_MAX_CHARS).contains(&text.len()) && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

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
