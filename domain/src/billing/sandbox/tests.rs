use super::*;
use crate::billing::form::read_form;

/// A Stripe in miniature with its shelf.
#[derive(Default)]
struct Till {
    shelf: Shelf,
    calls: u32,
}

impl Till {
    fn call(&mut self, method: &str, path: &str, form: &str, idempotency_key: &str) -> (u16, Value) {
        self.calls += 1;
        let (form, fresh) = (read_form(form), format!("{:03}", self.calls));
        let call = Call { method, path, form: &form, idempotency_key, origin: "http://o", fresh: &fresh, now_s: 7 };
        for _ in 0..50 {
            match answer(&call, &self.shelf) {
                Turn::Need(ids) => {
                    for id in ids {
                        self.shelf.entry(id).or_insert(Value::Null);
                    }
                }
                Turn::Done(answer) => {
                    self.shelf.extend(answer.writes);
                    return (answer.status, answer.body);
                }
            }
        }
        panic!("it never has enough");
    }

    fn save_card(&mut self, card: TestCard) -> (String, String) {
        let (_, customer) = self.call("POST", "/v1/customers", "email=a%40b.c", "");
        let customer = customer["id"].as_str().unwrap().to_owned();
        let form = format!("mode=setup&customer={customer}");
        let (_, session) = self.call("POST", "/v1/checkout/sessions", &form, "");
        let paid = pay_checkout(&self.shelf, session["id"].as_str().unwrap(), card, true, &self.calls.to_string(), 7);
        let PaidBy::Paid { writes, .. } = paid else { panic!("{paid:?}") };
        let method = writes[0].0.clone();
        self.shelf.extend(writes);
        (customer, method)
    }
}

#[test]
fn a_call_under_one_key_happens_once() {
    let mut till = Till::default();
    let (customer, method) = till.save_card(TestCard::Pays);
    let form = format!("amount=500&customer={customer}&payment_method={method}&metadata[payment_id]=pay_1");
    let (status, first) = till.call("POST", "/v1/payment_intents", &form, "k1");
    assert_eq!((status, first["status"].as_str()), (200, Some("succeeded")));
    assert_eq!(till.call("POST", "/v1/payment_intents", &form, "k1").1["id"], first["id"]);
    let (status, other) = till.call("POST", "/v1/payment_intents", &form.replace("500", "501"), "k1");
    assert_eq!((status, other["error"]["type"].as_str()), (400, Some("idempotency_error")));
    let (_, list) = till.call("GET", "/v1/payment_intents", &format!("customer={customer}"), "");
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    assert_eq!(list["data"][0]["metadata"]["payment_id"], "pay_1");
}

#[test]
fn cards_do_what_their_labels_say() {
    for (card, status, code) in [
        (TestCard::Pays, 200, Value::Null),
        (TestCard::AsksHolder, 402, "authentication_required".into()),
        (TestCard::FailsLater, 402, "card_declined".into()),
    ] {
        let mut till = Till::default();
        let (customer, method) = till.save_card(card);
        let form = format!("amount=500&customer={customer}&payment_method={method}");
        let (told, body) = till.call("POST", "/v1/payment_intents", &form, "k");
        assert_eq!((told, &body["error"]["code"]), (status, &code), "{}", card.label());
    }
}

#[test]
fn a_session_is_paid_once() {
    let mut till = Till::default();
    let form = "mode=payment&line_items[0][price_data][unit_amount]=500&line_items[0][quantity]=1";
    let (_, session) = till.call("POST", "/v1/checkout/sessions", form, "");
    let id = session["id"].as_str().unwrap();
    assert_eq!(session["url"], format!("http://o/sandbox/pay/{id}"));
    assert_eq!(
        pay_checkout(&till.shelf, id, TestCard::Declined, false, "x", 7),
        PaidBy::Refused("Your card was declined.")
    );
    let PaidBy::Paid { writes, event } = pay_checkout(&till.shelf, id, TestCard::Pays, true, "x", 7) else { panic!() };
    assert_eq!(event["data"]["object"]["payment_status"], "paid");
    // Nothing was asked to be saved.
    assert_eq!(writes[0].1["customer"], Value::Null);
    till.shelf.extend(writes);
    assert_eq!(pay_checkout(&till.shelf, id, TestCard::Pays, true, "y", 7), PaidBy::Over);
    let (_, intent) =
        till.call("GET", "/v1/payment_intents/pi_x", "expand[]=payment_method&expand[]=latest_charge", "");
    assert_eq!(
        (intent["amount_received"].as_i64(), intent["latest_charge"]["amount"].as_i64()),
        (Some(500), Some(500))
    );
    assert_eq!(intent["payment_method"]["card"]["last4"], "4242");
}

#[test]
fn money_goes_only_to_accounts_that_may_be_paid() {
    let mut till = Till::default();
    let (_, account) = till.call("POST", "/v1/accounts", "type=express&metadata[agent_id]=a", "");
    let id = account["id"].as_str().unwrap().to_owned();
    let form = format!("amount=500&currency=usd&destination={id}");
    assert_eq!(till.call("POST", "/v1/transfers", &form, "t1").0, 400);
    till.shelf.get_mut(&id).unwrap()["payouts_enabled"] = true.into();
    let (status, transfer) = till.call("POST", "/v1/transfers", &form, "t2");
    assert_eq!((status, transfer["amount"].as_i64()), (200, Some(500)));
    assert_eq!(till.call("GET", "/v1/nothing", "", "").0, 404);
    assert_eq!(till.call("GET", "/v1/payment_intents/pi_none", "", "").0, 404);
}
