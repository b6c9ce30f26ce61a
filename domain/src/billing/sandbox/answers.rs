//! One function per call of the API.

use serde_json::{Value, json};

use super::cards::{EVENTS, Outcome, TestCard, charge_of};
use super::{Answer, Call, Shelf, Turn, refusal};

/// Takes the object of this id from the shelf, or has the call come again with it.
macro_rules! take {
    ($shelf:ident, $id:expr) => {
        match $shelf.get($id) {
            None => return Turn::Need(vec![$id.to_owned()]),
            Some(Value::Null) => {
                return Turn::Done(refusal(404, "invalid_request_error", "resource_missing", "No such object"))
            }
            Some(object) => object.clone(),
        }
    };
}

pub(super) fn route(call: &Call<'_>, shelf: &Shelf) -> Turn {
    let path: Vec<_> = call.path.trim_start_matches("/v1/").split('/').collect();
    match (call.method, path.as_slice()) {
        ("POST", ["customers"]) => create(
            "cus",
            call,
            json!({ "object": "customer", "email": call.field("email"), "metadata": call.pairs("metadata"), "intents": [] }),
        ),
        ("POST", ["checkout", "sessions"]) => create_checkout(call, shelf),
        ("POST", ["checkout", "sessions", id, "expire"]) => expire_checkout(shelf, id),
        ("GET", ["events"]) => list_events(call, shelf),
        ("POST", ["payment_intents"]) => create_intent(call, shelf),
        ("GET", ["payment_intents"]) => list_intents(call, shelf),
        ("GET", ["payment_intents" | "setup_intents", id]) => read_intent(call, shelf, id),
        ("GET", ["checkout", "sessions", id])
        | ("GET", ["payment_methods" | "charges" | "accounts" | "transfers", id]) => Turn::Done(ok(take!(shelf, *id))),
        ("POST", ["payment_methods", id, "detach"]) => {
            let mut method = take!(shelf, *id);
            method["customer"] = Value::Null;
            Turn::Done(kept(id, method))
        }
        ("POST", ["billing_portal", "sessions"]) => {
            let id = call.field("customer").unwrap_or_default();
            take!(shelf, id);
            let url = format!("{}/sandbox/portal/bps_{}", call.origin, call.fresh);
            create(
                "bps",
                call,
                json!({ "object": "billing_portal.session", "customer": id, "url": url, "created": call.now_s,
                    "return_url": call.field("return_url") }),
            )
        }
        ("POST", ["accounts"]) => create(
            "acct",
            call,
            json!({ "object": "account", "type": "express", "email": call.field("email"), "details_submitted": false,
                "charges_enabled": false, "payouts_enabled": false, "metadata": call.pairs("metadata") }),
        ),
        ("POST", ["account_links"]) => {
            let id = call.field("account").unwrap_or_default();
            take!(shelf, id);
            let url = format!("{}/sandbox/connect/link_{}", call.origin, call.fresh);
            create(
                "link",
                call,
                json!({ "object": "account_link", "account": id, "url": url, "return_url": call.field("return_url") }),
            )
        }
        ("POST", ["refunds"]) => refund_intent(call, shelf),
        ("POST", ["transfers"]) => create_transfer(call, shelf),
        ("GET", ["transfers"]) => find_transfer(call, shelf),
        _ => Turn::Done(refusal(404, "invalid_request_error", "", "Unrecognized request URL")),
    }
}

fn ok(body: Value) -> Answer {
    Answer { status: 200, body, writes: Vec::new() }
}

fn kept(id: &str, object: Value) -> Answer {
    Answer { status: 200, body: object.clone(), writes: vec![(id.to_owned(), object)] }
}

fn create(prefix: &str, call: &Call<'_>, mut object: Value) -> Turn {
    let id = format!("{prefix}_{}", call.fresh);
    object["id"] = id.as_str().into();
    Turn::Done(kept(&id, object))
}

