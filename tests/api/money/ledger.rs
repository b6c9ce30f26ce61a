//! `/v1/account/ledger`: every movement of money, exactly, in a form that other programmes read.

use durable_objects::wallet::protocol::{Command, Wallet};
use guildhall_domain::credential::KeyPrefix;
use guildhall_domain::money::MicroUsd;
use serde_json::Value;

use crate::support::{HELLO_MICROS, TestApp, run};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn credit(app: &TestApp, account: &str, id: &str, micros: i64, reason: &str) {
    let command = Command::Credit { id: id.into(), amount: MicroUsd(micros), reason: reason.into() };
    app.ask::<Wallet>(account, &command);
}

#[test]
fn every_line_of_the_journal_is_there_with_exact_amounts() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        let answer = app.get("/v1/account/ledger").bearer(&key.key).send().await.expect(200);
        assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
        assert_eq!((answer.header("x-next-after"), answer.header("cache-control")), (None, Some("no-store")));
        let lines = lines(&answer.text());
        assert_eq!(lines.len(), 2, "the call that has just ended is in it: {lines:?}");
        let (credit, capture) = (&lines[0], &lines[1]);
        assert_eq!(
            (&credit["kind"], &credit["debit"], &credit["credit"]),
            (&"credit".into(), &"external".into(), &"balance".into())
        );
        assert_eq!((&credit["seq"], &credit["reason"]), (&1.into(), &"test".into()));
        assert_eq!(
            (&capture["kind"], &capture["debit"], &capture["credit"]),
            (&"capture".into(), &"balance".into(), &"revenue".into())
        );
        assert!(answer.text().contains(r#""amount_usd":0.00025,"#), "no exponent: {}", answer.text());
        assert!(capture["time"].as_str().unwrap().ends_with('Z') && capture["hold"].is_string(), "{capture}");
        assert_eq!(app.audit(&key).entries, 2);
        assert_eq!(HELLO_MICROS, 250);
    });
}

#[test]
fn csv_is_safe_to_open() {
    run(async |app| {
        let person = app.sign_in("ada@example.com").await;
        credit(&app, &person.account_id, "a", 1, "=HYPERLINK(\"http://evil\",\"x\")");
        credit(&app, &person.account_id, "b", 1_000_000_000_000, "plain, with \"quotes\"\nand lines");
        let answer = app.get("/v1/account/ledger?format=csv").bearer(&person.token).send().await.expect(200);
        assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"));
        assert_eq!(answer.header("content-disposition"), Some("attachment; filename=\"ledger.csv\""));
        let text = answer.text();
        let time = "2027-01-15T08:00:0";
        assert!(text.starts_with("seq,time,kind,id,debit,credit,amount_usd,reason,hold,wallet\r\n1,2027-"), "{text}");
        assert!(
            text.contains("credit,a,external,balance,0.000001,\"'=HYPERLINK(\"\"http://evil\"\",\"\"x\"\")\",,\r\n"),
            "{text}"
        );
        assert!(text.contains(",1000000,\"plain, with \"\"quotes\"\"\nand lines\",,\r\n"), "{text}");
        assert_eq!(text.matches(time).count(), 2, "{text}");
    });
}

#[test]
fn pages_join() {
    run(async |app| {
        let key = app.provision("0").await;
        for at in 0..2_500 {
            credit(&app, &key.account_id, &format!("c{at}"), at + 1, "r");
        }
        let all = lines(&app.get("/v1/account/ledger").bearer(&key.key).send().await.expect(200).text());
        assert_eq!(all.len(), 2_500, "more than one page of the wallet");
        let (mut joined, mut after) = (Vec::new(), Some("0".to_owned()));
        while let Some(seq) = after {
            let path = format!("/v1/account/ledger?limit=1200&after={seq}");
            let page = app.get(&path).bearer(&key.key).send().await.expect(200);
            joined.extend(lines(&page.text()));
            after = page.header("x-next-after").map(str::to_owned);
        }
        assert_eq!(joined, all);
        let empty = app.get("/v1/account/ledger?after=999999").bearer(&key.key).send().await.expect(200);
        assert_eq!(empty.text(), "");
    });
}

#[test]
fn it_is_for_whoever_looks_after_the_account() {
    run(async |app| {
        let key = app.provision("1").await;
        let own = app.issue(&key.account_id, KeyPrefix::Tokaroo, "key_tok", None);
        app.get("/v1/account/ledger").bearer(&own.key).send().await.expect(403);
        app.get("/v1/account/ledger").send().await.expect(401);
        let stranger = app.sign_in("eve@example.com").await;
        let theirs = app.get("/v1/account/ledger").bearer(&stranger.token).send().await.expect(200);
        assert_eq!(theirs.text(), "", "each their own");
        for (query, param) in [
            ("format=xml", "format"),
            ("limit=0", "limit"),
            ("limit=10001", "limit"),
            ("after=-1", "after"),
            ("after=x", "after"),
        ] {
            let answer = app.get(&format!("/v1/account/ledger?{query}")).bearer(&key.key).send().await.expect(400);
            assert_eq!(answer.json()["error"]["param"], param, "{query}");
        }
    });
}
