// Money under load: a key pays for exactly what its balance covers, whatever arrives at once.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { USAGE } from "./support/behaviours.mjs";
import { makeAgent, post, tally } from "./support/load.mjs";
import { assertBalanced, startPlatform } from "./support/platform.mjs";
import { startUpstream } from "./support/upstream.mjs";

const CALLS = 1_000;
const PAID = 400;

/** Rates in US dollars per 1,000 tokens, so that 400 calls cost more than the free balance. */
const VARIANTS = [
  {
    name: "only output costs, and its maximum is stated",
    model: "output-priced",
    rates: { input_per_1k: 0, output_per_1k: 4 },
    body: { max_tokens: USAGE.completion_tokens },
    costMicros: USAGE.completion_tokens * 4_000,
  },
  {
    name: "input and output cost, and no maximum is stated",
    model: "both-priced",
    rates: { input_per_1k: 0.5, output_per_1k: 2 },
    body: {},
    costMicros: USAGE.prompt_tokens * 500 + USAGE.completion_tokens * 2_000,
  },
];

describe("a thousand calls at once on a balance for four hundred", () => {
  let platform;
  let upstream;
  before(async () => {
    [platform, upstream] = await Promise.all([startPlatform(), startUpstream()]);
    const models = VARIANTS.map(({ model, rates }) => [model, { ...rates, upstream_model: `answer:${model}` }]);
    await platform.register("double", upstream.baseUrl, Object.fromEntries(models));
  });
  after(() => Promise.allSettled([platform?.stop(), upstream?.close()]));

  for (const { name, model, body, costMicros } of VARIANTS) {
    test(name, async (t) => {
      const account = await platform.provision({ balanceMicros: PAID * costMicros });
      const agent = makeAgent(CALLS);
      const started = performance.now();
      const call = { key: account.key, agent, body: { model, messages: [{ role: "user", content: "Hello" }], ...body } };
      const answers = await Promise.all(Array.from({ length: CALLS }, () => post(`${platform.url}/v1/chat/completions`, call)));
      agent.destroy();
      t.diagnostic(`${CALLS} calls in ${Math.round(performance.now() - started)} ms`);

      const counts = tally(answers.map(({ status }) => status));
      const odd = answers.find(({ status }) => status !== 200 && status !== 402);
      assert.deepEqual(counts, { 200: PAID, 402: CALLS - PAID }, odd && `e.g. ${odd.status}: ${odd.text.slice(0, 300)}`);
      for (const { headers } of answers.filter(({ status }) => status === 200)) {
        assert.equal(Math.round(headers["x-tokaroo-cost"] * 1e6), costMicros, "x-tokaroo-cost");
      }
      for (const { text } of answers.filter(({ status }) => status === 402)) {
        const refusal = JSON.parse(text);
        assert.equal(refusal.error, "billing_required");
        assert.equal(typeof refusal.balance_usd, "number", text);
        assert.ok(refusal.required_usd > 0 && refusal.balance_usd < refusal.required_usd, text);
      }
      assert.equal(await platform.balanceMicros(account.key), 0, "the balance is used up, to the micro-dollar");
      const rows = await assertBalanced(platform, account);
      assert.deepEqual(tally(rows.map(({ outcome, charged_usd }) => `${outcome} ${charged_usd}`)), { [`completed ${costMicros / 1e6}`]: PAID });
      assert.equal(upstream.of(`answer:${model}`).length, PAID, "nothing that was not paid for reached the upstream");

      // What comes in is there at once, and pays for one more.
      await platform.credit(account, costMicros);
      const more = await platform.chat(account.key, call.body);
      assert.equal(more.status, 200, more.text);
      assert.equal(await platform.balanceMicros(account.key), 0);
      assert.equal((await platform.chat(account.key, call.body)).status, 402);
    });
  }

  test("the database has the same rows once the queue is empty", async () => {
    const account = await platform.provision();
    const bodies = Array.from({ length: 50 }, (_, i) => ({ model: "output-priced", messages: [{ role: "user", content: "Hello" }], stream: i % 2 === 0 }));
    const answers = await Promise.all(bodies.map((body) => platform.chat(account.key, body)));
    assert.deepEqual(tally(answers.map(({ status }) => status)), { 200: 50 });
    const rows = await assertBalanced(platform, account);
    assert.equal(rows.length, 50);
    // `/metrics` counts what the database has: every row that any test here has made.
    const count = async () => {
      const { text } = await platform.call("GET", "/metrics");
      return [...text.matchAll(/^tokenhub_requests_total\{[^}]*model="output-priced"[^}]*outcome="completed"[^}]*\} (\d+)$/gm)].reduce((sum, [, n]) => sum + Number(n), 0);
    };
    const wanted = upstream.of("answer:output-priced").length;
    const deadline = Date.now() + 15_000;
    while ((await count()) !== wanted && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(await count(), wanted, "usage rows in the database");
  });
});