fn create_checkout(call: &Call<'_>, shelf: &Shelf) -> Turn {
    if let Some(customer) = call.field("customer") {
        take!(shelf, customer);
    }
    let lines = (0..4).map(|line| {
        let price = call.number(&format!("line_items[{line}][price_data][unit_amount]"));
        price.saturating_mul(call.number(&format!("line_items[{line}][quantity]")))
    });
    let mode = call.field("mode").unwrap_or("payment");
    let total: i64 = lines.sum();
    if mode == "payment" && total <= 0 {
        return Turn::Done(refusal(400, "invalid_request_error", "parameter_missing", "line_items are required"));
    }
    create(
        "cs",
        call,
        json!({
            "object": "checkout.session", "mode": mode, "status": "open", "payment_status": "unpaid",
            "amount_total": total, "currency": "usd", "customer": call.field("customer"),
            "url": format!("{}/sandbox/pay/cs_{}", call.origin, call.fresh),
            "success_url": call.field("success_url"), "cancel_url": call.field("cancel_url"),
            "saves_card": mode == "setup" || call.field("payment_intent_data[setup_future_usage]").is_some(),
            "metadata": call.pairs("metadata"), "created": call.now_s,
        }),
    )
}

fn expire_checkout(shelf: &Shelf, id: &str) -> Turn {
    let mut session = take!(shelf, id);
    if session["status"] != "open" {
        return Turn::Done(refusal(400, "invalid_request_error", "", "Only open sessions can be expired"));
    }
    session["status"] = "expired".into();
    session["url"] = Value::Null;
    Turn::Done(kept(id, session))
}

/// Newest first, within a time, of some types, before an event.
fn list_events(call: &Call<'_>, shelf: &Shelf) -> Turn {
    let Some(known) = shelf.get(EVENTS) else { return Turn::Need(vec![EVENTS.to_owned()]) };
    let ids: Vec<_> = known.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let missing: Vec<_> = ids.iter().filter(|id| !shelf.contains_key(**id)).map(|id| (*id).to_owned()).collect();
    if !missing.is_empty() {
        return Turn::Need(missing);
    }
    let kinds: Vec<_> = call.form.iter().filter(|(name, _)| name == "types[]").map(|(_, kind)| kind.as_str()).collect();
    let (since_s, until_s) = (call.number("created[gte]"), call.number("created[lt]"));
    let after = call.field("starting_after");
    let rest = ids.iter().skip_while(|id| after.is_some_and(|after| **id != after)).skip(usize::from(after.is_some()));
    let mut fitting = rest.map(|id| &shelf[*id]).filter(|event| {
        let at_s = event["created"].as_i64().unwrap_or(0);
        let is_wanted = event["type"].as_str().is_some_and(|kind| kinds.contains(&kind));
        is_wanted && at_s >= since_s && (until_s == 0 || at_s < until_s)
    });
    let limit = usize::try_from(call.number("limit")).unwrap_or(10);
    let data: Vec<_> = fitting.by_ref().take(limit).cloned().collect();
    let has_more = fitting.next().is_some();
    Turn::Done(ok(json!({ "object": "list", "data": data, "has_more": has_more })))
}

fn create_intent(call: &Call<'_>, shelf: &Shelf) -> Turn {
    let (customer_id, method_id) =
        (call.field("customer").unwrap_or_default(), call.field("payment_method").unwrap_or_default());
    let mut customer = take!(shelf, customer_id);
    let method = take!(shelf, method_id);
    if method["customer"] != customer_id {
        let text = "The payment method is not attached to this customer";
        return Turn::Done(refusal(400, "invalid_request_error", "payment_method_unexpected_state", text));
    }
    let id = format!("pi_{}", call.fresh);
    let outcome = TestCard::of_method(&method).pays_alone();
    let mut intent = json!({
        "id": id, "object": "payment_intent", "amount": call.number("amount"), "amount_received": 0, "currency": "usd",
        "customer": customer_id, "payment_method": method_id, "metadata": call.pairs("metadata"), "created": call.now_s,
        "status": "requires_payment_method", "latest_charge": null, "last_payment_error": null,
    });
    if let Some(intents) = customer["intents"].as_array_mut() {
        intents.insert(0, id.as_str().into());
        intents.truncate(20);
    }
    let mut writes = vec![(customer_id.to_owned(), customer)];
    let (status, body) = match outcome {
        Outcome::Paid => {
            let charge = charge_of(&mut intent);
            writes.push((charge["id"].as_str().unwrap_or_default().to_owned(), charge));
            (200, intent.clone())
        }
        Outcome::Refused(code, message) => {
            let error = json!({ "type": "card_error", "code": code, "message": message });
            intent["last_payment_error"] = error.clone();
            let mut told = error;
            told["payment_intent"] = intent.clone();
            (402, json!({ "error": told }))
        }
    };
    writes.push((id, intent));
    Turn::Done(Answer { status, body, writes })
}

