//! What keys of the administrator's are told that Tokaroo's keys are not: which model the router or an alias took.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::kit::{CHAT, add_ladder, add_model, hello, rich_key, tokenhub_key};
use crate::support::{Answer, Key, Reply, TestApp, run};

async fn ask(app: &TestApp, key: &Key, members: Value) -> Answer {
    let mut body = json!({ "messages": [{ "role": "user", "content": "hello there" }], "max_tokens": 100 });
    for (name, value) in members.as_object().unwrap() {
        body[name] = value.clone();
    }
    app.post(CHAT).bearer(&key.key).json(&body).send().await
}

async fn put_alias(app: &TestApp, name: &str, models: &[&str], sticky_by: &str) {
    let variants: Vec<_> = models.iter().map(|model| json!({ "model_id": model, "weight": 1 })).collect();
    let body = json!({ "variants": variants, "sticky_by": sticky_by });
    app.admin("PUT", &format!("/admin/v1/aliases/{name}")).json(&body).send().await.expect(200);
}

/// The model that the answer's header names, after checking that the body says the same.
fn negotiated(answer: &Answer) -> String {
    let model = answer.header("x-negotiated-model").unwrap().to_owned();
    assert_eq!(answer.json()["model"], *model);
    model
}

/// T31, T32: a whole answer in OpenAI's form; the upstream hears its own model's name and no hint of ours.
#[test]
fn an_answer_says_which_model_the_router_took() {
    run(async |app| {
        app.with_model().await;
        let key = tokenhub_key(&app).await;
        app.answer_hello();
        for members in [json!({}), json!({ "model": "*" }), json!({ "model": "m1" })] {
            let answer = ask(&app, &key, members.clone()).await.expect(200);
            assert_eq!(negotiated(&answer), "m1", "{members}");
            assert_eq!(answer.header("x-alias-from"), None);
            let told = answer.json();
            assert_eq!((&told["object"], &told["usage"]["total_tokens"]), (&json!("chat.completion"), &json!(15)));
            assert!(told["id"].as_str().unwrap().starts_with("chatcmpl-") && told["created"] != 0, "{told}");
            assert_eq!(app.upstream.bodies().pop().unwrap()["model"], "m1");
        }
    });
}

/// T37.
#[test]
fn a_stream_says_it_too() {
    run(async |app| {
        app.with_model().await;
        let key = tokenhub_key(&app).await;
        app.upstream.always(Reply::stream(&["hi"], Some((10, 5))));
        let answer = ask(&app, &key, json!({ "stream": true })).await.expect(200);
        assert!(answer.header("content-type").unwrap().starts_with("text/event-stream"));
        assert_eq!(answer.header("x-negotiated-model"), Some("m1"));
        assert!(answer.text().contains(r#""model":"m1""#), "{}", answer.text());
    });
}

/// T33: three models in turn for whoever leaves the choice open.
#[test]
fn a_star_may_be_an_alias_that_goes_round() {
    run(async |app| {
        add_ladder(&app, 3).await;
        let key = tokenhub_key(&app).await;
        app.answer_hello();
        put_alias(&app, "*", &["m1", "m2", "m3"], "round_robin").await;
        let mut turns = Vec::new();
        for _ in 0..4 {
            let answer = ask(&app, &key, json!({ "model": "*" })).await.expect(200);
            assert_eq!(answer.header("x-alias-from"), Some("*"));
            turns.push(negotiated(&answer));
        }
        assert_eq!(turns.iter().collect::<BTreeSet<_>>().len(), 3, "{turns:?}");
        assert_eq!(turns[0], turns[3]);
    });
}

/// T81.
#[test]
fn an_alias_is_named_with_its_variant_and_in_the_logs() {
    run(async |app| {
        add_ladder(&app, 2).await;
        let key = tokenhub_key(&app).await;
        app.answer_hello();
        put_alias(&app, "both", &["m1", "m2"], "").await;
        let mut served = BTreeSet::new();
        for _ in 0..30 {
            let answer = ask(&app, &key, json!({ "model": "both" })).await.expect(200);
            assert_eq!(answer.header("x-alias-from"), Some("both"));
            served.insert(negotiated(&answer));
        }
        assert_eq!(served.len(), 2);
        let logs = app.admin("GET", "/admin/v1/logs?limit=1").send().await.expect(200).json();
        assert_eq!(
            (&logs["logs"][0]["alias_from"], &logs["logs"][0]["requested_model"]),
            (&json!("both"), &json!("both"))
        );
        // A request's own id keeps its variant. It is the envelope's, not a header's that any client may set for all.
        let of = async |id: &str| {
            let request = json!({ "messages": [{ "role": "user", "content": "hi" }], "model_hint": "both", "id": id });
            let call = app.post("/v1/chat").bearer(&key.key).json(&json!({ "request": request }));
            call.send().await.expect(200).json()["negotiated_model"].as_str().unwrap().to_owned()
        };
        for id in ["r1", "r2", "r3"] {
            assert_eq!([of(id).await, of(id).await, of(id).await], [of(id).await, of(id).await, of(id).await], "{id}");
        }
    });
}

#[test]
fn a_refusal_does_not_tell_the_upstreams_name_of_the_model() {
    run(async |app| {
        app.add_provider("p1").await;
        add_model(&app, "m1", "p1", json!({ "upstream_model": "vendor/secret-7b" })).await;
        let key = rich_key(&app, "1").await;
        for model in ["m1", "auto"] {
            app.upstream.then(Reply::error(400, "max_tokens is too large for vendor/secret-7b: 4096 at most"));
            let answer = app.post(CHAT).bearer(&key.key).body(&hello(model)).send().await.expect(400);
            assert!(
                answer.text().contains("max_tokens is too large for this model: 4096 at most"),
                "{}",
                answer.text()
            );
            assert!(!answer.text().contains("secret"), "{}", answer.text());
        }
    });
}
