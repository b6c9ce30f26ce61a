//! Auto pay: charges when money runs out, one charge at a time, within the month's limit.

use durable_objects::wallet::protocol::{Command, Reply as WalletReply, Wallet};
use guildhall::payments::auto_pay::{Need, reload};
use guildhall::store::money::payments::{drop_payment, insert_payment, lease_payment};
use guildhall_domain::billing::sandbox::TestCard;
use guildhall_domain::money::MicroUsd;
use serde_json::{Value, json};

use super::{open_checkout, pass_hours, payments_of, session_of};
use crate::support::{Fault, HELLO, Key, TestApp, WITH_STRIPE, join_all, run_with};

/// A key whose account has this card saved, auto reload on, and this much left.
async fn with_auto_reload(app: &TestApp, card: TestCard, left_micros: i64) -> Key {
    app.add_provider("p1").await;
    app.add_model("m1", "p1", 5).await;
    app.answer_hello();
    let key = app.provision("0").await;
    app.set_limits(&key, 100_000, 1_000_000, 1_000).await;
    let checkout = open_checkout(app, &key.key, 10).await;
    app.tell(&app.stripe.pay(session_of(&checkout), card, app.now_ms())).await.expect(200);
    prefer(app, &key, &json!({ "autoReloadEnabled": true })).await;
    leave(app, &key, left_micros).await;
    key
}

async fn prefer(app: &TestApp, key: &Key, patch: &Value) {
    let call = app.call("PUT", "/v1/billing/preferences").bearer(&key.key).json(patch);
    call.send().await.expect(200);
}

/// Takes all but this much.
async fn leave(app: &TestApp, key: &Key, left_micros: i64) {
    app.pass_ms(30_000).await;
    let amount = MicroUsd(app.balance_micros(key).await - left_micros);
    let debit = Command::Debit { id: format!("leave:{}", app.now_ms()), amount, reason: String::new() };
    let reply = app.ask::<Wallet>(&key.account_id, &debit);
    assert!(matches!(reply, WalletReply::Moved { .. }), "{reply:?}");
}

/// Charges of the card that were tried.
fn tries(app: &TestApp) -> usize {
    app.stripe.count("POST", "/v1/payment_intents")
}

#[test]
fn a_call_that_finds_too_little_is_served_with_the_new_money() {
    run_with(WITH_STRIPE, async |app| {
        let key = with_auto_reload(&app, TestCard::Pays, 0).await;
        app.hello(&key).send().await.expect(200);
        assert_eq!(app.balance_micros(&key).await, 20_000_000 - 250);
        assert_eq!(tries(&app), 1);
        let payment = &payments_of(&app, &key.key).await[0];
        assert_eq!((payment["kind"].as_str(), payment["status"].as_str()), (Some("auto"), Some("paid")));
        app.pass_ms(30_000).await;
    });
}

#[test]
fn calls_of_many_isolates_at_once_make_one_charge() {
    run_with(WITH_STRIPE, async |app| {
        let key = with_auto_reload(&app, TestCard::Pays, 0).await;
        app.stripe.latency_ms.set(800);
        let isolates = [app.isolate(), app.new_isolate(), app.new_isolate()];
        let answers = join_all((0..12).map(|at| {
            let call = app.post("/v1/chat/completions").bearer(&key.key).body(HELLO);
            call.to(&isolates[at % 3]).send()
        }))
        .await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
        assert_eq!(app.stripe.objects("ch_"), 2, "the checkout's and one of auto reload");
    });
}

/// Whichever moment of somebody else's charge a call comes in, between any two looks at it, the money is there for it.
#[test]
fn a_call_in_any_moment_of_anothers_charge_is_served() {
    for offset_ms in 0..3 {
        run_with(WITH_STRIPE, async |app| {
            let key = with_auto_reload(&app, TestCard::Pays, 0).await;
            app.stripe.latency_ms.set(10);
            app.faults.db_extra_ms.set(4);
            let answers = join_all((0..50).map(async |at| {
                tokio::time::sleep(std::time::Duration::from_millis(3 * at + offset_ms)).await;
                let call = app.post("/v1/chat/completions").bearer(&key.key).body(HELLO);
                call.to(&app.new_isolate()).send().await.status
            }))
            .await;
            assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
            assert_eq!(app.stripe.objects("ch_"), 2, "the checkout's and one of auto reload");
        });
    }
}

