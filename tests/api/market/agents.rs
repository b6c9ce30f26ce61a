//! Registration, claims, and public profiles.

use serde_json::{Value, json};

use crate::support::{run, run_with};

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn fields(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn an_agent_registers_by_itself() {
    run(async |app| {
        let body = json!({ "name": " My Agent ", "description": "does cool things", "ownerEmail": "Me@Example.com",
            "tags": ["python"], "webhookUrl": "https://example.com/hook" });
        let answer = app.register(&body).await.expect(201).json();
        assert_eq!(fields(&answer), ["agent", "apiKey", "important"]);
        assert_eq!(answer["important"], "⚠️ Save your API key! You need it for all authenticated requests.");
        let agent = &answer["agent"];
        assert_eq!(fields(agent), ["id", "name", "slug", "apiKey", "status", "referralCode", "profileUrl", "claimUrl"]);
        assert_eq!(answer["apiKey"], agent["apiKey"]);
        assert_eq!((&agent["name"], &agent["slug"]), (&json!("My Agent"), &json!("my-agent")));
        assert_eq!((&agent["status"], &agent["profileUrl"]), (&json!("ACTIVE"), &json!("/agents/my-agent")));
        let text = |field: &str| agent[field].as_str().unwrap();
        assert!(is_hex(text("id").strip_prefix("clx").unwrap(), 32), "{agent}");
        assert!(is_hex(text("apiKey").strip_prefix("clx").unwrap(), 64), "{agent}");
        assert!(is_hex(text("referralCode").strip_prefix("my-agent-").unwrap(), 6), "{agent}");
        assert!(text("claimUrl").starts_with("http://guildhall.test/claim?token="), "{agent}");
        let me = app.get("/api/agents/me").bearer(text("apiKey")).send().await.expect(200).json();
        assert_eq!((&me["agent"]["ownerEmail"], &me["agent"]["tags"]), (&json!("me@example.com"), &json!(["python"])));
        assert_eq!(me["agent"]["webhookUrl"], "https://example.com/hook");
    });
}

#[test]
fn its_key_opens_every_surface_and_its_wallet_pays() {
    run(async |app| {
        app.with_model().await;
        let agent = app.agent("Payer").await;
        app.hello(&agent.key).send().await.expect(402);
        app.deposit(&agent, 100).await.expect(200);
        app.answer_hello();
        app.hello(&agent.key).send().await.expect(200);
        app.get("/v1/usage").bearer(&agent.key.key).send().await.expect(200);
        assert_eq!(app.balance_micros(&agent.key).await, 1_000_000 - crate::support::HELLO_MICROS);
        app.pass_ms(200).await;
        app.assert_books_balance(&agent.key);
    });
}

#[test]
fn a_name_is_needed_and_every_field_is_bounded() {
    run(async |app| {
        for body in [json!({}), json!({ "name": "  " }), json!({ "name": null })] {
            assert_eq!(app.register(&body).await.expect(400).json(), json!({ "error": "name is required" }));
        }
        for (field, value) in [
            ("name", json!("x".repeat(101))),
            ("name", json!(7)),
            ("description", json!("x".repeat(5_001))),
            ("ownerEmail", json!("me")),
            ("email", json!("me@host")),
            ("tags", json!(vec!["x"; 21])),
            ("tags", json!("python")),
            ("webhookUrl", json!("http://169.254.169.254/")),
            ("webhookUrl", json!("ftp://example.com/")),
        ] {
            let mut body = json!({ "name": "Agent" });
            body[field] = value;
            let refused = app.register(&body).await.expect(400).json();
            assert!(refused["error"].as_str().unwrap().contains(field), "{field}: {refused}");
        }
        app.post("/api/agents/register").body("{").send().await.expect(400);
        app.post("/api/agents/register").bytes(&[b' '; (1 << 16) + 1]).send().await.expect(413);
        assert_eq!(app.database.number("SELECT COUNT(*) FROM agents"), 0, "what is refused leaves nothing");
    });
}

#[test]
fn a_webhook_may_be_local_in_the_sandbox_only() {
    let body = json!({ "name": "Agent", "webhookUrl": "http://127.0.0.1:9/hook" });
    run(async |app| drop(app.register(&body).await.expect(201)));
    run_with(&[("MODE", "live")], async |app| drop(app.register(&body).await.expect(400)));
}

#[test]
fn slugs_are_unique_and_never_a_path_or_an_id() {
    run(async |app| {
        let first = app.agent("Lily").await;
        let second = app.agent("Lily!").await;
        assert_eq!(first.slug, "lily");
        assert!(is_hex(second.slug.strip_prefix("lily-").unwrap(), 8), "{}", second.slug);
        for name in ["me", "Wallet", "register", &first.id] {
            let agent = app.agent(name).await;
            assert!(agent.slug.starts_with(&format!("{}-", name.to_lowercase())), "{}", agent.slug);
        }
        assert_eq!(app.agent("模型").await.slug, "agent");
        let found = app.get(&format!("/api/agents/{}", first.id)).send().await.expect(200).json();
        assert_eq!(found["agent"]["slug"], "lily", "an id leads to nobody else");
    });
}

#[test]
fn one_operators_second_agent_wants_a_word() {
    run(async |app| {
        let body = |more: Value| {
            let mut body = json!({ "name": "Bot", "ownerEmail": "ops@example.com" });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body
        };
        app.register(&body(json!({}))).await.expect(201);
        let refused = app.register(&body(json!({ "ownerEmail": "OPS@example.com" }))).await.expect(409).json();
        assert!(refused["error"].as_str().unwrap().contains("confirmNew"), "{refused}");
        app.register(&json!({ "name": "Bot", "email": "ops@example.com" })).await.expect(409);
        let mut keys = Vec::new();
        for _ in 0..3 {
            let again = app.register(&body(json!({ "confirmNew": true }))).await.expect(201).json();
            keys.push(again["apiKey"].as_str().unwrap().to_owned());
        }
        for key in &keys {
            app.get("/api/agents/me").bearer(key).send().await.expect(200);
        }
        // Without an address there is nothing to compare.
        app.register(&json!({ "name": "Bot" })).await.expect(201);
        app.register(&json!({ "name": "Bot" })).await.expect(201);
    });
}

#[test]
fn who_brought_it_is_kept_and_unknown_codes_are_passed_over() {
    run(async |app| {
        let first = app.register(&json!({ "name": "Lily" })).await.expect(201).json();
        let code = first["agent"]["referralCode"].as_str().unwrap();
        let body = json!({ "name": "New Agent", "referralCode": code, "ref": "a podcast" });
        let second = app.register(&body).await.expect(201).json();
        let of = |id: &Value, what: &str| {
            app.database.text(&format!("SELECT COALESCE({what}, '') FROM agents WHERE id = {id}").replace('"', "'"))
        };
        assert_eq!(of(&second["agent"]["id"], "referred_by"), first["agent"]["id"].as_str().unwrap());
        assert_eq!(of(&second["agent"]["id"], "source"), "a podcast");
        for code in ["", "lily", "lily-000000", "nobody-a1b2c3", "x' OR 1=1"] {
            let body = json!({ "name": "Another", "referralCode": code, "source": "s" });
            let another = app.register(&body).await.expect(201).json();
            assert_eq!(of(&another["agent"]["id"], "referred_by"), "", "{code}");
        }
    });
}

#[test]
fn an_address_registers_so_many_an_hour() {
    run_with(&[("PROVISIONS_PER_HOUR", "2")], async |app| {
        let register = || app.post("/api/agents/register").json(&json!({ "name": "Bot" })).send();
        app.register(&json!({})).await.expect(400);
        register().await.expect(201);
        register().await.expect(201);
        let refused = register().await.expect(429);
        assert!(refused.json()["error"].is_string() && refused.header("retry-after").is_some(), "{}", refused.text());
        assert_eq!(app.database.number("SELECT COUNT(*) FROM agents"), 2);
    });
}

#[test]
fn neither_the_key_nor_the_claim_token_is_stored_in_clear() {
    run(async |app| {
        let agent = app.agent("Secret").await;
        let stored = app.database.dump();
        assert!(!stored.contains(&agent.key.key[3..]) && !stored.contains(&agent.claim));
        assert!(app.log.borrow().iter().all(|line| !line.contains(&agent.key.key)));
    });
}

#[test]
fn a_database_that_fails_leaves_no_half_agent() {
    for fault in [crate::support::Fault::Before, crate::support::Fault::After] {
        run(async |app| {
            app.faults.fail_db(fault);
            app.register(&json!({ "name": "Bot" })).await.expect(500);
            let count = |table: &str| app.database.number(&format!("SELECT COUNT(*) FROM {table}"));
            assert_eq!((count("accounts"), count("api_keys")), (count("agents"), count("agents")), "{fault:?}");
        });
    }
}

#[test]
fn a_claim_without_a_session_confirms_and_keeps_the_token() {
    run(async |app| {
        let agent = app.agent("Lily").await;
        let claim = |token: &str| app.post("/api/agents/claim").json(&json!({ "token": token })).send();
        let expected = json!({ "success": true, "agent": { "id": agent.id, "name": "Lily", "status": "ACTIVE" } });
        assert_eq!(claim(&agent.claim).await.expect(200).json(), expected);
        assert_eq!(claim(&agent.claim).await.expect(200).json(), expected);
        claim("nonsense").await.expect(404);
        let empty = app.post("/api/agents/claim").body("{}").send().await.expect(400).json();
        assert_eq!(empty, json!({ "error": "token is required" }));
        // Its own key beside the token changes nothing; a wrong one is refused.
        let with_key = app.post("/api/agents/claim").bearer(&agent.key.key).json(&json!({ "token": agent.claim }));
        assert_eq!(with_key.send().await.expect(200).json(), expected);
        let wrong = app.post("/api/agents/claim").bearer("nonsense").json(&json!({ "token": agent.claim }));
        wrong.send().await.expect(401);
    });
}

#[test]
fn a_person_claims_an_agent_once() {
    run(async |app| {
        let agent = app.agent("Lily").await;
        app.deposit(&agent, 700).await.expect(200);
        let (ada, eve) = (app.sign_in("ada@example.com").await, app.sign_in("eve@example.com").await);
        let claim =
            |token: &str| app.post("/api/agents/claim").bearer(token).json(&json!({ "token": agent.claim })).send();
        claim(&ada.token).await.expect(200);
        claim(&eve.token).await.expect(404);
        claim(&ada.token).await.expect(404);
        let owner = "SELECT p.email FROM accounts a JOIN people p ON p.id = a.owner_id WHERE a.id";
        assert_eq!(app.database.text(&format!("{owner} = '{}'", agent.key.account_id)), "ada@example.com");
        // The key, the wallet and its money stay the agent's.
        assert_eq!(app.wallet(&agent).await["balanceCents"], 700);
    });
}

#[test]
fn of_two_who_claim_at_once_one_wins() {
    run(async |app| {
        let agent = app.agent("Lily").await;
        let (ada, eve) = (app.sign_in("ada@example.com").await, app.sign_in("eve@example.com").await);
        let claim =
            |token: &str| app.post("/api/agents/claim").bearer(token).json(&json!({ "token": agent.claim })).send();
        let (one, other) = tokio::join!(claim(&ada.token), claim(&eve.token));
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409]);
    });
}

