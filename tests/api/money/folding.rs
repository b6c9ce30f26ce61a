//! Old charges make way in the journal, and nothing that anybody reads of it changes.

use std::time::Duration;

use durable_objects::wallet::protocol::{BATCH_MAX, Capture, Command, JournalLine, Lease, PAGE_MAX, Reply, Wallet};
use guildhall::observe::folding::fold_journal;
use guildhall_domain::money::MicroUsd;
use serde_json::{Value, json};

use crate::support::{Fault, HELLO_MICROS, TestApp, run};

const DAY: Duration = Duration::from_hours(24);

/// Makes so many charges of a cent's hundredth, sealed now.
fn charge(app: &TestApp, account: &str, name: &str, count: usize) {
    let sealed_at_ms = app.now_ms();
    let capture = |number: usize| {
        let (id, amount) = (format!("{name}-{number}"), MicroUsd(100));
        Capture { id, amount, record: None, counts: vec![], sealed_at_ms }
    };
    let captures: Vec<_> = (0..count).map(capture).collect();
    for part in captures.chunks(BATCH_MAX) {
        let (id, captures, want) = ("lease".to_owned(), part.to_vec(), MicroUsd::ZERO);
        let lease = Lease { id, captures, want, least: want, expires_at_ms: 0, budgets: vec![] };
        app.ask::<Wallet>(account, &Command::Lease(lease));
    }
}

fn credit(app: &TestApp, account: &str, id: &str, micros: i64) {
    let command = Command::Credit { id: id.into(), amount: MicroUsd(micros), reason: String::new() };
    app.ask::<Wallet>(account, &command);
}

/// Has an audit keep what it finds right: that takes a thousand entries.
fn audit(app: &TestApp, account: &str) {
    (0..1_000).for_each(|number| credit(app, account, &format!("{}-{number}", app.now_ms()), 1));
    app.ask::<Wallet>(account, &Command::Audit);
}

/// Charges and entries for many charges.
fn count_charges(app: &TestApp, account: &str) -> (usize, usize) {
    let (mut counts, mut next) = ((0, 0), Some(0));
    while let Some(after) = next {
        let command = Command::Journal { after, limit: PAGE_MAX };
        let Reply::Journal { entries, next_after } = app.ask::<Wallet>(account, &command) else { panic!() };
        let count = |kind: &str| entries.iter().filter(|line| line.id.starts_with(kind)).count();
        (counts.0, counts.1, next) = (counts.0 + count("capture:"), counts.1 + count("captures:"), next_after);
    }
    counts
}

fn newest(app: &TestApp, account: &str) -> JournalLine {
    let recent = Command::Recent { limit: 1, before: None };
    let Reply::Recent { entries, .. } = app.ask::<Wallet>(account, &recent) else { panic!() };
    entries.into_iter().next().unwrap()
}

async fn compare(app: &TestApp) -> Value {
    app.admin("POST", "/admin/v1/reconciliation").send().await.expect(200).json()["run"].clone()
}

#[test]
fn the_night_folds_what_is_older_than_two_days_where_the_books_are_right() {
    run(async |app| {
        let (sound, differing) = (app.with_busy_key().await, app.provision("1").await);
        for key in [&sound, &differing] {
            for _ in 0..3 {
                app.hello(key).send().await.expect(200);
                app.pass_ms(300).await;
            }
            (0..1_000).for_each(|number| credit(&app, &key.account_id, &format!("c{number}"), 1));
        }
        app.database.execute(&format!("DELETE FROM usage_days WHERE account_id = '{}'", differing.account_id));
        // It is eight o'clock: the second midnight from now is two days old on the third day.
        for (day, expected) in [(0, (3, 0)), (1, (3, 0)), (2, (3, 0)), (3, (0, 1)), (4, (0, 1))] {
            let run = compare(&app).await;
            assert_eq!((&run["accounts"], &run["differences"]), (&json!(2), &json!(1)), "{run}");
            assert_eq!(count_charges(&app, &sound.account_id), expected, "on day {day}");
            assert_eq!(count_charges(&app, &differing.account_id), (3, 0), "what differs stays as it happened");
            tokio::time::sleep(DAY).await;
        }
        app.hello(&sound).send().await.expect(200);
        app.pass_ms(300).await;
        assert_eq!(compare(&app).await["differences"], 1, "a sound account stays sound");
        assert_eq!(app.audit(&sound).charged, MicroUsd(4 * HELLO_MICROS));
    });
}

#[test]
fn a_batch_whose_answers_were_lost_for_days_is_charged_once() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        app.pass_ms(300).await;
        // The second runs on what the first has left in the isolate.
        for _ in 0..10_000 {
            app.faults.fail_object("WALLET", Fault::After);
        }
        app.hello(&key).send().await.expect(200);
        app.pass_ms(60_000).await;
        assert_eq!(count_charges(&app, &key.account_id), (2, 0), "it has arrived");
        (0..1_000).for_each(|number| credit(&app, &key.account_id, &format!("c{number}"), 1));
        app.audit(&key);
        tokio::time::sleep(3 * DAY).await;
        app.faults.objects.borrow_mut().clear();
        fold_journal(&app.ports(), &key.account_id).await;
        assert_eq!(count_charges(&app, &key.account_id), (0, 1));
        // The isolate that made the calls is still there, and tells of the second again.
        app.hello(&key).send().await.expect(200);
        app.pass_ms(60_000).await;
        assert_eq!(count_charges(&app, &key.account_id), (1, 1));
        let books = app.books(&key);
        assert_eq!((books.calls, books.charged), (3, 3 * HELLO_MICROS), "{books:?}");
        assert_eq!(app.audit(&key).charged, MicroUsd(3 * HELLO_MICROS));
    });
}

