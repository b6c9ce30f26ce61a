use super::*;
use crate::ids::{ModelId, ProviderId};
use crate::money::{MicroUsd, Rate};
use crate::own::Origin;
use crate::pricing::{Price, TokenUsage};

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
                origin: Origin::Platform,
                is_enabled: true,
                weight: [2, 5, 10][i],
                price: &self.prices[i],
                context_tokens: Some([4_000, 32_000, 128_000][i]),
                latency_ms: [100.0, 400.0, 1_000.0][i],
                failure_rate: 0.0,
                health: Health::Healthy,
                arm: Arm::default(),
                is_warm: false,
            })
            .collect()
    }
}

const USAGE: TokenUsage = TokenUsage { input: 1_000, output: 512, cache_read: 0, cache_write: 0 };

fn wish(mode: Mode, expected: &TokenUsage) -> Wish<'_> {
    Wish { mode, limits: Limits::default(), expected, hint: None, ignore_health: false }
}

fn order(decision: &Decision) -> Vec<usize> {
    decision.ranked.iter().map(|ranked| ranked.index).collect()
}

fn rank(mode: Mode, expected: &TokenUsage, candidates: &[Candidate<'_>]) -> Vec<usize> {
    order(&decide(&wish(mode, expected), candidates, &mut || 0.5))
}

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
    let decision = decide(&wish(Mode::Auto, &USAGE), &candidates, &mut || 0.5);
    let score = |index| decision.ranked.iter().find(|ranked| ranked.index == index).unwrap().score;
    // 0.25·(1/20) + 0.25·(100/1000) + 0 − 0.25·(2/10)
    assert!((score(0) - (0.0125 + 0.025 - 0.05)).abs() < 1e-12);
    assert!((score(2) - (0.25 + 0.25 - 0.25)).abs() < 1e-12);
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
fn cheap_is_cheap_and_confidence_is_heavy() {
    let fixture = fixture();
    let candidates = fixture.candidates();
    assert_eq!(rank(Mode::Cheap, &USAGE, &candidates)[0], 0);
    for mode in [Mode::HighConfidence, Mode::Planning, Mode::Adversarial] {
        assert_eq!(rank(mode, &USAGE, &candidates)[0], 2, "{mode:?}");
    }
}

#[test]
fn limits_are_limits() {
    let fixture = fixture();
    let candidates = fixture.candidates();
    let with = |limits: Limits| {
        let decision = decide(&Wish { limits, ..wish(Mode::Auto, &USAGE) }, &candidates, &mut || 0.5);
        let skipped: Vec<_> = decision.skipped.iter().map(|s| (s.index, s.reason)).collect();
        (order(&decision), skipped)
    };
    // 1,512 tokens at $1, $5 and $20 a million.
    let limits = Limits { max_cost: Some(MicroUsd(7_560)), ..Limits::default() };
    assert_eq!(with(limits), (vec![0, 1], vec![(2, SkipReason::BudgetExceeded)]));
    let limits = Limits { max_cost: Some(MicroUsd(1_511)), ..Limits::default() };
    assert_eq!(with(limits).0, Vec::<usize>::new());
    let limits = Limits { min_weight: 5, ..Limits::default() };
    assert_eq!(with(limits).1, [(0, SkipReason::WeightBelowMinimum)]);
    let limits = Limits { max_latency_ms: Some(400), ..Limits::default() };
    assert_eq!(with(limits).1, [(2, SkipReason::LatencyExceeded)]);
}

#[test]
fn each_obstacle_has_its_name() {
    let fixture = fixture();
    let mut candidates = fixture.candidates();
    candidates[0].is_enabled = false;
    candidates[1].health = Health::Down;
    let long = TokenUsage { input: 200_000, ..USAGE };
    let reasons = |decision: Decision| decision.skipped.iter().map(|s| s.reason.as_str()).collect::<Vec<_>>();
    let decision = decide(&wish(Mode::Auto, &USAGE), &candidates, &mut || 0.5);
    assert_eq!(reasons(decision), ["disabled", "health_down"]);
    let decision = decide(&wish(Mode::Auto, &long), &candidates, &mut || 0.5);
    assert_eq!(reasons(decision), ["disabled", "context_overflow", "context_overflow"]);
    let hopeful = Wish { ignore_health: true, ..wish(Mode::Auto, &USAGE) };
    assert_eq!(order(&decide(&hopeful, &candidates, &mut || 0.5)).len(), 2);
}

#[test]
fn a_hint_leads_if_it_is_eligible() {
    let fixture = fixture();
    let mut candidates = fixture.candidates();
    let hinted = Wish { hint: Some("c"), ..wish(Mode::Cheap, &USAGE) };
    let decision = decide(&hinted, &candidates, &mut || 0.5);
    assert_eq!(order(&decision), [2, 0, 1]);
    assert!(decision.ranked[0].is_hint);
    candidates[2].health = Health::Down;
    assert_eq!(order(&decide(&hinted, &candidates, &mut || 0.5)), [0, 1]);
}

#[test]
fn what_is_the_callers_own_goes_first_at_its_part_of_the_price() {
    let fixture = fixture();
    let mut candidates = fixture.candidates();
    let plain = decide(&wish(Mode::Cheap, &USAGE), &candidates[..2], &mut || 0.5);
    candidates[2].origin = Origin::Endpoint;
    let hinted = Wish { hint: Some("b"), ..wish(Mode::Cheap, &USAGE) };
    let decision = decide(&hinted, &candidates, &mut || 0.5);
    assert_eq!(order(&decision), [2, 1, 0]);
    // 1,512 tokens at $20 a million, five percent of it.
    assert_eq!(decision.ranked[0].cost, MicroUsd(1_512));
    // The others compare as they did without it.
    let decision = decide(&wish(Mode::Cheap, &USAGE), &candidates, &mut || 0.5);
    assert_eq!(decision.ranked[1..], plain.ranked);
    candidates[1].origin = Origin::Key;
    assert_eq!(rank(Mode::Cheap, &USAGE, &candidates), [2, 1, 0]);
    let limits = Limits { max_cost: Some(MicroUsd(1_512)), ..Limits::default() };
    let decision = decide(&Wish { limits, ..wish(Mode::Max, &USAGE) }, &candidates, &mut || 0.5);
    assert_eq!(order(&decision), [2, 1, 0]);
}

#[test]
fn thompson_prefers_what_served_well() {
    let fixture = fixture();
    let mut candidates = fixture.candidates();
    candidates[0].arm = Arm { reward_sum: 5.0, count: 100.0 };
    candidates[1].arm = Arm { reward_sum: 90.0, count: 100.0 };
    candidates[2].arm = Arm { reward_sum: 30.0, count: 100.0 };
    let mut state = 7_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let firsts = (0..200).filter(|_| order(&decide(&wish(Mode::Thompson, &USAGE), &candidates, &mut uniform))[0] == 1);
    assert!(firsts.count() > 195);
}

#[test]
fn a_warm_provider_is_preferred_among_the_likes_of_it_and_never_against_limits() {
    let fixture = fixture();
    let mut candidates = fixture.candidates();
    candidates[1].is_warm = true;
    assert_eq!(rank(Mode::Auto, &USAGE, &candidates)[0], 1, "the dearer one has the prompt");
    let decision = decide(&wish(Mode::Auto, &USAGE), &candidates, &mut || 0.5);
    assert!(decision.ranked[0].is_warm && !decision.ranked[1].is_warm);
    assert_eq!(rank(Mode::Max, &USAGE, &candidates)[0], 2, "a clear preference is stronger");
    let hint = Wish { hint: Some("a"), ..wish(Mode::Auto, &USAGE) };
    assert_eq!(order(&decide(&hint, &candidates, &mut || 0.5))[0], 0, "so is a choice");
    candidates[1].health = Health::Down;
    assert_eq!(rank(Mode::Auto, &USAGE, &candidates), [0, 2], "so is health");
    candidates[1].health = Health::Healthy;
    let limits = Limits { min_weight: 6, ..Limits::default() };
    assert_eq!(order(&decide(&Wish { limits, ..wish(Mode::Auto, &USAGE) }, &candidates, &mut || 0.5)), [2]);
}
