//! What the scenarios of model calls share.

use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Poll;

use guildhall::http::output::Body;
use guildhall::http::request::{Head, LazyHead, RareHead, Request, WholeBody};
use guildhall::http::serve::serve;
use guildhall::ports::{Flow, StreamEnd, StreamSource, StreamTap};
use guildhall_domain::money::MicroUsd;
use serde_json::{Value, json};

use crate::support::{Call, Key, TestApp};

pub const CHAT: &str = "/v1/chat/completions";
pub const PROVIDERS: &str = "/admin/v1/providers";
pub const MODELS: &str = "/admin/v1/models";

/// A short request of 100 output tokens at most.
pub fn hello(model: &str) -> String {
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hello there"}}],"max_tokens":100}}"#)
}

/// The same as a stream.
pub fn hello_stream(model: &str) -> String {
    format!(
        r#"{{"model":"{model}","messages":[{{"role":"user","content":"hello there"}}],"max_tokens":100,"stream":true}}"#
    )
}

/// Begins a chat completion.
pub fn chat<'t>(app: &'t TestApp, key: &Key, body: &str) -> Call<'t> {
    app.post(CHAT).bearer(&key.key).body(body)
}

/// A key with this much money and limits that no test meets; its limits are leased.
pub async fn rich_key(app: &TestApp, amount_usd: &str) -> Key {
    let key = app.provision(amount_usd).await;
    app.set_limits(&key, 100_000, 1_000_000, 1_000).await;
    key
}

/// A key that the administrator issued: it is told which models answer. The deployment's own account pays.
pub async fn tokenhub_key(app: &TestApp) -> Key {
    let answer =
        app.admin("POST", "/admin/v1/apikeys").body(r#"{"name":"app","scopes":""}"#).send().await.expect(200).json();
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    Key { key: text("key"), account_id: text("account_id") }
}

/// Registers a model: fields over the defaults of [`TestApp::add_model`].
pub async fn add_model(app: &TestApp, id: &str, provider: &str, fields: Value) {
    let mut model = json!({ "id": id, "provider_id": provider, "max_output_tokens": 1000, "input_per_1k": 0.01,
        "output_per_1k": 0.03, "enabled": true });
    for (name, value) in fields.as_object().unwrap() {
        model[name] = value.clone();
    }
    app.admin("POST", MODELS).json(&model).send().await.expect(200);
}

/// `count` providers `p1`, `p2` …, each with one of the models `m1`, `m2` … In mode `max` the first is always the
/// best: weights fall from 10 by 3.
pub async fn add_ladder(app: &TestApp, count: u8) {
    for n in 1..=count {
        app.add_provider(&format!("p{n}")).await;
        app.add_model(&format!("m{n}"), &format!("p{n}"), 13 - 3 * n).await;
    }
}

/// Dollars of an answer as micro-dollars, exactly.
#[track_caller]
pub fn micros(dollars: &Value) -> i64 {
    let Value::Number(number) = dollars else { panic!("not a number: {dollars}") };
    MicroUsd::from_usd(number).unwrap().0
}

/// The key's usage, newest first.
pub async fn usage_rows(app: &TestApp, key: &Key) -> Vec<Value> {
    let answer = app.get("/v1/usage?limit=1000").bearer(&key.key).send().await.expect(200);
    answer.json()["data"].as_array().unwrap().clone()
}

/// The newest row of the key's usage with its receipt.
pub async fn last_receipt(app: &TestApp, key: &Key) -> Value {
    let row = app.last_usage(key).await;
    let path = format!("/v1/usage/{}", row["id"].as_str().unwrap());
    app.get(&path).bearer(&key.key).send().await.expect(200).json()
}

/// No money is lost and none appears: what is left and what was charged is what came in.
pub async fn assert_balanced(app: &TestApp, key: &Key, credits_micros: i64) {
    let charged: i64 = usage_rows(app, key).await.iter().map(|row| micros(&row["charged_usd"])).sum();
    let balance = app.get("/v1/balance").bearer(&key.key).send().await.expect(200).json();
    let left = micros(&balance["balance_usd"]);
    assert!(left >= 0, "{balance}");
    assert_eq!(left + charged, credits_micros, "balance {left}, charged {charged}");
    // Nothing stays reserved for calls that are over.
    app.pass_ms(130_000).await;
    let balance = app.get("/v1/balance").bearer(&key.key).send().await.expect(200).json();
    assert_eq!(micros(&balance["available_usd"]), left, "{balance}");
}

/// Runs them all at once.
pub async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(move |cx| {
        for (future, output) in running.iter_mut().filter(|(_, output)| output.is_none()) {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                *output = Some(value);
            }
        }
        if running.iter().any(|(_, output)| output.is_none()) {
            return Poll::Pending;
        }
        Poll::Ready(running.iter_mut().filter_map(|(_, output)| output.take()).collect())
    })
    .await
}

/// A stream that is read chunk by chunk.
pub struct LiveStream {
    /// What the client got before the first step.
    pub first: String,
    chunks: VecDeque<Vec<u8>>,
    end: StreamEnd,
    tap: Option<Box<dyn StreamTap>>,
}

impl LiveStream {
    /// Sends the request and takes the first chunk.
    pub async fn open(app: &TestApp, key: &Key, body: &str) -> Self {
        let head = Head {
            method: "POST".into(),
            path: CHAT.into(),
            authorization: format!("Bearer {}", key.key),
            ..Head::default()
        };
        let request = Request::new(
            head,
            LazyHead::new(Box::new(RareHead::default)),
            Some(Box::new(WholeBody(body.as_bytes().to_vec()))),
        );
        let output = serve(Rc::clone(&app.isolate()), app.ports(), request, "").await;
        assert_eq!(output.status, 200);
        let Body::Relay { first, rest: Some((StreamSource::Chunks(chunks, end), tap)) } = output.body else {
            panic!("no stream")
        };
        let first = String::from_utf8(first).unwrap();
        Self { first, chunks, end, tap: Some(tap) }
    }

    /// Takes the next chunk; gives what the client gets for it, `None` when the upstream has no more.
    pub fn step(&mut self) -> Option<String> {
        let chunk = self.chunks.pop_front()?;
        let mut out = Vec::new();
        if self.tap.as_mut()?.push(&chunk, &mut out) == Flow::Stop {
            self.tap = None;
            self.chunks.clear();
        }
        Some(String::from_utf8(out).unwrap())
    }

    /// Ends the stream as its upstream does; gives the last words.
    pub fn end(self) -> String {
        let end = self.end;
        self.end_as(end)
    }

    /// Ends the stream; gives the last words.
    pub fn end_as(mut self, end: StreamEnd) -> String {
        let mut out = Vec::new();
        if let Some(mut tap) = self.tap.take() {
            tap.end(end, &mut out);
        }
        String::from_utf8(out).unwrap()
    }
}
