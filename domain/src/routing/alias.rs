//! Aliases: names that stand for one of several models.

use std::collections::{HashMap, HashSet};
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most variants of an alias.
pub const MAX_VARIANTS: usize = 100;
/// Largest weight of a variant.
pub const MAX_VARIANT_WEIGHT: u32 = 1_000_000;
/// Longest chain of aliases that stand for aliases.
const MAX_CHAIN: usize = 8;

/// One of the names that an alias stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Variant {
    /// A model, or another alias.
    pub model_id: String,
    /// Its share of the traffic, relative to the others'; at least 1.
    pub weight: u32,
}

/// What makes requests stay with one variant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sticky {
    /// The request's id: the same request, sent again, goes to the same variant.
    #[default]
    #[serde(alias = "")]
    Request,
    /// The API key: each stays with its variant.
    ApiKey,
    /// Nothing: the variants take turns by weight.
    RoundRobin,
}

/// An alias.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// What it stands for.
    pub variants: Vec<Variant>,
    /// Whether it is in use.
    pub enabled: bool,
    /// What requests stay with.
    pub sticky_by: Sticky,
}

/// Why an alias is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AliasError {
    /// It has no variants, or too many.
    Variants,
    /// A weight is 0 or too large.
    Weight,
    /// A model twice.
    Duplicate(String),
    /// It stands for itself, perhaps by way of others.
    Cycle,
}

impl fmt::Display for AliasError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variants => write!(f, "variants must have 1 to {MAX_VARIANTS} items"),
            Self::Weight => write!(f, "weight must be between 1 and {MAX_VARIANT_WEIGHT}"),
            Self::Duplicate(model) => write!(f, "duplicate variant {model}"),
            Self::Cycle => f.write_str("an alias must not stand for itself"),
        }
    }
}

impl Alias {
    /// Checks an alias that is to be called `name`, beside the others.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, name: &str, others: &HashMap<String, Self>) -> Result<(), AliasError> {
        if self.variants.is_empty() || self.variants.len() > MAX_VARIANTS {
            return Err(AliasError::Variants);
        }
        let mut seen = HashSet::new();
        for variant in &self.variants {
            if !(1..=MAX_VARIANT_WEIGHT).contains(&variant.weight) {
                return Err(AliasError::Weight);
            }
            if !seen.insert(variant.model_id.as_str()) {
                return Err(AliasError::Duplicate(variant.model_id.clone()));
            }
        }
        // Everything that is reached from it: each name is visited once.
        let mut reached: Vec<&str> = seen.iter().copied().collect();
        while let Some(next) = reached.pop() {
            if next == name {
                return Err(AliasError::Cycle);
            }
            for variant in others.get(next).map_or(&[][..], |alias| &alias.variants) {
                if seen.insert(&variant.model_id) {
                    reached.push(&variant.model_id);
                }
            }
        }
        Ok(())
    }

    fn pick(&self, point: u64) -> Option<&str> {
        let total: u64 = self.variants.iter().map(|variant| u64::from(variant.weight)).sum();
        let mut at = point.checked_rem(total)?;
        for variant in &self.variants {
            let weight = u64::from(variant.weight);
            if at < weight {
                return Some(&variant.model_id);
            }
            at -= weight;
        }
        None
    }
}

/// What a name came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedAlias<'a> {
    /// The model.
    pub model: &'a str,
    /// Whether an alias was in between.
    pub is_alias: bool,
}

/// Finds the model that a name stands for; a name that is no enabled alias stands for itself.
///
/// `request` and `api_key` say who stays with what; `turn_of` counts the turns of an alias, and is asked only where they matter.
///
/// # Errors
/// [`AliasError::Cycle`] when aliases stand for each other.
pub fn resolve_alias<'a>(
    aliases: &'a HashMap<String, Alias>,
    name: &'a str,
    request: &str,
    api_key: &str,
    turn_of: impl Fn(&str) -> u64,
) -> Result<ResolvedAlias<'a>, AliasError> {
    let mut model = name;
    let mut is_alias = false;
    for _ in 0..MAX_CHAIN {
        let Some(alias) = aliases.get(model).filter(|alias| alias.enabled) else {
            return Ok(ResolvedAlias { model, is_alias });
        };
        let point = match alias.sticky_by {
            Sticky::Request => u64::from(fnv1a_32(request)),
            Sticky::ApiKey if !api_key.is_empty() => u64::from(fnv1a_32(api_key)),
            Sticky::ApiKey => u64::from(fnv1a_32(request)),
            Sticky::RoundRobin => turn_of(model),
        };
        let Some(picked) = alias.pick(point) else { return Ok(ResolvedAlias { model, is_alias }) };
        (model, is_alias) = (picked, true);
    }
    Err(AliasError::Cycle)
}

