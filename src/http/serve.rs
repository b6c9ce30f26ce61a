//! The pipeline: every request goes through these steps, in this order. Read it as the security policy.

use std::borrow::Cow;
use std::rc::Rc;

use guildhall_domain::anthropic::ClientHeaders;
use guildhall_domain::cache::CacheControl;
use percent_encoding::percent_decode_str;

use super::dialect::Dialect;
use super::idempotency;
use super::output::{Body, Output};
use super::request::Request;
use super::room::take_place;
use super::route::{Access, Method, Route};
use super::table::Found;
use crate::app::{App, Cx};
use crate::auth::admin_session::check_session;
use crate::auth::scope::Scope;
use crate::auth::{Caller, KeyCaller, resolve_caller, session_required};
use crate::config::{Config, Mode};
use crate::error::{ApiError, Kind, Standing};
use crate::meter::address::{ANONYMOUS_PER_MINUTE, admit_address};
use crate::meter::limit::{Admission, Limits, admit_key};
use crate::observe::counters::{ADMIN_RATE_LIMITED, RATE_LIMITED, count};
use crate::ports::Ports;

/// Serves one request. Never fails: whatever goes wrong is an answer in the route's dialect.
pub async fn serve(app: Rc<App>, ports: Rc<Ports>, mut request: Request, origin: &str) -> Output {
    let request_id: Rc<str> = app.next_request_id().into();
    let origin = &*to_public(&app.config, origin);
    let cross_origin = !request.head.origin.is_empty();
    if request.head.method == "OPTIONS" {
        return finish(preflight(&app, &request), &request_id, None, cross_origin);
    }
    let is_head = request.head.method == "HEAD";
    if is_head {
        "GET".clone_into(&mut request.head.method);
    }
    let mut standing = None;
    let (dialect, access, answer) = match find_route(&app, &mut request) {
        Err((dialect, error)) => (dialect.spoken_to(request.credential()), Access::Public, Err(error)),
        Ok(route) => {
            let dialect = route.dialect.spoken_to(request.credential());
            let answer =
                enter(Rc::clone(&app), Rc::clone(&ports), route, request, &request_id, origin, &mut standing).await;
            count_refusal(&app, &ports, route, &answer);
            (dialect, route.access, answer)
        }
    };
    let mut output = answer.unwrap_or_else(|error| {
        if let Some(cause) = &error.cause {
            ports.background.log(&format!("{request_id} {}: {cause}", error.kind.status()));
        }
        standing = error.standing.or(standing);
        dialect.render(access, &error, &request_id)
    });
    if is_head {
        output.body = Body::Empty;
    }
    finish(output, &request_id, standing, cross_origin)
}

/// The origin that links are made of: secrets are in them, so in live mode they do not go in clear, however we were asked.
fn to_public<'o>(config: &Config, origin: &'o str) -> Cow<'o, str> {
    let is_this_machine = |host: &str| ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| host.starts_with(name));
    match origin.strip_prefix("http://") {
        Some(host) if config.mode == Mode::Live && !is_this_machine(host) => format!("https://{host}").into(),
        _ => origin.into(),
    }
}

/// A refusal of ours tells the caller's standing; a provider's 429 does not.
fn count_refusal(app: &Rc<App>, ports: &Rc<Ports>, route: &Route, answer: &Result<Output, ApiError>) {
    let is_refused = |error: &ApiError| error.kind == Kind::RateLimited && error.standing.is_some();
    if answer.as_ref().is_err_and(is_refused) {
        let name = if route.access == Access::Admin { ADMIN_RATE_LIMITED } else { RATE_LIMITED };
        count(app, ports, name, "");
    }
}

/// The route, or the answer to a request that has none and the dialect in which it is given.
fn find_route(app: &App, request: &mut Request) -> Result<&'static Route, (Dialect, ApiError)> {
    let of_path = Dialect::of_path(&request.head.path);
    match app.routes.find(&request.head.method, &request.head.path) {
        Found::Route(route, params) => {
            request.body_max_bytes = route.body_max_bytes;
            for (name, value) in params {
                let value = percent_decode_str(&value).decode_utf8();
                let invalid = |_| (route.dialect, ApiError::invalid(&name, "The path is not valid UTF-8"));
                let value = value.map_err(invalid)?;
                request.params.push((name, value.into_owned()));
            }
            Ok(route)
        }
        Found::Others(routes) => {
            let allow: Vec<_> = routes.iter().map(|route| route.method.name()).collect();
            let error = ApiError::new(Kind::MethodNotAllowed, format!("Use {}", allow.join(" or ")))
                .header("allow", allow.join(", "));
            Err((routes.first().map_or(of_path, |route| route.dialect), error))
        }
        Found::Nothing if of_path == Dialect::FastApi => Err((of_path, ApiError::new(Kind::NotFound, "Not Found"))),
        Found::Nothing => {
            let text = format!("No route for {} {}", request.head.method, request.head.path);
            Err((of_path, ApiError::new(Kind::NotFound, text)))
        }
    }
}

