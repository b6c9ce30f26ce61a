//! What a request says of the cache.

/// The directives of `cache-control`, in a request, that a response cache heeds, and `force`, which is our own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheControl {
    /// The answer is to be fresh; it may be kept.
    pub no_cache: bool,
    /// The answer is neither to be looked up nor kept.
    pub no_store: bool,
    /// The request takes part although another answer would be as good.
    pub force: bool,
    /// A kept answer may be so old, in seconds.
    pub max_age_s: Option<u32>,
}

impl CacheControl {
    /// Reads the directives; those that are not known say nothing, as HTTP has it.
    #[must_use]
    pub fn parse(header: &str) -> Self {
        let mut control = Self::default();
        for directive in header.split(',').map(str::trim) {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-cache" => control.no_cache = true,
                "no-store" => control.no_store = true,
                "force" => control.force = true,
                "max-age" => control.max_age_s = value.trim().trim_matches('"').parse().ok().or(control.max_age_s),
                _ => {}
            }
        }
        control
    }

    /// What two headers say together: the stricter one counts.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            no_cache: self.no_cache || other.no_cache,
            no_store: self.no_store || other.no_store,
            force: self.force || other.force,
            max_age_s: match (self.max_age_s, other.max_age_s) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            },
        }
    }
}
