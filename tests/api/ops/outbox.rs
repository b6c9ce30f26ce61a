//! `/sandbox/outbox`.

use serde_json::json;

use crate::support::{TestApp, run, run_with};

async fn ask_for_link(app: &TestApp, email: &str) {
    app.post("/v1/auth/login").json(&json!({ "email": email })).send().await.expect(200);
}

#[test]
fn the_sandbox_shows_its_mail() {
    run(async |app| {
        let empty = app.get("/sandbox/outbox").send().await.expect(200);
        assert!(empty.text().contains("There is none"));
        ask_for_link(&app, "ada@example.com").await;
        ask_for_link(&app, "o'hara&co@example.com").await;
        let page = app.get("/sandbox/outbox").send().await.expect(200);
        assert_eq!(page.header("cache-control"), Some("no-store"));
        let text = page.text();
        assert!(text.contains("<a href=\"http://guildhall.test/auth/verify?token="), "{text}");
        assert!(text.contains("o&#39;hara&amp;co@example.com") && text.contains("ada@example.com"));
        let mails = app.get("/sandbox/outbox.json").send().await.expect(200).json();
        assert_eq!(mails["mails"][0]["to"], "o'hara&co@example.com", "newest first");
        assert_eq!(mails["mails"].as_array().unwrap().len(), 2);
        let mail = &mails["mails"][1];
        let link = mail["links"][0].as_str().unwrap();
        assert!(mail["text"].as_str().unwrap().contains(link) && mail["html"].as_str().unwrap().contains(link));
    });
}

#[test]
fn it_is_bounded_and_old_mail_goes() {
    run(async |app| {
        for number in 0..205 {
            ask_for_link(&app, &format!("p{number}@example.com")).await;
        }
        assert_eq!(app.database.number("SELECT COUNT(*) FROM outbox"), 200);
        let mails = app.get("/sandbox/outbox.json").send().await.expect(200).json();
        assert_eq!(mails["mails"][199]["to"], "p5@example.com");
        tokio::time::sleep(std::time::Duration::from_secs(8 * 86_400)).await;
        guildhall::jobs::hourly::run_hourly(&app.ports()).await;
        assert_eq!(app.database.number("SELECT COUNT(*) FROM outbox"), 0);
    });
}

#[test]
fn live_mode_has_none() {
    run_with(&[("MODE", "live")], async |app| {
        app.get("/sandbox/outbox").send().await.expect(404);
        app.get("/sandbox/outbox.json").send().await.expect(404);
    });
}
