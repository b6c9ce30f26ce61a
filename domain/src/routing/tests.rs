use super::*;
use crate::money::Rate;

struct Fixture {
    models: Vec<ModelId>,
    provider: ProviderId,
    prices: Vec<Price>,
}

/// Three models that cost $1, $5 and $20 per million tokens.
fn fixture() -> Fixture {
    let rate = |usd: &str| Rate::from_usd_per_1m_str(usd).unwrap();
    Fixture {
        models: ["a", "b", "c"].into_iter().map(|id| id.parse().unwrap()).collect(),
        provider: "p".parse().unwrap(),
        prices: ["1", "5", "20"]
            .into_iter()
            .map(|usd| Price { input: rate(usd), output: rate(usd), ..Price::FREE })
            .collect(),
    }
}

impl Fixture {
    /// The dear models are heavy, and slow.
    fn candidates(&self) -> Vec<Candidate<'_>> {
        (0..3)
            .map(|i| Candidate {
                model: &self.models[i],
                provider: &self.provider,
                is_enabled: true,
                weight: [2, 5, 10][i],
                price: &self.prices[i],
                context_tokens: Some([4_000, 32_000, 128_000][i]),
                latency_ms: [100.0, 400.0, 1_000.0][i],
                failure_rate: 0.0,
                health: Health::Healthy,
            })
            .collect()
    }
}

const USAGE: TokenUsage = TokenUsage { input: 1_000, output: 512, cache_read: 0, cache_write: 0 };

#[test]
fn each_mode_has_its_favourite() {
    let fixture = fixture();
    let candidates = fixture.candidates();
    assert_eq!(rank(Mode::Fast, &USAGE, &candidates), [0, 1, 2]);
    assert_eq!(rank(Mode::Max, &USAGE, &candidates), [2, 1, 0]);
    assert_eq!(rank(Mode::Auto, &USAGE, &candidates)[0], 0);
}

#[test]
fn failures_count() {
    let fixture = fixture();
    let mut candidates = fixture.candidates();
    candidates[2].failure_rate = 0.9;
    candidates[1].weight = 10;
    assert_eq!(rank(Mode::Max, &USAGE, &candidates)[0], 1);
}

#[test]
fn scores_are_the_documented_sum() {
    let fixture = fixture();
    let candidates = fixture.candidates();
    let mut eligible: Vec<Scored> = (0..3)
        .map(|index| Scored { index, cost_pico_usd: candidates[index].price.cost_pico_usd(&USAGE), score: 0.0 })
        .collect();
    score(Mode::Auto.weights(), &mut eligible, &candidates);
    // 0.25·(1/20) + 0.25·(100/1000) + 0 − 0.25·(2/10)
    assert!((eligible[0].score - (0.0125 + 0.025 - 0.05)).abs() < 1e-12);
    assert!((eligible[2].score - (0.25 + 0.25 - 0.25)).abs() < 1e-12);
}

#[test]
fn only_the_eligible_are_ranked() {
    let fixture = fixture();
    let mut candidates = fixture.candidates();
    // 3,500 + 15 % is 4,025.
    let long = TokenUsage { input: 3_500, ..USAGE };
    assert!(!rank(Mode::Auto, &long, &candidates).contains(&0));
    let fits = TokenUsage { input: 3_478, ..USAGE };
    assert!(rank(Mode::Auto, &fits, &candidates).contains(&0));
    candidates[0].context_tokens = None;
    assert!(rank(Mode::Auto, &long, &candidates).contains(&0));
    candidates[0].is_enabled = false;
    candidates[1].health = Health::Down;
    assert_eq!(rank(Mode::Auto, &USAGE, &candidates), [2]);
    candidates[2].health = Health::RateLimited;
    assert!(rank(Mode::Auto, &USAGE, &candidates).is_empty());
    candidates[1].health = Health::Degraded;
    assert_eq!(rank(Mode::Auto, &USAGE, &candidates), [1]);
}

#[test]
fn equals_are_ordered_by_name() {
    let fixture = fixture();
    let mut candidates = fixture.candidates();
    for candidate in &mut candidates {
        *candidate = Candidate { model: candidate.model, ..fixture.candidates()[1] };
    }
    assert_eq!(rank(Mode::Auto, &USAGE, &candidates), [0, 1, 2]);
    candidates.reverse();
    assert_eq!(rank(Mode::Auto, &USAGE, &candidates), [2, 1, 0]);
}

#[test]
fn modes_have_names() {
    for mode in [Mode::Auto, Mode::Fast, Mode::Max] {
        assert_eq!(mode.as_str().parse(), Ok(mode));
        assert_eq!(serde_json::to_value(mode).unwrap(), mode.as_str());
    }
    assert_eq!("gpt-4o".parse::<Mode>(), Err(()));
}
