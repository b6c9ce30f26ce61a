// Agents, end to end: they register, are paid and pay, call models, and withdraw. On the sandbox's own payment pages.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { startPlatform } from "./support/platform.mjs";
import { startUpstream } from "./support/upstream.mjs";

describe("an agent", () => {
  let platform;
  let upstream;
  let agent;
  const ask = (method, path, body) => platform.ask(method, path, { token: agent.apiKey, body });
  const wallet = () => ask("GET", "/api/agents/wallet");
  /** Submits a page of the sandbox, as its form does. */
  const submit = async (url, form) => {
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    const answer = await fetch(url, { method: "POST", headers, body: form, redirect: "manual" });
    assert.equal(answer.status, 200, await answer.text());
  };

  before(async () => {
    [platform, upstream] = await Promise.all([startPlatform(), startUpstream()]);
    // Ten thousand dollars a million tokens, so that a call is worth cents.
    await platform.register("double", upstream.baseUrl, { dear: { upstream_model: "answer:dear", input_per_1k: 0.01, output_per_1k: 0.01 } });
  });
  after(() => Promise.allSettled([platform?.stop(), upstream?.close()]));

  test("registers by itself", async () => {
    const { status, body } = await platform.call("POST", "/api/agents/register", { body: { name: "My Agent", description: "works" } });
    assert.equal(status, 201);
    agent = body.agent;
    assert.equal(body.apiKey, agent.apiKey);
    assert.match(agent.apiKey, /^clx[0-9a-f]{64}$/);
    assert.equal(agent.slug, "my-agent");
    const me = await ask("GET", "/api/agents/me");
    assert.deepEqual([me.agent.id, me.agent.status], [agent.id, "ACTIVE"]);
    const shown = await platform.ask("GET", `/api/agents/${agent.slug}`);
    assert.equal(shown.agent.id, agent.id);
    const patched = await ask("PATCH", "/api/agents/me", { tags: ["python"], avatarUrl: "/avatars/me.png" });
    assert.deepEqual(patched.agent.tags, ["python"]);
    assert.equal((await ask("GET", "/api/agents/me/setup")).setupScore, "2/5");
  });

  test("deposits, and calls models from its wallet", async () => {
    const { deposit } = await ask("POST", "/api/agents/wallet/deposit", { amountCents: 500 });
    assert.deepEqual([deposit.balanceAfter, deposit.agentId], [500, agent.id]);
    const answer = await platform.chat(agent.apiKey, { model: "dear", max_tokens: 50 });
    assert.equal(answer.status, 200, answer.text);
    const costMicros = Math.round(Number(answer.headers.get("x-tokaroo-cost")) * 1e6);
    assert.ok(costMicros > 0);
    const { balanceCents, transactions } = await wallet();
    assert.equal(balanceCents, Math.floor((5_000_000 - costMicros) / 10_000));
    assert.deepEqual(transactions.map(({ type }) => type), ["JOB_PAYMENT", "DEPOSIT"]);
    assert.equal(transactions[1].id, deposit.transactionId);
    assert.equal(transactions.reduce((sum, { amountCents }) => sum + amountCents, 0), transactions[0].balanceAfter);
  });

  test("pays for a deposit on the sandbox's page", async () => {
    const before = (await wallet()).balanceCents;
    const { checkoutUrl, sessionId } = await ask("POST", "/api/agents/wallet/deposit/checkout", { amountCents: 2_000 });
    assert.match(sessionId, /^cs_/);
    assert.equal((await wallet()).balanceCents, before);
    await submit(checkoutUrl, "card=4242424242424242");
    assert.equal((await wallet()).balanceCents, before + 2_000);
  });

  test("withdraws to its bank account, and not before there is one", async () => {
    const withdraw = (amountCents, key) =>
      platform.call("POST", "/api/agents/wallet/withdraw", { token: agent.apiKey, body: { amountCents }, headers: { "idempotency-key": key } });
    assert.equal((await withdraw(100, "early")).status, 400);
    const { onboardingUrl } = await ask("POST", "/api/agents/connect", {});
    await submit(onboardingUrl, "");
    assert.equal((await ask("GET", "/api/agents/connect")).payoutsEnabled, true);
    const before = (await wallet()).balanceCents;
    const first = await withdraw(700, "w1");
    assert.equal(first.status, 200, first.text);
    assert.match(first.body.withdrawal.transferId, /^tr_/);
    assert.equal(first.body.withdrawal.balanceAfter, before - 700);
    assert.deepEqual((await withdraw(700, "w1")).body, first.body);
    assert.equal((await wallet()).balanceCents, before - 700);
    const refused = await withdraw(before, "w2");
    assert.deepEqual([refused.status, refused.body.error], [400, "Insufficient balance"]);
    // All that is left, by eight at once: each is paid whole or not at all.
    const share = Math.floor((before - 700) / 5);
    const answers = await Promise.all(Array.from({ length: 8 }, (_, at) => withdraw(share, `all-${at}`)));
    assert.equal(answers.filter(({ status }) => status === 200).length, 5, answers.map(({ text }) => text).join("\n"));
    assert.equal((await wallet()).balanceCents, before - 700 - 5 * share);
  });
});
