//! Which model of which provider serves a request: eligibility, scores, order. One decision for every
//! kind of call, and for the simulation.

mod alias;
mod bandit;
mod decide;
mod health;
mod mode;
mod refusal;
mod upstream_error;

pub use alias::{Alias, AliasError, ResolvedAlias, Sticky, Variant, resolve_alias};
pub use bandit::{Arm, TokenBucket};
pub use decide::{CONTEXT_HEADROOM_PERCENT, Candidate, Decision, Limits, Ranked, SkipReason, Skipped, Wish, decide};
pub use health::{Health, ProviderHealth};
pub use mode::{Mode, ScoreWeights, UnknownMode};
pub use refusal::Refusal;
pub use upstream_error::{ErrorClass, MAX_RETRY_AFTER_MS, classify_error_type, classify_status, parse_retry_after};

/// Largest weight that an administrator can give a model.
pub const MAX_WEIGHT: u8 = 10;

#[cfg(test)]
mod tests;
