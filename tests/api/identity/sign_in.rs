//! `/v1/auth/login`, `/v1/auth/signup`, `/v1/auth/verify` and the page of a link.

use std::time::Duration;

use serde_json::json;

use super::people::{account_of, ask_for_link, last_mail, last_token, sign_in, token_of, verify};
use crate::support::{Fault, Reply, TestApp, join_all, run, run_with};

const FORM: &str = "application/x-www-form-urlencoded";

#[test]
fn whoever_has_no_account_gets_one() {
    run(async |app| {
        let asked =
            app.post("/v1/auth/signup").json(&json!({ "email": " Ada@Example.com" })).send().await.expect(200).json();
        assert_eq!((&asked["ok"], &asked["expires_in_seconds"]), (&json!(true), &json!(900)));
        let mail = last_mail(&app).await;
        assert_eq!(mail["to"], "ada@example.com");
        let signed_in = verify(&app, &last_token(&app).await).await.expect(200);
        assert_eq!(signed_in.header("cache-control"), Some("no-store"));
        let signed_in = signed_in.json();
        assert!(signed_in["person"]["id"].as_str().unwrap().starts_with("person_"));
        assert_eq!((&signed_in["person"]["email"], &signed_in["is_new"]), (&json!("ada@example.com"), &json!(true)));
        assert!(account_of(&signed_in).starts_with("acc_"));
        assert!(token_of(&signed_in).starts_with("sess_") && signed_in.get("claim").is_none());
        app.get("/v1/balance").bearer(token_of(&signed_in)).send().await.expect(200);
        let again = sign_in(&app, "ADA@example.com").await;
        assert_eq!(
            (&again["is_new"], &again["person"], &again["account"]),
            (&json!(false), &signed_in["person"], &signed_in["account"])
        );
        assert_ne!(again["session_token"], signed_in["session_token"]);
        assert_eq!(app.database.number("SELECT COUNT(*) FROM accounts"), 1);
    });
}

#[test]
fn the_answer_does_not_tell_who_is_known() {
    run(async |app| {
        sign_in(&app, "ada@example.com").await;
        let known = ask_for_link(&app, "ada@example.com").await.expect(200);
        let unknown = ask_for_link(&app, "bob@example.com").await.expect(200);
        assert_eq!(known.json(), unknown.json());
        assert_eq!(app.database.number("SELECT COUNT(*) FROM people"), 1, "asking makes nobody known");
    });
}

#[test]
fn a_link_works_once_and_for_fifteen_minutes() {
    run(async |app| {
        ask_for_link(&app, "ada@example.com").await.expect(200);
        let token = last_token(&app).await;
        verify(&app, &token).await.expect(200);
        let refused = verify(&app, &token).await.expect(401).json();
        assert_eq!(refused["error"]["code"], "AUTH_FAILED");
        assert!(refused["message"].as_str().unwrap().contains("ask for a new one"), "{refused}");
        ask_for_link(&app, "ada@example.com").await.expect(200);
        let token = last_token(&app).await;
        tokio::time::sleep(Duration::from_secs(901)).await;
        verify(&app, &token).await.expect(401);
        guildhall::jobs::hourly::run_hourly(&app.isolate(), &app.ports()).await;
        assert_eq!(app.database.number("SELECT COUNT(*) FROM sign_ins"), 0);
        for token in ["", "x", &"0".repeat(64)] {
            let status = if token.is_empty() { 400 } else { 401 };
            verify(&app, token).await.expect(status);
        }
    });
}

#[test]
fn of_two_uses_at_once_one_wins() {
    run(async |app| {
        ask_for_link(&app, "ada@example.com").await.expect(200);
        let token = last_token(&app).await;
        let answers = join_all((0..5).map(|_| verify(&app, &token))).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
        assert_eq!(answers.iter().filter(|answer| answer.status == 401).count(), 4);
        assert_eq!(app.database.number("SELECT COUNT(*) FROM sessions"), 1);
        assert_eq!(app.database.number("SELECT COUNT(*) FROM accounts"), 1);
    });
}

#[test]
fn two_links_used_at_once_open_one_account() {
    run(async |app| {
        let mut tokens = Vec::new();
        for _ in 0..2 {
            ask_for_link(&app, "ada@example.com").await.expect(200);
            tokens.push(last_token(&app).await);
        }
        let answers = join_all(tokens.iter().map(|token| verify(&app, token))).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        assert_eq!(answers[0].json()["account"], answers[1].json()["account"]);
        assert_eq!(app.database.number("SELECT COUNT(*) FROM accounts"), 1);
    });
}

