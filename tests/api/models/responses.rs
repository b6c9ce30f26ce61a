//! `OpenAI`'s responses on any model.

use guildhall::ports::StreamEnd;
use serde_json::{Value, json};

use super::kit::{assert_balanced, last_receipt, rich_key};
use crate::support::{Answer, Key, Reply, TestApp, run};

async fn create(app: &TestApp, key: &Key, body: &Value) -> Answer {
    app.post("/v1/responses").bearer(&key.key).json(body).send().await
}

#[test]
fn a_response_is_given_kept_continued_and_forgotten() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.always(Reply::chat("Hi!", 100, 10));
        let body = json!({ "model": "m1", "input": "Hello", "instructions": "Be short." });
        let first = create(&app, &key, &body).await.expect(200).json();
        let id = first["id"].as_str().unwrap().to_owned();
        assert!(id.starts_with("resp_"));
        assert_eq!(
            (&first["status"], &first["object"], &first["model"]),
            (&json!("completed"), &json!("response"), &json!("m1"))
        );
        assert_eq!(first["output"][0]["content"][0]["text"], "Hi!");
        assert_eq!((&first["usage"]["input_tokens"], &first["usage"]["total_tokens"]), (&json!(100), &json!(110)));
        assert_eq!(last_receipt(&app, &key).await["outcome"], "completed");
        let path = format!("/v1/responses/{id}");
        assert_eq!(app.get(&format!("/v1/responses/{id}")).bearer(&key.key).send().await.expect(200).json(), first);
        let items =
            app.get(&format!("/v1/responses/{id}/input_items")).bearer(&key.key).send().await.expect(200).json();
        assert_eq!((&items["object"], &items["has_more"]), (&json!("list"), &json!(false)));
        assert!(items["data"][0].to_string().contains("Hello"), "{items}");

        let next = json!({ "model": "m1", "input": "And now?", "previous_response_id": id });
        let second = create(&app, &key, &next).await.expect(200).json();
        assert_eq!(second["previous_response_id"], first["id"]);
        let sent = app.upstream.bodies().pop().unwrap();
        let said: Vec<_> = sent["messages"].as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
        // Instructions are not carried on.
        assert_eq!(said, ["user", "assistant", "user"], "{sent}");

        let gone = app.call("DELETE", &format!("/v1/responses/{id}")).bearer(&key.key).send().await.expect(200).json();
        assert_eq!((&gone["deleted"], &gone["id"]), (&json!(true), &first["id"]));
        app.get(&path).bearer(&key.key).send().await.expect(404);
        let third = json!({ "model": "m1", "input": "?", "previous_response_id": second["id"] });
        let told = create(&app, &key, &third).await.expect(400).json();
        assert_eq!(told["error"]["param"], "previous_response_id");
        assert_eq!(told["error"]["code"], "previous_response_not_found");
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn what_only_openai_knows_goes_only_there() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.always(Reply::chat("Hi!", 100, 10));
        let known = json!({ "prompt_cache_key": "k", "safety_identifier": "s", "verbosity": "low" });
        let mut asked = json!({ "model": "m1", "input": "Hi", "max_output_tokens": 9, "text": { "verbosity": "low" } });
        asked.as_object_mut().unwrap().extend(known.as_object().unwrap().clone());
        for (base_url, limit, is_openais) in [
            ("https://api.groq.com/openai", "max_tokens", false),
            ("https://api.openai.com", "max_completion_tokens", true),
            ("https://mine.openai.azure.com/openai", "max_completion_tokens", true),
        ] {
            let provider = app.admin("PATCH", "/admin/v1/providers/p1").json(&json!({ "base_url": base_url }));
            provider.send().await.expect(200);
            create(&app, &key, &asked).await.expect(200);
            let mut expected = json!({ "model": "m1", "messages": [{ "role": "user", "content": "Hi" }], limit: 9 });
            if is_openais {
                expected.as_object_mut().unwrap().extend(known.as_object().unwrap().clone());
            }
            assert_eq!(app.upstream.bodies().pop().unwrap(), expected, "{base_url}");
        }
    });
}

