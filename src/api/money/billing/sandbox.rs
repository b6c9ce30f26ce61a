//! The sandbox's pages in place of Stripe's. They do not exist where payments are real.

use guildhall_domain::billing::form::read_form;
use guildhall_domain::billing::ledger::{Status, shown_status};
use guildhall_domain::billing::sandbox::TestCard;
use guildhall_domain::money::MicroUsd;

use crate::app::Cx;
use crate::error::ApiError;
use crate::http::html::{escape, page};
use crate::http::input::{Path, Raw};
use crate::http::output::Output;
use crate::http::route::Access;
use crate::payments::{Desk, facts_of, sandbox};
use crate::routes;

routes! {
    tag "Sandbox", dialect ToolRouter;
    /// Show a checkout of the sandbox.
    Get "/sandbox/pay/{id}" Access::Public => show_checkout;
    /// Pay a checkout of the sandbox.
    Post "/sandbox/pay/{id}" Access::Public, body_max_bytes = 1 << 12 => pay_checkout;
    /// Show an account's payments and card in the sandbox.
    Get "/sandbox/portal/{id}" Access::Public => show_portal;
    /// Remove an account's card in the sandbox.
    Post "/sandbox/portal/{id}" Access::Public, body_max_bytes = 1 << 12 => remove_card;
    /// Show the questions to somebody who is to be paid in the sandbox.
    Get "/sandbox/connect/{id}" Access::Public => show_onboarding;
    /// Answer the questions to somebody who is to be paid in the sandbox.
    Post "/sandbox/connect/{id}" Access::Public, body_max_bytes = 1 << 12 => finish_onboarding;
}

async fn show_checkout(cx: Cx, Path(id): Path) -> Result<Output, ApiError> {
    let session = sandbox::read(&Desk::of(&cx), &id, "checkout.session").await?;
    if session["status"] != "open" {
        return Ok(page("This page is over", "<p>It was paid already.</p>"));
    }
    Ok(page("Sandbox payment", &checkout_form(&session, None)))
}

async fn pay_checkout(cx: Cx, (Path(id), Raw(body)): (Path, Raw)) -> Result<Output, ApiError> {
    let desk = Desk::of(&cx);
    let session = sandbox::read(&desk, &id, "checkout.session").await?;
    let form = read_form(&String::from_utf8_lossy(&body));
    let field = |name: &str| form.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
    let card = field("card").and_then(TestCard::of_number);
    let card = card.ok_or_else(|| ApiError::invalid("card", "card must be the number of one of the page's cards"))?;
    match sandbox::pay(&desk, &id, card, field("save").is_some()).await? {
        sandbox::Paid::Done => {
            let back = link(session["success_url"].as_str().unwrap_or_default(), "Go on");
            Ok(page("Done", &format!("<p>Thank you. No real money moved.</p>{back}")))
        }
        sandbox::Paid::Refused(why) => Ok(page("Sandbox payment", &checkout_form(&session, Some(why))).status(402)),
        sandbox::Paid::Over => Ok(page("This page is over", "<p>It was paid already.</p>").status(409)),
    }
}

fn checkout_form(session: &serde_json::Value, refusal: Option<&str>) -> String {
    let is_setup = session["mode"] == "setup";
    let cents = session["amount_total"].as_i64().unwrap_or(0);
    let what = if is_setup {
        "<p>Save a card. Nothing is charged.</p>".to_owned()
    } else {
        format!("<p>Pay <b>${}.{:02}</b>.</p>", cents / 100, cents % 100)
    };
    let refusal = refusal.map_or_else(String::new, |why| format!("<p><b>{}</b></p>", escape(why)));
    let cards = TestCard::ALL.iter().enumerate().fold(String::new(), |html, (index, card)| {
        let checked = if index == 0 { " checked" } else { "" };
        let (number, label) = (card.number(), card.label());
        html + &format!("<label><input type=radio name=card value={number}{checked}> {number}: {label}</label><br>")
    });
    let saves = session["saves_card"] == true && !is_setup;
    let save = if saves {
        "<p><label><input type=checkbox name=save checked> Save this card for automatic and direct charges</label></p>"
    } else {
        ""
    };
    let cancel = link(session["cancel_url"].as_str().unwrap_or_default(), "Cancel");
    let verb = if is_setup { "Save" } else { "Pay" };
    format!(
        "<p>This is the sandbox: no real money moves.</p>{what}{refusal}<form method=post>{cards}{save}<button>{verb}</button></form>{cancel}"
    )
}

async fn show_portal(cx: Cx, Path(id): Path) -> Result<Output, ApiError> {
    portal(&cx, &id).await
}

async fn remove_card(cx: Cx, Path(id): Path) -> Result<Output, ApiError> {
    sandbox::remove_card(&Desk::of(&cx), &id).await?;
    portal(&cx, &id).await
}

async fn portal(cx: &Cx, id: &str) -> Result<Output, ApiError> {
    let account = sandbox::read_account(&Desk::of(cx), id).await?;
    let card = account.card.map_or_else(
        || "<p>No card is saved.</p>".to_owned(),
        |(brand, last4)| {
            let (brand, last4) = (escape(&brand), escape(&last4));
            format!("<form method=post><p>{brand} ending in {last4} <button>Remove</button></p></form>")
        },
    );
    let rows = account.payments.iter().fold(String::new(), |html, row| {
        let facts = facts_of(row);
        let status = shown_status(Status::read(&row.status), &facts, row.disputed_micros > 0);
        let total = MicroUsd(row.total_micros).to_usd_string();
        html + &format!("<tr><td>{}<td>${total}<td>{status}", escape(&row.kind))
    });
    let back = link(&account.return_url, "Back");
    Ok(page("Payments", &format!("{card}<table>{rows}</table>{back}")))
}

async fn show_onboarding(cx: Cx, Path(id): Path) -> Result<Output, ApiError> {
    sandbox::read(&Desk::of(&cx), &id, "account_link").await?;
    Ok(page(
        "Get paid",
        "<p>In place of the payment provider's questions:</p><form method=post><button>Finish</button></form>",
    ))
}

async fn finish_onboarding(cx: Cx, Path(id): Path) -> Result<Output, ApiError> {
    let return_url = sandbox::finish_onboarding(&Desk::of(&cx), &id).await?;
    Ok(page("Done", &format!("<p>The account can be paid now.</p>{}", link(&return_url, "Go on"))))
}

fn link(url: &str, text: &str) -> String {
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    if is_web { format!("<p><a href=\"{}\">{text}</a></p>", escape(url)) } else { String::new() }
}
