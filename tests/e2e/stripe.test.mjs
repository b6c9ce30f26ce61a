// Payments over a double of Stripe's API, with events that Stripe's own library signs; and the sandbox's own payment page.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import Stripe from "stripe";

import { startPlatform } from "./support/platform.mjs";
import { until } from "./support/processes.mjs";
import { startStripe } from "./support/stripe.mjs";

const SECRETS = ["whsec_the_one_of_today_01", "whsec_the_one_of_before_1"];
const KEY = "sk_test_0123456789abcdef";

/** Somebody who has signed in: the token of their session. */
async function signIn(platform, email) {
  await platform.ask("POST", "/v1/auth/login", { body: { email } });
  const outbox = await platform.ask("GET", "/sandbox/outbox.json");
  const mails = JSON.stringify(outbox);
  const tokens = [...mails.matchAll(/token=([A-Za-z0-9_-]{20,})/g)].map(([, token]) => token);
  for (const token of tokens) {
    const { status, body } = await platform.call("POST", "/v1/auth/verify", { body: { token } });
    if (status === 200) return body.session_token;
  }
  throw new Error(`no sign-in in ${mails.slice(0, 500)}`);
}

describe("payments over Stripe", () => {
  const library = new Stripe(KEY);
  let stripe;
  let platform;
  let token;
  let events = 0;
  before(async () => {
    stripe = await startStripe();
    platform = await startPlatform({
      settings: { STRIPE_SECRET_KEY: KEY, STRIPE_WEBHOOK_SECRETS: SECRETS.join(","), STRIPE_API_URL: stripe.url },
    });
    token = await signIn(platform, "ada@example.com");
  });
  after(() => Promise.allSettled([platform?.stop(), stripe?.close()]));

  const eventOf = (type, object) => ({
    id: `evt_${++events}`, object: "event", type, created: Math.floor(Date.now() / 1000), data: { object },
  });
  /** Sends an event as Stripe does. */
  const tell = (event, { secret = SECRETS[0], timestamp, payload = JSON.stringify(event) } = {}) => {
    const header = library.webhooks.generateTestHeaderString({ payload: JSON.stringify(event), secret, timestamp });
    return platform.call("POST", "/webhooks/stripe", { body: payload, headers: { "stripe-signature": header } });
  };
  const balance = async () => (await platform.ask("GET", "/v1/balance", { token })).balance_usd;
  const checkout = (amount_usd) => platform.ask("POST", "/v1/billing/checkout", { token, body: { amount_usd } });

  test("a checkout is credited once, however often and in whatever order its events come", async () => {
    const opened = await checkout(10);
    assert.equal(opened.url, `https://checkout.stripe.test/${opened.session_id}`);
    const session = stripe.pay(opened.session_id);
    const succeeded = eventOf("payment_intent.succeeded", stripe.objects.get(session.payment_intent));
    const completed = eventOf("checkout.session.completed", session);
    for (const [index, event] of [succeeded, completed, completed, succeeded].entries()) {
      const { status, body } = await tell(event, { secret: SECRETS[index % 2] });
      assert.deepEqual([status, body], [200, { received: true }]);
    }
    assert.equal(await balance(), 10);
    assert.deepEqual((await platform.ask("GET", "/v1/billing/card", { token })).card.last4, "4242");
    for (const call of stripe.calls) {
      assert.equal(call.headers.authorization, `Bearer ${KEY}`);
      assert.ok(call.headers["stripe-version"]);
      assert.equal(call.method === "POST", Boolean(call.name), `${call.method} ${call.url}`);
    }
  });

  test("forged, altered and stale events change nothing", async () => {
    const before = await balance();
    const opened = await checkout(10);
    const event = eventOf("checkout.session.completed", stripe.pay(opened.session_id));
    const now = Math.floor(Date.now() / 1000);
    const altered = JSON.stringify({ ...event, created: 1 });
    for (const options of [{ secret: "whsec_of_somebody_else_1" }, { timestamp: now - 400 }, { timestamp: now + 400 }, { payload: altered }]) {
      const { status } = await tell(event, options);
      assert.equal(status, 401, JSON.stringify(options));
    }
    assert.equal(await balance(), before);
    assert.equal((await tell(event)).status, 200);
    assert.equal(await balance(), before + 10);
  });

  test("a refund before its payment, and one after, take the credit", async () => {
    const before = await balance();
    const opened = await checkout(20);
    const session = stripe.pay(opened.session_id);
    const charge = stripe.objects.get(stripe.objects.get(session.payment_intent).latest_charge);
    assert.equal((await tell(eventOf("charge.refunded", { ...charge, amount_refunded: 500 }))).status, 200);
    assert.equal((await tell(eventOf("checkout.session.completed", session))).status, 200);
    assert.equal(await balance(), before + 15);
    assert.equal((await tell(eventOf("charge.refunded", { ...charge, amount_refunded: 2000 }))).status, 200);
    assert.equal(await balance(), before);
    const { data } = await platform.ask("GET", "/v1/billing/payments", { token });
    assert.equal(data.find(({ id }) => id === opened.payment_id).status, "refunded");
  });

  test("a charge whose answer is lost is made once", async () => {
    const before = await balance();
    const charges = stripe.count("ch_");
    stripe.lose("/v1/payment_intents");
    stripe.lose("/v1/payment_intents");
    const first = await platform.call("POST", "/v1/billing/charge", { token, body: { amount_usd: 20 } });
    assert.equal(first.status, 503, first.text);
    const second = await platform.ask("POST", "/v1/billing/charge", { token, body: { amount_usd: 20 } });
    assert.equal(second.balance_usd, before + 20);
    assert.equal(stripe.count("ch_"), charges + 1);
  });

  test("clicks at once charge once", async () => {
    const before = await balance();
    const charges = stripe.count("ch_");
    const statuses = [];
    const click = async () => statuses.push((await platform.call("POST", "/v1/billing/charge", { token, body: { amount_usd: 7 } })).status);
    const release = stripe.hold("/v1/payment_intents");
    const clicks = Promise.all(Array.from({ length: 5 }, click));
    // The one that is with Stripe ends last.
    await until("all others are answered", () => statuses.length === 4).finally(release);
    await clicks;
    assert.deepEqual(statuses, [409, 409, 409, 409, 200]);
    assert.equal(stripe.count("ch_"), charges + 1);
    assert.equal(await balance(), before + 7);
  });

  test("events of no interest are acknowledged", async () => {
    assert.equal((await tell(eventOf("invoice.paid", { id: "in_1" }))).status, 200);
  });
});

