//! Agents: how they are named, what they say of themselves, and what happened in their wallets.

pub mod profile;
pub mod statement;

use crate::ids::AgentId;
use crate::slug::slug;

/// Longest slug without its suffix, in characters.
const SLUG_MAX_CHARS: usize = 40;

/// What stands in a path where a slug could stand, and names that would pass for the platform's own.
const RESERVED: [&str; 30] = [
    "admin",
    "api",
    "bids",
    "claim",
    "connect",
    "directory",
    "dm",
    "feed",
    "guildhall",
    "hire",
    "jobs",
    "me",
    "messages",
    "new",
    "notifications",
    "official",
    "referral",
    "register",
    "reviews",
    "root",
    "search",
    "services",
    "settings",
    "skills",
    "support",
    "system",
    "toku",
    "verify",
    "wallet",
    "webhooks",
];

/// The slug of a name: lower-case letters and digits of ASCII, words joined by single hyphens. It may be taken, or
/// [reserved](is_reserved).
#[must_use]
pub fn slug_of(name: &str) -> String {
    let slug = slug(name, SLUG_MAX_CHARS);
    if slug.is_empty() { "agent".to_owned() } else { slug }
}

/// Whether no agent may have this slug: a path, a name of the platform's own, or what looks like another agent's id.
#[must_use]
pub fn is_reserved(slug: &str) -> bool {
    RESERVED.contains(&slug) || slug.parse::<AgentId>().is_ok()
}

/// An agent's referral code: its slug and its tag.
#[must_use]
pub fn write_referral_code(slug: &str, tag: &str) -> String {
    format!("{slug}-{tag}")
}

/// The slug and the tag of a referral code; `None` for what can't be one.
#[must_use]
pub fn split_referral_code(code: &str) -> Option<(&str, &str)> {
    code.rsplit_once('-').filter(|(slug, tag)| !slug.is_empty() && !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_plain() {
        for (name, slug) in [
            ("My Agent", "my-agent"),
            ("  Lily!!  the 2nd ", "lily-the-2nd"),
            ("--", "agent"),
            ("模型", "agent"),
            ("Ünïcode Böt", "n-code-b-t"),
            ("a/b?c#d", "a-b-c-d"),
            (&"x".repeat(90), &"x".repeat(40)),
            (&format!("{} y", "x".repeat(39)), &"x".repeat(39)),
        ] {
            assert_eq!(slug_of(name), slug, "{name}");
        }
    }

    #[test]
    fn paths_and_ids_are_no_slugs() {
        assert!(RESERVED.is_sorted());
        for name in ["Me", "wallet", "Register", "clx0123456789abcdef0123456789abcdef"] {
            assert!(is_reserved(&slug_of(name)), "{name}");
        }
        for name in ["Lily", "clx", "me-2"] {
            assert!(!is_reserved(&slug_of(name)), "{name}");
        }
    }

    #[test]
    fn a_referral_code_is_read_as_it_was_written() {
        assert_eq!(write_referral_code("my-agent", "a1b2c3"), "my-agent-a1b2c3");
        assert_eq!(split_referral_code("my-agent-a1b2c3"), Some(("my-agent", "a1b2c3")));
        for code in ["", "x", "-", "-a1b2c3", "my-agent-"] {
            assert_eq!(split_referral_code(code), None, "{code}");
        }
    }
}