#[test]
fn the_threshold_reloads_in_the_background() {
    run_with(WITH_STRIPE, async |app| {
        let key = with_auto_reload(&app, TestCard::Pays, 4_000_000).await;
        app.hello(&key).send().await.expect(200);
        assert_eq!(tries(&app), 0, "the call does not wait for it");
        app.pass_ms(1_000).await;
        assert_eq!(tries(&app), 1);
        assert_eq!(app.balance_micros(&key).await, 24_000_000 - 250);
        app.hello(&key).send().await.expect(200);
        app.pass_ms(10_000).await;
        assert_eq!(tries(&app), 1);
    });
}

#[test]
fn without_auto_pay_nothing_is_looked_up() {
    run_with(WITH_STRIPE, async |app| {
        let key = with_auto_reload(&app, TestCard::Pays, 0).await;
        prefer(&app, &key, &json!({ "autoReloadEnabled": false })).await;
        let answer = app.hello(&key).send().await.expect(402).json();
        assert_eq!(answer["payment_url"], "http://guildhall.test/billing");
        assert_eq!(tries(&app), 0);
        assert_eq!(payments_of(&app, &key.key).await.len(), 1);
    });
}

#[test]
fn a_declined_card_rests_and_after_three_times_its_owner_must_act() {
    run_with(WITH_STRIPE, async |app| {
        let key = with_auto_reload(&app, TestCard::FailsLater, 0).await;
        app.hello(&key).send().await.expect(402);
        app.hello(&key).send().await.expect(402);
        assert_eq!(tries(&app), 1, "it rests");
        pass_hours(&app, 1).await;
        app.hello(&key).send().await.expect(402);
        assert_eq!(tries(&app), 2);
        pass_hours(&app, 1).await;
        app.hello(&key).send().await.expect(402);
        assert_eq!(tries(&app), 2, "two hours, then");
        pass_hours(&app, 1).await;
        app.hello(&key).send().await.expect(402);
        assert_eq!(tries(&app), 3);
        pass_hours(&app, 100).await;
        app.hello(&key).send().await.expect(402);
        assert_eq!(tries(&app), 3, "it has stopped");
        prefer(&app, &key, &json!({ "autoReloadEnabled": true })).await;
        app.hello(&key).send().await.expect(402);
        assert_eq!(tries(&app), 4);
    });
}

#[test]
fn it_never_brings_more_in_a_month_than_the_limit() {
    run_with(WITH_STRIPE, async |app| {
        let key = with_auto_reload(&app, TestCard::Pays, 0).await;
        prefer(&app, &key, &json!({ "budgetLimit": 30 })).await;
        app.hello(&key).send().await.expect(200);
        leave(&app, &key, 0).await;
        app.hello(&key).send().await.expect(402);
        assert_eq!(tries(&app), 1);
        prefer(&app, &key, &json!({ "budgetLimit": null })).await;
        app.hello(&key).send().await.expect(200);
        assert_eq!(tries(&app), 2);
    });
}

#[test]
fn a_stripe_that_is_down_refuses_the_call_and_the_next_one_asks_again_for_the_same_payment() {
    run_with(WITH_STRIPE, async |app| {
        let key = with_auto_reload(&app, TestCard::Pays, 0).await;
        app.stripe.fail(Fault::After);
        app.stripe.fail(Fault::After);
        app.hello(&key).send().await.expect(402);
        app.hello(&key).send().await.expect(200);
        assert_eq!(app.balance_micros(&key).await, 20_000_000 - 250);
        assert_eq!(app.stripe.objects("ch_"), 2, "the checkout's and one of auto reload");
    });
}

