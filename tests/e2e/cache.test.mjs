// The response cache, with the official client: the same question is answered once.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import OpenAI from "openai";

import { assertBalanced, startPlatform, toMicros } from "./support/platform.mjs";
import { until } from "./support/processes.mjs";
import { startUpstream } from "./support/upstream.mjs";

const MODEL = "cached";
const BODY = { model: MODEL, temperature: 0, max_tokens: 50 };

describe("the response cache", () => {
  let platform;
  let upstream;
  before(async () => {
    [platform, upstream] = await Promise.all([startPlatform(), startUpstream()]);
    await platform.register("double", upstream.baseUrl, { [MODEL]: { upstream_model: "answer:cached" } });
  });
  after(() => Promise.allSettled([platform?.stop(), upstream?.close()]));

  const clientOf = (account) => new OpenAI({ baseURL: `${platform.url}/v1`, apiKey: account.key, maxRetries: 0 });
  const ask = (client, content, options = {}, headers = {}) =>
    client.chat.completions.create({ ...BODY, ...options, messages: [{ role: "user", content }] }, { headers }).withResponse();
  const cacheOf = ({ response }) => response.headers.get("x-tokaroo-cache");

  /** Asks until the answer comes from the cache, which is written behind the first answer. */
  async function askUntilHit(client, content, options) {
    let answer;
    await until("the answer is kept", async () => {
      answer = await ask(client, content, options);
      if (cacheOf(answer) === "hit") return true;
      if (options?.stream) for await (const _ of answer.data);
      return false;
    }, 10_000);
    return answer;
  }

  test("the same question costs nothing, whole and as a stream", async () => {
    const account = await platform.provision();
    const client = clientOf(account);
    const first = await ask(client, "Hello");
    assert.equal(cacheOf(first), "miss");
    const again = await askUntilHit(client, "Hello");
    assert.equal(again.response.headers.get("x-tokaroo-cache-tier"), "exact");
    assert.equal(again.response.headers.get("x-tokaroo-cost"), "0");
    assert.equal(again.data.choices[0].message.content, first.data.choices[0].message.content);
    assert.notEqual(again.data.id, first.data.id);
    const stream = await ask(client, "Hello", { stream: true, stream_options: { include_usage: true } });
    assert.equal(cacheOf(stream), "hit");
    let text = "";
    let usage;
    for await (const chunk of stream.data) {
      text += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, first.data.choices[0].message.content);
    assert.equal(usage.total_tokens, first.data.usage.total_tokens);
    const rows = await assertBalanced(platform, account);
    const hits = rows.filter(({ billing_mode: mode }) => mode === "cache");
    assert.ok(hits.length >= 2);
    for (const row of hits) {
      assert.equal(row.charged_usd, 0);
      assert.equal(toMicros(row.baseline_usd), toMicros(rows.at(-1).charged_usd), "what the call would have cost");
    }
    const stats = await platform.ask("GET", "/v1/cache/stats", { token: account.key });
    assert.equal(stats.day.hits, hits.length);
  });

  test("a stream is kept too", async () => {
    const account = await platform.provision();
    const client = clientOf(account);
    let text = "";
    for await (const chunk of (await ask(client, "Streamed", { stream: true })).data) text += chunk.choices[0]?.delta?.content ?? "";
    const again = await askUntilHit(client, "Streamed");
    assert.equal(again.data.choices[0].message.content, text);
    await assertBalanced(platform, account);
  });

  test("others, other temperatures and refusals are not answered from it", async () => {
    const [account, other] = [await platform.provision(), await platform.provision()];
    await askUntilHit(clientOf(account), "Mine");
    assert.equal(cacheOf(await ask(clientOf(other), "Mine")), "miss");
    assert.equal(cacheOf(await ask(clientOf(account), "Mine", { temperature: 1 })), "miss");
    for (const headers of [{ "x-tokaroo-cache-control": "no-cache" }, { "cache-control": "no-store" }]) {
      assert.equal(cacheOf(await ask(clientOf(account), "Mine", {}, headers)), "miss", JSON.stringify(headers));
    }
    await platform.ask("DELETE", "/v1/cache", { token: account.key });
    assert.equal(cacheOf(await ask(clientOf(account), "Mine")), "miss", "forgotten");
  });

  test("a question that is nearly the same is answered where the account wants it", async () => {
    const account = await platform.provision();
    await platform.ask("PUT", "/v1/cache/settings", { token: account.key, body: { semantic: true, threshold: 0.85 } });
    const client = clientOf(account);
    const asked = "What is the capital city of the country that is called France";
    await askUntilHit(client, `${asked}?`);
    // Never the same text twice: what was asked before would be found without any likeness.
    let times = 0;
    let near;
    await until("the question is found", async () => (near = await ask(client, `${asked}, ${++times}?`)) && cacheOf(near) === "hit", 10_000);
    assert.equal(near.response.headers.get("x-tokaroo-cache-tier"), "semantic");
    assert.equal(cacheOf(await ask(client, "How long does a loaf of bread stay in the oven?")), "miss", "another question");
    await assertBalanced(platform, account);
  });
});