/// The steps between the match and the handler.
async fn enter(
    app: Rc<App>,
    ports: Rc<Ports>,
    route: &'static Route,
    mut request: Request,
    request_id: &Rc<str>,
    origin: &str,
    standing: &mut Option<Standing>,
) -> Result<Output, ApiError> {
    check_body_length(&request)?;
    let now_ms = ports.clock.now_ms();
    let address: Rc<str> = request.head.address.as_str().into();
    let caller = match identify(&app, &ports, route, &request, origin).await {
        Ok(caller) => caller,
        Err(error) => {
            // A guesser of keys uses up its address's allowance.
            *standing = Some(admit_address(&app, &address, now_ms)?);
            return Err(error);
        }
    };
    let admission = match route.access {
        Access::Signed => None,
        _ => admit(&app, &ports, &caller, &address, request_id, standing).await?,
    };
    check_access(route.access, &caller)?;
    check_merged(route, &caller)?;
    let _place = take_place(&app, &ports, &mut request).await?;
    let cx = Cx {
        app,
        ports,
        caller,
        admission,
        request_id: Rc::clone(request_id),
        idempotency_key: Some(request.head.idempotency_key.as_str()).filter(|key| !key.is_empty()).map(Rc::from),
        cache_control: read_cache_control(&request),
        anthropic: read_client_headers(route, &request)?,
        started_ms: now_ms,
        origin: origin.into(),
        address,
        trail: None,
    };
    // Without a caller there is nobody to whom a stored answer, which may hold a fresh key, could safely be given again.
    let is_known = !matches!(cx.caller, Caller::Nobody);
    if route.method == Method::Post && route.is_kept && is_known && !request.head.idempotency_key.is_empty() {
        return idempotency::run_once(cx, route, request).await;
    }
    route.run(cx, request).await
}

/// Who calls. Browsers may come to the admin routes with a session's cookie, and read with `?token=`, because their
/// `EventSource` sends no headers.
async fn identify(
    app: &Rc<App>,
    ports: &Rc<Ports>,
    route: &Route,
    request: &Request,
    origin: &str,
) -> Result<Caller, ApiError> {
    let (head, token) = (&request.head, request.credential());
    if matches!(route.access, Access::Public | Access::Signed) {
        return Ok(Caller::Nobody);
    }
    if route.access == Access::Admin && token.is_empty() {
        let mut query = form_urlencoded::parse(head.query.as_bytes());
        let in_query = query.find(|(name, _)| name == "token").filter(|_| route.method == Method::Get);
        if let Some((_, token)) = in_query {
            return resolve_caller(app, ports, &token, &head.address).await;
        }
        if check_session(app, ports, request, origin).await? {
            return Ok(Caller::Admin);
        }
    }
    resolve_caller(app, ports, token, &head.address).await
}

fn read_cache_control(request: &Request) -> CacheControl {
    let head = &request.head;
    if head.cache_control.is_empty() && head.own_cache_control.is_empty() {
        return CacheControl::default();
    }
    CacheControl::parse(&head.cache_control).with(CacheControl::parse(&head.own_cache_control))
}

/// Only Anthropic's own surface has them.
fn read_client_headers(route: &Route, request: &Request) -> Result<Option<Rc<ClientHeaders>>, ApiError> {
    if route.dialect != Dialect::Anthropic {
        return Ok(None);
    }
    let headers = ClientHeaders::read(&request.rare.anthropic_version, &request.rare.anthropic_beta);
    headers.map(|headers| headers.map(Rc::new)).map_err(|(name, text)| ApiError::invalid(name, text))
}

fn check_body_length(request: &Request) -> Result<(), ApiError> {
    match request.head.content_length.parse::<u64>() {
        Ok(length) if length > u64::from(request.body_max_bytes) => {
            Err(super::input::too_large(request.body_max_bytes))
        }
        _ => Ok(()),
    }
}

/// A merged account is its owner's to read: what would be changed or paid there is of no use to anybody.
fn check_merged(route: &Route, caller: &Caller) -> Result<(), ApiError> {
    match caller {
        Caller::Session(session) if session.is_merged && route.method != Method::Get && !route.serves_merged => {
            let text = "This account went up in another and is only read; choose the other with POST /v1/auth/switch";
            Err(ApiError::new(Kind::Conflict, text))
        }
        _ => Ok(()),
    }
}

