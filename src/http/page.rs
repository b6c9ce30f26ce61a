//! Paging of `TokenHub`'s lists.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which page.
#[derive(Deserialize, JsonSchema)]
pub struct PageQuery {
    /// Items at most: 1 to 1,000. Left out or not a number it is 1,000, in logs 100.
    #[serde(default, deserialize_with = "lenient")]
    limit: i64,
    /// Items to skip; anything but a number counts as 0.
    #[serde(default, deserialize_with = "lenient")]
    offset: i64,
}

/// One page.
#[derive(Serialize, JsonSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// How many there are in all.
    pub total: i64,
    /// As asked.
    pub limit: i64,
    /// As asked.
    pub offset: i64,
}

const LIMIT_MAX: i64 = 1_000;
const LOG_LIMIT_DEFAULT: i64 = 100;
/// The database is told numbers as doubles: beyond this they are no whole ones to it.
const OFFSET_MAX: i64 = 1 << 53;

impl PageQuery {
    /// Of parameters that were read elsewhere.
    #[must_use]
    pub fn read(limit: Option<&str>, offset: Option<&str>) -> Self {
        Self { limit: limit.map_or(0, to_number), offset: offset.map_or(0, to_number) }
    }

    /// The limit that holds.
    #[must_use]
    pub fn limit(&self) -> i64 {
        if (1..=LIMIT_MAX).contains(&self.limit) { self.limit } else { LIMIT_MAX }
    }

    /// The limit that holds in a log: 100 unless asked otherwise.
    #[must_use]
    pub fn log_limit(&self) -> i64 {
        if self.limit < 1 { LOG_LIMIT_DEFAULT } else { self.limit.min(LIMIT_MAX) }
    }

    /// The offset that holds.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.offset.clamp(0, OFFSET_MAX)
    }
}

/// `TokenHub`'s clients are used to nonsense being ignored here.
fn lenient<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    String::deserialize(deserializer).map(|text| to_number(&text))
}

fn to_number(text: &str) -> i64 {
    text.parse().unwrap_or(0)
}
