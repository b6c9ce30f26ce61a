//! Every name that `wrangler.toml` and the code share, once; but for what objects use, which stands with their protocols.
//! `tests/config.rs` holds them together.

/// The D1 database.
pub const DB: &str = "DB";
/// The KV namespace of caches: safe to lose.
pub const CACHE: &str = "CACHE";
/// The Vectorize index; bound only where [`VECTORS`] says so.
pub const VECTORIZE: &str = "VECTORIZE";
/// Variable: where vectors are kept, `embedded` (in objects, the default) or `vectorize`.
pub const VECTORS: &str = "VECTORS";
/// Variable: `sandbox` or `live`.
pub const MODE: &str = "MODE";
/// Variable: `true` lets upstreams and other user-given addresses point at this machine.
pub const ALLOW_LOOPBACK: &str = "ALLOW_LOOPBACK";
/// Variable: what a provisioned account starts with, in US dollars.
pub const FREE_BALANCE_USD: &str = "FREE_BALANCE_USD";
/// Variable: what the deployment's own account starts with, in US dollars.
pub const HOUSE_CREDIT_USD: &str = "HOUSE_CREDIT_USD";
/// Variable: keys one address may provision per hour.
pub const PROVISIONS_PER_HOUR: &str = "PROVISIONS_PER_HOUR";
/// Variable: sign-in links that may be mailed to one address of mail per hour; six times as many for one IP address.
pub const SIGN_INS_PER_HOUR: &str = "SIGN_INS_PER_HOUR";
/// Variable: where mail is posted to, an HTTP API in the manner of `https://api.resend.com/emails`.
pub const MAIL_API_URL: &str = "MAIL_API_URL";
/// Variable: whom mail is from, such as `Guildhall <hello@example.com>`.
pub const MAIL_FROM: &str = "MAIL_FROM";
/// Secret: the key of the mail API.
pub const MAIL_API_KEY: &str = "MAIL_API_KEY";
/// Variable: longest wait for an upstream's first byte, in milliseconds.
pub const FIRST_BYTE_MS: &str = "FIRST_BYTE_MS";
/// Variable: longest silence within an upstream's stream, in milliseconds.
pub const STALL_MS: &str = "STALL_MS";
/// Variable: after how many milliseconds without an answer the next model is asked beside the first; 0 for never.
pub const HEDGE_AFTER_MS: &str = "HEDGE_AFTER_MS";
/// Variable: models that one call asks at one time, at most.
pub const MAX_HEDGED_PROVIDERS: &str = "MAX_HEDGED_PROVIDERS";
/// Variable: stands in for the providers of callers' keys, each at a path of its name; ignored in live mode.
pub const BYOK_BASE_URL: &str = "BYOK_BASE_URL";
/// Secret: the admin token.
pub const ADMIN_TOKEN: &str = "ADMIN_TOKEN";
/// Secret: what readers of `/metrics` must show. Without it, everybody may read.
pub const METRICS_TOKEN: &str = "METRICS_TOKEN";
/// Secret: the pepper of stored key hashes.
pub const KEY_PEPPER: &str = "KEY_PEPPER";
/// Secret: 32 bytes in hex. Seals callers' own secrets and answers that are kept, and makes claim links; opens the provider
/// keys that were stored before there was a vault.
pub const SEAL_KEY: &str = "SEAL_KEY";
/// Secret: opens the vault whenever it is needed. Without it, somebody unlocks the vault by hand.
pub const VAULT_PASSWORD: &str = "VAULT_PASSWORD";
/// Variable: what a guess of the vault's password costs, as `m=<KiB>,t=<passes>,p=<lanes>` of Argon2id.
pub const VAULT_KDF: &str = "VAULT_KDF";

/// Secret: the key for Stripe's API. Without it the sandbox pays by itself and live mode takes no payments.
pub const STRIPE_SECRET_KEY: &str = "STRIPE_SECRET_KEY";
/// Secret: what Stripe signs its events with; several, separated by commas, while one is rolled.
pub const STRIPE_WEBHOOK_SECRETS: &str = "STRIPE_WEBHOOK_SECRETS";
/// Variable: for how many days money that was paid by card cannot be withdrawn.
pub const WITHDRAWAL_HOLD_DAYS: &str = "WITHDRAWAL_HOLD_DAYS";
/// Variable: how many calls' usage rows and receipts are kept.
pub const CALLS_KEPT: &str = "CALLS_KEPT";
/// Variable: where Stripe's API is.
pub const STRIPE_API_URL: &str = "STRIPE_API_URL";