#[test]
fn everybody_sees_a_profile_and_nothing_private() {
    run(async |app| {
        let body = json!({ "name": "Lily", "ownerEmail": "ops@example.com", "webhookUrl": "https://example.com/hook" });
        let agent = app.register(&body).await.expect(201).json()["agent"].clone();
        let by_slug = app.get("/api/agents/lily").send().await.expect(200);
        let by_id = app.get(&format!("/api/agents/{}", agent["id"].as_str().unwrap())).send().await.expect(200);
        assert_eq!(by_slug.json(), by_id.json());
        let shown = &by_slug.json()["agent"];
        for (field, value) in [("name", json!("Lily")), ("status", json!("ACTIVE")), ("rating", Value::Null)] {
            assert_eq!(shown[field], value, "{field}");
        }
        assert_eq!((&shown["jobsCompleted"], &shown["services"]), (&json!(0), &json!([])));
        for private in ["ops@example.com", "example.com/hook", agent["referralCode"].as_str().unwrap()] {
            assert!(!by_slug.text().contains(private), "{private}");
        }
        for path in ["referral", "verify", "notifications", "dm", "feed", "jobs", "register"] {
            let answer = app.get(&format!("/api/agents/{path}")).send().await.expect(404).json();
            assert_eq!(answer, json!({ "error": format!("No route for GET /api/agents/{path}") }));
        }
        for unknown in ["nobody", "clx0123456789abcdef0123456789abcdef", "%00", "lily%27%20OR%201=1"] {
            let answer = app.get(&format!("/api/agents/{unknown}")).send().await.expect(404).json();
            assert_eq!(answer, json!({ "error": "agent not found" }), "{unknown}");
        }
    });
}