#[test]
fn an_isolate_that_dies_while_it_charges_is_followed_by_another() {
    run_with(WITH_STRIPE, async |app| {
        let key = with_auto_reload(&app, TestCard::Pays, 0).await;
        app.stripe.latency_ms.set(1_000);
        tokio::select! {
            answer = app.hello(&key).send() => panic!("{answer:?}"),
            () = app.pass_ms(500) => app.crash_isolate(),
        }
        assert_eq!(app.stripe.objects("ch_"), 2);
        app.stripe.latency_ms.set(0);
        app.pass_ms(61_000).await;
        app.hello(&key).send().await.expect(200);
        assert_eq!(app.stripe.objects("ch_"), 2, "the checkout's and one of auto reload");
        assert_eq!(app.balance_micros(&key).await, 20_000_000 - 250);
    });
}

#[test]
fn a_call_that_the_charge_would_not_pay_for_charges_nothing() {
    run_with(WITH_STRIPE, async |app| {
        let key = with_auto_reload(&app, TestCard::Pays, 0).await;
        let boundless = json!({ "id": "m0", "provider_id": "p1", "enabled": true,
            "input_per_1k": 0.01, "output_per_1k": 0.03 });
        app.admin("POST", "/admin/v1/models").json(&boundless).send().await.expect(200);
        let greedy = r#"{"model":"m0","max_tokens":1000000000,"n":128,"messages":[{"role":"user","content":"hi"}]}"#;
        for _ in 0..3 {
            app.post("/v1/chat/completions").bearer(&key.key).body(greedy).send().await.expect(402);
        }
        assert_eq!(tries(&app), 0);
        assert_eq!(payments_of(&app, &key.key).await.len(), 1, "the checkout's alone");
        app.hello(&key).send().await.expect(200);
        assert_eq!(tries(&app), 1);
    });
}

#[test]
fn a_call_needs_no_more_than_its_model_can_give() {
    run_with(WITH_STRIPE, async |app| {
        let key = with_auto_reload(&app, TestCard::Pays, 1_000_000).await;
        prefer(&app, &key, &json!({ "autoReloadThreshold": 0 })).await;
        // A thousand tokens, by the model's entry: three cents.
        let greedy = r#"{"model":"m1","max_tokens":1000000000,"messages":[{"role":"user","content":"hi"}]}"#;
        app.post("/v1/chat/completions").bearer(&key.key).body(greedy).send().await.expect(200);
        app.pass_ms(1_000).await;
        assert_eq!(tries(&app), 0);
    });
}

#[test]
fn it_charges_so_often_in_a_day_and_no_more() {
    run_with(WITH_STRIPE, async |app| {
        let key = with_auto_reload(&app, TestCard::Pays, 0).await;
        for _ in 0..24 {
            app.hello(&key).send().await.expect(200);
            leave(&app, &key, 0).await;
        }
        app.hello(&key).send().await.expect(402);
        assert_eq!(tries(&app), 24);
        pass_hours(&app, 24).await;
        app.hello(&key).send().await.expect(200);
        assert_eq!(tries(&app), 25);
    });
}

#[test]
fn what_its_owner_could_not_charge_is_not_charged_by_it() {
    run_with(WITH_STRIPE, async |app| {
        let key = with_auto_reload(&app, TestCard::Pays, 0).await;
        prefer(&app, &key, &json!({ "budgetLimit": 30 })).await;
        abandon(&app, &key, "charge", 500).await;
        app.hello(&key).send().await.expect(402);
        assert_eq!(tries(&app), 0, "it looks, and makes nothing of another's");
        app.pass_ms(91_000).await;
        app.hello(&key).send().await.expect(200);
        assert_eq!(app.balance_micros(&key).await, 20_000_000 - 250);
        assert_eq!(tries(&app), 1);
        let payments = payments_of(&app, &key.key).await;
        let abandoned = payments.iter().find(|payment| payment["kind"] == "charge").unwrap();
        assert_eq!(abandoned["status"], "failed");
    });
}

