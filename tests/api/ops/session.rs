//! `/admin/v1/session`.

use std::time::Duration;

use serde_json::json;

use crate::support::{ADMIN_TOKEN, Answer, Call, TestApp, run};

/// The cookie as a browser sends it back.
async fn log_in(app: &TestApp) -> String {
    let answer = app.admin("POST", "/admin/v1/session").send().await.expect(200);
    assert_eq!(answer.json(), json!({ "ok": true }));
    answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

fn with<'a>(call: Call<'a>, cookie: &str) -> Call<'a> {
    call.rare(|head| head.cookie = cookie.into())
}

async fn read(app: &TestApp, cookie: &str) -> Answer {
    with(app.get("/admin/v1/providers"), cookie).send().await
}

#[test]
fn the_cookie_opens_the_admin_routes_and_is_not_the_token() {
    run(async |app| {
        app.post("/admin/v1/session").send().await.expect(401);
        let answer = app.admin("POST", "/admin/v1/session").send().await.expect(200);
        let cookie = answer.header("set-cookie").unwrap();
        for part in
            ["th_admin_session=", "; Path=/admin;", "; Max-Age=43200;", "; HttpOnly", "; SameSite=Strict", "; Secure"]
        {
            assert!(cookie.contains(part), "{part} in {cookie}");
        }
        assert!(!cookie.contains(ADMIN_TOKEN));
        let cookie = log_in(&app).await;
        read(&app, &cookie).await.expect(200);
        read(&app, &format!("a=b; {cookie}; c=d")).await.expect(200);
        with(app.get("/admin/v1/events"), &cookie).send().await.expect(200);
        let body = r#"{"retention_days":3}"#;
        with(app.call("PUT", "/admin/v1/tsdb/retention"), &cookie).body(body).send().await.expect(200);
        let value = cookie.split_once('=').unwrap().1;
        assert!(!app.database.dump().contains(value), "nowhere in clear");
        with(app.get("/v1/balance"), &cookie).send().await.expect(401);
    });
}

#[test]
fn a_request_that_comes_again_gets_a_cookie_of_its_own_and_none_is_kept() {
    run(async |app| {
        let open = || app.admin("POST", "/admin/v1/session").idempotency_key("once").send();
        let (one, other) = (open().await.expect(200), open().await.expect(200));
        let cookies = [&one, &other].map(|answer| answer.header("set-cookie").unwrap().split(';').next().unwrap());
        assert_ne!(cookies[0], cookies[1]);
        for cookie in cookies {
            read(&app, cookie).await.expect(200);
            assert!(!app.objects.dump().contains(cookie.split_once('=').unwrap().1), "nowhere in clear");
        }
    });
}

#[test]
fn it_ends_when_it_is_ended_and_after_twelve_hours() {
    run(async |app| {
        let (one, other) = (log_in(&app).await, log_in(&app).await);
        let answer = with(app.call("DELETE", "/admin/v1/session"), &one).send().await.expect(200);
        assert!(answer.header("set-cookie").unwrap().starts_with("th_admin_session=; Path=/admin; Max-Age=0;"));
        read(&app, &one).await.expect(401);
        read(&app, &other).await.expect(200);
        tokio::time::sleep(Duration::from_secs(12 * 3_600 + 1)).await;
        read(&app, &other).await.expect(401);
        guildhall::jobs::hourly::run_hourly(&app.isolate(), &app.ports()).await;
        assert_eq!(app.database.number("SELECT COUNT(*) FROM admin_sessions"), 0);
        app.admin("DELETE", "/admin/v1/session").send().await.expect(200);
    });
}

#[test]
fn a_made_up_cookie_opens_nothing() {
    run(async |app| {
        for value in ["", "x", ADMIN_TOKEN, &"0".repeat(64)] {
            read(&app, &format!("th_admin_session={value}")).await.expect(401);
        }
        read(&app, "other=1").await.expect(401);
    });
}

#[test]
fn a_page_of_another_origin_changes_nothing_with_it() {
    run(async |app| {
        let cookie = log_in(&app).await;
        let body = r#"{"retention_days":3}"#;
        let put = |origin: &str| {
            let origin = origin.to_owned();
            with(app.call("PUT", "/admin/v1/tsdb/retention"), &cookie).head(|head| head.origin = origin).body(body)
        };
        put("https://evil.example").send().await.expect(401);
        put("http://guildhall.test").send().await.expect(200);
    });
}
