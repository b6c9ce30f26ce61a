//! A double of Stripe's API: Stripe in miniature behind HTTP, whose answers can be lost.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use guildhall::ports::{FetchError, Inbound, InboundBody, Outbound};
use guildhall_domain::billing::form::read_form;
use guildhall_domain::billing::sandbox::{Call, PaidBy, Shelf, TestCard, Turn, answer, keep_event, pay_checkout};
use guildhall_domain::billing::signature::sign;
use serde_json::{Value, json};

use super::{Answer, Fault, TestApp};

/// Where the client believes Stripe to be.
pub const STRIPE_API: &str = "https://api.stripe.com";
/// Of no test mode: a live deployment takes it, too.
pub const STRIPE_KEY: &str = "sk_live_0123456789abcdef";
pub const WEBHOOK_SECRET: &str = "whsec_0123456789abcdef";

/// The settings of a deployment with Stripe, its webhook's secret being rolled.
pub const WITH_STRIPE: &[(&str, &str)] =
    &[("STRIPE_SECRET_KEY", STRIPE_KEY), ("STRIPE_WEBHOOK_SECRETS", "whsec_0123456789abcdef,whsec_fedcba9876543210")];

/// What becomes of a call.
enum Trouble {
    /// It does not get through, or its answer does not.
    Fault(Fault),
    /// This is answered, and nothing done.
    Says(u16, Value),
}

/// The double.
#[derive(Default)]
pub struct StripeDouble {
    pub shelf: RefCell<Shelf>,
    /// What was sent.
    pub sent: RefCell<Vec<Outbound>>,
    /// How long each answer takes.
    pub latency_ms: Cell<u64>,
    troubles: RefCell<VecDeque<Option<Trouble>>>,
    is_down: Cell<bool>,
    ids: Cell<u32>,
}

impl StripeDouble {
    /// The next call fails so.
    pub fn fail(&self, fault: Fault) {
        self.fail_after(0, fault);
    }

    /// Lets so many more calls pass, then fails one.
    pub fn fail_after(&self, passing: usize, fault: Fault) {
        self.trouble(passing, Trouble::Fault(fault));
    }

    /// Lets so many more calls pass, then answers one with a refusal of this status and type.
    pub fn say_after(&self, passing: usize, status: u16, kind: &str) {
        self.trouble(passing, Trouble::Says(status, json!({ "error": { "type": kind, "message": "No." } })));
    }

    fn trouble(&self, passing: usize, trouble: Trouble) {
        let mut troubles = self.troubles.borrow_mut();
        troubles.extend(std::iter::repeat_with(|| None).take(passing));
        troubles.push_back(Some(trouble));
    }

    /// Forgets the failures that have not happened yet.
    pub fn heal(&self) {
        self.troubles.borrow_mut().clear();
        self.latency_ms.set(0);
        self.is_down.set(false);
    }

    /// From now on nobody answers, or somebody does.
    pub fn set_down(&self, is_down: bool) {
        self.is_down.set(is_down);
    }

    /// How many calls of this method went to paths that begin so.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let url = format!("{STRIPE_API}{path}");
        self.sent.borrow().iter().filter(|call| call.method == method && call.url.starts_with(&url)).count()
    }

    /// How many objects have ids that begin so.
    pub fn objects(&self, prefix: &str) -> usize {
        self.shelf.borrow().iter().filter(|(id, object)| id.starts_with(prefix) && !object.is_null()).count()
    }

    fn fresh(&self) -> String {
        self.ids.set(self.ids.get() + 1);
        format!("double{}", self.ids.get())
    }

    /// The customer pays a session; gives the event that Stripe would send.
    pub fn pay(&self, session_id: &str, card: TestCard, now_ms: i64) -> Value {
        let paid = pay_checkout(&self.shelf.borrow(), session_id, card, true, &self.fresh(), now_ms / 1_000);
        let PaidBy::Paid { writes, event } = paid else { panic!("{paid:?}") };
        self.shelf.borrow_mut().extend(writes);
        *event
    }

    /// An event happens that nobody brings us.
    pub fn happen(&self, event: &Value) {
        let kept = keep_event(&self.shelf.borrow(), event);
        self.shelf.borrow_mut().extend(kept);
    }

    pub async fn answer(&self, request: Outbound, now_ms: i64) -> Result<Inbound, FetchError> {
        self.sent.borrow_mut().push(request.clone());
        let trouble = self.troubles.borrow_mut().pop_front().flatten();
        let trouble = if self.is_down.get() { Some(Trouble::Fault(Fault::Before)) } else { trouble };
        let fault = match trouble {
            Some(Trouble::Says(status, body)) => return Ok(written(status, &body)),
            Some(Trouble::Fault(fault)) => Some(fault),
            None => None,
        };
        let pause = Duration::from_millis(self.latency_ms.get());
        if fault == Some(Fault::Before) {
            tokio::time::sleep(pause).await;
            return Err(FetchError::Broken("test: no connection".into()));
        }
        let header = |name: &str| {
            request.headers.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value.as_str()).to_owned()
        };
        assert_eq!(header("authorization"), format!("Bearer {STRIPE_KEY}"));
        assert_eq!(header("stripe-version"), "2024-06-20");
        let key = header("idempotency-key");
        assert_eq!(request.method == "POST", !key.is_empty(), "every change has a name: {}", request.url);
        let rest = request.url.strip_prefix(STRIPE_API).unwrap();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let body = request.body.as_deref().map_or(query, |body| std::str::from_utf8(body).unwrap());
        // It is done when the call arrives; the answer takes its time.
        let (status, body) = self.obey(request.method, path, body, &key, now_ms);
        tokio::time::sleep(pause).await;
        if fault == Some(Fault::After) {
            return Err(FetchError::TimedOut);
        }
        Ok(written(status, &body))
    }

    fn obey(&self, method: &str, path: &str, form: &str, key: &str, now_ms: i64) -> (u16, Value) {
        let (form, fresh) = (read_form(form), self.fresh());
        let call = Call {
            method,
            path,
            form: &form,
            idempotency_key: key,
            origin: "https://stripe.test",
            fresh: &fresh,
            now_s: now_ms / 1_000,
        };
        let mut shelf = self.shelf.borrow_mut();
        loop {
            match answer(&call, &shelf) {
                Turn::Need(ids) => ids.into_iter().for_each(|id| _ = shelf.entry(id).or_insert(Value::Null)),
                Turn::Done(answer) => {
                    shelf.extend(answer.writes);
                    return (answer.status, answer.body);
                }
            }
        }
    }
}

fn written(status: u16, body: &Value) -> Inbound {
    let body = InboundBody::Whole(body.to_string().into_bytes());
    Inbound {
        status,
        content_type: "application/json".into(),
        retry_after: String::new(),
        location: String::new(),
        body,
    }
}

/// An event of Stripe's.
pub fn event(id: &str, kind: &str, created_ms: i64, object: Value) -> Value {
    json!({ "id": id, "object": "event", "type": kind, "created": created_ms / 1_000, "data": { "object": object } })
}

impl TestApp {
    /// Stripe tells us of something.
    pub async fn tell(&self, event: &Value) -> Answer {
        self.tell_signed(event, WEBHOOK_SECRET, self.now_ms() / 1_000).await
    }

    /// Somebody tells us of something, signed with this secret at this time.
    pub async fn tell_signed(&self, event: &Value, secret: &str, signed_s: i64) -> Answer {
        let body = event.to_string();
        let signature = sign(body.as_bytes(), secret, signed_s);
        self.post("/webhooks/stripe").rare(|head| head.stripe_signature = signature).body(&body).send().await
    }
}
