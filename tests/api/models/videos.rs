//! `POST /v1/videos`, its aliases, and what follows.

use durable_objects::job::protocol::Job;
use durable_objects::local::FaultPoint;
use durable_objects::protocol::Protocol;
use durable_objects::wallet::protocol::{Command, Lease, Wallet};
use guildhall::meter::payer::Tally;
use guildhall::ports::FetchError;
use guildhall_domain::money::MicroUsd;
use serde_json::{Value, json};

use super::kit::{add_model, assert_balanced, last_receipt, micros, usage_rows};
use super::media::{FORM, form, with_sandbox, with_upstream};
use crate::support::{Fault, Key, Reply, TestApp, VAULT_PASSWORD, run, run_with};

async fn ask_for(app: &TestApp, key: &Key, body: &Value) -> Value {
    app.post("/v1/videos").bearer(&key.key).json(body).send().await.expect(200).json()
}

async fn look_at(app: &TestApp, key: &Key, id: &str) -> Value {
    app.get(&format!("/v1/videos/{id}")).bearer(&key.key).send().await.expect(200).json()
}

async fn available(app: &TestApp, key: &Key) -> i64 {
    let balance = app.get("/v1/balance").bearer(&key.key).send().await.expect(200).json();
    micros(&balance["available_usd"])
}

