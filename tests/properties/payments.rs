//! Payments, refunds, disputes, spending, a merge of accounts, failures, deaths and hours in any order, every event told
//! at any time and more than once: in the end the wallets have what Stripe left, less what was spent.

use std::collections::BTreeMap;

use guildhall_domain::billing::ledger::Facts;
use guildhall_domain::billing::sandbox::TestCard;
use guildhall_domain::money::MicroUsd;
use proptest::prelude::*;
use serde_json::{Value, json};

use durable_objects::wallet::protocol::{Command, Reply, Wallet};

use super::seeded;
use crate::support::{Fault, Key, Session, TestApp, WITH_STRIPE, event, run_with};

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    /// Somebody pays $10 at Stripe; nobody has told us yet.
    Pay { by_key: bool },
    /// So many cents more of a payment go back.
    Refund { payment: usize, cents: i64 },
    /// A payment is disputed, then decided.
    Dispute { payment: usize, is_won: bool },
    /// Stripe tells of something that happened: perhaps again, perhaps late.
    Tell { news: usize },
    /// Money is spent.
    Spend { by_key: bool, micros: i64 },
    /// The key's account is claimed by somebody who has one.
    Claim,
    /// A port fails soon.
    PortFault { port: u8, passing: usize, is_after: bool },
    /// The objects lose their memory.
    Restart,
    /// The isolate dies.
    Crash,
    /// Time passes.
    Pass { ms: u64 },
    /// The hour's job runs.
    Hour,
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => any::<bool>().prop_map(|by_key| Event::Pay { by_key }),
        3 => (0..4_usize, 1..600_i64).prop_map(|(payment, cents)| Event::Refund { payment, cents }),
        2 => (0..4_usize, any::<bool>()).prop_map(|(payment, is_won)| Event::Dispute { payment, is_won }),
        10 => (0..30_usize).prop_map(|news| Event::Tell { news }),
        3 => (any::<bool>(), 1..9_000_000_i64).prop_map(|(by_key, micros)| Event::Spend { by_key, micros }),
        2 => Just(Event::Claim),
        3 => (0..3_u8, 0..6_usize, any::<bool>()).prop_map(
            |(port, passing, is_after)| Event::PortFault { port, passing, is_after }
        ),
        1 => Just(Event::Restart),
        1 => Just(Event::Crash),
        2 => prop_oneof![1..90_u64, 17_000..20_000_u64].prop_map(|ms| Event::Pass { ms }),
        2 => Just(Event::Hour),
    ]
}

/// What is true of a payment, whatever we were told.
struct Payment {
    charge: Value,
    facts: Facts,
    dispute: Option<&'static str>,
}

struct World {
    app: TestApp,
    key: Key,
    claim_token: String,
    ada: Session,
    payments: Vec<Payment>,
    news: Vec<Value>,
    spent: BTreeMap<String, i64>,
}

impl World {
    async fn begin(app: TestApp) -> Self {
        let body = app.post("/v1/auth/provision").send().await.expect(200).json();
        let text = |field: &str| body[field].as_str().unwrap().to_owned();
        let key = Key { key: text("api_key"), account_id: text("account_id") };
        app.set_limits(&key, 100_000, 1_000_000, 1_000).await;
        let claim_token = text("claim_url").split_once("token=").unwrap().1.to_owned();
        let ada = app.sign_in("ada@example.com").await;
        let (payments, news, spent) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { app, key, claim_token, ada, payments, news, spent }
    }

    /// Something happens at Stripe, which tells of it under a time of its own.
    async fn happens(&mut self, kind: &str, object: Value) {
        self.app.pass_ms(1_000).await;
        let id = format!("evt_{}", self.news.len());
        self.news.push(event(&id, kind, self.app.now_ms(), object));
    }

    async fn pay(&mut self, by_key: bool) {
        let token = if by_key { &self.key.key } else { &self.ada.token };
        let call = self.app.post("/v1/billing/checkout").bearer(token).json(&json!({ "amount_usd": 10 }));
        let opened = call.send().await;
        if opened.status != 200 {
            return;
        }
        let opened = opened.json();
        let session = opened["session_id"].as_str().unwrap();
        self.app.pass_ms(1_000).await;
        self.news.push(self.app.stripe.pay(session, TestCard::Pays, self.app.now_ms()));
        let shelf = self.app.stripe.shelf.borrow();
        let intent = shelf[session]["payment_intent"].as_str().unwrap();
        let charge = shelf[shelf[intent]["latest_charge"].as_str().unwrap()].clone();
        let total = MicroUsd(charge["amount"].as_i64().unwrap() * 10_000);
        let facts = Facts { credit: MicroUsd(10_000_000), total, is_paid: true, ..Facts::default() };
        self.payments.push(Payment { charge, facts, dispute: None });
    }

