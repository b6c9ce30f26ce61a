//! What a key may do, as those write it who look after it: checked field by field.

use guildhall_domain::duration::parse_duration;
use guildhall_domain::money::MicroUsd;
use guildhall_domain::time::parse_rfc3339;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::fields::{NON_NEGATIVE as DIGITS, read_name, read_usd};
use crate::auth::scope::Scope;
use crate::error::ApiError;
use crate::store::identity::keys::update_key;
use crate::store::statement::{Changed, Query};

/// Scopes, as they are read.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "Scopes")]
#[expect(dead_code, reason = "only its schema is used")]
enum ScopesSchema {
    /// The scopes.
    List(Vec<String>),
    /// JSON of such an array.
    Text(String),
}

/// What a key may do, or parts of it; what is left out stays, or takes its default in a new key.
#[derive(Deserialize, JsonSchema)]
pub struct KeyFields {
    /// Its name; needed for a new key.
    #[schemars(with = "Option<String>")]
    name: Option<Value>,
    /// What it may do: a JSON array, or the text of one. `[]` or an empty text means everything.
    #[schemars(with = "Option<ScopesSchema>")]
    scopes: Option<Value>,
    /// Days after its last rotation from which it is refused; 0 for never.
    #[schemars(with = "Option<u32>")]
    rotation_days: Option<Value>,
    /// How long it lives from now, such as `720h` or `1h30m`; an empty text for ever.
    #[schemars(with = "Option<String>")]
    expires_in: Option<Value>,
    /// When it expires (RFC 3339), instead of `expires_in`.
    #[schemars(with = "Option<String>")]
    expires_at: Option<Value>,
    /// What it may spend in a UTC month, in US dollars; 0 for no budget. What the month has spent already counts.
    #[schemars(with = "Option<f64>")]
    monthly_budget_usd: Option<Value>,
    /// Its own limit of requests a minute; 0 for the account's.
    #[schemars(with = "Option<u32>")]
    requests_per_minute: Option<Value>,
    /// Its own limit of requests an hour; 0 for the account's.
    #[schemars(with = "Option<u32>")]
    requests_per_hour: Option<Value>,
    /// Its own limit of calls at once; 0 for the account's.
    #[schemars(with = "Option<u32>")]
    concurrent: Option<Value>,
    /// Whether it is let in.
    #[schemars(with = "Option<bool>")]
    enabled: Option<Value>,
}

const ROTATION_MAX_DAYS: i64 = 36_500;
const RATE_MAX: i64 = 1_000_000;

impl KeyFields {
    /// Whether no name is given.
    #[must_use]
    pub fn is_nameless(&self) -> bool {
        self.name.as_ref().is_none_or(|name| name.as_str().is_some_and(|name| name.trim().is_empty()))
    }
}

/// What is to be set of a key; 0 empties what may be empty.
#[derive(Default)]
pub struct KeyPatch {
    name: Option<String>,
    scopes: Option<String>,
    status: Option<&'static str>,
    expires_at_ms: Option<i64>,
    rotation_days: Option<i64>,
    monthly_budget_micros: Option<i64>,
    rate_limit_rps: Option<i64>,
    requests_per_minute: Option<i64>,
    requests_per_hour: Option<i64>,
    concurrent: Option<i64>,
    /// The owner's own, as a JSON object.
    pub metadata: Option<String>,
}

impl KeyPatch {
    /// Reads what is given.
    ///
    /// # Errors
    /// 400 that names the field.
    pub fn read(fields: &KeyFields, now_ms: i64) -> Result<Self, ApiError> {
        let limit = |field, value: &Option<Value>| read_integer(field, value.as_ref(), 0..=i64::from(u32::MAX), DIGITS);
        let no_flag = || ApiError::invalid("enabled", "enabled must be a boolean");
        let enabled = fields.enabled.as_ref().map(|value| value.as_bool().ok_or_else(no_flag)).transpose()?;
        let budget = fields.monthly_budget_usd.as_ref();
        let budget = budget.map(|budget| read_usd("monthly_budget_usd", budget)).transpose()?;
        Ok(Self {
            name: fields.name.as_ref().map(read_name).transpose()?,
            scopes: fields.scopes.as_ref().map(read_scopes).transpose()?,
            status: enabled.map(|enabled| if enabled { "active" } else { "disabled" }),
            expires_at_ms: read_expiry(fields.expires_in.as_ref(), fields.expires_at.as_ref(), now_ms)?,
            rotation_days: read_integer("rotation_days", fields.rotation_days.as_ref(), 0..=ROTATION_MAX_DAYS, DIGITS)?,
            monthly_budget_micros: budget.map(|budget| budget.0),
            rate_limit_rps: None,
            requests_per_minute: limit("requests_per_minute", &fields.requests_per_minute)?,
            requests_per_hour: limit("requests_per_hour", &fields.requests_per_hour)?,
            concurrent: limit("concurrent", &fields.concurrent)?,
            metadata: None,
        })
    }

    /// The name; empty when none is given.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// Reads the requests a second, which only the administrator sets.
    ///
    /// # Errors
    /// 400 that names the field.
    pub fn read_rate(&mut self, rate: Option<&Value>) -> Result<(), ApiError> {
        let text = "must be -1 (unlimited), 0 (the default) or a positive number";
        self.rate_limit_rps = read_integer("rate_limit_rps", rate, -1..=RATE_MAX, text)?;
        Ok(())
    }