#[test]
fn what_a_dead_isolate_left_is_made_only_if_it_is_needed() {
    run_with(WITH_STRIPE, async |app| {
        let key = with_auto_reload(&app, TestCard::Pays, 7_000_000).await;
        abandon(&app, &key, "auto", 20).await;
        let charged = async |need| reload(&app.isolate(), &app.ports(), &key.account_id, need).await;
        assert!(charged(Need::Threshold(MicroUsd(5_000_000))).await, "there is enough");
        assert!(!charged(Need::Call(MicroUsd(50_000_000))).await, "it would not help");
        assert_eq!(tries(&app), 0);
        assert!(charged(Need::Threshold(MicroUsd(8_000_000))).await);
        assert_eq!((tries(&app), payments_of(&app, &key.key).await.len()), (1, 2), "the one that was there");
    });
}

#[test]
fn a_refusal_that_is_no_decline_makes_it_rest_and_counts_as_none() {
    run_with(WITH_STRIPE, async |app| {
        let key = with_auto_reload(&app, TestCard::Pays, 0).await;
        for hour in 1..=4 {
            app.stripe.say_after(0, 400, "invalid_request_error");
            app.hello(&key).send().await.expect(402);
            app.hello(&key).send().await.expect(402);
            assert_eq!(tries(&app), hour);
            pass_hours(&app, 1).await;
        }
        app.hello(&key).send().await.expect(200);
    });
}

#[test]
fn whatever_fails_at_the_wallet_the_card_is_charged_once() {
    for passing in 0..8 {
        run_with(WITH_STRIPE, async |app| {
            let key = with_auto_reload(&app, TestCard::Pays, 0).await;
            app.faults.fail_object_after("WALLET", passing, Fault::Before);
            app.hello(&key).send().await;
            app.faults.clear();
            app.hello(&key).send().await.expect(200);
            app.pass_ms(30_000).await;
            assert_eq!(app.stripe.objects("ch_"), 2, "the checkout's and one of auto reload: {passing}");
            assert!(app.balance_micros(&key).await >= 20_000_000 - 500);
        });
    }
}

#[test]
fn a_charge_that_is_paid_and_not_credited_is_money_for_every_isolate() {
    run_with(WITH_STRIPE, async |app| {
        let key = with_auto_reload(&app, TestCard::Pays, 0).await;
        abandon(&app, &key, "auto", 20).await;
        app.database.execute(
            "UPDATE payments SET status = 'paid', intent_id = 'pi_elsewhere', version = 1 WHERE id = 'pay_auto'",
        );
        app.hello(&key).send().await.expect(200);
        assert_eq!((tries(&app), app.balance_micros(&key).await), (0, 20_000_000 - 250));
    });
}

#[test]
fn what_somebody_else_has_taken_over_is_not_dropped() {
    run_with(WITH_STRIPE, async |app| {
        let key = with_auto_reload(&app, TestCard::Pays, 0).await;
        abandon(&app, &key, "auto", 20).await;
        let begun_ms = app.now_ms();
        app.database.run(&[lease_payment(&key.account_id, "pay_auto", begun_ms, begun_ms + 60_000).statement]).unwrap();
        let count = || app.database.number("SELECT COUNT(*) FROM payments WHERE id = 'pay_auto'");
        app.database.run(&[drop_payment(&key.account_id, "pay_auto", begun_ms).statement]).unwrap();
        assert_eq!(count(), 1);
        app.database.run(&[drop_payment(&key.account_id, "pay_auto", begun_ms + 60_000).statement]).unwrap();
        assert_eq!(count(), 0);
    });
}

/// A charge that never reached Stripe, by somebody who has let go of it.
async fn abandon(app: &TestApp, key: &Key, kind: &str, amount_usd: i64) {
    let billing = format!("FROM billing WHERE account_id = '{}'", key.account_id);
    let customer = app.database.text(&format!("SELECT customer_id {billing}"));
    let card = app.database.text(&format!("SELECT payment_method_id {billing}"));
    let (now_ms, micros) = (app.now_ms(), amount_usd * 1_000_000);
    let (id, month) = (format!("pay_{kind}"), "2026-11");
    let row = insert_payment(
        &key.account_id,
        &id,
        &key.account_id,
        kind,
        "tokaroo",
        micros,
        micros,
        month,
        Some(&customer),
        Some(&card),
        false,
        now_ms,
        now_ms,
    );
    app.database.run(&[row.statement]).unwrap();
}
