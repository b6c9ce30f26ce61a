//! Money: integer micro-dollars, and token rates in integer pico-dollars. No float ever enters a
//! sum.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

use crate::decimal::{format_scaled, parse_scaled};

pub use crate::decimal::DecimalError;

/// Decimals of a dollar that [`MicroUsd`] keeps.
const MICRO_DECIMALS: u32 = 6;
/// Micro-dollars in a cent.
const MICROS_PER_CENT: i64 = 10_000;

/// An amount of money in millionths of a US dollar; may be negative.
///
/// In JSON it is the bare integer. An `i64` holds about 9.2 trillion dollars, so an overflow is a
/// fault of the caller and every sum is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct MicroUsd(pub i64);

impl MicroUsd {
    /// No money.
    pub const ZERO: Self = Self(0);
    /// The largest amount.
    pub const MAX: Self = Self(i64::MAX);

    /// The sum, or `None` when it does not fit.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(micros) => Some(Self(micros)),
            None => None,
        }
    }

    /// The difference, or `None` when it does not fit.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(micros) => Some(Self(micros)),
            None => None,
        }
    }

    /// The same amount with the other sign, or `None` for the one value that has no opposite.
    #[must_use]
    pub const fn checked_neg(self) -> Option<Self> {
        match self.0.checked_neg() {
            Some(micros) => Some(Self(micros)),
            None => None,
        }
    }

    /// Whether the amount is below zero.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// So many cents, or `None` when they do not fit.
    #[must_use]
    pub const fn from_cents(cents: i64) -> Option<Self> {
        match cents.checked_mul(MICROS_PER_CENT) {
            Some(micros) => Some(Self(micros)),
            None => None,
        }
    }

    /// Whole cents, rounded down: what is shown can be spent.
    #[must_use]
    pub const fn to_cents_floor(self) -> i64 {
        self.0.div_euclid(MICROS_PER_CENT)
    }

    /// Reads an amount in dollars from a JSON number (`12.5` is 12,500,000 micro-dollars).
    ///
    /// # Errors
    /// [`DecimalError`] when the number has more than six decimals that count, or does not fit. A
    /// float is taken as its shortest decimal text, so `0.1` is exactly ten cents and `0.1 + 0.2`
    /// computed elsewhere is refused, not rounded.
    pub fn from_usd(dollars: &serde_json::Number) -> Result<Self, DecimalError> {
        Self::from_usd_str(&dollars.to_string())
    }

    /// Reads an amount in dollars from decimal text.
    ///
    /// # Errors
    /// As [`MicroUsd::from_usd`].
    pub fn from_usd_str(dollars: &str) -> Result<Self, DecimalError> {
        parse_scaled(dollars, MICRO_DECIMALS).map(Self)
    }

    /// Dollars as a float, for a JSON number at the edge of the API and nothing else: never add,
    /// compare or store it.
    ///
    /// Exact to the micro-dollar up to four billion dollars.
    #[must_use]
    #[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "only for JSON at the edge")]
    pub fn to_usd(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Dollars as the shortest exact decimal text: `0.0105`, `10`, `-0.5`.
    #[must_use]
    pub fn to_usd_string(self) -> String {
        format_scaled(self.0, MICRO_DECIMALS)
    }
}

impl fmt::Display for MicroUsd {
    /// Dollars, as [`MicroUsd::to_usd_string`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_usd_string())
    }
}

/// Scale between dollars per 1,000 tokens and pico-dollars (10^-12) per token: 12 decimals less 3
/// for the thousand.
const PER_1K_DECIMALS: u32 = 9;
/// Scale between dollars per 1,000,000 tokens and pico-dollars per token: 12 decimals less 6 for
/// the million.
const PER_1M_DECIMALS: u32 = 6;
/// Scale between dollars per unit and pico-dollars per unit.
const PER_UNIT_DECIMALS: u32 = 12;