    async fn refund(&mut self, payment: usize, cents: i64) {
        let Some(payment) = self.payments.get_mut(payment) else { return };
        let refunded = (payment.facts.refunded.0 + cents * 10_000).min(payment.facts.total.0);
        payment.facts.refunded = MicroUsd(refunded);
        payment.charge["amount_refunded"] = (refunded / 10_000).into();
        let charge = payment.charge.clone();
        let id = charge["id"].as_str().unwrap().to_owned();
        self.app.stripe.shelf.borrow_mut().insert(id, charge.clone());
        self.happens("charge.refunded", charge).await;
    }

    async fn dispute(&mut self, at: usize, is_won: bool) {
        let Some(payment) = self.payments.get_mut(at) else { return };
        let (status, disputed) = match payment.dispute {
            None => ("needs_response", payment.facts.total),
            Some("needs_response") if is_won => ("won", MicroUsd::ZERO),
            Some("needs_response") => ("lost", payment.facts.total),
            Some(_) => return,
        };
        payment.dispute = Some(status);
        payment.facts.disputed = disputed;
        let charge = &payment.charge;
        let object = json!({ "id": format!("du_{at}"), "amount": charge["amount"], "status": status,
            "charge": charge["id"], "payment_intent": charge["payment_intent"] });
        self.happens("charge.dispute.updated", object).await;
    }

    fn spend(&mut self, by_key: bool, micros: i64) {
        let account = if by_key { &self.key.account_id } else { &self.ada.account_id };
        let id = format!("spend {}", self.spent.len());
        let debit = Command::Debit { id: id.clone(), amount: MicroUsd(micros), reason: String::new() };
        if matches!(self.app.ask::<Wallet>(account, &debit), Reply::Moved { .. }) {
            self.spent.insert(id, micros);
        }
    }

    async fn happen(&mut self, event: &Event) {
        match *event {
            Event::Pay { by_key } => self.pay(by_key).await,
            Event::Refund { payment, cents } => self.refund(payment, cents).await,
            Event::Dispute { payment, is_won } => self.dispute(payment, is_won).await,
            Event::Tell { news } => {
                if let Some(news) = self.news.get(news) {
                    self.app.tell(news).await;
                }
            }
            Event::Spend { by_key, micros } => self.spend(by_key, micros),
            Event::Claim => {
                let body = json!({ "token": self.claim_token });
                self.app.post("/v1/auth/claim").bearer(&self.ada.token).json(&body).send().await;
            }
            Event::PortFault { port, passing, is_after } => {
                let fault = if is_after { Fault::After } else { Fault::Before };
                match port {
                    0 => self.app.faults.fail_db_after(passing, fault),
                    1 => self.app.faults.fail_object_after("WALLET", passing, fault),
                    _ => self.app.stripe.fail_after(passing, fault),
                }
            }
            Event::Restart => self.app.objects.restart(),
            Event::Crash => self.app.crash_isolate(),
            Event::Pass { ms } => self.app.pass_ms(ms).await,
            Event::Hour => self.run_hour().await,
        }
    }

    async fn run_hour(&self) {
        guildhall::jobs::hourly::run_hourly(&self.app.isolate(), &self.app.ports()).await;
    }

    /// Whatever failed is tried again, and what is under way comes to its end.
    async fn rest(&self) {
        self.app.faults.clear();
        self.app.stripe.heal();
        for news in &self.news {
            self.app.tell(news).await.expect(200);
        }
        for _ in 0..3 {
            self.app.pass_ms(300_000).await;
            self.run_hour().await;
        }
        self.app.pass_ms(1_000).await;
    }
}

fn check(events: &[Event]) {
    run_with(WITH_STRIPE, async |app| {
        let mut world = World::begin(app).await;
        for event in events {
            world.happen(event).await;
        }
        world.rest().await;
        let of_ada = Key { key: String::new(), account_id: world.ada.account_id.clone() };
        let (old, new) = (world.app.audit(&world.key), world.app.audit(&of_ada));
        assert!(old.consistent && new.consistent, "{old:?} {new:?}");
        let left: i64 = world.payments.iter().map(|paid| paid.facts.credit.0 - paid.facts.to_reverse().0).sum();
        let there = old.balance.0 - old.owed.0 + new.balance.0 - new.owed.0;
        assert_eq!(there, left - world.spent.values().sum::<i64>(), "{old:?} {new:?}");
        let merged = format!("SELECT merged_into IS NOT NULL FROM accounts WHERE id = '{}'", world.key.account_id);
        if world.app.database.number(&merged) == 1 {
            assert_eq!((old.balance.0, old.owed.0, old.in_flight.0), (0, 0, 0), "all of it is where its keys are");
        }
        assert!(new.owed.min(new.balance) == MicroUsd::ZERO, "debts are paid: {new:?}");
        assert_eq!(world.app.database.number("SELECT COUNT(*) FROM payments WHERE is_open = 1 AND status = 'paid'"), 0);
    });
}

proptest! {
    #![proptest_config(seeded(60, 4_711))]

    #[test]
    fn wallets_have_what_stripe_left_less_what_was_spent(events in prop::collection::vec(any_event(), 1..50)) {
        check(&events);
    }
}