#[test]
fn a_night_asks_for_so_many_parts_and_no_more() {
    run(async |app| {
        let key = app.provision("100").await;
        charge(&app, &key.account_id, "old", 41_000);
        app.ask::<Wallet>(&key.account_id, &Command::Audit);
        tokio::time::sleep(3 * DAY).await;
        fold_journal(&app.ports(), &key.account_id).await;
        let left = count_charges(&app, &key.account_id);
        assert!((900..1_100).contains(&left.0) && left.1 == 1, "{left:?}");
        fold_journal(&app.ports(), &key.account_id).await;
        assert_eq!(count_charges(&app, &key.account_id), (0, 1));
    });
}

#[test]
fn every_charge_says_when_it_was_sealed() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        app.pass_ms(300).await;
        let call = newest(&app, &key.account_id);
        assert!(call.id.starts_with("capture:") && (0..300).contains(&(app.now_ms() - call.note.sealed_at_ms)));
        app.admin("POST", "/admin/v1/providers").body(r#"{"id":"s","type":"sandbox"}"#).send().await.expect(200);
        let film = json!({ "id": "film", "provider_id": "s", "kind": "video", "enabled": true, "unit_price_usd": 0.1 });
        app.admin("POST", "/admin/v1/models").json(&film).send().await.expect(200);
        let video = r#"{"prompt":"a sea","model":"film","duration":1}"#;
        app.post("/v1/videos").bearer(&key.key).body(video).send().await.expect(200);
        app.pass_ms(20_000).await;
        let film = newest(&app, &key.account_id);
        assert!(film.id != call.id && film.id.starts_with("capture:"), "{film:?}");
        assert!((0..20_000).contains(&(app.now_ms() - film.note.sealed_at_ms)), "{film:?}");
    });
}

#[test]
fn a_statement_stays_as_it_was() {
    run(async |app| {
        let agent = app.agent("Busy").await;
        let account = &agent.key.account_id;
        for day in 0..3 {
            app.deposit(&agent, 1_000).await.expect(200);
            charge(&app, account, &format!("a{day}"), 70);
            app.deposit(&agent, 2_000).await.expect(200);
            charge(&app, account, &format!("b{day}"), 30);
            tokio::time::sleep(DAY).await;
        }
        charge(&app, account, "young", 900);
        app.ask::<Wallet>(account, &Command::Audit);
        tokio::time::sleep(2 * DAY).await;
        let before = app.wallet(&agent).await;
        assert_eq!(before["transactions"].as_array().unwrap().len(), 6 + 6 + 1, "{before}");
        fold_journal(&app.ports(), account).await;
        assert_eq!(count_charges(&app, account), (900, 6));
        assert_eq!(app.wallet(&agent).await, before);
    });
}

#[test]
fn a_statement_goes_back_over_gaps() {
    run(async |app| {
        let agent = app.agent("Busier").await;
        let account = &agent.key.account_id;
        app.deposit(&agent, 1_000).await.expect(200);
        charge(&app, account, "old", 25_000);
        app.ask::<Wallet>(account, &Command::Audit);
        tokio::time::sleep(3 * DAY).await;
        charge(&app, account, "young", 1_100);
        fold_journal(&app.ports(), account).await;
        let wallet = app.wallet(&agent).await;
        let lines = wallet["transactions"].as_array().unwrap().iter();
        let cents: Vec<_> = lines.map(|line| line["amountCents"].as_i64().unwrap()).collect();
        assert_eq!(cents, [-11, -250, 1_000], "{wallet}");
    });
}

#[test]
fn the_ledgers_pages_join_over_gaps() {
    run(async |app| {
        let key = app.provision("100").await;
        let account = &key.account_id;
        let read = async |query: &str| {
            let page = app.get(&format!("/v1/account/ledger?{query}")).bearer(&key.key).send().await.expect(200);
            let next = page.header("x-next-after").map(str::to_owned);
            let lines: Vec<Value> = page.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            (lines, next)
        };
        let sum = |lines: &[Value], account: &str| {
            let of = |line: &&Value| line["debit"] == account;
            lines.iter().filter(of).map(|line| (line["amount_usd"].as_f64().unwrap() * 1e6).round()).sum::<f64>()
        };
        for part in 0..5 {
            charge(&app, account, &format!("c{part}"), 1_500);
            credit(&app, account, &format!("d{part}"), 7);
        }
        audit(&app, account);
        let (before, _) = read("").await;
        tokio::time::sleep(3 * DAY).await;
        fold_journal(&app.ports(), account).await;
        let (all, next) = read("").await;
        assert_eq!((all.len(), next), (1 + 5 + 5 + 1_000, None));
        assert_eq!(sum(&all, "balance"), sum(&before, "balance"));
        let line = all.iter().find(|line| line["kind"] == "captures").unwrap();
        let told = (&line["id"], &line["debit"], &line["credit"], &line["amount_usd"], &line["hold"]);
        assert_eq!(told, (&json!("c0-0"), &json!("balance"), &json!("revenue"), &json!(0.15), &json!(null)));
        let (mut joined, mut after) = (Vec::new(), Some("0".to_owned()));
        while let Some(seq) = after {
            let (lines, next) = read(&format!("limit=30&after={seq}")).await;
            assert!(lines.len() <= 30);
            joined.extend(lines);
            after = next;
        }
        assert_eq!(joined, all);
    });
}
