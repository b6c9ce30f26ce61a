//! What a Claude model accepts, told from its name.

/// A model's version, as far as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Generation {
    major: u64,
    minor: u64,
    is_opus: bool,
}

impl Generation {
    /// Reads `claude-sonnet-4-5-20250929`, `claude-3-7-sonnet-latest`, `us.anthropic.claude-opus-4.7`. A
    /// name without a version, or of another maker, counts as an old one: their servers speak the
    /// first form of the API.
    pub(super) fn of(model: &str) -> Self {
        let Some((_, name)) = model.rsplit_once("claude-") else {
            return Self { major: 0, minor: 0, is_opus: false };
        };
        // Of a date (eight digits) nothing is to be learnt.
        let mut numbers = name
            .split(|c: char| !c.is_ascii_alphanumeric())
            .skip_while(|word| !is_version(word))
            .map(|word| if is_version(word) { word.parse::<u64>().ok() } else { None });
        let major = numbers.next().flatten().unwrap_or(0);
        let minor = numbers.next().flatten().unwrap_or(0);
        Self { major, minor, is_opus: name.starts_with("opus") }
    }

    const fn is_at_least(self, major: u64, minor: u64) -> bool {
        self.major > major || (self.major == major && self.minor >= minor)
    }

    /// Whether thinking is asked for by effort, answers of a schema by `output_config.format`, and a
    /// conversation must end with the user.
    pub(super) const fn is_adaptive(self) -> bool {
        self.is_at_least(4, 6)
    }

    /// Whether `thinking` of this type is refused. Of models without a version nothing is known.
    pub(super) fn refuses_thinking(self, kind: &str) -> bool {
        match kind {
            "adaptive" => self.major > 0 && !self.is_adaptive(),
            "enabled" => self.is_at_least(4, 7),
            _ => false,
        }
    }

    /// Whether `output_config.effort` is refused: of those before adaptive thinking, Opus 4.5 alone knows it.
    pub(super) fn refuses_effort(self) -> bool {
        self.refuses_thinking("adaptive") && !(self.is_opus && self.is_at_least(4, 5))
    }

    /// Whether `temperature` and `top_p` are refused together.
    pub(super) const fn refuses_both(self) -> bool {
        self.is_at_least(4, 1)
    }

    /// Whether `temperature`, `top_p` and `top_k` are refused, and the effort `xhigh` is known.
    pub(super) const fn refuses_sampling(self) -> bool {
        self.is_at_least(4, 7)
    }
}

fn is_version(word: &str) -> bool {
    (1..=2).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_stand_before_or_behind_the_family() {
        for (model, major, minor) in [
            ("claude-sonnet-4-5-20250929", 4, 5),
            ("claude-3-7-sonnet-latest", 3, 7),
            ("claude-opus-4-20250514", 4, 0),
            ("us.anthropic.claude-opus-4-7-v1:0", 4, 7),
            ("anthropic/claude-opus-4.8", 4, 8),
            ("claude-fable-5", 5, 0),
            ("claude-instant", 0, 0),
            ("deepseek-4-7", 0, 0),
        ] {
            let found = Generation::of(model);
            assert_eq!((found.major, found.minor), (major, minor), "{model}");
        }
        let traits = |model| {
            let generation = Generation::of(model);
            (generation.is_adaptive(), generation.refuses_sampling())
        };
        assert_eq!(traits("claude-sonnet-4-5"), (false, false));
        assert_eq!(traits("claude-sonnet-4-6"), (true, false));
        assert_eq!(traits("claude-opus-4-7"), (true, true));
        assert_eq!(traits("claude-sonnet-5"), (true, true));
        let refusals = |model| {
            let generation = Generation::of(model);
            let [adaptive, enabled] = ["adaptive", "enabled"].map(|kind| generation.refuses_thinking(kind));
            (adaptive, enabled, generation.refuses_effort())
        };
        assert_eq!(refusals("claude-haiku-4-5"), (true, false, true));
        assert_eq!(refusals("claude-3-opus-latest"), (true, false, true));
        assert_eq!(refusals("claude-opus-4-5-20251101"), (true, false, false));
        assert_eq!(refusals("claude-opus-4-6"), (false, false, false));
        assert_eq!(refusals("claude-sonnet-5"), (false, true, false));
        assert_eq!(refusals("glm-5"), (false, false, false));
    }
}
