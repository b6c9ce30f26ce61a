//! What a payment's wallet is to have of it, from the facts that Stripe told, in whatever order they came.

use crate::money::MicroUsd;

/// What is known of a payment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What the wallet gets for it.
    pub credit: MicroUsd,
    /// What the customer paid, fee included.
    pub total: MicroUsd,
    /// Whether the money came.
    pub is_paid: bool,
    /// What went back by refunds, of the total.
    pub refunded: MicroUsd,
    /// What disputes that are open or lost took back, of the total.
    pub disputed: MicroUsd,
}

impl Facts {
    /// What of the credit is to be gone again: its share of what went back, rounded down, and all of it when everything
    /// went back.
    #[must_use]
    pub fn to_reverse(&self) -> MicroUsd {
        if !self.is_paid || self.total <= MicroUsd::ZERO {
            return MicroUsd::ZERO;
        }
        // A refund of a disputed payment may count twice at Stripe; the wallet gave it once.
        let back = i128::from(self.refunded.0.max(0)) + i128::from(self.disputed.0.max(0));
        let back = back.min(i128::from(self.total.0));
        let share = i128::from(self.credit.0) * back / i128::from(self.total.0);
        MicroUsd(i64::try_from(share).unwrap_or(self.credit.0))
    }
}

/// How a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nobody knows yet.
    Pending,
    /// The money came.
    Paid,
    /// It did not come.
    Failed,
    /// The customer did not pay in time.
    Expired,
}

impl Status {
    /// As rows say it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Paid => "paid",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }

    /// Reads a row.
    #[must_use]
    pub fn read(name: &str) -> Self {
        match name {
            "paid" => Self::Paid,
            "failed" => Self::Failed,
            "expired" => Self::Expired,
            _ => Self::Pending,
        }
    }
}

/// What the owner is told: the status, and what became of the money afterwards.
#[must_use]
pub fn shown_status(status: Status, facts: &Facts, has_open_dispute: bool) -> &'static str {
    match status {
        Status::Paid if has_open_dispute => "disputed",
        Status::Paid if facts.to_reverse() >= facts.credit && facts.credit > MicroUsd::ZERO => "refunded",
        Status::Paid if facts.to_reverse() > MicroUsd::ZERO => "partially_refunded",
        other => other.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn usd(dollars: i64) -> MicroUsd {
        MicroUsd(dollars * 1_000_000)
    }

    fn paid(credit: i64, total_cents: i64, refunded_cents: i64, disputed_cents: i64) -> Facts {
        Facts {
            credit: usd(credit),
            total: MicroUsd(total_cents * 10_000),
            is_paid: true,
            refunded: MicroUsd(refunded_cents * 10_000),
            disputed: MicroUsd(disputed_cents * 10_000),
        }
    }

    #[test]
    fn the_share_of_what_went_back_is_reversed() {
        assert_eq!(paid(10, 1_000, 0, 0).to_reverse(), usd(0));
        assert_eq!(paid(10, 1_000, 400, 0).to_reverse(), usd(4));
        // $10 cost $10.80: half of that back is half of the credit.
        assert_eq!(paid(10, 1_080, 540, 0).to_reverse(), usd(5));
        assert_eq!(paid(10, 1_080, 1_080, 0).to_reverse(), usd(10));
        assert_eq!(paid(10, 1_080, 1, 0).to_reverse(), MicroUsd(9_259), "rounded for the customer");
    }

    #[test]
    fn no_more_is_reversed_than_was_given() {
        assert_eq!(paid(10, 1_000, 600, 1_000).to_reverse(), usd(10));
        assert_eq!(Facts { is_paid: false, ..paid(10, 1_000, 1_000, 0) }.to_reverse(), usd(0));
        assert_eq!(Facts { total: usd(0), credit: usd(0), ..paid(0, 0, 0, 0) }.to_reverse(), usd(0));
    }

    #[test]
    fn what_is_shown_follows_the_money() {
        assert_eq!(shown_status(Status::Paid, &paid(10, 1_000, 0, 0), false), "paid");
        assert_eq!(shown_status(Status::Paid, &paid(10, 1_000, 1, 0), false), "partially_refunded");
        assert_eq!(shown_status(Status::Paid, &paid(10, 1_000, 1_000, 0), false), "refunded");
        assert_eq!(shown_status(Status::Paid, &paid(10, 1_000, 0, 1_000), true), "disputed");
        assert_eq!(shown_status(Status::Failed, &paid(10, 1_000, 0, 0), false), "failed");
        for status in [Status::Pending, Status::Paid, Status::Failed, Status::Expired] {
            assert_eq!(Status::read(status.name()), status);
        }
    }
}
