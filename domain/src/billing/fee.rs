//! What a purchase costs beside the credit, and in which amounts money comes in.

use crate::money::MicroUsd;

/// Micro-dollars in a cent, the smallest amount that a card is charged.
const CENT_MICROS: i64 = 10_000;
/// The least fee of `ToolRouter`'s checkout.
const FEE_MIN: MicroUsd = MicroUsd(800_000);
/// Its share of the credit, in thousandths.
const FEE_PER_MILLE: i128 = 55;

/// Which product a payment is made for, and so what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Through a person's session: no fee, at least $5.
    Tokaroo,
    /// Through a `ToolRouter` key: 5.5 %, at least $0.80; at least $1.
    ToolRouter,
    /// Into an agent's wallet: no fee, at least $1.
    Toku,
}

impl Product {
    /// As rows and Stripe's metadata name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tokaroo => "tokaroo",
            Self::ToolRouter => "toolrouter",
            Self::Toku => "toku",
        }
    }

    /// The least that is sold.
    #[must_use]
    pub const fn least(self) -> MicroUsd {
        match self {
            Self::Tokaroo => MicroUsd(5_000_000),
            Self::ToolRouter | Self::Toku => MicroUsd(1_000_000),
        }
    }

    /// The fee of a checkout, in whole cents.
    #[must_use]
    pub fn fee(self, credit: MicroUsd) -> MicroUsd {
        match self {
            Self::Tokaroo | Self::Toku => MicroUsd::ZERO,
            Self::ToolRouter => {
                let cent = i128::from(CENT_MICROS) * 1_000;
                let cents = (i128::from(credit.0.max(0)) * FEE_PER_MILLE + cent - 1) / cent;
                let fee = i64::try_from(cents).unwrap_or(i64::MAX).saturating_mul(CENT_MICROS);
                MicroUsd(fee).max(FEE_MIN)
            }
        }
    }
}

/// The most that one payment brings: Stripe's own limit for a card is $999,999.99; a slip of the keyboard costs less.
pub const PAYMENT_MAX: MicroUsd = MicroUsd(10_000_000_000);

/// An amount in cents; `None` unless it is a whole number of them.
#[must_use]
pub const fn to_cents(amount: MicroUsd) -> Option<i64> {
    if amount.0 % CENT_MICROS == 0 { Some(amount.0 / CENT_MICROS) } else { None }
}

/// So many cents; `None` when they do not fit.
#[must_use]
pub const fn from_cents(cents: i64) -> Option<MicroUsd> {
    MicroUsd::from_cents(cents)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fee(usd: &str) -> String {
        Product::ToolRouter.fee(MicroUsd::from_usd_str(usd).unwrap()).to_usd_string()
    }

    #[test]
    fn the_fee_is_a_share_and_has_a_least() {
        // The seed's own example: $10 costs $10.80.
        assert_eq!((fee("10").as_str(), fee("1").as_str()), ("0.8", "0.8"));
        assert_eq!((fee("100").as_str(), fee("20").as_str()), ("5.5", "1.1"));
        // Rounded up to whole cents.
        assert_eq!(fee("14.6").as_str(), "0.81");
        assert_eq!(Product::Tokaroo.fee(MicroUsd(5_000_000)), MicroUsd::ZERO);
    }

    #[test]
    fn only_whole_cents_are_charged() {
        assert_eq!(to_cents(MicroUsd(5_010_000)), Some(501));
        assert_eq!(to_cents(MicroUsd(5_010_001)), None);
        assert_eq!(from_cents(501), Some(MicroUsd(5_010_000)));
        assert_eq!(from_cents(i64::MAX), None);
    }
}