describe("the sandbox's payment page", () => {
  let platform;
  before(async () => {
    platform = await startPlatform();
  });
  after(() => platform?.stop());

  test("from a card to the first key", async () => {
    const token = await signIn(platform, "bob@example.com");
    const form = { "content-type": "application/x-www-form-urlencoded" };
    const page = await platform.ask("POST", "/v1/billing/card", { token });
    assert.ok(page.url.startsWith(`${platform.url}/sandbox/pay/`), page.url);
    const shown = await platform.call("GET", page.url);
    assert.match(shown.text, /4242424242424242/);
    const saved = await platform.call("POST", page.url, { body: "card=4242424242424242", headers: form });
    assert.equal(saved.status, 200, saved.text);
    const { activation } = await platform.ask("POST", "/v1/billing/activation/accept", { token, body: { accepted: true } });
    assert.deepEqual(activation.missing_requirements, ["payment"]);
    const charged = await platform.ask("POST", "/v1/billing/charge", { token, body: { amount_usd: 20, activate_key_name: "main" } });
    assert.match(charged.activated_key.key, /^tok_/);
    const seen = await platform.ask("GET", "/v1/balance", { token: charged.activated_key.key });
    assert.equal(seen.balance_usd, 20);
  });

  test("a declined card pays nothing, and the page is paid once", async () => {
    const token = await signIn(platform, "eve@example.com");
    const form = { "content-type": "application/x-www-form-urlencoded" };
    const { url } = await platform.ask("POST", "/v1/billing/checkout", { token, body: { amount_usd: 10 } });
    const submit = (card) => platform.call("POST", url, { body: `card=${card}`, headers: form });
    assert.equal((await submit("4000000000000002")).status, 402);
    assert.equal((await submit("4242424242424242")).status, 200);
    assert.equal((await submit("4242424242424242")).status, 409);
    assert.equal((await platform.ask("GET", "/v1/balance", { token })).balance_usd, 10);
  });
});