fn check_access(access: Access, caller: &Caller) -> Result<(), ApiError> {
    match (access, caller) {
        (Access::Public | Access::Signed, _)
        | (Access::Visitor, Caller::Nobody | Caller::Key(_) | Caller::Session(_))
        | (Access::Admin | Access::AgentOrAdmin, Caller::Admin)
        | (Access::Account(_) | Access::Owner | Access::Keeper | Access::Session, Caller::Session(_)) => Ok(()),
        (Access::Key(scope) | Access::Account(scope), Caller::Key(key)) if key.scopes.allow(scope) => Ok(()),
        (Access::Keeper, Caller::Key(key)) if key.may_manage() => Ok(()),
        (Access::Owner, Caller::Key(key)) if key.may_manage() && !key.is_partial() => Ok(()),
        (Access::Owner, Caller::Key(key)) if key.may_manage() => {
            let text = "Session authentication required: a key with a workspace, a budget or credits of its own can't look after the account";
            Err(ApiError::new(Kind::Forbidden, text))
        }
        (Access::Agent | Access::AgentOrAdmin, Caller::Key(key)) if key.agent_id.is_some() => Ok(()),
        (Access::AgentPayouts, Caller::Key(key)) if key.agent_id.is_some() => check_payouts(key),
        (Access::Owner | Access::Keeper | Access::Session, Caller::Key(_)) => Err(session_required()),
        (Access::Key(_) | Access::Account(_), Caller::Key(_)) => {
            Err(ApiError::new(Kind::Forbidden, "insufficient scope"))
        }
        (Access::Agent | Access::AgentPayouts | Access::AgentOrAdmin, Caller::Key(_) | Caller::Session(_)) => {
            Err(ApiError::new(Kind::Forbidden, "This route wants the API key of an agent"))
        }
        (Access::Key(_), Caller::Session(_)) => {
            Err(ApiError::new(Kind::Forbidden, "This route wants an API key, not a session"))
        }
        (Access::Admin, Caller::Key(_) | Caller::Session(_)) => {
            Err(ApiError::new(Kind::BadCredential, "invalid admin token"))
        }
        (_, Caller::Admin) => Err(ApiError::new(Kind::Forbidden, "This route wants an API key, not the admin token")),
        (_, Caller::Nobody) => Err(ApiError::new(Kind::MissingCredential, "Missing Authorization header")),
    }
}

/// A key that may spend only so much sends nothing out: that would be spending without the limit.
fn check_payouts(key: &KeyCaller) -> Result<(), ApiError> {
    if !key.scopes.allow(Scope::Payouts) {
        return Err(ApiError::new(Kind::Forbidden, "insufficient scope"));
    }
    if key.is_partial() {
        let text = "A key with a workspace, a budget or credits of its own can't send money out";
        return Err(ApiError::new(Kind::Forbidden, text));
    }
    Ok(())
}

async fn admit(
    app: &Rc<App>,
    ports: &Rc<Ports>,
    caller: &Caller,
    address: &str,
    request_id: &str,
    standing: &mut Option<Standing>,
) -> Result<Option<Rc<Admission>>, ApiError> {
    let (id, limits, secret_at_ms) = match caller {
        Caller::Key(key) => (&key.key_id, key.limits, Some(key.secret_at_ms)),
        Caller::Session(session) => (&session.session_id, Limits::SESSION, None),
        Caller::Nobody | Caller::Admin => {
            *standing = Some(admit_address(app, address, ports.clock.now_ms())?);
            return Ok(None);
        }
    };
    let admission = admit_key(app, ports, id, limits, secret_at_ms, request_id).await?;
    *standing = Some(admission.standing);
    Ok(Some(Rc::new(admission)))
}

fn preflight(app: &App, request: &Request) -> Output {
    let path = &request.head.path;
    let mut methods: Vec<_> = match app.routes.find("OPTIONS", path) {
        Found::Others(routes) => routes.into_iter().map(|route| route.method.name()).collect(),
        Found::Route(..) | Found::Nothing => Vec::new(),
    };
    methods.push("OPTIONS");
    let methods = methods.join(", ");
    let output = Output::empty().header("allow", methods.clone());
    if request.rare.preflight_method.is_empty() {
        return output;
    }
    output
        .header("access-control-allow-methods", methods)
        .header("access-control-allow-headers", "*, authorization")
        .header("access-control-max-age", "86400")
}

/// The headers of every response.
fn finish(mut output: Output, request_id: &str, standing: Option<Standing>, cross_origin: bool) -> Output {
    output.headers.push(("x-request-id", request_id.to_owned()));
    let standing =
        standing.unwrap_or(Standing { limit: ANONYMOUS_PER_MINUTE, remaining: ANONYMOUS_PER_MINUTE, reset_s: 60 });
    output.headers.push(("x-ratelimit-limit", standing.limit.to_string()));
    output.headers.push(("x-ratelimit-remaining", standing.remaining.to_string()));
    output.headers.push(("x-ratelimit-reset", standing.reset_s.to_string()));
    if cross_origin {
        // Credentials are bearer tokens, never cookies, on the routes that a browser of another origin may read.
        output.headers.push(("access-control-allow-origin", "*".to_owned()));
        output.headers.push(("access-control-expose-headers", "*".to_owned()));
    }
    output
}