#[test]
fn another_account_sees_nothing_of_it() {
    run(async |app| {
        let key = app.with_model().await;
        let other = app.provision("1").await;
        app.upstream.always(Reply::chat("Hi!", 1, 1));
        let kept = create(&app, &key, &json!({ "model": "m1", "input": "Hello" })).await.expect(200).json();
        let id = kept["id"].as_str().unwrap();
        for (method, path) in [
            ("GET", format!("/v1/responses/{id}")),
            ("DELETE", format!("/v1/responses/{id}")),
            ("GET", format!("/v1/responses/{id}/input_items")),
        ] {
            let told = app.call(method, &path).bearer(&other.key).send().await.expect(404).json();
            assert_eq!(told["error"]["type"], "invalid_request_error");
        }
        let next = json!({ "model": "m1", "input": "?", "previous_response_id": id });
        create(&app, &other, &next).await.expect(400);
        app.get(&format!("/v1/responses/{id}")).bearer(&key.key).send().await.expect(200);
    });
}

#[test]
fn what_is_not_to_be_kept_is_not() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.always(Reply::chat("Hi!", 1, 1));
        let told =
            create(&app, &key, &json!({ "model": "m1", "input": "Hello", "store": false })).await.expect(200).json();
        let path = format!("/v1/responses/{}", told["id"].as_str().unwrap());
        app.get(&path).bearer(&key.key).send().await.expect(404);
        assert!(!app.database.dump().contains("Hello"));
    });
}

#[test]
fn an_account_keeps_so_much_and_no_more() {
    run(async |app| {
        let key = app.with_model().await;
        let other = app.provision("1").await;
        app.upstream.always(Reply::chat("Hi!", 1, 1));
        let hello = json!({ "model": "m1", "input": "Hello" });
        let path_of = |response: &Value| format!("/v1/responses/{}", response["id"].as_str().unwrap());
        let first = create(&app, &key, &hello).await.expect(200).json();
        let bytes = || app.database.number("SELECT SUM(bytes) FROM response_bytes");
        assert_eq!(bytes(), app.database.number("SELECT SUM(length(CAST(turn AS BLOB))) FROM responses"));
        // As if there were so many of them that one more just fits.
        let full = (256 << 20) - bytes();
        app.database.execute(&format!("UPDATE response_bytes SET bytes = {full}"));
        let fits = create(&app, &key, &hello).await.expect(200).json();
        app.get(&path_of(&fits)).bearer(&key.key).send().await.expect(200);
        let beyond = create(&app, &key, &hello).await.expect(200).json();
        app.get(&path_of(&beyond)).bearer(&key.key).send().await.expect(404);
        let others = create(&app, &other, &hello).await.expect(200).json();
        app.get(&path_of(&others)).bearer(&other.key).send().await.expect(200);
        app.call("DELETE", &path_of(&first)).bearer(&key.key).send().await.expect(200);
        let again = create(&app, &key, &hello).await.expect(200).json();
        app.get(&path_of(&again)).bearer(&key.key).send().await.expect(200);
    });
}

