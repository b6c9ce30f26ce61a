// A double of Stripe's API: as much of it as the platform calls, with Stripe's rule that a call under one name happens once.

import { createServer } from "node:http";

/**
 * Starts it. `lose(path)` makes it take the next call of a path and keep its answer to itself; `hold(path)` makes it keep all
 * answers of a path back until the function that it gives is called.
 */
export async function startStripe() {
  const objects = new Map();
  const answers = new Map();
  const calls = [];
  const lost = [];
  const held = new Map();
  let ids = 0;
  const create = (prefix, object) => {
    const made = { id: `${prefix}_${++ids}`, ...object };
    objects.set(made.id, made);
    return made;
  };
  const metadataOf = (form, name = "metadata") =>
    Object.fromEntries([...form].filter(([key]) => key.startsWith(`${name}[`)).map(([key, value]) => [key.slice(name.length + 1, -1), value]));

  const routes = {
    "POST /v1/customers": (form) => create("cus", { object: "customer", metadata: metadataOf(form) }),
    "POST /v1/checkout/sessions": (form) => {
      const prices = [...form].filter(([key]) => key.endsWith("[unit_amount]")).map(([, cents]) => Number(cents));
      const session = create("cs", {
        object: "checkout.session", mode: form.get("mode"), status: "open", payment_status: "unpaid", currency: "usd",
        amount_total: prices.reduce((sum, cents) => sum + cents, 0), customer: form.get("customer"), metadata: metadataOf(form),
      });
      session.url = `https://checkout.stripe.test/${session.id}`;
      return session;
    },
    "POST /v1/payment_intents": (form) => {
      const amount = Number(form.get("amount"));
      const intent = create("pi", {
        object: "payment_intent", status: "succeeded", amount, amount_received: amount, currency: "usd", customer: form.get("customer"),
        payment_method: form.get("payment_method"), metadata: metadataOf(form),
      });
      intent.latest_charge = create("ch", {
        object: "charge", amount, amount_refunded: 0, paid: true, currency: "usd", payment_intent: intent.id, metadata: intent.metadata,
      }).id;
      return intent;
    },
    "POST /v1/billing_portal/sessions": () => create("bps", { url: "https://billing.stripe.test/p" }),
  };

  const answer = (method, url, form) => {
    const { pathname, searchParams } = new URL(url, "http://stripe.test");
    const route = routes[`${method} ${pathname}`];
    if (route) return route(form);
    const found = objects.get(pathname.split("/").at(-1));
    if (method !== "GET" || !found) return undefined;
    const expanded = searchParams.getAll("expand[]").filter((field) => found[field]);
    return { ...found, ...Object.fromEntries(expanded.map((field) => [field, objects.get(found[field])])) };
  };

  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    const name = request.headers["idempotency-key"];
    calls.push({ method: request.method, url: request.url, name, headers: request.headers, body });
    const known = name && answers.get(name);
    const made = known || answer(request.method, request.url, new URLSearchParams(body));
    if (name && made) answers.set(name, made);
    const at = lost.indexOf(request.url);
    if (at >= 0) {
      lost.splice(at, 1);
      return request.socket.destroy();
    }
    await held.get(request.url);
    response.writeHead(made ? 200 : 404, { "content-type": "application/json" });
    response.end(JSON.stringify(made ?? { error: { type: "invalid_request_error", code: "resource_missing", message: "No such object" } }));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    objects,
    calls,
    lose: (path) => lost.push(path),
    hold(path) {
      let release;
      held.set(path, new Promise((resolve) => (release = resolve)));
      return () => (held.delete(path), release());
    },
    count: (prefix) => [...objects.keys()].filter((id) => id.startsWith(prefix)).length,

    /** The customer pays a session; gives what the event carries. */
    pay(id) {
      const session = objects.get(id);
      const method = create("pm", {
        object: "payment_method", customer: session.customer, card: { brand: "visa", last4: "4242", exp_month: 12, exp_year: 2034 },
      });
      const intent = create("pi", {
        object: "payment_intent", status: "succeeded", amount: session.amount_total, amount_received: session.amount_total, currency: "usd",
        customer: session.customer, payment_method: method.id, metadata: session.metadata,
      });
      intent.latest_charge = create("ch", {
        object: "charge", amount: session.amount_total, amount_refunded: 0, paid: true, currency: "usd", payment_intent: intent.id,
        metadata: session.metadata,
      }).id;
      Object.assign(session, { status: "complete", payment_status: "paid", payment_intent: intent.id });
      return session;
    },

    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}
