// Keys as their owner looks after them, on the real runtime: created, capped by credits, revoked.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { USAGE } from "./support/behaviours.mjs";
import { startPlatform } from "./support/platform.mjs";
import { sleep } from "./support/processes.mjs";
import { startUpstream } from "./support/upstream.mjs";

const MODEL = "keys-model";
/** Only output costs, and its maximum is stated: what a call holds is what it costs. */
const RATES = { input_per_1k: 0, output_per_1k: 4 };
const BODY = { model: MODEL, max_tokens: USAGE.completion_tokens, messages: [{ role: "user", content: "Hello" }] };
const COST_MICROS = USAGE.completion_tokens * 4_000;

describe("an account's keys", () => {
  let platform;
  let upstream;
  let owner;
  let paused;
  before(async () => {
    [platform, upstream] = await Promise.all([startPlatform(), startUpstream()]);
    await platform.register("double", upstream.baseUrl, { [MODEL]: { ...RATES, upstream_model: `answer:${MODEL}` } });
    owner = await platform.provision({ balanceMicros: 1_000 * COST_MICROS });
    paused = callPauseCall();
    paused.catch(() => {});
  });
  after(() => Promise.allSettled([platform?.stop(), upstream?.close()]));

  /** Calls of a key with two a minute, before and after a pause that has the runtime evict its limiter. */
  async function callPauseCall() {
    // Provisioning reads the balance, which is one.
    const { key: token } = await platform.provision({ limits: { requests_per_minute: 2, requests_per_hour: 1_000, concurrent: 5 } });
    const began = Date.now();
    const answers = [];
    for (const pauseMs of [0, 0, 13_000, 0]) {
      await sleep(pauseMs);
      answers.push(await platform.call("GET", "/v1/models", { token }));
    }
    return { answers, seconds: (Date.now() - began) / 1_000 };
  }

  const ask = (method, path, body, token = owner.key) => platform.ask(method, path, { token, body });

  test("a key works as soon as it is created, and is listed without its secret", async () => {
    const made = await ask("POST", "/v1/keys", { name: "My App", metadata: { team: "a" } });
    assert.match(made.key, /^tr_live_[0-9a-f]{64}$/);
    const answer = await platform.chat(made.key, BODY);
    assert.equal(answer.status, 200, answer.text);
    const list = await ask("GET", "/v1/keys");
    assert.equal(list.object, "list");
    assert.ok(!JSON.stringify(list).includes(made.key), "secrets are never returned");
    const item = list.data.find(({ id }) => id === made.id);
    assert.deepEqual([item.name, item.metadata, item.keyPrefix], ["My App", { team: "a" }, made.prefix]);
    assert.equal(Math.round(item.current_spend_usd * 1e6), COST_MICROS);
    assert.ok(list.keys.some(({ id, key_prefix: prefix }) => id === made.id && prefix === made.key_prefix));
  });

  test("credits are spent to the last, however many ask at once, and can be added", async () => {
    const PAID = 5;
    const made = await ask("POST", "/v1/keys", { name: "capped", credits: (PAID * COST_MICROS) / 1e6 });
    const answers = await Promise.all(Array.from({ length: 20 }, () => platform.chat(made.key, BODY)));
    const of = (status) => answers.filter((answer) => answer.status === status).length;
    assert.deepEqual([of(200), of(402)], [PAID, 20 - PAID], answers.map(({ status }) => status).join());
    const spent = await ask("GET", `/v1/keys/${made.id}`);
    assert.equal(spent.credits_used, spent.credits);
    assert.equal((await platform.chat(owner.key, BODY)).status, 200, "the account has money");
    const raised = await ask("POST", `/v1/keys/${made.id}/credits`, { amount: COST_MICROS / 1e6 });
    assert.equal(Math.round(raised.credits * 1e6), (PAID + 1) * COST_MICROS);
    assert.equal((await platform.chat(made.key, BODY)).status, 200);
    assert.equal((await platform.chat(made.key, BODY)).status, 402);
  });

  test("a budget that is set afterwards counts what was spent", async () => {
    const made = await ask("POST", "/v1/keys", { name: "late" });
    for (let call = 0; call < 3; call++) assert.equal((await platform.chat(made.key, BODY)).status, 200);
    await ask("PATCH", `/v1/keys/${made.id}`, { monthly_budget_usd: (3 * COST_MICROS) / 1e6 });
    const refused = await platform.chat(made.key, BODY);
    assert.equal(refused.status, 429, refused.text);
    assert.equal(Math.round(JSON.parse(refused.text).spent_usd * 1e6), 3 * COST_MICROS);
    assert.equal(refused.headers.get("retry-after"), null);
  });

  test("a revoked key is refused at once, and a rotated one lives on under another secret", async () => {
    const made = await ask("POST", "/v1/keys", { name: "short-lived" });
    const balance = (token) => platform.call("GET", "/v1/balance", { token }).then(({ status }) => status);
    assert.equal(await balance(made.key), 200);
    const rotated = await ask("POST", `/v1/keys/${made.id}/rotate`, {});
    assert.deepEqual([rotated.id, await balance(made.key), await balance(rotated.key)], [made.id, 401, 200]);
    assert.deepEqual(await ask("DELETE", `/v1/keys/${made.id}`), { deleted: true, revoked: true, id: made.id });
    assert.equal(await balance(rotated.key), 401);
    const own = (await ask("GET", "/v1/keys")).keys.find(({ name }) => name === "first key");
    assert.equal((await platform.call("DELETE", `/v1/keys/${own.id}`, { token: owner.key })).status, 409);
  });

  test("a minute that is used up stays so through a pause", async () => {
    // Begun before the other tests, which fill the pause.
    const { answers, seconds } = await paused;
    assert.deepEqual(answers.map(({ status }) => status), [200, 429, 429, 429]);
    const reset = Number(answers[3].headers.get("x-ratelimit-reset"));
    assert.ok(reset >= 1 && reset <= 61 - seconds, `x-ratelimit-reset: ${reset} after ${seconds} s`);
  });
});
