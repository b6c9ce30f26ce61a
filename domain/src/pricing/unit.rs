//! Prices of what is not counted in tokens: images, characters, minutes, seconds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PICO_PER_MICRO, round_up};
use crate::money::{MicroUsd, Rate};

/// What a unit price is for. A quantity is counted in the unit's smallest whole step, named at each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// One image; counted in images.
    Image,
    /// A million characters of text to speak; counted in characters.
    MillionCharacters,
    /// A minute of audio; counted in seconds.
    Minute,
    /// A second of video; counted in seconds.
    Second,
}

impl Unit {
    /// How many steps of a quantity make one unit.
    #[must_use]
    pub const fn steps(self) -> u32 {
        match self {
            Self::Image | Self::Second => 1,
            Self::Minute => 60,
            Self::MillionCharacters => 1_000_000,
        }
    }

    /// The unit as records and documents say it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::MillionCharacters => "million_characters",
            Self::Minute => "minute",
            Self::Second => "second",
        }
    }
}

/// A price for units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnitPrice {
    /// What is counted.
    pub unit: Unit,
    /// For one unit.
    pub rate: Rate,
}

impl UnitPrice {
    /// The charge for a quantity in the unit's steps, rounded up once to the next micro-dollar; saturating, as
    /// [`super::Price::cost`].
    #[must_use]
    pub fn cost(&self, quantity: u64) -> MicroUsd {
        // Below 2^127: a quantity has 64 bits, a rate 63.
        let pico_usd_steps = i128::from(quantity) * i128::from(self.rate.pico_usd_per_token());
        round_up(pico_usd_steps, PICO_PER_MICRO * i128::from(self.unit.steps()))
    }

    /// Whether it costs nothing: such a call needs no hold.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.rate == Rate::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(unit: Unit, usd: &str, quantity: u64) -> i64 {
        UnitPrice { unit, rate: Rate::from_usd_per_unit_str(usd).unwrap() }.cost(quantity).0
    }

    #[test]
    fn published_prices_are_exact() {
        assert_eq!(cost(Unit::Image, "0.04", 3), 120_000);
        assert_eq!(cost(Unit::MillionCharacters, "15", 1_000_000), 15_000_000);
        assert_eq!(cost(Unit::MillionCharacters, "15", 11), 165);
        assert_eq!(cost(Unit::Minute, "0.006", 60), 6_000);
        assert_eq!(cost(Unit::Minute, "0.006", 1), 100, "second-exact");
        assert_eq!(cost(Unit::Second, "0.1", 8), 800_000);
    }

    #[test]
    fn a_cost_is_rounded_up_once_and_saturates() {
        assert_eq!(cost(Unit::Minute, "0.0001", 1), 2, "1.67 micro-dollars");
        assert_eq!(cost(Unit::Minute, "0.0001", 60), 100);
        assert_eq!(cost(Unit::MillionCharacters, "0.000001", 1), 1);
        assert_eq!(cost(Unit::Image, "0", 10), 0);
        assert_eq!(cost(Unit::Image, "0.04", 0), 0);
        assert_eq!(cost(Unit::Image, "9000000", u64::MAX), i64::MAX);
    }

    #[test]
    fn a_price_has_twelve_decimals_and_no_sign() {
        assert!(Rate::from_usd_per_unit_str("0.0000000000001").is_err());
        assert!(Rate::from_usd_per_unit_str("-1").is_err());
    }

    /// Prices stand in receipts: their JSON never changes.
    #[test]
    fn stored_format_is_unchanged() {
        let price = UnitPrice { unit: Unit::Minute, rate: Rate::from_usd_per_unit_str("0.006").unwrap() };
        let text = r#"{"unit":"minute","rate":6000000000}"#;
        assert_eq!(serde_json::to_string(&price).unwrap(), text);
        assert_eq!(serde_json::from_str::<UnitPrice>(text).unwrap(), price);
    }
}