/// What one token, or one other unit, costs, in pico-dollars (10^-12 US dollars); never negative.
///
/// $2.50 per million tokens is 2,500,000 pico-dollars per token: the unit makes every published
/// price an integer. In JSON and in storage it is the bare integer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "i64", into = "i64")]
pub struct Rate(#[schemars(range(min = 0))] i64);

impl Rate {
    /// Free.
    pub const ZERO: Self = Self(0);

    /// A rate of so many pico-dollars per token.
    ///
    /// # Errors
    /// [`DecimalError::Negative`].
    pub const fn from_pico_usd_per_token(pico_usd: i64) -> Result<Self, DecimalError> {
        if pico_usd < 0 {
            return Err(DecimalError::Negative);
        }
        Ok(Self(pico_usd))
    }

    /// Reads dollars per 1,000 tokens, TokenHub's unit (`input_per_1k`), from decimal text.
    ///
    /// # Errors
    /// [`DecimalError`]: more than nine decimals that count, negative, or too large.
    pub fn from_usd_per_1k_str(dollars: &str) -> Result<Self, DecimalError> {
        Self::from_pico_usd_per_token(parse_scaled(dollars, PER_1K_DECIMALS)?)
    }

    /// Reads dollars per 1,000 tokens from a JSON number, taken as its shortest decimal text.
    ///
    /// # Errors
    /// As [`Rate::from_usd_per_1k_str`].
    pub fn from_usd_per_1k(dollars: &serde_json::Number) -> Result<Self, DecimalError> {
        Self::from_usd_per_1k_str(&dollars.to_string())
    }

    /// Reads dollars per 1,000,000 tokens, the unit of most price lists, from decimal text.
    ///
    /// # Errors
    /// [`DecimalError`]: more than six decimals that count, negative, or too large.
    pub fn from_usd_per_1m_str(dollars: &str) -> Result<Self, DecimalError> {
        Self::from_pico_usd_per_token(parse_scaled(dollars, PER_1M_DECIMALS)?)
    }

    /// Reads dollars per unit (an image, a minute, a million characters) from decimal text.
    ///
    /// # Errors
    /// [`DecimalError`]: more than twelve decimals that count, negative, or above nine million dollars.
    pub fn from_usd_per_unit_str(dollars: &str) -> Result<Self, DecimalError> {
        Self::from_pico_usd_per_token(parse_scaled(dollars, PER_UNIT_DECIMALS)?)
    }

    /// Reads dollars per unit from a JSON number, taken as its shortest decimal text.
    ///
    /// # Errors
    /// As [`Rate::from_usd_per_unit_str`].
    pub fn from_usd_per_unit(dollars: &serde_json::Number) -> Result<Self, DecimalError> {
        Self::from_usd_per_unit_str(&dollars.to_string())
    }

    /// Dollars per unit as a float, for a JSON number at the edge of the API and nothing else.
    #[must_use]
    #[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "only for JSON at the edge")]
    pub fn to_usd_per_unit(self) -> f64 {
        self.0 as f64 / 1e12
    }

    /// Pico-dollars per token, or per other unit.
    #[must_use]
    pub const fn pico_usd_per_token(self) -> i64 {
        self.0
    }

    /// Dollars per 1,000 tokens as a float, for a JSON number at the edge of the API and nothing
    /// else.
    #[must_use]
    #[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "only for JSON at the edge")]
    pub fn to_usd_per_1k(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Dollars per 1,000,000 tokens as a float, for a JSON number at the edge of the API and
    /// nothing else.
    #[must_use]
    #[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "only for JSON at the edge")]
    pub fn to_usd_per_1m(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl TryFrom<i64> for Rate {
    type Error = DecimalError;

    fn try_from(pico_usd: i64) -> Result<Self, DecimalError> {
        Self::from_pico_usd_per_token(pico_usd)
    }
}

impl From<Rate> for i64 {
    fn from(rate: Rate) -> Self {
        rate.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> serde_json::Number {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn micro_usd_reads_json_numbers_exactly() {
        assert_eq!(MicroUsd::from_usd(&number("0.1")), Ok(MicroUsd(100_000)));
        assert_eq!(MicroUsd::from_usd(&number("10")), Ok(MicroUsd(10_000_000)));
        assert_eq!(MicroUsd::from_usd(&number("0.000001")), Ok(MicroUsd(1)));
        assert_eq!(MicroUsd::from_usd(&number("-2.5")), Ok(MicroUsd(-2_500_000)));
        assert!(MicroUsd::from_usd(&number("0.30000000000000004")).is_err());
        assert_eq!(MicroUsd::from_usd(&number("1e300")), Err(DecimalError::OutOfRange));
    }

    #[test]
    fn micro_usd_prints_shortest_and_reads_it_back() {
        for micros in [0, 1, -1, 10_500, 10_000_000, -500_000, i64::MAX, i64::MIN] {
            let text = MicroUsd(micros).to_usd_string();
            assert_eq!(MicroUsd::from_usd_str(&text), Ok(MicroUsd(micros)), "{text}");
        }
        assert_eq!(MicroUsd(10_500).to_string(), "0.0105");
        assert_eq!(MicroUsd(10_500).to_usd(), 0.0105);
    }

    #[test]
    fn micro_usd_sums_are_checked() {
        assert_eq!(MicroUsd(1).checked_add(MicroUsd(2)), Some(MicroUsd(3)));
        assert_eq!(MicroUsd::MAX.checked_add(MicroUsd(1)), None);
        assert_eq!(MicroUsd(i64::MIN).checked_sub(MicroUsd(1)), None);
        assert_eq!(MicroUsd(i64::MIN).checked_neg(), None);
        assert_eq!(MicroUsd(5).checked_neg(), Some(MicroUsd(-5)));
    }

    #[test]
    fn cents_are_exact_in_and_rounded_down_out() {
        assert_eq!(MicroUsd::from_cents(5_000), Some(MicroUsd(50_000_000)));
        assert_eq!(MicroUsd::from_cents(i64::MAX), None);
        for (micros, cents) in [(0, 0), (9_999, 0), (10_000, 1), (19_999, 1), (-1, -1), (-10_000, -1)] {
            assert_eq!(MicroUsd(micros).to_cents_floor(), cents, "{micros}");
        }
    }

    #[test]
    fn rate_has_one_value_for_both_units() {
        let rate = Rate::from_usd_per_1k(&number("0.0025")).unwrap();
        assert_eq!(rate.pico_usd_per_token(), 2_500_000);
        assert_eq!(Rate::from_usd_per_1m_str("2.50"), Ok(rate));
        assert_eq!(rate.to_usd_per_1k(), 0.0025);
        assert_eq!(rate.to_usd_per_1m(), 2.5);
        assert_eq!(Rate::from_usd_per_1k(&number("1.5e-7")).unwrap().pico_usd_per_token(), 150);
    }

    #[test]
    fn rate_is_never_negative() {
        assert_eq!(Rate::from_usd_per_1k_str("-0.1"), Err(DecimalError::Negative));
        assert!(serde_json::from_str::<Rate>("-1").is_err());
        assert!(Rate::from_usd_per_1k_str("0.0000000001").is_err());
    }

    /// Stored in the journal and in D1: the bare integer, for ever.
    #[test]
    fn stored_format_is_unchanged() {
        assert_eq!(serde_json::to_string(&MicroUsd(-42)).unwrap(), "-42");
        assert_eq!(serde_json::from_str::<MicroUsd>("7").unwrap(), MicroUsd(7));
        assert_eq!(serde_json::to_string(&Rate::from_usd_per_1m_str("2.5").unwrap()).unwrap(), "2500000");
    }
}
