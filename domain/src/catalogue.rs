//! The reference catalogue: models of the well-known providers with their list prices, as dated data.
//!
//! It is what an administrator starts from, never what a caller is charged: a call is charged by the price of its
//! registered model. `data/catalogue.tsv` says how its lines read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::money::Rate;
use crate::pricing::Price;

const DATA: &str = include_str!("../data/catalogue.tsv");

/// What a model can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Capability {
    /// Reads and writes text.
    Text,
    /// Can be asked for as a chat completion (or, at Anthropic, a message).
    Chat,
    /// Reads images.
    Vision,
    /// Calls tools.
    Tools,
    /// Keeps to JSON when asked.
    Json,
    /// Thinks before it answers.
    Reasoning,
    /// Prompts are cached by the provider.
    Cache,
    /// Hears or speaks.
    Audio,
    /// Draws.
    Image,
    /// Makes videos.
    Video,
    /// Turns text into vectors.
    Embedding,
}

impl Capability {
    const fn of_letter(letter: char) -> Option<Self> {
        Some(match letter {
            't' => Self::Text,
            'h' => Self::Chat,
            'v' => Self::Vision,
            'f' => Self::Tools,
            'j' => Self::Json,
            'r' => Self::Reasoning,
            'c' => Self::Cache,
            'a' => Self::Audio,
            'i' => Self::Image,
            'd' => Self::Video,
            'e' => Self::Embedding,
            _ => return None,
        })
    }
}

/// A model of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatalogueEntry {
    /// Who sells it; for `openai` and `anthropic` also the type of provider that serves it.
    pub provider: &'static str,
    /// What the provider calls it.
    pub id: &'static str,
    /// What people call it.
    pub name: &'static str,
    /// What its tokens cost.
    pub price: Price,
    /// Context window in tokens; 0 means unknown or meaningless.
    pub context_window: u64,
    /// Most output tokens of one answer; 0 means unknown or meaningless.
    pub max_output_tokens: u64,
    /// What a call costs beyond `price` or instead of it, such as `$0.006 per minute`; empty when tokens are all.
    pub price_note: &'static str,
    letters: &'static str,
}

impl CatalogueEntry {
    /// What it can do.
    pub fn capabilities(&self) -> impl Iterator<Item = Capability> + use<> {
        self.letters.chars().filter_map(Capability::of_letter)
    }

    /// Whether it can do this.
    #[must_use]
    pub fn can(&self, capability: Capability) -> bool {
        self.capabilities().any(|other| other == capability)
    }
}

/// The day up to which prices were looked up, as RFC 3339.
#[must_use]
pub fn researched_at() -> &'static str {
    DATA.lines().next().unwrap_or_default()
}

/// Every model, by provider and id.
pub fn entries() -> impl Iterator<Item = CatalogueEntry> {
    let lines = DATA.lines().skip(1).filter(|line| !line.starts_with('#'));
    let read = |provider: &mut &'static str, line: &'static str| match line.strip_prefix('@') {
        Some(name) => {
            *provider = name;
            Some(None)
        }
        None => Some(read_entry(provider, line)),
    };
    lines.scan("", read).flatten()
}

fn read_entry(provider: &'static str, line: &'static str) -> Option<CatalogueEntry> {
    let mut columns = line.split('\t');
    let (id, name) = (columns.next()?, columns.next()?);
    let mut next = || columns.next().unwrap_or_default();
    let rate = |text| Rate::from_usd_per_1m_str(text).ok();
    let count = |text: &str| if text.is_empty() { Some(0) } else { text.parse().ok() };
    let (input, output) = (rate(next())?, rate(next())?);
    let cache_read = match next() {
        "" => None,
        text => Some(rate(text)?),
    };
    Some(CatalogueEntry {
        provider,
        id,
        name,
        price: Price { input, output, cache_read, cache_write: price_cache_write(provider, input, cache_read) },
        context_window: count(next())?,
        max_output_tokens: count(next())?,
        letters: next(),
        price_note: next(),
    })
}

/// Anthropic charges a quarter more for a prompt that it writes to its cache (for five minutes); the others nothing more.
fn price_cache_write(provider: &str, input: Rate, cache_read: Option<Rate>) -> Option<Rate> {
    if provider != "anthropic" || cache_read.is_none() {
        return None;
    }
    let pico_usd = input.pico_usd_per_token();
    Rate::from_pico_usd_per_token(pico_usd.saturating_add(pico_usd / 4)).ok()
}

/// Whether this is what a provider calls a model of its own that can do this.
#[must_use]
pub fn is_native_model(name: &str, capability: Capability) -> bool {
    let bare = name.rsplit_once('/').map_or(name, |(_, bare)| bare);
    entries().any(|entry| (entry.id == name || entry.id == bare) && entry.can(capability))
}

/// Whether a model of this name reasons, if one is known.
#[must_use]
pub fn reasons(name: &str) -> Option<bool> {
    let bare = name.rsplit_once('/').map_or(name, |(_, bare)| bare);
    // Asked for each model of a table: only the lines of this name are read.
    let is_named = |line: &&str| line.split_once('\t').is_some_and(|(id, _)| id == name || id == bare);
    let mut named = DATA.lines().filter(is_named).filter_map(|line| read_entry("", line)).peekable();
    named.peek()?;
    Some(named.any(|entry| entry.can(Capability::Reasoning)))
}