fn list_intents(call: &Call<'_>, shelf: &Shelf) -> Turn {
    let customer = take!(shelf, call.field("customer").unwrap_or_default());
    let mut data = Vec::new();
    for id in customer["intents"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        data.push(take!(shelf, id));
    }
    Turn::Done(ok(json!({ "object": "list", "data": data, "has_more": false })))
}

/// With its card and its charge, where the call asks for them.
fn read_intent(call: &Call<'_>, shelf: &Shelf, id: &str) -> Turn {
    let mut intent = take!(shelf, id);
    for (_, name) in call.form.iter().filter(|(field, _)| field.starts_with("expand")) {
        if let Some(id) = intent[name.as_str()].as_str().map(str::to_owned) {
            intent[name.as_str()] = take!(shelf, id.as_str());
        }
    }
    Turn::Done(ok(intent))
}

fn refund_intent(call: &Call<'_>, shelf: &Shelf) -> Turn {
    let intent_id = call.field("payment_intent").unwrap_or_default();
    let intent = take!(shelf, intent_id);
    let charge_id = intent["latest_charge"].as_str().unwrap_or_default();
    let mut charge = take!(shelf, charge_id);
    let left = charge["amount"].as_i64().unwrap_or(0) - charge["amount_refunded"].as_i64().unwrap_or(0);
    if left <= 0 {
        let text = "The charge has already been refunded";
        return Turn::Done(refusal(400, "invalid_request_error", "charge_already_refunded", text));
    }
    charge["amount_refunded"] = charge["amount"].clone();
    charge["refunded"] = true.into();
    let id = format!("re_{}", call.fresh);
    let refund = json!({ "id": id, "object": "refund", "amount": left, "currency": "usd", "charge": charge_id,
        "payment_intent": intent_id, "status": "succeeded", "created": call.now_s });
    let writes = vec![(charge_id.to_owned(), charge), (id, refund.clone())];
    Turn::Done(Answer { status: 200, body: refund, writes })
}

fn create_transfer(call: &Call<'_>, shelf: &Shelf) -> Turn {
    let destination = call.field("destination").unwrap_or_default();
    let account = take!(shelf, destination);
    if account["payouts_enabled"] != true {
        let text = "The destination account needs to have the transfers capability enabled";
        return Turn::Done(refusal(400, "invalid_request_error", "insufficient_capabilities_for_transfer", text));
    }
    let id = format!("tr_{}", call.fresh);
    let transfer = json!({ "id": id, "object": "transfer", "amount": call.number("amount"), "currency": "usd",
        "destination": destination, "reversed": false, "metadata": call.pairs("metadata"), "created": call.now_s,
        "transfer_group": call.field("transfer_group") });
    let mut writes = vec![(id, transfer.clone())];
    if let Some(group) = call.field("transfer_group") {
        writes.push((group_id(group), transfer.clone()));
    }
    Turn::Done(Answer { status: 200, body: transfer, writes })
}

/// Where the last transfer of a group stands: the house makes one in each.
fn group_id(group: &str) -> String {
    format!("group:{group}")
}

fn find_transfer(call: &Call<'_>, shelf: &Shelf) -> Turn {
    let id = group_id(call.field("transfer_group").unwrap_or_default());
    let data = match shelf.get(&id) {
        None => return Turn::Need(vec![id]),
        Some(Value::Null) => Vec::new(),
        Some(transfer) => vec![transfer.clone()],
    };
    Turn::Done(ok(json!({ "object": "list", "data": data, "has_more": false })))
}
