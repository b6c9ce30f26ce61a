// Hedging in workerd: a slow model is outrun by the next, told to stop, and not paid.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { assertBalanced, startPlatform } from "./support/platform.mjs";
import { startUpstream } from "./support/upstream.mjs";

const HEDGE_AFTER_MS = 300;
const SLOW = "late:20000";

describe("where a deployment hedges", () => {
  let platform;
  let upstream;
  let account;

  before(async () => {
    [platform, upstream] = await Promise.all([startPlatform({ settings: { HEDGE_AFTER_MS } }), startUpstream()]);
    // The sandbox's own models would be quick too.
    await platform.admin("PATCH", "/admin/v1/providers/sandbox", { enabled: false });
    await platform.register("slow", upstream.baseUrl, { best: { upstream_model: SLOW, weight: 10 } });
    await platform.register("quick", upstream.baseUrl, { next: { upstream_model: "answer", weight: 1 } });
    account = await platform.provision({ balanceMicros: 10_000_000 });
  });
  after(() => Promise.allSettled([platform?.stop(), upstream?.close()]));

  for (const stream of [false, true]) {
    test(`the next model answers ${stream ? "in a stream" : "whole"}, and the slow one's connection is closed`, async () => {
      const asked = upstream.of(SLOW).length;
      const started = performance.now();
      const answer = await platform.chat(account.key, { model: "max", stream });
      const tookMs = performance.now() - started;
      assert.equal(answer.status, 200, answer.text);
      if (stream) assert.match(answer.text, /data: \[DONE\]\n\n$/);
      assert.ok(tookMs >= HEDGE_AFTER_MS && tookMs < 10_000, `${Math.round(tookMs)} ms`);
      const slow = upstream.of(SLOW)[asked];
      const closedAfterMs = (await slow.closed(5_000)) - started;
      assert.ok(closedAfterMs < 10_000, `closed after ${Math.round(closedAfterMs)} ms`);
      const rows = await assertBalanced(platform, account);
      assert.equal(rows.length, stream ? 2 : 1, "one answer is paid");
    });
  }

  test("a model that the client names is waited for, whoever is quicker", async () => {
    const answer = await platform.chat(account.key, { model: "next" });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(upstream.of(SLOW).length, 2, "nobody else is asked");
  });
});
