//! Browsers of another origin: preflight and CORS headers.

use crate::support::{Answer, run};

fn cors(answer: &Answer) -> Vec<&'static str> {
    answer.headers.iter().map(|(name, _)| *name).filter(|name| name.starts_with("access-control-")).collect()
}

#[test]
fn a_preflight_is_answered_without_a_credential() {
    run(async |app| {
        let preflight = |path: &str, method: &str| {
            let call = app.call("OPTIONS", path).head(|head| head.origin = "https://app.example".into());
            call.rare(|head| head.preflight_method = method.into())
        };
        for (path, method, allowed) in [
            ("/v1/chat/completions", "POST", "POST"),
            ("/v1/balance", "GET", "GET"),
            ("/admin/v1/accounts/acc/limits", "PATCH", "PATCH"),
            ("/admin/v1/providers/p1", "DELETE", "DELETE"),
            ("/nothing/here", "GET", "OPTIONS"),
            ("/api/v1/nothing", "PUT", "OPTIONS"),
        ] {
            let answer = preflight(path, method).send().await.expect(204);
            assert!(answer.body.is_empty());
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{path}");
            let methods = answer.header("access-control-allow-methods").unwrap();
            assert!(methods.split(", ").any(|method| method == allowed), "{path}: {methods}");
            let headers = answer.header("access-control-allow-headers").unwrap();
            // The star does not cover Authorization.
            assert!(headers.split(", ").any(|name| name == "authorization"), "{headers}");
            assert!(headers.split(", ").any(|name| name == "*"), "{headers}");
            assert!(answer.header("access-control-max-age").unwrap().parse::<u32>().unwrap() >= 600);
        }
    });
}

#[test]
fn a_preflight_costs_no_call_and_no_limit() {
    run(async |app| {
        let key = app.provision("0").await;
        let calls = (app.faults.db_calls.get(), app.faults.object_calls.get());
        for _ in 0..100 {
            app.call("OPTIONS", "/v1/balance").bearer(&key.key).send().await.expect(204);
        }
        assert_eq!((app.faults.db_calls.get(), app.faults.object_calls.get()), calls);
        let answer = app.get("/v1/balance").bearer(&key.key).send().await.expect(200);
        assert_eq!(answer.header("x-ratelimit-remaining"), Some("59"));
    });
}

#[test]
fn options_without_an_origin_names_the_methods() {
    run(async |app| {
        let answer = app.call("OPTIONS", "/admin/v1/providers").send().await.expect(204);
        let allow = answer.header("allow").unwrap();
        for method in ["GET", "POST", "OPTIONS"] {
            assert!(allow.split(", ").any(|name| name == method), "{method} in {allow}");
        }
        assert_eq!(cors(&answer), Vec::<&str>::new());
    });
}

#[test]
fn cors_headers_come_exactly_when_there_is_an_origin() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let calls = || {
            [
                app.hello(&key),
                app.get("/v1/balance"),
                app.get("/nothing"),
                app.call("PUT", "/v1/balance"),
                app.get("/healthz"),
                app.post("/v1/chat/completions").bearer(&key.key).body("{"),
            ]
        };
        for call in calls() {
            assert_eq!(cors(&call.send().await), Vec::<&str>::new());
        }
        for call in calls() {
            let answer = call.head(|head| head.origin = "https://app.example".into()).send().await;
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{}", answer.status);
            assert_eq!(answer.header("access-control-expose-headers"), Some("*"), "{}", answer.status);
            assert_eq!(answer.header("access-control-allow-credentials"), None);
        }
    });
}
