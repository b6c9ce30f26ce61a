//! Aliases: names that stand for models, and who goes where.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::kit::{add_ladder, chat, hello, hello_stream, rich_key};
use crate::support::{Reply, TestApp, run};

const ALIASES: &str = "/admin/v1/aliases";

async fn put(app: &TestApp, name: &str, body: Value) -> Value {
    app.admin("PUT", &format!("{ALIASES}/{name}")).json(&body).send().await.expect(200).json()
}

fn half_and_half(sticky_by: &str) -> Value {
    json!({ "variants": [{ "model_id": "m1", "weight": 1 }, { "model_id": "m2", "weight": 1 }], "sticky_by": sticky_by })
}

#[test]
fn aliases_are_kept_listed_and_deleted() {
    run(async |app| {
        let made = put(&app, "team/best", half_and_half("api_key")).await;
        assert_eq!(
            (&made["name"], &made["enabled"], &made["sticky_by"]),
            (&json!("team/best"), &json!(true), &json!("api_key"))
        );
        assert_eq!(made["variants"][1], json!({ "model_id": "m2", "weight": 1 }));
        put(&app, "a", json!({ "variants": [{ "model_id": "m1", "weight": 3 }], "enabled": false, "sticky_by": "" }))
            .await;
        let list = app.admin("GET", ALIASES).send().await.expect(200).json();
        assert_eq!(list["total"], 2);
        assert_eq!((&list["items"][0]["name"], &list["items"][0]["sticky_by"]), (&json!("a"), &json!("request")));
        app.pass_ms(1_000).await;
        let changed = put(&app, "a", half_and_half("round_robin")).await;
        assert_eq!(changed["created_at"], list["items"][0]["created_at"]);
        assert_ne!(changed["updated_at"], list["items"][0]["updated_at"]);
        assert_eq!(app.admin("GET", "/admin/v1/aliases/a").send().await.expect(200).json(), changed);
        for _ in 0..2 {
            app.admin("DELETE", "/admin/v1/aliases/a").send().await.expect(200);
        }
        let answer = app.admin("GET", "/admin/v1/aliases/a").send().await.expect(404).json();
        assert_eq!(answer["error"], "alias not found");
    });
}

#[test]
fn only_the_administrator_may() {
    run(async |app| {
        let key = app.provision("1").await;
        for (method, path) in [
            ("GET", "/admin/v1/aliases"),
            ("GET", "/admin/v1/aliases/a"),
            ("PUT", "/admin/v1/aliases/a"),
            ("DELETE", "/admin/v1/aliases/a"),
        ] {
            app.call(method, path).send().await.expect(401);
            app.call(method, path).bearer(&key.key).send().await.expect(401);
        }
    });
}

#[test]
fn bad_aliases_are_refused_and_nothing_is_kept() {
    run(async |app| {
        put(&app, "b", json!({ "variants": [{ "model_id": "c", "weight": 1 }] })).await;
        for (name, body) in [
            ("a", json!({ "variants": [] })),
            ("a", json!({})),
            ("a", json!({ "variants": [{ "model_id": "m", "weight": 0 }] })),
            ("a", json!({ "variants": [{ "model_id": "m", "weight": -1 }] })),
            ("a", json!({ "variants": [{ "model_id": "m", "weight": 1 }, { "model_id": "m", "weight": 2 }] })),
            ("a", json!({ "variants": [{ "model_id": "a", "weight": 1 }] })),
            ("c", json!({ "variants": [{ "model_id": "b", "weight": 1 }] })),
            ("a", json!({ "variants": [{ "model_id": "m", "weight": 1 }], "sticky_by": "moon" })),
            ("auto", json!({ "variants": [{ "model_id": "m", "weight": 1 }] })),
        ] {
            let path = format!("{ALIASES}/{name}");
            let answer = app.admin("PUT", &path).json(&body).send().await.expect(400).json();
            assert!(answer["error"].is_string(), "{answer}");
        }
        assert_eq!(app.admin("GET", ALIASES).send().await.expect(200).json()["total"], 1);
    });
}

