//! Receipts: what a charge can be recomputed from.

use guildhall_domain::media::Quantity;
use guildhall_domain::money::{MicroUsd, Rate};
use guildhall_domain::own::OWN_PERCENT;
use guildhall_domain::pricing::Unit;
use serde::Serialize;

use super::table::Offer;

/// As records keep it.
#[must_use]
pub fn write_receipt(receipt: &impl Serialize) -> String {
    // None of these types can fail to be written.
    serde_json::to_string(receipt).unwrap_or_default()
}

/// The receipt of a call that an upstream worked for, or none did.
#[derive(Serialize)]
pub struct Receipt<'c> {
    /// Which rule of `docs/MONEY.md` says what is charged.
    pub rule: &'static str,
    /// What was used.
    pub usage: ReceiptUsage,
    /// At which price; none where nobody was asked.
    pub price: Option<ReceiptPrice<'c>>,
    /// What was set aside.
    pub held_micros: MicroUsd,
    /// What the use costs.
    pub cost_micros: MicroUsd,
    /// How many models were asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<usize>,
    /// At an upstream of the caller's own.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub own: Option<OwnShare>,
}

/// What an upstream of the caller's own leaves to be charged.
#[derive(Serialize)]
pub struct OwnShare {
    baseline_micros: MicroUsd,
    percent_of_baseline: i64,
}

impl OwnShare {
    /// Of what the platform's own upstream would have cost.
    #[must_use]
    pub const fn of(baseline: MicroUsd) -> Self {
        Self { baseline_micros: baseline, percent_of_baseline: OWN_PERCENT }
    }
}

/// The receipt of a call that a kept answer answered.
#[derive(Serialize)]
pub struct CacheReceipt {
    /// `cache`.
    pub rule: &'static str,
    /// Which cache.
    pub tier: &'static str,
    /// How old the answer is.
    pub age_ms: i64,
    /// What it took when it was made.
    pub usage: ReceiptUsage,
    /// What was set aside.
    pub held_micros: MicroUsd,
    /// Nothing.
    pub cost_micros: MicroUsd,
    /// What it cost when it was made.
    pub baseline_micros: MicroUsd,
    /// None.
    pub attempts: usize,
}

/// How much was used.
#[derive(Serialize)]
#[serde(untagged)]
pub enum ReceiptUsage {
    /// What is counted in tokens.
    Tokens {
        /// Those that no cache had.
        input: u64,
        /// Of the answer.
        output: u64,
        /// Read from the provider's cache.
        cache_read: u64,
        /// Written to it.
        cache_write: u64,
    },
    /// What is counted in steps of a unit.
    Steps {
        /// So many.
        steps: u64,
    },
}

impl From<Quantity> for ReceiptUsage {
    fn from(quantity: Quantity) -> Self {
        match quantity {
            Quantity::Tokens(usage) => Self::Tokens {
                input: usage.input,
                output: usage.output,
                cache_read: usage.cache_read,
                cache_write: usage.cache_write,
            },
            Quantity::Steps(steps) => Self::Steps { steps },
        }
    }
}

/// At which price.
#[derive(Serialize)]
pub struct ReceiptPrice<'c> {
    /// The model whose price it is.
    pub model: &'c str,
    /// Which of its prices.
    pub version: i64,
    /// The rates.
    #[serde(flatten)]
    pub rates: ReceiptRates,
}

/// The rates of a price, in pico-dollars.
#[derive(Serialize)]
#[serde(untagged)]
pub enum ReceiptRates {
    /// Of tokens.
    PerToken {
        /// Those that no cache had.
        input_pico_usd_per_token: i64,
        /// Of the answer.
        output_pico_usd_per_token: i64,
        /// Read from the provider's cache; none where they cost as the others.
        cache_read_pico_usd_per_token: Option<i64>,
        /// Written to it; none where they cost as the others.
        cache_write_pico_usd_per_token: Option<i64>,
    },
    /// Of units.
    PerUnit {
        /// Which.
        unit: Unit,
        /// Each.
        pico_usd_per_unit: i64,
    },
}

impl ReceiptRates {
    /// A price by the unit.
    #[must_use]
    pub const fn per_unit(unit: Unit, rate: Rate) -> Self {
        Self::PerUnit { unit, pico_usd_per_unit: rate.pico_usd_per_token() }
    }
}

impl<'c> ReceiptPrice<'c> {
    /// What an offer costs.
    #[must_use]
    pub fn of(offer: &'c Offer) -> Self {
        let rates = match &offer.unit_price {
            Some(price) => ReceiptRates::per_unit(price.unit, price.rate),
            None => ReceiptRates::PerToken {
                input_pico_usd_per_token: offer.price.input.pico_usd_per_token(),
                output_pico_usd_per_token: offer.price.output.pico_usd_per_token(),
                cache_read_pico_usd_per_token: offer.price.cache_read.map(Rate::pico_usd_per_token),
                cache_write_pico_usd_per_token: offer.price.cache_write.map(Rate::pico_usd_per_token),
            },
        };
        Self {
            model: offer.priced_as.as_ref().unwrap_or(&offer.model_id).as_str(),
            version: offer.price_version,
            rates,
        }
    }
}
