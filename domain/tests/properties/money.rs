//! Money is exact, and a charge is never less than its parts would justify.

use guildhall_domain::money::{MicroUsd, Rate};
use guildhall_domain::pricing::{Price, TokenUsage};
use proptest::prelude::*;

prop_compose! {
    fn price()(input in 0..100_000_000_i64, output in 0..100_000_000_i64, read in prop::option::of(0..100_000_000_i64)) -> Price {
        let rate = |pico_usd| Rate::from_pico_usd_per_token(pico_usd).unwrap();
        Price { input: rate(input), output: rate(output), cache_read: read.map(rate), cache_write: None }
    }
}

prop_compose! {
    fn usage()(input in 0..1_000_000_u64, output in 0..1_000_000_u64, cached in 0..2_000_000_u64) -> TokenUsage {
        TokenUsage { input, output, cache_read: cached, cache_write: 0 }
    }
}

proptest! {
    #[test]
    fn amounts_survive_their_text(micros: i64) {
        prop_assert_eq!(MicroUsd::from_usd_str(&MicroUsd(micros).to_usd_string()), Ok(MicroUsd(micros)));
    }

    #[test]
    fn amounts_survive_json_floats(micros in -4_000_000_000_000_000..4_000_000_000_000_000_i64) {
        let number = serde_json::Number::from_f64(MicroUsd(micros).to_usd()).unwrap();
        prop_assert_eq!(MicroUsd::from_usd(&number), Ok(MicroUsd(micros)));
    }

    #[test]
    fn rates_are_read_exactly(pico_usd in 0..=i64::MAX) {
        let rate = Rate::from_pico_usd_per_token(pico_usd);
        let per_1k = format!("{}.{:09}", pico_usd / 1_000_000_000, pico_usd % 1_000_000_000);
        let per_1m = format!("{}.{:06}", pico_usd / 1_000_000, pico_usd % 1_000_000);
        prop_assert_eq!(&Rate::from_usd_per_1k_str(&per_1k), &rate);
        prop_assert_eq!(&Rate::from_usd_per_1m_str(&per_1m), &rate);
    }

    #[test]
    fn a_charge_is_the_exact_cost_rounded_up(price in price(), usage in usage()) {
        let charged = i128::from(price.cost(&usage).0) * 1_000_000;
        let exact = price.cost_pico_usd(&usage);
        prop_assert!(exact <= charged && charged - exact < 1_000_000);
    }

    #[test]
    fn more_tokens_never_cost_less_and_splitting_never_helps(price in price(), a in usage(), b in usage()) {
        let a = TokenUsage { cache_read: 0, ..a };
        let b = TokenUsage { cache_read: 0, ..b };
        let both = TokenUsage { input: a.input + b.input, output: a.output + b.output, ..a };
        let together = price.cost(&both);
        prop_assert!(together >= price.cost(&a));
        prop_assert!(together <= price.cost(&a).checked_add(price.cost(&b)).unwrap());
    }
}
