//! The calls, each a few lines.

use guildhall_domain::billing::event::KINDS;
use guildhall_domain::billing::fee::to_cents;
use guildhall_domain::billing::form::Form;
use guildhall_domain::billing::objects::{
    Charge, CheckoutSession, ConnectAccount, HasId, Intent, Link, List, PaymentMethod, Transfer,
};
use guildhall_domain::money::MicroUsd;
use serde_json::Value;

use super::{Stripe, StripeError};

/// A checkout to open.
pub struct NewCheckout<'a> {
    /// Who pays; needed to save a card.
    pub customer: &'a str,
    /// What is sold and its price, beginning with the credit; none to save a card without a payment.
    pub lines: &'a [(&'a str, MicroUsd)],
    /// Whether the card is saved for charges without its holder. Stripe's page asks for the consent.
    pub saves_card: bool,
    /// Where the customer goes afterwards.
    pub success_url: &'a str,
    /// Where the customer goes instead.
    pub cancel_url: &'a str,
    /// Ours: goes onto the session, its payment and the payment's charge.
    pub metadata: &'a [(&'a str, &'a str)],
}

/// A charge of a saved card, without its holder.
pub struct NewCharge<'a> {
    /// Who pays.
    pub customer: &'a str,
    /// The card.
    pub payment_method: &'a str,
    /// How much, in whole cents.
    pub amount: MicroUsd,
    /// What the customer reads on Stripe's receipt.
    pub description: &'a str,
    /// Ours.
    pub metadata: &'a [(&'a str, &'a str)],
}

impl Stripe {
    /// Makes somebody a customer; gives the id.
    ///
    /// # Errors
    /// [`StripeError`].
    pub async fn create_customer(
        &self,
        name: &str,
        email: Option<&str>,
        metadata: &[(&str, &str)],
    ) -> Result<String, StripeError> {
        let form = Form::default().with_some("email", email).with_pairs("metadata", metadata);
        self.post::<HasId>(name, "/v1/customers", form).await.map(|customer| customer.id)
    }

    /// Opens a page where the customer pays, or saves a card.
    ///
    /// # Errors
    /// [`StripeError`].
    pub async fn create_checkout(&self, name: &str, new: &NewCheckout<'_>) -> Result<CheckoutSession, StripeError> {
        let mut form = Form::default()
            .with("mode", if new.lines.is_empty() { "setup" } else { "payment" })
            .with("customer", new.customer)
            .with("success_url", new.success_url)
            .with("cancel_url", new.cancel_url)
            .with("payment_method_types[0]", "card")
            .with_pairs("metadata", new.metadata);
        if new.lines.is_empty() {
            form = form.with("currency", "usd").with_pairs("setup_intent_data[metadata]", new.metadata);
        } else {
            form = form.with_pairs("payment_intent_data[metadata]", new.metadata);
            if new.saves_card {
                form = form.with("payment_intent_data[setup_future_usage]", "off_session");
            }
        }
        for (index, (what, price)) in new.lines.iter().enumerate() {
            let line = format!("line_items[{index}]");
            form = form
                .with_number(&format!("{line}[quantity]"), 1)
                .with(&format!("{line}[price_data][currency]"), "usd")
                .with_number(&format!("{line}[price_data][unit_amount]"), cents(*price)?)
                .with(&format!("{line}[price_data][product_data][name]"), what);
        }
        self.post(name, "/v1/checkout/sessions", form).await
    }

    /// Reads a checkout.
    ///
    /// # Errors
    /// [`StripeError`].
    pub async fn read_checkout(&self, id: &str) -> Result<CheckoutSession, StripeError> {
        self.get(&format!("/v1/checkout/sessions/{id}"), Form::default()).await
    }

    /// Closes a checkout that nobody has paid.
    ///
    /// # Errors
    /// [`StripeError`]; [`StripeError::Refused`] when it is over.
    pub async fn expire_checkout(&self, id: &str) -> Result<CheckoutSession, StripeError> {
        self.post(&format!("expire:{id}"), &format!("/v1/checkout/sessions/{id}/expire"), Form::default()).await
    }

    /// The events of interest that were created from a second on and before another, newest first, a hundred at a time:
    /// those after the one that is named.
    ///
    /// # Errors
    /// [`StripeError`].
    pub async fn list_events(
        &self,
        since_s: i64,
        until_s: i64,
        after: Option<&str>,
    ) -> Result<List<Value>, StripeError> {
        let query = Form::default()
            .with_number("limit", 100)
            .with_number("created[gte]", since_s)
            .with_number("created[lt]", until_s)
            .with_some("starting_after", after);
        let query = KINDS.iter().fold(query, |query, kind| query.with("types[]", kind));
        self.get("/v1/events", query).await
    }

    /// Charges a saved card at once.
    ///
    /// # Errors
    /// [`StripeError`]; a refused card is [`StripeError::Card`].
    pub async fn charge(&self, name: &str, new: &NewCharge<'_>) -> Result<Intent, StripeError> {
        let form = Form::default()
            .with_number("amount", cents(new.amount)?)
            .with("currency", "usd")
            .with("customer", new.customer)
            .with("payment_method", new.payment_method)
            .with("off_session", "true")
            .with("confirm", "true")
            .with("description", new.description)
            .with_pairs("metadata", new.metadata);
        self.post(name, "/v1/payment_intents", form).await
    }