#[test]
fn traffic_is_shared_and_a_key_stays_with_its_variant() {
    run(async |app| {
        add_ladder(&app, 2).await;
        let key = rich_key(&app, "10").await;
        app.upstream.always(Reply::chat("hi", 1, 1));
        put(&app, "both", half_and_half("")).await;
        for _ in 0..40 {
            let answer = chat(&app, &key, &hello("both")).send().await.expect(200);
            assert_eq!(answer.json()["model"], "both");
        }
        let called: HashSet<_> = app.upstream.take_called().into_iter().collect();
        assert_eq!(called.len(), 2, "{called:?}");
        put(&app, "mine", half_and_half("api_key")).await;
        for _ in 0..20 {
            chat(&app, &key, &hello("mine")).send().await.expect(200);
        }
        let called: HashSet<_> = app.upstream.take_called().into_iter().collect();
        assert_eq!(called.len(), 1, "{called:?}");
        put(&app, "turns", half_and_half("round_robin")).await;
        for _ in 0..4 {
            chat(&app, &key, &hello("turns")).send().await.expect(200);
        }
        let called = app.upstream.take_called();
        assert_eq!((called[0] == called[2], called[0] == called[1]), (true, false), "{called:?}");
    });
}

#[test]
fn turns_are_an_aliases_own() {
    run(async |app| {
        add_ladder(&app, 2).await;
        let key = rich_key(&app, "10").await;
        app.upstream.always(Reply::chat("hi", 1, 1));
        put(&app, "turns", half_and_half("round_robin")).await;
        put(&app, "others", half_and_half("round_robin")).await;
        let mut called = Vec::new();
        for _ in 0..4 {
            chat(&app, &key, &hello("turns")).send().await.expect(200);
            called.extend(app.upstream.take_called());
            // Nobody else's call takes a turn, and no simulation.
            for model in ["m1", "others", "others"] {
                chat(&app, &key, &hello(model)).send().await.expect(200);
            }
            let simulation = json!({ "model_hint": "turns" });
            app.admin("POST", "/admin/v1/routing/simulate").json(&simulation).send().await.expect(200);
            app.upstream.take_called();
        }
        assert!(called[0] != called[1] && called[0] == called[2] && called[1] == called[3], "{called:?}");
    });
}

#[test]
fn an_alias_that_is_off_or_unknown_is_no_name() {
    run(async |app| {
        add_ladder(&app, 1).await;
        let key = rich_key(&app, "10").await;
        app.upstream.always(Reply::chat("hi", 1, 1));
        put(&app, "off", json!({ "variants": [{ "model_id": "m1", "weight": 1 }], "enabled": false })).await;
        for name in ["off", "unknown"] {
            chat(&app, &key, &hello(name)).send().await.expect(404);
        }
        put(&app, "off", json!({ "variants": [{ "model_id": "m1", "weight": 1 }] })).await;
        chat(&app, &key, &hello("off")).send().await.expect(200);
        // An alias may take a model's name, and a star serves who leaves the choice to the router.
        chat(&app, &key, &hello("*")).send().await.expect(200);
        put(&app, "*", json!({ "variants": [{ "model_id": "nothing", "weight": 1 }] })).await;
        chat(&app, &key, &hello("*")).send().await.expect(404);
    });
}

#[test]
fn an_alias_streams_like_a_model() {
    run(async |app| {
        add_ladder(&app, 1).await;
        let key = rich_key(&app, "10").await;
        app.upstream.always(Reply::stream(&["hi"], Some((1, 1))));
        put(&app, "x", json!({ "variants": [{ "model_id": "m1", "weight": 1 }] })).await;
        let answer = chat(&app, &key, &hello_stream("x")).send().await.expect(200);
        assert_eq!(answer.header("x-negotiated-model"), None, "a tier's model is ours to know");
        assert!(answer.text().contains(r#""model":"x""#));
    });
}