#[test]
fn a_failing_database_uses_no_link_up() {
    run(async |app| {
        ask_for_link(&app, "ada@example.com").await.expect(200);
        let token = last_token(&app).await;
        for passing in 0..4 {
            app.faults.fail_db_after(passing, Fault::Before);
            assert_eq!(verify(&app, &token).await.status, 500, "call {passing}");
        }
        verify(&app, &token).await.expect(200);
    });
}

#[test]
fn wrong_addresses_are_refused_by_name() {
    run(async |app| {
        for email in
            ["", "ada", "ada@localhost", "ada@example.com\r\nbcc: eve@example.com", "a@example.com, b@example.com"]
        {
            let refused = ask_for_link(&app, email).await.expect(400).json();
            assert_eq!(
                (&refused["error"]["code"], &refused["error"]["param"]),
                (&json!("INVALID_INPUT"), &json!("email")),
                "{email}"
            );
        }
        app.post("/v1/auth/login").body("{}").send().await.expect(400);
        app.post("/v1/auth/login").body("nonsense").send().await.expect(400);
        let unknown = json!({ "email": "ada@example.com", "claim_token": "0".repeat(64) });
        app.post("/v1/auth/login").json(&unknown).send().await.expect(404);
        assert_eq!(app.database.number("SELECT COUNT(*) FROM outbox"), 0);
    });
}

#[test]
fn mailboxes_and_addresses_get_so_many_links_an_hour() {
    run_with(&[("SIGN_INS_PER_HOUR", "2")], async |app| {
        let ask = |email: String, address: &str| {
            let address = address.to_owned();
            let call = app.post("/v1/auth/login").json(&json!({ "email": email }));
            call.head(|head| head.address = address).send()
        };
        for address in ["203.0.113.1", "203.0.113.2"] {
            ask("ada@example.com".into(), address).await.expect(200);
        }
        let refused = ask("Ada@example.com".into(), "203.0.113.3").await.expect(429);
        assert_eq!(refused.header("retry-after"), Some("3600"));
        for number in 0..11 {
            ask(format!("p{number}@example.com"), "203.0.113.3").await.expect(200);
        }
        ask("last@example.com".into(), "203.0.113.3").await.expect(429);
        ask("last@example.com".into(), "203.0.113.4").await.expect(200);
        assert_eq!(app.database.number("SELECT COUNT(*) FROM outbox"), 14, "what is refused mails nothing");
    });
}

#[test]
fn whoever_has_only_a_closed_account_gets_another() {
    run(async |app| {
        let ada = sign_in(&app, "ada@example.com").await;
        app.database.execute("UPDATE accounts SET status = 'closed'");
        app.get("/v1/auth/me").bearer(token_of(&ada)).send().await.expect(401);
        let again = sign_in(&app, "ada@example.com").await;
        assert_ne!(account_of(&again), account_of(&ada));
        assert_eq!((&again["person"], &again["is_new"]), (&ada["person"], &json!(false)));
        app.get("/v1/auth/me").bearer(token_of(&again)).send().await.expect(200);
    });
}

#[test]
fn no_token_is_stored_in_clear() {
    run(async |app| {
        ask_for_link(&app, "ada@example.com").await.expect(200);
        let token = last_token(&app).await;
        let links = app.database.text("SELECT group_concat(hash || COALESCE(claim_hash, '')) FROM sign_ins");
        assert!(!links.contains(&token), "the sandbox's mail alone has it");
        let signed_in = verify(&app, &token).await.expect(200).json();
        let digits = token_of(&signed_in).strip_prefix("sess_").unwrap();
        assert!(!app.database.dump().contains(digits));
        assert!(app.log.borrow().is_empty(), "{:?}", app.log.borrow());
    });
}

