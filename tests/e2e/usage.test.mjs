// Usage, the ledger and their comparison, in workerd.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { USAGE } from "./support/behaviours.mjs";
import { assertBalanced, startPlatform, toMicros } from "./support/platform.mjs";
import { until } from "./support/processes.mjs";
import { startUpstream } from "./support/upstream.mjs";

const NIGHTLY = "*/5 1-4 * * *";
const COST_MICROS = USAGE.prompt_tokens * 1 + USAGE.completion_tokens * 2;

let platform;
let upstream;
before(async () => {
  [platform, upstream] = await Promise.all([startPlatform(), startUpstream()]);
  await platform.register("double", upstream.baseUrl, { "double-answer": { upstream_model: "answer" } });
});
after(() => Promise.allSettled([platform?.stop(), upstream?.close()]));

const chat = async (account) => {
  const answer = await platform.chat(account.key, { model: "double-answer" });
  assert.equal(answer.status, 200, answer.text);
  return answer.headers.get("x-request-id");
};

const lines = (text) => text.split("\n").filter(Boolean).map((line) => JSON.parse(line));

describe("usage of an account", () => {
  test("rows, summary, history, groups and sums tell the same calls at once", async () => {
    const account = await platform.provision();
    const made = [await chat(account), await chat(account), await chat(account)];
    const ask = (path) => platform.ask("GET", path, { token: account.key });
    const cost = (3 * COST_MICROS) / 1e6;

    const usage = await ask("/v1/usage?period=day");
    assert.deepEqual(usage.data.map(({ id }) => id), made.toReversed());
    assert.deepEqual([usage.object, usage.has_more, usage.period, usage.total_calls, usage.total_cost], ["list", false, "day", 3, cost]);
    assert.deepEqual(usage.by_tool, [{ tool: "chat", calls: 3, cost, skills: [{ skill: "double-answer", calls: 3, cost }] }]);

    const history = await ask("/v1/usage/history?limit=20");
    assert.deepEqual(history.calls.map(({ id, tool, status }) => [id, tool, status]), made.toReversed().map((id) => [id, "chat", "success"]));
    assert.deepEqual(history.data, usage.data);

    const { data: groups } = await ask("/v1/usage/breakdown?group_by=model&days=1");
    assert.deepEqual(groups.map(({ model, requests, charged_usd }) => [model, requests, charged_usd]), [["double-answer", 3, cost]]);

    const stats = await ask("/v1/stats?days=1&daily_days=2");
    assert.deepEqual([stats.requests, stats.charged_usd, stats.tier_breakdown], [3, cost, { auto: 3, fast: 0, max: 0 }]);
    assert.equal(stats.daily.reduce((sum, { requests }) => sum + requests, 0), 3);

    const { receipt } = await platform.receipt(account.key, made[0]);
    assert.deepEqual([receipt.cost_micros, receipt.captured_micros, receipt.usage.output], [COST_MICROS, COST_MICROS, USAGE.completion_tokens]);
    assert.ok(receipt.held_micros >= COST_MICROS && receipt.price.version >= 1);
    await assertBalanced(platform, account);
  });

  test("another account's ids are nobody's", async () => {
    const [ada, eve] = [await platform.provision(), await platform.provision()];
    const id = await chat(ada);
    for (const path of [`/v1/usage/${id}`, `/v1/usage?key_id=${(await platform.usage(ada.key))[0].api_key_id}`]) {
      assert.equal((await platform.call("GET", path, { token: eve.key })).status, 404, path);
    }
  });
});

describe("what an account can take along", () => {
  test("the ledger adds up to the balance, in both forms", async () => {
    const account = await platform.provision({ balanceMicros: 6_000_000 });
    await chat(account);
    await chat(account);
    const { text, headers } = await platform.call("GET", "/v1/account/ledger", { token: account.key });
    assert.match(headers.get("content-type"), /ndjson/);
    const sums = { balance: 0 };
    for (const { debit, credit, amount_usd } of lines(text)) {
      sums[debit] = (sums[debit] ?? 0) - toMicros(amount_usd);
      sums[credit] = (sums[credit] ?? 0) + toMicros(amount_usd);
    }
    assert.deepEqual([sums.balance, sums.revenue], [await platform.balanceMicros(account.key), 2 * COST_MICROS]);
    const csv = await platform.call("GET", "/v1/account/ledger?format=csv", { token: account.key });
    assert.match(csv.headers.get("content-type"), /text\/csv/);
    assert.equal(csv.text.split("\r\n").length, lines(text).length + 2, "a head, the lines, and the end of the last one");
  });

  test("the export streams everything and says when it is whole", async () => {
    const account = await platform.provision();
    const id = await chat(account);
    const { status, text } = await platform.call("GET", "/v1/account/export", { token: account.key });
    assert.equal(status, 200, text);
    const all = lines(text);
    assert.deepEqual(all.map(({ type }) => type), ["account", "key", "usage", "end"]);
    assert.deepEqual([all[0].id, all[2].id, all[3].lines], [account.id, id, 3]);
    assert.ok(!text.includes(account.key));
  });
});

describe("the books held against each other", () => {
  test("the night's cron compares every account and finds no difference", async () => {
    const account = await platform.provision();
    await chat(account);
    assert.equal((await platform.admin("GET", "/admin/v1/reconciliation")).run, null);
    const { status, text } = await platform.call("GET", `/cdn-cgi/local/scheduled?cron=${encodeURIComponent(NIGHTLY)}`);
    assert.deepEqual([status, text], [200, "ok"]);
    const compared = await until("all are compared", async () => {
      const { run } = await platform.admin("GET", "/admin/v1/reconciliation");
      return run?.finished_at && run;
    }, 15_000);
    assert.deepEqual([compared.origin, compared.differences, compared.difference_usd], ["cron", 0, 0]);
    assert.ok(compared.accounts >= 1);
    const { text: metrics } = await platform.call("GET", "/metrics");
    assert.match(metrics, /^guildhall_reconciliation_differences 0$/m);
  });

  test("an administrator compares while calls end, and nothing is missing", async () => {
    const account = await platform.provision();
    const calls = Array.from({ length: 50 }, () => chat(account));
    const during = await platform.admin("POST", "/admin/v1/reconciliation", {});
    await Promise.all(calls);
    const afterwards = await platform.admin("POST", "/admin/v1/reconciliation", {});
    for (const { run, differences } of [during, afterwards]) {
      assert.deepEqual([run.origin, run.differences, differences], ["admin", 0, []]);
      assert.ok(run.finished_at);
    }
  });
});