#[test]
fn a_stream_tells_everything_and_its_end_is_kept() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.always(Reply::stream(&["Hel", "lo"], Some((10, 5))));
        let body = json!({ "model": "m1", "input": "Hello", "stream": true });
        let answer = create(&app, &key, &body).await.expect(200);
        let events: Vec<Value> = answer.events().iter().map(|data| serde_json::from_str(data).unwrap()).collect();
        let names: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(&names[..2], ["response.created", "response.in_progress"]);
        assert_eq!(names.last(), Some(&"response.completed"));
        for (number, event) in events.iter().enumerate() {
            assert_eq!(event["sequence_number"], number, "{event}");
        }
        let whole = &events.last().unwrap()["response"];
        assert_eq!(whole["output"][0]["content"][0]["text"], "Hello");
        assert_eq!(whole["usage"]["output_tokens"], 5);
        app.pass_ms(100).await;
        let path = format!("/v1/responses/{}", whole["id"].as_str().unwrap());
        assert_eq!(&app.get(&path).bearer(&key.key).send().await.expect(200).json(), whole);

        app.upstream.always(Reply::Stream(Reply::chunks(&["Hel", "lo"], None)[..2].to_vec(), StreamEnd::Broken));
        let answer = create(&app, &key, &body).await.expect(200);
        let last: Value = serde_json::from_str(answer.events().last().unwrap()).unwrap();
        assert_eq!(last["type"], "response.failed");
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn errors_are_in_openais_words() {
    run(async |app| {
        let key = app.with_model().await;
        let told = app.post("/v1/responses").body("{}").send().await.expect(401).json();
        assert_eq!(told["error"]["code"], "invalid_api_key");
        for (body, param) in [
            (json!({ "model": "m1" }), "input"),
            (json!({ "model": "m1", "input": "x", "background": true }), "background"),
            (json!({ "model": "m1", "input": "x", "tools": [{ "type": "local_shell" }] }), "tools[0].type"),
            (json!({ "model": "m1", "input": "x", "previous_response_id": "resp_0" }), "previous_response_id"),
        ] {
            let told = create(&app, &key, &body).await.expect(400).json();
            assert_eq!(
                (&told["error"]["type"], &told["error"]["param"]),
                (&json!("invalid_request_error"), &json!(param))
            );
            assert!(told["error"]["message"].is_string());
        }
        let told = create(&app, &key, &json!({ "model": "nobody", "input": "x" })).await.expect(404).json();
        assert_eq!(told["error"]["type"], "invalid_request_error");
        let poor = app.provision("0").await;
        let told = create(&app, &poor, &json!({ "model": "m1", "input": "x" })).await.expect(402).json();
        assert_eq!(told["error"]["code"], "insufficient_quota");
        for (query, status) in [("limit=0", 400), ("limit=101", 400), ("order=up", 400)] {
            let path = format!("/v1/responses/resp_00000000000000000000000000000000/input_items?{query}");
            app.get(&path).bearer(&key.key).send().await.expect(status);
        }
    });
}

#[test]
fn tools_that_nobody_here_runs_are_left_out_and_told() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.always(Reply::chat("Hi!", 100, 10));
        let f = json!({ "type": "function", "name": "shell", "parameters": { "type": "object" } });
        let body =
            json!({ "model": "m1", "input": "Hello", "tools": [f, { "type": "web_search" }], "tool_choice": "auto" });
        let answer = create(&app, &key, &body).await.expect(200);
        assert_eq!(answer.header("x-ignored-tools"), Some("web_search"));
        for _ in 0..2 {
            let call = app.post("/v1/responses").bearer(&key.key).idempotency_key("k").json(&body);
            assert_eq!(call.send().await.expect(200).header("x-ignored-tools"), Some("web_search"));
        }
        assert_eq!(app.upstream.bodies().pop().unwrap()["tools"].as_array().unwrap().len(), 1);
        let body = json!({ "model": "m1", "input": "Hello", "tools": [f] });
        assert_eq!(create(&app, &key, &body).await.expect(200).header("x-ignored-tools"), None);
        let forced = json!({ "model": "m1", "input": "Hello", "tools": [{ "type": "web_search" }], "tool_choice": { "type": "web_search" } });
        create(&app, &key, &forced).await.expect(400);
    });
}

#[test]
fn a_conversation_has_an_end() {
    run(async |app| {
        app.with_model().await;
        let key = rich_key(&app, "1000").await;
        app.upstream.always(Reply::chat("Hi!", 100, 10));
        let mut previous = Value::Null;
        for turn in 0..13 {
            let body = json!({ "model": "m1", "input": "x".repeat(1_400_000), "previous_response_id": previous });
            let answer = create(&app, &key, &body).await;
            if turn == 12 {
                let told = answer.expect(400).json();
                assert_eq!(told["error"]["param"], "previous_response_id", "{told}");
            } else {
                previous = answer.expect(200).json()["id"].clone();
            }
        }
    });
}
