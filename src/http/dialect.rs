//! The error dialects, one renderer.

use guildhall_domain::anthropic::error_type;
use guildhall_domain::credential::{KeyPrefix, SESSION_PREFIX};
use serde_json::{Map, Value, json};

use super::output::Output;
use super::route::Access;
use crate::error::{ApiError, Kind};

/// In whose words a route's errors are said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `{"error": "text", "message"?}`: Tokaroo, and so the `OpenAI` surface.
    Tokaroo,
    /// `{"error": {code, type, message, resolution_hint}}`.
    ToolRouter,
    /// Of a path that Tokaroo and `ToolRouter` share: the credential says whose client it is.
    Shared,
    /// `{"error": "text", "details"?}`.
    Toku,
    /// `{"detail": …}`, wrong input as a 422 list.
    FastApi,
    /// `{"error": "text"}` with `TokenHub`'s texts.
    TokenHub,
    /// `{"error": {message, type, param, code}}`.
    OpenAi,
    /// `{"type": "error", "error": {type, message}, "request_id"}`.
    Anthropic,
}

impl Dialect {
    /// The dialect of a path that no route claims.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        if path.starts_with("/admin") {
            Self::TokenHub
        } else if path.starts_with("/api/v1") {
            Self::FastApi
        } else if path.starts_with("/api") {
            Self::Toku
        } else {
            Self::ToolRouter
        }
    }

    /// The words in which a route answers the holder of a credential. Its form alone decides, so that one which has expired
    /// is refused in its client's words too; whoever has none gets `ToolRouter`'s object, with Tokaroo's text beside it.
    #[must_use]
    pub fn spoken_to(self, credential: &str) -> Self {
        let is_tokaroos = |prefix: &str| credential.starts_with(prefix);
        match self {
            Self::Shared if [KeyPrefix::Tokaroo.as_str(), SESSION_PREFIX].into_iter().any(is_tokaroos) => Self::Tokaroo,
            Self::Shared => Self::ToolRouter,
            own => own,
        }
    }

    /// Says the error of a route that is called with this access.
    #[must_use]
    pub fn render(self, access: Access, error: &ApiError, request_id: &str) -> Output {
        let status = match (self, error.kind) {
            (Self::FastApi, Kind::InvalidInput) => 422,
            (_, kind) => kind.status(),
        };
        let mut body = match self {
            Self::Tokaroo => tokaroo(error),
            Self::ToolRouter | Self::Shared => toolrouter(error),
            Self::Toku => json!({ "error": error.message }),
            Self::FastApi => fastapi(error),
            Self::TokenHub => json!({ "error": tokenhub_text(error, access) }),
            Self::OpenAi => openai(error),
            Self::Anthropic => {
                json!({ "type": "error", "error": { "type": error_type(status), "message": error.message },
                    "request_id": request_id })
            }
        };
        if let Value::Object(fields) = &mut body {
            for (name, value) in &error.details {
                fields.insert((*name).to_owned(), value.clone());
            }
            if matches!(error.kind, Kind::Internal) {
                fields.insert("request_id".to_owned(), request_id.into());
            }
        }
        let mut output = Output::json(&body).status(status);
        output.headers.extend(error.headers.iter().cloned());
        if self == Self::Anthropic {
            // Where Anthropic's clients look for it.
            output.headers.push(("request-id", request_id.to_owned()));
        }
        output
    }
}

/// What a spent budget is called: `TokenHub`'s text, for `OpenAI`'s clients too, who may call either.
const BUDGET_TEXT: &str = "monthly budget exceeded";

