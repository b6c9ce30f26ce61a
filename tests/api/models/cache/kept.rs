//! Which answers are kept: whole ones, of models that came to their end.

use serde_json::json;

use super::{ask, assert_balanced, hits, question, with};
use crate::support::{Reply, run};

#[test]
fn only_whole_answers_of_finished_models_are_kept() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let ended = |finish: &str| {
            let body = json!({ "choices": [{ "index": 0, "message": { "role": "assistant", "content": "x" }, "finish_reason": finish }],
                "usage": { "prompt_tokens": 10, "completion_tokens": 5 } });
            Reply::Whole(200, body.to_string(), "")
        };
        let mut broken = Reply::chunks(&["a", "b"], None);
        broken.truncate(2);
        for (at, reply) in [
            ended("content_filter"),
            Reply::error(400, "no"),
            Reply::Stream(broken, guildhall::ports::StreamEnd::Broken),
            Reply::Whole(200, json!({ "choices": [{ "message": {} }] }).to_string(), ""),
        ]
        .into_iter()
        .enumerate()
        {
            let is_stream = matches!(reply, Reply::Stream(..));
            let body = with(question(&format!("{at}")), "stream", json!(is_stream));
            app.upstream.always(reply);
            _ = ask(&app, &key, &body).send().await;
            app.pass_ms(20).await;
            assert_eq!(app.cache.len(), 0, "{at}");
        }
        // Cut by the client's own limit it is what was asked for; cut by the model's it is not.
        app.upstream.always(ended("length"));
        let mut open = question("open");
        open.as_object_mut().unwrap().remove("max_tokens");
        assert!(!hits(&app, ask(&app, &key, &open)).await && !hits(&app, ask(&app, &key, &open)).await);
        assert!(
            !hits(&app, ask(&app, &key, &question("cut"))).await && hits(&app, ask(&app, &key, &question("cut"))).await
        );
        let long = "x".repeat(300 << 10);
        app.upstream.always(Reply::chat(&long, 10, 5));
        assert!(
            !hits(&app, ask(&app, &key, &question("long"))).await
                && !hits(&app, ask(&app, &key, &question("long"))).await
        );
        // A client that left has paid for a part, and a part is no answer.
        app.upstream.always(Reply::stream(&["a", "b", "c"], Some((10, 5))));
        let left = with(question("left"), "stream", json!(true));
        ask(&app, &key, &left).leave_after(2).send().await.expect(200);
        app.pass_ms(20).await;
        assert!(!hits(&app, ask(&app, &key, &left)).await && hits(&app, ask(&app, &key, &left)).await);
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn an_answer_that_our_own_limit_cut_is_not_kept() {
    run(async |app| {
        app.add_provider("p1").await;
        app.add_model("m1", "p1", 5).await;
        // Less than the model's maximum of 1,000 output tokens: the limit upstream is cut to what the balance pays for.
        let key = app.provision("0.01").await;
        let body = json!({ "choices": [{ "message": { "role": "assistant", "content": "x" }, "finish_reason": "length" }],
            "usage": { "prompt_tokens": 10, "completion_tokens": 5 } });
        app.upstream.always(Reply::Whole(200, body.to_string(), ""));
        let mut open = question("a");
        open.as_object_mut().unwrap().remove("max_tokens");
        assert!(!hits(&app, ask(&app, &key, &open)).await);
        assert!(app.upstream.bodies()[0]["max_tokens"].as_u64().unwrap() < 1_000);
        assert_eq!(app.cache.len(), 0);
    });
}