#[test]
fn a_video_is_made_while_its_client_polls() {
    run(async |app| {
        let key = with_sandbox(&app).await;
        let video = ask_for(&app, &key, &json!({ "prompt": "waves", "duration": 3, "size": "64x64" })).await;
        assert_eq!(
            (&video["object"], &video["status"], &video["seconds"]),
            (&json!("video"), &json!("processing"), &json!("3"))
        );
        assert!(video.get("url").is_none());
        let id = video["id"].as_str().unwrap();
        assert_eq!(available(&app, &key).await, 700_000, "3 seconds at $0.10 are held");
        app.get(&format!("/v1/videos/{id}/content")).bearer(&key.key).send().await.expect(409);
        tokio::time::sleep(std::time::Duration::from_secs(4)).await;
        let done = app.get(&format!("/v1/videos/generations/{id}")).bearer(&key.key).send().await.expect(200).json();
        assert_eq!((&done["status"], &done["progress"]), (&json!("completed"), &json!(100)));
        assert_eq!(done["url"], format!("http://guildhall.test/v1/videos/{id}/content"));
        let file = app.get(&format!("/v1/videos/{id}/content")).bearer(&key.key).send().await.expect(200);
        assert_eq!((file.header("content-type"), &file.body[4..8]), (Some("video/mp4"), b"ftyp".as_slice()));
        app.pass_ms(2_000).await;
        let record = last_receipt(&app, &key).await;
        assert_eq!((&record["request_type"], &record["outcome"]), (&json!("video"), &json!("completed")));
        assert_eq!(micros(&record["charged_usd"]), 300_000);
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn a_video_that_nobody_asks_about_is_finished_and_charged_once() {
    run(async |app| {
        let key = with_sandbox(&app).await;
        let body = form(&[("prompt", "waves"), ("seconds", "4"), ("model", "film")], None);
        let call = app.post("/v1/videos/generations").bearer(&key.key).bytes(&body);
        let video = call.rare(|head| head.content_type = FORM.into()).send().await.expect(200).json();
        app.objects.fail_next(Job::BINDING, FaultPoint::Effect);
        app.pass_ms(120_000).await;
        assert_eq!(usage_rows(&app, &key).await.len(), 1);
        assert_eq!(micros(&last_receipt(&app, &key).await["charged_usd"]), 400_000);
        let keys = app.get("/v1/keys").bearer(&key.key).send().await.expect(200).json();
        assert_eq!(keys["data"][0]["current_spend_usd"], 0.4, "it counts for the month, though nothing limits it");
        assert_eq!(look_at(&app, &key, video["id"].as_str().unwrap()).await["status"], "completed");
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn a_video_that_fails_costs_nothing() {
    run(async |app| {
        let key = with_sandbox(&app).await;
        let video = ask_for(&app, &key, &json!({ "prompt": "sandbox:fail please" })).await;
        app.pass_ms(20_000).await;
        let failed = look_at(&app, &key, video["id"].as_str().unwrap()).await;
        assert_eq!(
            (&failed["status"], &failed["error"]["message"]),
            (&json!("failed"), &json!("the prompt asked to fail"))
        );
        assert_eq!(micros(&last_receipt(&app, &key).await["charged_usd"]), 0);
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

fn state(status: &str, more: &Value) -> Reply {
    let mut body = json!({ "id": "vid/1", "object": "video", "status": status });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    Reply::Whole(200, body.to_string(), "")
}

#[test]
fn an_upstream_is_followed_to_the_end() {
    run(async |app| {
        let key = with_upstream(&app).await;
        app.upstream.always(state("queued", &json!({ "progress": 0 })));
        let video = ask_for(&app, &key, &json!({ "prompt": "waves", "seconds": "8", "extra": 1 })).await;
        let id = video["id"].as_str().unwrap();
        assert_eq!(app.upstream.last_body(), r#"{"model":"up-film","prompt":"waves","seconds":"8","extra":1}"#);
        app.upstream.always(state("in_progress", &json!({ "progress": 40 })));
        app.pass_ms(4_000).await;
        assert_eq!(look_at(&app, &key, id).await["progress"], 40);
        assert!(app.upstream.sent.borrow().iter().any(|sent| sent.url.ends_with("/p1/v1/videos/vid%2F1")));
        app.upstream.always(Reply::error(500, "for a moment"));
        app.pass_ms(30_000).await;
        assert_eq!(look_at(&app, &key, id).await["status"], "processing");
        // It made less than was asked for, and only that is charged.
        app.upstream.always(state("completed", &json!({ "seconds": "4", "url": "https://cdn.example/v.mp4" })));
        app.pass_ms(120_000).await;
        let done = look_at(&app, &key, id).await;
        assert_eq!((&done["status"], &done["url"]), (&json!("completed"), &json!("https://cdn.example/v.mp4")));
        assert_eq!(micros(&done["cost_usd"]), 400_000);
        let elsewhere = app.get(&format!("/v1/videos/{id}/content")).bearer(&key.key).send().await.expect(302);
        assert_eq!(elsewhere.header("location"), Some("https://cdn.example/v.mp4"));
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn a_client_that_asks_again_and_again_does_not_fail_its_video() {
    run(async |app| {
        let key = with_upstream(&app).await;
        app.upstream.always(state("queued", &json!({})));
        let video = ask_for(&app, &key, &json!({ "prompt": "waves" })).await;
        let id = video["id"].as_str().unwrap();
        app.upstream.always(Reply::error(503, "busy"));
        for _ in 0..30 {
            app.pass_ms(2_100).await;
            assert_eq!(look_at(&app, &key, id).await["status"], "processing");
        }
        let sent = app.upstream.sent.take();
        let looks: Vec<_> = sent.iter().filter(|sent| sent.method == "GET").collect();
        assert!(looks.len() > 20);
        assert!(looks.iter().all(|look| look.outlives_client), "a client that gives up does not end the look");
        app.upstream.always(state("completed", &json!({})));
        app.pass_ms(60_000).await;
        assert_eq!(look_at(&app, &key, id).await["status"], "completed");
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn a_video_outlasts_a_locked_vault() {
    run(async |app| {
        let key = with_upstream(&app).await;
        app.upstream.always(state("queued", &json!({})));
        let video = ask_for(&app, &key, &json!({ "prompt": "waves" })).await;
        let id = video["id"].as_str().unwrap();
        app.admin("POST", "/admin/v1/vault/lock").send().await.expect(200);
        let asked = app.upstream.sent.borrow().len();
        for _ in 0..300 {
            app.pass_ms(2_100).await;
            assert_eq!(look_at(&app, &key, id).await["status"], "processing");
        }
        assert_eq!(app.upstream.sent.borrow().len(), asked, "nobody is asked without their key");
        let password = json!({ "admin_password": VAULT_PASSWORD });
        app.admin("POST", "/admin/v1/vault/unlock").json(&password).send().await.expect(200);
        app.upstream.always(state("completed", &json!({})));
        app.pass_ms(60_000).await;
        assert_eq!(look_at(&app, &key, id).await["status"], "completed");
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn a_film_that_lies_elsewhere_is_loaded_there() {
    run(async |app| {
        let key = with_upstream(&app).await;
        app.upstream.always(state("completed", &json!({})));
        let video = ask_for(&app, &key, &json!({ "prompt": "waves" })).await;
        let id = video["id"].as_str().unwrap();
        app.pass_ms(4_000).await;
        let load = || app.get(&format!("/v1/videos/{id}/content")).bearer(&key.key).send();
        app.upstream.always(Reply::Elsewhere("https://store.example/film.mp4?signed=1"));
        let elsewhere = load().await.expect(302);
        assert_eq!(elsewhere.header("location"), Some("https://store.example/film.mp4?signed=1"));
        for location in ["", "/film.mp4", "file:///etc/passwd", "http://169.254.169.254/"] {
            app.upstream.always(Reply::Elsewhere(location));
            load().await.expect(502);
        }
    });
}

#[test]
fn what_no_upstream_takes_holds_no_money() {
    run(async |app| {
        let key = with_upstream(&app).await;
        let ask = || app.post("/v1/videos").bearer(&key.key).body(r#"{"prompt":"a"}"#).send();
        app.upstream.always(Reply::error(400, "moderation"));
        for lost in [false, true] {
            if lost {
                app.objects.fail_after(Job::BINDING, FaultPoint::AfterPersist, 1);
            }
            let answer = ask().await.expect(400);
            assert!(answer.text().contains("moderation"), "also where the job's answer is lost");
        }
        app.upstream.always(Reply::error(503, "busy"));
        ask().await.expect(502);
        app.pass_ms(5_000).await;
        assert_eq!(available(&app, &key).await, 1_000_000);
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn without_money_a_free_model_films() {
    run(async |app| {
        with_upstream(&app).await;
        let poor = app.provision("0").await;
        let film = json!({ "kind": "video", "upstream_model": "gratis", "unit_price_usd": 0, "weight": 1, "input_per_1k": 0, "output_per_1k": 0 });
        app.upstream.always(state("queued", &json!({})));
        let ask = |key: &Key| app.post("/v1/videos").bearer(&key.key).body(r#"{"prompt":"a"}"#).send();
        ask(&poor).await.expect(402);
        add_model(&app, "free-film", "p1", film).await;
        ask(&poor).await.expect(200);
        assert!(app.upstream.last_body().contains("gratis"));
    });
}

#[test]
fn a_job_that_can_not_be_created_gives_its_money_back() {
    run(async |app| {
        let key = with_sandbox(&app).await;
        app.objects.fail_next(Job::BINDING, FaultPoint::BeforePersist);
        app.post("/v1/videos").bearer(&key.key).body(r#"{"prompt":"a"}"#).send().await.expect(500);
        assert_eq!(available(&app, &key).await, 1_000_000);
    });
}

#[test]
fn a_video_whose_job_does_not_answer_is_ordered_and_charged_once() {
    let lost = |point| move |app: &TestApp| app.objects.fail_after(Job::BINDING, point, 1);
    let silent = |fault, times| {
        move |app: &TestApp| {
            app.faults.fail_object_after(Job::BINDING, 1, fault);
            (1..times).for_each(|_| app.faults.fail_object(Job::BINDING, fault));
        }
    };
    once_while(lost(FaultPoint::AfterPersist), true);
    once_while(lost(FaultPoint::BeforePersist), true);
    // The job hears of it after the answer, or never.
    once_while(silent(Fault::After, 4), true);
    once_while(silent(Fault::Before, 4), true);
    once_while(silent(Fault::Before, 9), false);
}

fn once_while(fault: impl Fn(&TestApp), is_made: bool) {
    run(async |app| {
        let key = with_upstream(&app).await;
        app.upstream.always(state("queued", &json!({})));
        fault(&app);
        let ask = || app.post("/v1/videos").bearer(&key.key).body(r#"{"prompt":"a"}"#).idempotency_key("v1").send();
        let first = ask().await.expect(200);
        let video = first.json();
        assert_eq!(video["status"], "processing");
        let again = ask().await.expect(200);
        assert_eq!((again.header("idempotency-replay"), &again.body), (Some("true"), &first.body));
        app.pass_ms(10_000).await;
        app.upstream.always(state("completed", &json!({ "seconds": "4" })));
        app.pass_ms(20 * 60_000).await;
        let orders = app.upstream.sent.borrow().iter().filter(|sent| sent.method == "POST").count();
        assert_eq!((orders, usage_rows(&app, &key).await.len()), (1, 1));
        let ended = look_at(&app, &key, video["id"].as_str().unwrap()).await;
        assert_eq!(ended["status"], if is_made { "completed" } else { "failed" });
        let charged = if is_made { 400_000 } else { 0 };
        assert_eq!(micros(&last_receipt(&app, &key).await["charged_usd"]), charged);
        assert_eq!(available(&app, &key).await, 1_000_000 - charged);
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn a_hold_whose_answer_is_lost_comes_back_at_once() {
    run(async |app| {
        let key = with_sandbox(&app).await;
        app.faults.fail_object("WALLET", Fault::After);
        let answer = app.post("/v1/videos").bearer(&key.key).body(r#"{"prompt":"a"}"#).send().await;
        assert!(answer.status >= 500, "{}", answer.text());
        assert_eq!(available(&app, &key).await, 1_000_000);
    });
}

#[test]
fn a_video_is_its_owners() {
    run(async |app| {
        let (key, other) = (with_sandbox(&app).await, app.provision("0").await);
        let video = ask_for(&app, &key, &json!({ "prompt": "waves" })).await;
        let id = video["id"].as_str().unwrap();
        app.get(&format!("/v1/videos/{id}")).bearer(&other.key).send().await.expect(404);
        app.get(&format!("/v1/videos/{id}/content")).bearer(&other.key).send().await.expect(404);
        app.get("/v1/videos/nothing").bearer(&key.key).send().await.expect(404);
        app.post("/v1/videos").bearer(&other.key).body(r#"{"prompt":"a"}"#).send().await.expect(402);
        let answer =
            app.post("/v1/videos").bearer(&key.key).body(r#"{"prompt":"a","duration":61}"#).send().await.expect(400);
        assert!(answer.text().contains("duration"));
    });
}

#[test]
fn a_video_that_never_ends_costs_nothing() {
    run(async |app| {
        let key = with_upstream(&app).await;
        app.upstream.always(state("in_progress", &json!({ "progress": 1 })));
        let video = ask_for(&app, &key, &json!({ "prompt": "waves" })).await;
        let id = video["id"].as_str().unwrap();
        for _ in 0..65 {
            tokio::time::sleep(std::time::Duration::from_secs(60)).await;
            app.deliver().await;
        }
        assert_eq!(look_at(&app, &key, id).await["status"], "failed");
        let record = last_receipt(&app, &key).await;
        assert_eq!((&record["outcome"], micros(&record["charged_usd"])), (&json!("upstream_failed"), 0));
        assert_eq!(available(&app, &key).await, 1_000_000);
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn a_client_that_leaves_early_has_no_video_and_no_bill() {
    run(async |app| {
        let key = with_upstream(&app).await;
        app.upstream.always(Reply::Fails(FetchError::ClientGone { was_asked: true }));
        app.post("/v1/videos").bearer(&key.key).body(r#"{"prompt":"a"}"#).send().await;
        app.pass_ms(5_000).await;
        assert_eq!(micros(&last_receipt(&app, &key).await["charged_usd"]), 0);
        assert_eq!(available(&app, &key).await, 1_000_000);
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn what_others_hold_of_a_budget_is_waited_for() {
    run(async |app| {
        let owner = with_sandbox(&app).await;
        let limited = json!({ "name": "limited", "monthly_budget_usd": 0.31 });
        let limited = app.post("/v1/keys").bearer(&owner.key).json(&limited).send().await.expect(200).json();
        let text = |field: &str| limited[field].as_str().unwrap();
        let now_ms = app.now_ms();
        let lease = Lease {
            id: "another isolate".into(),
            captures: vec![],
            want: MicroUsd(50_000),
            least: MicroUsd::ZERO,
            expires_at_ms: now_ms + 1_000,
            budgets: vec![Tally::of_key(text("id"), 0).line(MicroUsd(310_000), now_ms)],
        };
        app.ask::<Wallet>(&owner.account_id, &Command::Lease(lease));
        let ask = || app.post("/v1/videos").bearer(text("key")).body(r#"{"prompt":"waves","duration":3}"#).send();
        ask().await.expect(200);
        assert!(app.now_ms() - now_ms >= 1_000);
        assert!(ask().await.expect(429).text().contains("budget"), "it is spent, whatever comes back");
    });
}

#[test]
fn slow_upstreams_are_waited_for() {
    run_with(&[("FIRST_BYTE_MS", "100000")], async |app| {
        let key = with_upstream(&app).await;
        app.upstream.always(state("queued", &json!({ "progress": 0 })));
        app.upstream.latency_ms.set(700_000);
        assert_eq!(ask_for(&app, &key, &json!({ "prompt": "waves" })).await["status"], "processing");
    });
}
