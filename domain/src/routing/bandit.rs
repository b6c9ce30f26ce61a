//! Thompson sampling: each model has an arm per size of request, and the arm's rewards say how likely it serves best.

/// What a model earned with requests of one size. Rewards are 0 to 1; a failure earns 0 and counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Arm {
    /// Sum of the rewards.
    pub reward_sum: f64,
    /// How many there were.
    pub count: f64,
}

impl Arm {
    /// A draw from Beta(1 + rewards, 1 + what was missed), the belief after a uniform prior.
    #[must_use]
    #[expect(clippy::float_arithmetic, reason = "a probability")]
    pub fn sample(&self, uniform: &mut dyn FnMut() -> f64) -> f64 {
        let hits = self.reward_sum.clamp(0.0, self.count.max(0.0));
        let won = draw_gamma(hits + 1.0, uniform);
        let lost = draw_gamma(self.count.max(0.0) - hits + 1.0, uniform);
        if won + lost > 0.0 { won / (won + lost) } else { 0.5 }
    }
}

/// The size of a request, by its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenBucket {
    /// Below 1,000 tokens.
    Small,
    /// Up to 10,000 tokens.
    Medium,
    /// More.
    Large,
}

impl TokenBucket {
    /// The size of a request with so many input tokens.
    #[must_use]
    pub const fn of(input_tokens: u64) -> Self {
        match input_tokens {
            0..1_000 => Self::Small,
            1_000..=10_000 => Self::Medium,
            _ => Self::Large,
        }
    }

    /// As records say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
        }
    }
}

/// Draws that are tried at most; each is taken with a chance above 95 %.
const TRIES_MAX: u32 = 64;

/// A draw from Gamma(shape, 1) for a shape of at least 1 (Marsaglia and Tsang, 2000).
#[expect(clippy::float_arithmetic, reason = "a probability")]
fn draw_gamma(shape: f64, uniform: &mut dyn FnMut() -> f64) -> f64 {
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    for _ in 0..TRIES_MAX {
        let x = draw_normal(uniform);
        let v = (1.0 + c * x).powi(3);
        if v <= 0.0 {
            continue;
        }
        let u = uniform().max(f64::MIN_POSITIVE);
        if u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
    d
}

/// A draw from the standard normal distribution (Box and Muller).
#[expect(clippy::float_arithmetic, reason = "a probability")]
fn draw_normal(uniform: &mut dyn FnMut() -> f64) -> f64 {
    let radius = (-2.0 * uniform().max(f64::MIN_POSITIVE).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform()).cos()
}

#[cfg(test)]
#[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "probabilities")]
mod tests {
    use super::*;

    /// A linear congruential generator: the same numbers in every run.
    fn numbers() -> impl FnMut() -> f64 {
        let mut state = 42_u64;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    fn mean(arm: Arm) -> f64 {
        let mut uniform = numbers();
        (0..20_000).map(|_| arm.sample(&mut uniform)).sum::<f64>() / 20_000.0
    }

    #[test]
    fn samples_have_the_mean_of_the_belief() {
        for (reward_sum, count) in [(0.0, 0.0), (8.0, 10.0), (0.0, 10.0), (500.0, 1_000.0), (0.3, 1.0)] {
            let expected = (reward_sum + 1.0) / (count + 2.0);
            let got = mean(Arm { reward_sum, count });
            assert!((got - expected).abs() < 0.01, "{reward_sum}/{count}: {got} for {expected}");
        }
    }

    #[test]
    fn an_arm_that_fails_is_drawn_below_one_that_serves() {
        let (good, bad) = (Arm { reward_sum: 18.0, count: 20.0 }, Arm { reward_sum: 2.0, count: 20.0 });
        let mut uniform = numbers();
        let wins = (0..1_000).filter(|_| good.sample(&mut uniform) > bad.sample(&mut uniform)).count();
        assert!(wins > 990, "{wins}");
    }

    #[test]
    fn a_broken_generator_ends_all_the_same() {
        for constant in [0.0, 1.0, 0.5] {
            let sample = Arm { reward_sum: 3.0, count: 4.0 }.sample(&mut || constant);
            assert!((0.0..=1.0).contains(&sample));
        }
    }

    #[test]
    fn buckets_have_bounds() {
        let names = [0, 999, 1_000, 10_000, 10_001].map(|tokens| TokenBucket::of(tokens).as_str());
        assert_eq!(names, ["small", "small", "medium", "medium", "large"]);
    }
}
