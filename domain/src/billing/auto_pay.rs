//! Auto pay, which `ToolRouter` calls auto reload: when it charges, and when it rests.

use crate::money::MicroUsd;

/// The balance that makes it charge, until the owner says another.
pub const THRESHOLD_DEFAULT: MicroUsd = MicroUsd(5_000_000);
/// What it charges, until the owner says another.
pub const AMOUNT_DEFAULT: MicroUsd = MicroUsd(20_000_000);
/// The least and the most that it charges.
pub const AMOUNT_RANGE: (MicroUsd, MicroUsd) = (MicroUsd(1_000_000), MicroUsd(500_000_000));
/// The highest threshold.
pub const THRESHOLD_MAX: MicroUsd = MicroUsd(500_000_000);
/// Charges within 24 hours at most: whoever has one of the account's keys does not empty the card in a night.
pub const DAY_MAX: i64 = 24;
/// Declines in a row after which only the owner can set it going again.
pub const DECLINES_MAX: i64 = 3;
/// How long it rests after a decline: an hour, then two.
const REST_MS: i64 = 3_600_000;

/// What one account's auto pay knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoPay {
    /// Whether the owner wants it.
    pub is_enabled: bool,
    /// Whether there is a card.
    pub has_card: bool,
    /// Declines in a row.
    pub declines: i64,
    /// When it last rested until; 0 when never.
    pub rests_until_ms: i64,
}

/// Whether it may charge now, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It may.
    Ready,
    /// It is off, or has no card.
    Off,
    /// The card was declined a moment ago.
    Rests,
    /// The card was declined too often: the owner must act.
    Blocked,
}

impl AutoPay {
    /// Whether it may charge now.
    #[must_use]
    pub const fn readiness(&self, now_ms: i64) -> Readiness {
        if !self.is_enabled || !self.has_card {
            Readiness::Off
        } else if self.declines >= DECLINES_MAX {
            Readiness::Blocked
        } else if now_ms < self.rests_until_ms {
            Readiness::Rests
        } else {
            Readiness::Ready
        }
    }
}

/// How long it rests after so many declines in a row, in milliseconds.
#[must_use]
pub const fn rest_ms(declines: i64) -> i64 {
    REST_MS * if declines < 2 { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: AutoPay = AutoPay { is_enabled: true, has_card: true, declines: 0, rests_until_ms: 0 };

    #[test]
    fn it_charges_when_it_is_on_and_has_a_card() {
        assert_eq!(ON.readiness(1), Readiness::Ready);
        assert_eq!(AutoPay { is_enabled: false, ..ON }.readiness(1), Readiness::Off);
        assert_eq!(AutoPay { has_card: false, ..ON }.readiness(1), Readiness::Off);
    }

    #[test]
    fn a_decline_makes_it_rest_and_three_stop_it() {
        let declined = AutoPay { declines: 1, rests_until_ms: 100, ..ON };
        assert_eq!(declined.readiness(99), Readiness::Rests);
        assert_eq!(declined.readiness(100), Readiness::Ready);
        assert_eq!(AutoPay { declines: 3, ..declined }.readiness(i64::MAX), Readiness::Blocked);
        assert!(rest_ms(1) == 3_600_000 && rest_ms(2) == 2 * rest_ms(1));
    }
}