/// FNV-1a, 32 bits: what TokenHub buckets by.
fn fnv1a_32(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alias(variants: &[(&str, u32)], sticky_by: Sticky) -> Alias {
        let variants = variants.iter().map(|(id, weight)| Variant { model_id: (*id).to_owned(), weight: *weight });
        Alias { variants: variants.collect(), enabled: true, sticky_by }
    }

    fn book(entries: &[(&str, Alias)]) -> HashMap<String, Alias> {
        entries.iter().map(|(name, alias)| ((*name).to_owned(), alias.clone())).collect()
    }

    #[test]
    fn shares_follow_the_weights() {
        let aliases = book(&[("a", alias(&[("x", 3), ("y", 1)], Sticky::RoundRobin))]);
        let picked: Vec<_> = (0..8).map(|turn| resolve_alias(&aliases, "a", "", "", |_| turn).unwrap().model).collect();
        assert_eq!(picked, ["x", "x", "x", "y", "x", "x", "x", "y"]);
        let aliases = book(&[("a", alias(&[("x", 1), ("y", 1)], Sticky::Request))]);
        let of = |request: &str| resolve_alias(&aliases, "a", request, "", |_| 0).unwrap().model;
        let xs = (0..1_000).filter(|i| of(&format!("req_{i}")) == "x").count();
        assert!((400..600).contains(&xs), "{xs}");
        assert_eq!(of("same"), of("same"));
    }

    #[test]
    fn a_key_stays_with_its_variant() {
        let aliases = book(&[("a", alias(&[("x", 1), ("y", 1)], Sticky::ApiKey))]);
        for key in ["k1", "k2", "k3"] {
            let first = resolve_alias(&aliases, "a", "r", key, |_| 0).unwrap();
            assert!((0..50).all(|i| resolve_alias(&aliases, "a", &i.to_string(), key, |_| i).unwrap() == first));
        }
    }

    #[test]
    fn what_is_no_alias_stands_for_itself() {
        let mut off = alias(&[("x", 1)], Sticky::Request);
        off.enabled = false;
        let aliases = book(&[("off", off)]);
        for name in ["off", "unknown"] {
            let resolved = resolve_alias(&aliases, name, "r", "k", |_| 0).unwrap();
            assert_eq!(resolved, ResolvedAlias { model: name, is_alias: false });
        }
    }

    #[test]
    fn chains_are_followed_and_circles_refused() {
        let aliases = book(&[("a", alias(&[("b", 1)], Sticky::Request)), ("b", alias(&[("m", 1)], Sticky::Request))]);
        assert_eq!(resolve_alias(&aliases, "a", "r", "", |_| 0).unwrap().model, "m");
        assert_eq!(alias(&[("a", 1)], Sticky::Request).check("b", &aliases), Err(AliasError::Cycle));
        assert_eq!(alias(&[("b", 1)], Sticky::Request).check("b", &HashMap::new()), Err(AliasError::Cycle));
        let circle = book(&[("a", alias(&[("b", 1)], Sticky::Request)), ("b", alias(&[("a", 1)], Sticky::Request))]);
        assert_eq!(resolve_alias(&circle, "a", "r", "", |_| 0), Err(AliasError::Cycle));
    }

    #[test]
    fn bad_aliases_are_refused() {
        let none = HashMap::new();
        assert_eq!(alias(&[], Sticky::Request).check("a", &none), Err(AliasError::Variants));
        assert_eq!(alias(&[("x", 0)], Sticky::Request).check("a", &none), Err(AliasError::Weight));
        let twice = alias(&[("x", 1), ("x", 2)], Sticky::Request).check("a", &none);
        assert_eq!(twice, Err(AliasError::Duplicate("x".to_owned())));
        assert_eq!(alias(&[("x", 1), ("y", 2)], Sticky::Request).check("a", &none), Ok(()));
    }
}