/// The model that a provider of this type calls so, when its tokens are all that a call costs: `None` for models whose
/// list price this platform could not charge in full. A name like `openai/gpt-4o` is also found without its first part.
#[must_use]
pub fn find_price(provider_kind: &str, model_id: &str) -> Option<CatalogueEntry> {
    let find = |id: &str| entries().find(|entry| entry.provider == provider_kind && entry.id == id);
    let found = find(model_id).or_else(|| find(model_id.rsplit_once('/')?.1));
    found.filter(|entry| entry.price_note.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(rate: Rate) -> String {
        rate.to_usd_per_1m().to_string()
    }

    #[test]
    fn every_line_is_read() {
        let lines = DATA.lines().filter(|line| line.contains('\t')).count();
        assert_eq!(entries().count(), lines);
        assert!(lines >= 230, "{lines} models");
        for entry in entries() {
            let letters = entry.letters.chars().count();
            assert!(letters > 0 && entry.capabilities().count() == letters, "{}: {}", entry.id, entry.letters);
        }
    }

    #[test]
    fn models_are_sorted_and_unique() {
        let keys: Vec<_> = entries().map(|entry| (entry.provider, entry.id)).collect();
        for pair in keys.windows(2) {
            assert!(pair[0] < pair[1], "{pair:?}");
        }
        for (provider, least) in [("anthropic", 30), ("google", 30), ("groq", 25), ("openai", 80)] {
            let count = keys.iter().filter(|key| key.0 == provider).count();
            assert!(count >= least, "{count} models of {provider}");
        }
    }

    #[test]
    fn prices_and_sizes_make_sense() {
        let dollars = |rate: Rate| rate.pico_usd_per_token() / 1_000_000;
        for entry in entries() {
            let CatalogueEntry { id, price, context_window, max_output_tokens, .. } = entry;
            assert!(dollars(price.input) <= 200 && dollars(price.output) <= 1_000, "{id}: {price:?}");
            assert!(price.cache_read.is_none_or(|rate| rate < price.input && rate > Rate::ZERO), "{id}: {price:?}");
            assert_eq!(
                price.cache_read.is_some(),
                entry.can(Capability::Cache),
                "{id}: a cache and no price, or the other way"
            );
            if entry.price_note.is_empty() {
                assert!(price.input > Rate::ZERO, "{id}: free, and nobody says why");
                assert_eq!(price.output == Rate::ZERO, entry.can(Capability::Embedding), "{id}: {price:?}");
                assert!((512..=10_000_000).contains(&context_window), "{id}: {context_window}");
            }
            assert!(max_output_tokens <= context_window || entry.price_note.contains("audio"), "{id}");
            assert!(!entry.can(Capability::Chat) || entry.can(Capability::Text), "{id}");
        }
    }

    #[test]
    fn the_file_is_dated_and_small() {
        assert!(DATA.len() <= 25 * 1024, "{} bytes", DATA.len());
        let date = time::OffsetDateTime::parse(researched_at(), &time::format_description::well_known::Rfc3339);
        assert!(date.is_ok(), "{date:?}");
    }

    #[test]
    fn a_price_is_found_by_type_and_name() {
        for (kind, id, input, output, cache_read) in [
            ("openai", "gpt-4o", "2.5", "10", Some("1.25")),
            ("openai", "gpt-4o-mini", "0.15", "0.6", Some("0.075")),
            ("openai", "openai/gpt-4o", "2.5", "10", Some("1.25")),
            ("openai", "router/openai/o1-pro", "150", "600", None),
            ("openai", "text-embedding-3-small", "0.02", "0", None),
            ("anthropic", "claude-sonnet-4-5-20250929", "3", "15", Some("0.3")),
            ("anthropic", "anthropic/claude-3-haiku-20240307", "0.25", "1.25", Some("0.03")),
            ("groq", "openai/gpt-oss-120b", "0.15", "0.6", Some("0.075")),
        ] {
            let entry = find_price(kind, id).unwrap_or_else(|| panic!("{kind} {id}"));
            assert_eq!((usd(entry.price.input), usd(entry.price.output)), (input.into(), output.into()), "{id}");
            assert_eq!(entry.price.cache_read.map(usd).as_deref(), cache_read, "{id}");
        }
    }

    #[test]
    fn who_reasons_is_known() {
        for name in ["gpt-4o", "openai/gpt-4.1-mini", "gpt-5-chat-latest"] {
            assert_eq!(reasons(name), Some(false), "{name}");
        }
        assert_eq!(
            (reasons("gpt-5"), reasons("o3-mini"), reasons("someone/unknown-70b")),
            (Some(true), Some(true), None)
        );
    }

    #[test]
    fn a_price_that_tokens_do_not_settle_is_not_found() {
        for (kind, id) in [
            ("openai", "whisper-1"),
            ("openai", "dall-e-3"),
            ("openai", "gpt-4o-audio-preview"),
            ("openai", "gpt-5.4"),
            ("openai", "claude-3-haiku-20240307"),
            ("anthropic", "gpt-4o"),
            ("vllm", "gpt-4o"),
            ("sandbox", "gpt-4o"),
            ("", "gpt-4o"),
            ("openai", "GPT-4o"),
            ("openai", "gpt-4o-"),
            ("openai", "gpt-4o/other"),
            ("openai", "openai/"),
            ("openai", ""),
            ("openai", "@anthropic"),
        ] {
            assert_eq!(find_price(kind, id), None, "{kind} {id}");
        }
    }
}