#[test]
fn the_page_of_a_link_asks_before_it_uses_it() {
    run(async |app| {
        ask_for_link(&app, "ada@example.com").await.expect(200);
        let token = last_token(&app).await;
        for _ in 0..3 {
            let page = app.get(&format!("/auth/verify?token={token}")).send().await.expect(200);
            assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
            assert_eq!(
                (page.header("cache-control"), page.header("referrer-policy")),
                (Some("no-store"), Some("no-referrer"))
            );
            let policy = page.header("content-security-policy").unwrap();
            assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
            assert!(page.text().contains("ada@example.com") && page.text().contains(&format!("value=\"{token}\"")));
        }
        app.call("HEAD", &format!("/auth/verify?token={token}")).send().await.expect(200);
        let press =
            || app.post("/auth/verify").rare(|head| head.content_type = FORM.into()).body(&format!("token={token}"));
        let page = press().send().await.expect(200);
        assert_eq!(
            (page.header("cache-control"), page.header("referrer-policy")),
            (Some("no-store"), Some("no-referrer"))
        );
        let session = page.text().split("<pre id=\"token\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
        app.get("/v1/auth/me").bearer(&session).send().await.expect(200);
        let refused = press().send().await.expect(401);
        assert!(
            refused.text().contains("ask for a new one")
                && refused.header("content-type").unwrap().starts_with("text/html")
        );
        let gone = app.get("/auth/verify?token=%3Cscript%3E").send().await.expect(401);
        assert!(!gone.text().contains("<script>"));
    });
}

fn mail_settings() -> [(&'static str, &'static str); 3] {
    [
        ("MAIL_API_URL", "http://127.0.0.1:9/mail/emails"),
        ("MAIL_FROM", "Guildhall <hello@example.com>"),
        ("MAIL_API_KEY", "re_key"),
    ]
}

fn sent_mail(app: &TestApp) -> (String, serde_json::Value) {
    let sent = app.upstream.sent.borrow();
    let request = sent.last().expect("nothing was sent");
    assert_eq!((request.method, request.url.as_str()), ("POST", "http://127.0.0.1:9/mail/emails"));
    let authorization = request.headers.iter().find(|(name, _)| *name == "authorization").unwrap();
    (authorization.1.clone(), serde_json::from_slice(request.body.as_deref().unwrap()).unwrap())
}

#[test]
fn mail_goes_to_the_api_too_where_there_is_one() {
    run_with(&mail_settings(), async |app| {
        app.upstream.then(Reply::Whole(200, r#"{"id":"1"}"#.into(), ""));
        ask_for_link(&app, "ada@example.com").await.expect(200);
        let token = last_token(&app).await;
        let (authorization, mail) = sent_mail(&app);
        assert_eq!(authorization, "Bearer re_key");
        assert_eq!(
            (&mail["from"], &mail["to"]),
            (&json!("Guildhall <hello@example.com>"), &json!(["ada@example.com"]))
        );
        assert!(mail["text"].as_str().unwrap().contains(&token) && mail["html"].as_str().unwrap().contains(&token));
        assert_eq!(mail["subject"], "Sign in to Guildhall");
        app.upstream.then(Reply::Whole(422, r#"{"message":"no"}"#.into(), ""));
        let refused = ask_for_link(&app, "ada@example.com").await.expect(503);
        assert_eq!(refused.json()["error"]["code"], "UNAVAILABLE");
        assert!(refused.header("retry-after").is_some());
        app.upstream.then(Reply::Fails(guildhall::ports::FetchError::TimedOut));
        ask_for_link(&app, "ada@example.com").await.expect(503);
        assert!(app.log.borrow().iter().all(|line| !line.contains("re_key") && !line.contains("token=")));
    });
}

#[test]
fn live_mode_without_mail_says_so_and_with_it_keeps_none() {
    run_with(&[("MODE", "live")], async |app| {
        let refused = ask_for_link(&app, "ada@example.com").await.expect(503).json();
        assert!(refused["message"].as_str().unwrap().contains("MAIL_API_URL"), "{refused}");
        assert_eq!(app.database.number("SELECT COUNT(*) FROM sign_ins"), 0);
    });
    let [_, from, key] = mail_settings();
    run_with(&[("MODE", "live"), ("MAIL_API_URL", "https://mail.example/emails"), from, key], async |app| {
        app.upstream.then(Reply::Whole(200, "{}".into(), ""));
        ask_for_link(&app, "ada@example.com").await.expect(200);
        assert_eq!(app.database.number("SELECT COUNT(*) FROM outbox"), 0);
        let text = app.upstream.bodies()[0]["text"].as_str().unwrap().to_owned();
        assert!(text.contains("https://guildhall.test/auth/"), "whoever asked in clear, the link does not: {text}");
        let token = text.split("token=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        verify(&app, &token).await.expect(200);
    });
}