fn tokaroo(error: &ApiError) -> Value {
    let code = match error.kind {
        Kind::MissingCredential => "Missing Authorization header",
        Kind::BadCredential | Kind::MalformedCredential => "Invalid or expired credential",
        Kind::InsufficientFunds => "billing_required",
        Kind::PaymentFailed => "payment_failed",
        Kind::NoCard => "no_card",
        Kind::RateLimited => "Rate limit exceeded",
        Kind::BudgetExceeded => {
            return json!({ "error": BUDGET_TEXT, "message": error.message, "code": "budget_exceeded" });
        }
        _ => {
            return with_param(json!({ "error": error.message, "message": error.message }), error);
        }
    };
    json!({ "error": code, "message": error.message })
}

fn openai(error: &ApiError) -> Value {
    let (r#type, code) = match error.kind {
        Kind::MissingCredential | Kind::BadCredential | Kind::MalformedCredential | Kind::WrongPassword => {
            ("authentication_error", Some("invalid_api_key"))
        }
        Kind::Forbidden => ("permission_error", None),
        Kind::InsufficientFunds => ("insufficient_quota", Some("insufficient_quota")),
        Kind::BudgetExceeded => ("insufficient_quota", Some("budget_exceeded")),
        Kind::RateLimited => ("rate_limit_error", Some("rate_limit_exceeded")),
        Kind::UpstreamFailed | Kind::Unavailable | Kind::Internal => ("server_error", None),
        _ => ("invalid_request_error", None),
    };
    let told = error.details.iter().find(|(name, _)| *name == "code").map(|(_, code)| code.clone());
    let code = told.unwrap_or_else(|| code.map_or(Value::Null, Value::from));
    json!({ "error": { "message": error.message, "type": r#type, "param": error.param, "code": code } })
}

fn with_param(mut body: Value, error: &ApiError) -> Value {
    if let (Value::Object(fields), Some(param)) = (&mut body, &error.param) {
        fields.insert("param".to_owned(), param.as_str().into());
    }
    body
}

fn toolrouter(error: &ApiError) -> Value {
    let (code, r#type, hint) = match error.kind {
        Kind::InvalidInput => ("INVALID_INPUT", "validation", "Correct the named field and send the request again"),
        Kind::BodyTooLarge => ("BODY_TOO_LARGE", "validation", "Send a smaller body"),
        Kind::MethodNotAllowed => ("METHOD_NOT_ALLOWED", "validation", "Use a method of the Allow header"),
        Kind::Conflict => ("CONFLICT", "validation", "Read the current state and try again"),
        Kind::IdempotencyMismatch => {
            ("IDEMPOTENCY_MISMATCH", "validation", "Use a new Idempotency-Key for another request")
        }
        Kind::Rejected(_) => ("INVALID_INPUT", "validation", "Correct the request as the message says"),
        Kind::MissingCredential => {
            ("AUTH_REQUIRED", "auth", "Send Authorization: Bearer <key>; POST /v1/auth/provision gives a free key")
        }
        Kind::WrongPassword => ("WRONG_PASSWORD", "auth", "Check the password"),
        Kind::BadCredential | Kind::MalformedCredential => {
            ("AUTH_FAILED", "auth", "Check the key, or get one with POST /v1/auth/provision")
        }
        Kind::Forbidden => ("FORBIDDEN", "auth", "Use a credential with the needed scope"),
        Kind::InsufficientFunds => ("INSUFFICIENT_CREDITS", "billing", "Add credits to the account"),
        Kind::PaymentFailed => ("PAYMENT_FAILED", "billing", "Use another card, or ask the bank that issued it"),
        Kind::NoCard => ("NO_CARD", "billing", "Save a card first: POST /v1/billing/checkout or POST /v1/billing/card"),
        Kind::NotFound => ("NOT_FOUND", "not_found", "Check the path and the id; GET /openapi.json lists every route"),
        Kind::RateLimited => ("RATE_LIMIT_EXCEEDED", "rate_limit", "Wait for the seconds of Retry-After"),
        Kind::BudgetExceeded => {
            ("SPENDING_LIMIT_EXCEEDED", "rate_limit", "Raise or reset the limit, or wait for the next month")
        }
        Kind::UpstreamFailed => ("HANDLER_ERROR", "provider", "Try again later"),
        Kind::Unavailable => ("UNAVAILABLE", "provider", "Try again later"),
        Kind::Internal => ("INTERNAL", "provider", "Try again later; tell support the x-request-id"),
    };
    let mut inner = Map::new();
    inner.insert("code".into(), error.code.unwrap_or(code).into());
    inner.insert("type".into(), r#type.into());
    inner.insert("message".into(), error.message.as_str().into());
    inner.insert("resolution_hint".into(), hint.into());
    if let Some(param) = &error.param {
        inner.insert("param".into(), param.as_str().into());
    }
    // Where ToolRouter's clients look for it.
    if let Some((name, url)) = error.details.iter().find(|(name, _)| *name == "claim_url") {
        inner.insert((*name).to_owned(), url.clone());
    }
    // Tokaroo's clients read a text at the top; ToolRouter's read the object. Shared paths serve both.
    json!({ "error": inner, "message": error.message })
}

fn fastapi(error: &ApiError) -> Value {
    if error.kind != Kind::InvalidInput {
        return json!({ "detail": error.message });
    }
    let mut location = vec![Value::from("body")];
    location.extend(error.param.iter().flat_map(|p| p.split('.')).map(Value::from));
    json!({ "detail": [{ "loc": location, "msg": error.message, "type": "value_error" }] })
}

/// `TokenHub` has other texts for keys than for the administrator; a route that is neither's says what it wants itself.
fn tokenhub_text(error: &ApiError, access: Access) -> String {
    let (of_key, of_admin) = (matches!(access, Access::Key(_)), access == Access::Admin);
    let text = match error.kind {
        Kind::MissingCredential if of_key => "authorization required",
        Kind::MalformedCredential if of_key => "invalid api key format",
        Kind::BadCredential if of_key => "invalid api key",
        Kind::MissingCredential if of_admin => "missing admin token",
        Kind::BadCredential | Kind::MalformedCredential if of_admin => "invalid admin token",
        Kind::RateLimited if of_key && error.standing.is_some() => "api key rate limit exceeded",
        // An upstream's limit.
        Kind::RateLimited if of_key => &error.message,
        Kind::RateLimited => "rate limit exceeded",
        Kind::BudgetExceeded => BUDGET_TEXT,
        _ => &error.message,
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use guildhall_domain::money::MicroUsd;

    use super::*;
    use crate::auth::scope::Scope;
    use crate::error::Standing;
    use crate::http::output::Body;
    use crate::meter::payer::BudgetOf;

    fn say(dialect: Dialect, access: Access, error: &ApiError) -> (u16, Value) {
        let output = dialect.render(access, error, "req_1");
        let Body::Whole(body) = output.body else { panic!("no body") };
        (output.status, serde_json::from_slice(&body).unwrap())
    }

    #[test]
    fn tokenhub_has_other_texts_for_keys_than_for_the_administrator() {
        let refused = Standing { limit: 2, remaining: 0, reset_s: 1 };
        for (error, of_key, of_admin) in [
            (ApiError::new(Kind::MissingCredential, ""), "authorization required", "missing admin token"),
            (ApiError::new(Kind::MalformedCredential, ""), "invalid api key format", "invalid admin token"),
            (ApiError::new(Kind::BadCredential, ""), "invalid api key", "invalid admin token"),
            (
                ApiError::new(Kind::RateLimited, "").standing(refused),
                "api key rate limit exceeded",
                "rate limit exceeded",
            ),
            (ApiError::new(Kind::RateLimited, "an upstream's"), "an upstream's", "rate limit exceeded"),
            (ApiError::new(Kind::Forbidden, "insufficient scope"), "insufficient scope", "insufficient scope"),
        ] {
            let status = error.kind.status();
            for (access, text) in [(Access::Key(Scope::Chat), of_key), (Access::Admin, of_admin)] {
                assert_eq!(say(Dialect::TokenHub, access, &error), (status, json!({ "error": text })), "{error:?}");
            }
        }
    }

    #[test]
    fn a_spent_budget_is_its_own_error_in_every_dialect() {
        let error = BudgetOf::Key.exceeded(MicroUsd(5_000_000), MicroUsd(4_999_999));
        let text = "The monthly budget of $5 does not cover this request; $4.999999 is spent";
        let numbers = [("budget_usd", json!(5.0)), ("spent_usd", json!(4.999_999))];
        for (dialect, mut expected) in [
            (Dialect::TokenHub, json!({ "error": "monthly budget exceeded" })),
            (
                Dialect::Tokaroo,
                json!({ "error": "monthly budget exceeded", "message": text, "code": "budget_exceeded" }),
            ),
            (Dialect::Toku, json!({ "error": text })),
            (Dialect::FastApi, json!({ "detail": text })),
        ] {
            for (name, value) in &numbers {
                expected[*name] = value.clone();
            }
            assert_eq!(say(dialect, Access::Key(Scope::Chat), &error), (429, expected), "{dialect:?}");
        }
        let (_, body) = say(Dialect::ToolRouter, Access::Key(Scope::Chat), &error);
        assert_eq!((&body["error"]["code"], &body["budget_usd"]), (&json!("SPENDING_LIMIT_EXCEEDED"), &json!(5.0)));
    }

    #[test]
    fn credits_of_a_key_are_money_and_all_other_limits_are_limits() {
        for (of, status, code, tokaroo) in [
            (BudgetOf::KeyCredits, 402, "INSUFFICIENT_CREDITS", "billing_required"),
            (BudgetOf::Key, 429, "SPENDING_LIMIT_EXCEEDED", "monthly budget exceeded"),
            (BudgetOf::Workspace, 429, "SPENDING_LIMIT_EXCEEDED", "monthly budget exceeded"),
            (BudgetOf::Account, 429, "SPENDING_LIMIT_EXCEEDED", "monthly budget exceeded"),
        ] {
            let error = of.exceeded(MicroUsd(5_000_000), MicroUsd(4_999_999));
            assert!(error.headers.iter().all(|(name, _)| *name != "retry-after"), "{of:?}");
            let (said, body) = say(Dialect::ToolRouter, Access::Owner, &error);
            assert_eq!((said, &body["error"]["code"]), (status, &json!(code)), "{of:?}");
            let (said, body) = say(Dialect::Tokaroo, Access::Owner, &error);
            assert_eq!((said, &body["error"]), (status, &json!(tokaroo)), "{of:?}");
        }
    }

    #[test]
    fn a_claim_link_is_where_each_client_looks_for_it() {
        let error = ApiError::new(Kind::InsufficientFunds, "no money").with_some("claim_url", Some("https://g/claim"));
        for dialect in [Dialect::Tokaroo, Dialect::ToolRouter, Dialect::Anthropic, Dialect::OpenAi] {
            assert_eq!(say(dialect, Access::Owner, &error).1["claim_url"], "https://g/claim", "{dialect:?}");
        }
        assert_eq!(say(Dialect::ToolRouter, Access::Owner, &error).1["error"]["claim_url"], "https://g/claim");
        let claimed = ApiError::new(Kind::InsufficientFunds, "no money").with_some("claim_url", None::<String>);
        assert!(claimed.details.is_empty());
    }

    #[test]
    fn an_error_may_have_a_code_of_its_own() {
        let error = ApiError::not_found("API key").code("KEY_NOT_FOUND");
        let (_, body) = say(Dialect::ToolRouter, Access::Owner, &error);
        assert_eq!((&body["error"]["code"], &body["error"]["type"]), (&json!("KEY_NOT_FOUND"), &json!("not_found")));
        let (_, body) = say(Dialect::Tokaroo, Access::Owner, &error);
        assert_eq!(body["error"], "API key not found");
    }
}