    /// Reads a payment with its card and its charge.
    ///
    /// # Errors
    /// [`StripeError`].
    pub async fn read_intent(&self, id: &str) -> Result<Intent, StripeError> {
        // A saving of a card has no charge.
        let (path, query) = if id.starts_with("seti_") {
            (format!("/v1/setup_intents/{id}"), Form::default())
        } else {
            (format!("/v1/payment_intents/{id}"), Form::default().with("expand[]", "latest_charge"))
        };
        self.get(&path, query.with("expand[]", "payment_method")).await
    }

    /// The newest payments of a customer, up to twenty: where a payment is looked for whose answer was lost.
    ///
    /// # Errors
    /// [`StripeError`].
    pub async fn list_intents(&self, customer: &str) -> Result<Vec<Intent>, StripeError> {
        let query = Form::default().with("customer", customer).with_number("limit", 20);
        self.get::<List<Intent>>("/v1/payment_intents", query).await.map(|list| list.data)
    }

    /// Reads a charge: how much of it went back.
    ///
    /// # Errors
    /// [`StripeError`].
    pub async fn read_charge(&self, id: &str) -> Result<Charge, StripeError> {
        self.get(&format!("/v1/charges/{id}"), Form::default()).await
    }

    /// Gives all of a payment back that has not gone back yet.
    ///
    /// # Errors
    /// [`StripeError`].
    pub async fn refund(&self, name: &str, intent_id: &str) -> Result<(), StripeError> {
        match self.post::<HasId>(name, "/v1/refunds", Form::default().with("payment_intent", intent_id)).await {
            Ok(_) => Ok(()),
            // It is the customer's, or the bank decides whose it is.
            Err(StripeError::Refused { code, .. })
                if code == "charge_already_refunded" || code == "charge_disputed" =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Reads a saved card.
    ///
    /// # Errors
    /// [`StripeError`].
    pub async fn read_payment_method(&self, id: &str) -> Result<PaymentMethod, StripeError> {
        self.get(&format!("/v1/payment_methods/{id}"), Form::default()).await
    }

    /// Takes a card away from its customer. One that is not attached any more is no error.
    ///
    /// # Errors
    /// [`StripeError`].
    pub async fn detach_payment_method(&self, id: &str) -> Result<(), StripeError> {
        let path = format!("/v1/payment_methods/{id}/detach");
        match self.post::<Value>(&format!("detach:{id}"), &path, Form::default()).await {
            Ok(_) | Err(StripeError::Missing | StripeError::Refused { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Opens the page where a customer sees receipts and cards; gives its address, good for some minutes.
    ///
    /// # Errors
    /// [`StripeError`].
    pub async fn create_portal(&self, name: &str, customer: &str, return_url: &str) -> Result<String, StripeError> {
        let form = Form::default().with("customer", customer).with("return_url", return_url);
        self.post::<Link>(name, "/v1/billing_portal/sessions", form).await.map(|link| link.url)
    }

    /// Opens an Express account for somebody whom we will pay. The name makes it one account per agent.
    ///
    /// # Errors
    /// [`StripeError`].
    pub async fn create_connect_account(
        &self,
        name: &str,
        email: Option<&str>,
        metadata: &[(&str, &str)],
    ) -> Result<ConnectAccount, StripeError> {
        let form = Form::default()
            .with("type", "express")
            .with("capabilities[transfers][requested]", "true")
            .with_some("email", email)
            .with_pairs("metadata", metadata);
        self.post(name, "/v1/accounts", form).await
    }

    /// Opens the page where that somebody answers Stripe's questions; its address is good once, for some minutes, so each
    /// call takes a fresh name.
    ///
    /// # Errors
    /// [`StripeError`].
    pub async fn create_account_link(
        &self,
        name: &str,
        account: &str,
        refresh_url: &str,
        return_url: &str,
    ) -> Result<String, StripeError> {
        let form = Form::default()
            .with("account", account)
            .with("type", "account_onboarding")
            .with("refresh_url", refresh_url)
            .with("return_url", return_url);
        self.post::<Link>(name, "/v1/account_links", form).await.map(|link| link.url)
    }

    /// Reads an Express account: whether it may be paid yet.
    ///
    /// # Errors
    /// [`StripeError`].
    pub async fn read_connect_account(&self, id: &str) -> Result<ConnectAccount, StripeError> {
        self.get(&format!("/v1/accounts/{id}"), Form::default()).await
    }

    /// Pays an Express account. Under one name money goes out once, for as long as Stripe keeps names (24 hours): a transfer
    /// whose answer was lost is sent again within that time, under the same name, with the same amount. Later
    /// [`Stripe::find_transfer`] tells whether it was made.
    ///
    /// # Errors
    /// [`StripeError`]; after [`StripeError::Unknown`] the money may have gone.
    pub async fn transfer(
        &self,
        name: &str,
        destination: &str,
        amount: MicroUsd,
        metadata: &[(&str, &str)],
    ) -> Result<Transfer, StripeError> {
        let form = Form::default()
            .with_number("amount", cents(amount)?)
            .with("currency", "usd")
            .with("destination", destination)
            .with("transfer_group", name)
            .with_pairs("metadata", metadata);
        self.post(name, "/v1/transfers", form).await
    }

    /// The transfer that was made under a name, however long ago.
    ///
    /// # Errors
    /// [`StripeError`].
    pub async fn find_transfer(&self, name: &str) -> Result<Option<Transfer>, StripeError> {
        let query = Form::default().with("transfer_group", name).with_number("limit", 1);
        let list: List<Transfer> = self.get("/v1/transfers", query).await?;
        Ok(list.data.into_iter().next())
    }
}

fn cents(amount: MicroUsd) -> Result<i64, StripeError> {
    to_cents(amount)
        .ok_or_else(|| StripeError::Refused { code: String::new(), message: format!("{amount} is not whole cents") })
}