    /// The scopes, as a JSON array.
    #[must_use]
    pub fn scopes(&self) -> Option<&str> {
        self.scopes.as_deref()
    }

    /// The scopes of a new key, which are these unless others are given.
    pub fn new_scopes(&mut self, standard: &str) -> &str {
        self.scopes.get_or_insert_with(|| standard.to_owned())
    }

    /// When it expires; 0 for never.
    #[must_use]
    pub const fn expires_at_ms(&self) -> Option<i64> {
        self.expires_at_ms
    }

    /// When a new key expires, which is then unless it is said.
    pub fn new_expiry(&mut self, standard_ms: Option<i64>) {
        self.expires_at_ms = self.expires_at_ms.or(standard_ms);
    }

    /// The limits of its own, by name.
    #[must_use]
    pub const fn limits(&self) -> [(&'static str, Option<i64>); 3] {
        [
            ("requests_per_minute", self.requests_per_minute),
            ("requests_per_hour", self.requests_per_hour),
            ("concurrent", self.concurrent),
        ]
    }

    /// Whether the key is to be let in, or not any more.
    #[must_use]
    pub fn enabled(&self) -> Option<bool> {
        self.status.map(|status| status == "active")
    }

    /// The write that sets it.
    #[must_use]
    pub fn write(&self, account_id: &str, id: &str) -> Query<Changed> {
        update_key(
            account_id,
            id,
            self.name.as_deref(),
            self.scopes.as_deref(),
            self.status,
            self.expires_at_ms,
            self.rotation_days,
            self.monthly_budget_micros,
            self.rate_limit_rps,
            self.requests_per_minute,
            self.requests_per_hour,
            self.concurrent,
            self.metadata.as_deref(),
        )
    }
}

/// The scopes as the text of a JSON array, each once.
fn read_scopes(scopes: &Value) -> Result<String, ApiError> {
    let invalid = |text: &str| ApiError::invalid("scopes", text);
    let not_array = || invalid("scopes must be a valid JSON array");
    let names: Vec<String> = match scopes {
        Value::String(text) if text.trim().is_empty() => Vec::new(),
        Value::String(text) => serde_json::from_str(text).map_err(|_| not_array())?,
        Value::Array(_) => serde_json::from_value(scopes.clone()).map_err(|_| not_array())?,
        _ => return Err(invalid("scopes must be a JSON array string")),
    };
    let known = Scope::GRANTABLE.map(Scope::name);
    let mut kept: Vec<&str> = Vec::new();
    for name in &names {
        let scope = known.iter().find(|known| *known == name).ok_or_else(|| {
            let known = known.join(", ");
            ApiError::invalid("scopes", format!("scopes: {name:?} is no scope; they are {known}"))
        })?;
        if !kept.contains(scope) {
            kept.push(scope);
        }
    }
    serde_json::to_string(&kept).map_err(ApiError::internal)
}

/// When it expires; 0 for never, `None` when nothing is said.
fn read_expiry(in_value: Option<&Value>, at_value: Option<&Value>, now_ms: i64) -> Result<Option<i64>, ApiError> {
    let no_duration = || ApiError::invalid("expires_in", "invalid expires_in duration");
    let no_time = || ApiError::invalid("expires_at", "expires_at must be an RFC 3339 time in the future");
    let in_text = in_value.map(|text| text.as_str().ok_or_else(no_duration)).transpose()?.unwrap_or_default();
    let at_text = at_value.map(|text| text.as_str().ok_or_else(no_time)).transpose()?.unwrap_or_default();
    match (in_text, at_text) {
        ("", "") => Ok((in_value.is_some() || at_value.is_some()).then_some(0)),
        (text, "") => {
            let lives_ms = parse_duration(text).filter(|ms| *ms > 0).ok_or_else(no_duration)?;
            now_ms.checked_add(lives_ms).map(Some).ok_or_else(no_duration)
        }
        ("", text) => parse_rfc3339(text).filter(|at_ms| *at_ms > now_ms).map(Some).ok_or_else(no_time),
        _ => Err(ApiError::invalid("expires_at", "give expires_in or expires_at, not both")),
    }
}

/// A whole number within bounds, if one is given; `3.0` is one too.
fn read_integer(
    field: &'static str,
    value: Option<&Value>,
    bounds: std::ops::RangeInclusive<i64>,
    text: &str,
) -> Result<Option<i64>, ApiError> {
    let invalid = || ApiError::invalid(field, format!("{field} {text}"));
    let Some(value) = value else { return Ok(None) };
    let Value::Number(number) = value else { return Err(invalid()) };
    // Exact decimals of dollars read any whole number, however JSON spells it.
    let micros = MicroUsd::from_usd(number).map_err(|_| invalid())?.0;
    let whole = Some(micros / 1_000_000).filter(|_| micros % 1_000_000 == 0).ok_or_else(invalid)?;
    if whole > *bounds.end() {
        return Err(ApiError::invalid(field, format!("{field} must be at most {}", bounds.end())));
    }
    if bounds.contains(&whole) { Ok(Some(whole)) } else { Err(invalid()) }
}
