// kill -9 in the middle of paid calls and transfers: whatever dies, the books balance, and what was acknowledged stays.

import assert from "node:assert/strict";
import { randomInt, randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";

import { USAGE } from "./support/behaviours.mjs";
import { makeAgent, post } from "./support/load.mjs";
import { assertBalanced, startPlatform, sumOf } from "./support/platform.mjs";
import { signal, sleep, until } from "./support/processes.mjs";
import { Claims, PURSE, SETTINGS, Withdrawals } from "./support/transfers.mjs";
import { startUpstream } from "./support/upstream.mjs";

const ROUNDS = Number(process.env.E2E_ROUNDS ?? 5);
const CALLERS = 24;
const SERVES_AGAIN_MS = 20_000;
const RATES = { input_per_1k: 0.1, output_per_1k: 0.2 };
const COST = USAGE.prompt_tokens * 100 + USAGE.completion_tokens * 200;
const CREDIT = 123_457;
const HOURLY = "17 * * * *";

/** What dies, in turn. */
const VICTIMS = {
  "the workerd that runs the Worker": (platform) => [platform.runtimes().worker],
  "every workerd": (platform) => platform.runtimes().all,
  "everything, start.mjs included": (platform) => platform.family().reverse(),
};

describe(`kill -9 under load, ${ROUNDS} rounds`, () => {
  let platform;
  let upstream;
  let account;
  let claims;
  let withdrawals;
  /** Credits by their Idempotency-Key: whether an answer has acknowledged them. One whose answer was lost may have come or not. */
  const credits = new Map();
  const sent = { calls: 0, completed: 0 };

  before(async () => {
    const own = {
      async hangsOnce(reply, request) {
        if (upstream.of("hangsOnce").length === 1) return reply.silence();
        await upstream.behaviours.answer(reply, request);
      },
    };
    [platform, upstream] = await Promise.all([startPlatform({ settings: SETTINGS }), startUpstream(own)]);
    const models = ["answer", "late:5", "late:60", "endless:10", "hangsOnce"];
    await platform.register("double", upstream.baseUrl, Object.fromEntries(models.map((name) => [name.replace(":", "-"), { ...RATES, upstream_model: name }])));
    account = await platform.provision({ balanceMicros: 1_000_000_000 });
    claims = await Claims.open(platform, account);
    withdrawals = await Withdrawals.open(platform);
  });
  after(() => Promise.allSettled([platform?.stop(), upstream?.close()]));

  /** Calls in a row, until told to stop; failures are what this is about. */
  async function keepCalling(agent, isOver) {
    const models = ["answer", "late-5", "late-60"];
    while (!isOver()) {
      const body = { model: models[randomInt(models.length)], stream: randomInt(2) === 0, messages: [{ role: "user", content: "Hello" }] };
      sent.calls++;
      try {
        const { status, text } = await post(`${platform.url}/v1/chat/completions`, { key: account.key, agent, body, timeoutMs: 15_000 });
        if (status === 200 && (!body.stream || text.includes("[DONE]"))) sent.completed++;
        else await sleep(20);
      } catch {
        await sleep(20);
      }
    }
  }

  async function sendCredit(id) {
    const answer = await platform.call("POST", `/admin/v1/accounts/${account.id}/credits`, {
      token: platform.adminToken,
      body: { amount_usd: CREDIT / 1e6, reason: "crash" },
      headers: { "idempotency-key": id },
      signal: AbortSignal.timeout(30_000),
    });
    if (answer.status === 200) credits.set(id, true);
    return answer;
  }

  async function keepCrediting(isOver) {
    while (!isOver()) {
      const id = randomUUID();
      credits.set(id, false);
      await sendCredit(id).catch(() => {});
      await sleep(30);
    }
  }

  /** A call with an Idempotency-Key that hangs when it is sent first. */
  const sendOnce = () =>
    platform.chat(account.key, { model: "hangsOnce" }, { headers: { "idempotency-key": "once" }, signal: AbortSignal.timeout(30_000) });

  /** Until a paid call is served: by the workerd that wrangler starts again, else by a new start on the same state. */
  async function revive(everything) {
    const started = performance.now();
    const serves = async () => {
      const answer = await platform.chat(account.key, { model: "answer" }, { signal: AbortSignal.timeout(3_000) }).catch(() => undefined);
      if (answer?.status !== 200) return false;
      sent.calls++;
      sent.completed++;
      return true;
    };
    if (everything) {
      await platform.ended;
      await platform.start();
    }
    await until("a paid call is served again", serves, SERVES_AGAIN_MS, 50);
    return performance.now() - started;
  }

  /** What the account has and has spent. */
  const booked = async () => (await platform.balanceMicros(account.key)) + sumOf(await platform.usage(account.key));

  async function runCron(cron) {
    const { status, text } = await platform.call("GET", `/cdn-cgi/local/scheduled?cron=${encodeURIComponent(cron)}`);
    assert.deepEqual([status, text], [200, "ok"]);
  }

  for (let round = 1; round <= ROUNDS; round++) {
    const [what, choose] = Object.entries(VICTIMS)[(round - 1) % 3];
    test(`round ${round}: ${what}`, async (t) => {
      await claims.prepare();
      const agent = makeAgent();
      let over = false;
      const isOver = () => over;
      const movers = [keepCrediting(isOver), claims.keepMoving(isOver), withdrawals.keepMoving(isOver)];
      const load = [...Array.from({ length: CALLERS }, () => keepCalling(agent, isOver)), ...movers];
      // A stream that never ends is under way too.
      const abandoned = post(`${platform.url}/v1/chat/completions`, { key: account.key, agent, body: { model: "endless-10", stream: true, messages: [{ role: "user", content: "Hello" }] } }).catch(() => {});
      const once = round === ROUNDS && sendOnce().catch(() => {});
      const before = sent.completed;
      await sleep(randomInt(400, 1_600));
      // On a slow machine it takes longer: one that had not come so far would hang in the isolate that lives.
      if (once) await until("the call that hangs is at its upstream", () => upstream.of("hangsOnce").length > 0, 20_000, 10);
      const family = platform.family();
      for (const { pid } of choose(platform)) signal(pid, "SIGKILL");
      over = true;
      // With the listener gone, start.mjs ends, and everything with it.
      const isGone = what !== Object.keys(VICTIMS)[0];
      if (isGone) await platform.gone(family, 20_000);
      const tookMs = await revive(isGone);
      agent.destroy();
      await Promise.all([...load, abandoned, once]);
      t.diagnostic(`${sent.completed - before} calls completed before the kill; served again after ${Math.round(tookMs)} ms`);
      assert.ok(tookMs < SERVES_AGAIN_MS, `served again after ${Math.round(tookMs)} ms`);

      // Whoever has heard of his credit may send it again: he gets nothing more.
      const known = [...credits.keys()].filter((id) => credits.get(id));
      for (const id of known.slice(-3)) assert.equal((await sendCredit(id)).status, 200);
      // Of those without an answer each has come once or not at all.
      const unknown = credits.size - known.length;
      const deposits = account.depositedMicros + known.length * CREDIT;
      const rows = await platform.usage(account.key);
      const surplus = (await platform.balanceMicros(account.key)) + sumOf(rows) - deposits;
      const purses = Math.floor(surplus / PURSE);
      const come = (surplus - purses * PURSE) / CREDIT;
      assert.ok(Number.isInteger(come) && come >= 0 && come <= unknown, `the books are off by ${surplus} µ$: ${known.length} credits acknowledged, ${unknown} unanswered`);
      assert.ok(purses <= claims.started, `${purses} purses have come of ${claims.started}`);
      await claims.assertAcknowledged();
      assert.ok(rows.length <= sent.calls + upstream.of("endless:10").length, `${rows.length} usage rows for ${sent.calls} calls`);
      for (const row of rows.filter(({ outcome }) => outcome === "completed")) assert.equal(Math.round(row.charged_usd * 1e6), COST, JSON.stringify(row));
      const completed = rows.filter(({ outcome }) => outcome === "completed").length;
      // What ended in the last 40 ms before a kill is the platform's loss; a call is charged at most once.
      assert.ok(completed <= upstream.requests.length, `${completed} charged calls, ${upstream.requests.length} answered ones`);
      assert.ok(completed >= sent.completed - round * CALLERS * 4, `${completed} of ${sent.completed} completed calls are charged: more than a moment's worth is lost`);
    });
  }

  test("what had died half-way can be sent again with its Idempotency-Key, and counts once", async (t) => {
    const started = performance.now();
    const unknown = [...credits.keys()].filter((id) => !credits.get(id));
    const insist = async (what, send) => {
      let last;
      const isAnswered = () => send().then(({ status, text }) => ((last = `${status} ${text}`), status === 200), (error) => ((last = error.message), false));
      await until(`${what} is answered`, isAnswered, 75_000, 500).catch((error) => {
        throw new Error(`${error.message}; at last: ${last}`);
      });
    };
    await Promise.all([insist("the call that hung", sendOnce), ...unknown.map((id) => insist("a credit", () => sendCredit(id)))]);
    t.diagnostic(`${credits.size} credits, ${unknown.length} sent again; all answered after ${Math.round(performance.now() - started)} ms`);
    account.depositedMicros += credits.size * CREDIT;
    const [purses, withdrawn] = [await claims.finish(), await withdrawals.finish()];
    t.diagnostic(`${purses} purses merged, ${withdrawn} withdrawals`);
    account.depositedMicros += purses * PURSE;
    await runCron(HOURLY);
    await until("every purse has come", async () => (await booked()) >= account.depositedMicros, 30_000, 500);
    const rows = await assertBalanced(platform, account);
    assert.equal(rows.filter(({ model, outcome }) => model === "hangsOnce" && outcome === "completed").length, 1);
  });

  test("the wallet of everybody who has used anything agrees with its usage", async () => {
    const { run, differences } = await platform.admin("POST", "/admin/v1/reconciliation", {});
    assert.deepEqual([run.differences, differences], [0, []]);
    assert.ok(run.finished_at && run.accounts > 0, JSON.stringify(run));
  });

  test("the database ends up with every row", async (t) => {
    const started = performance.now();
    const rows = await platform.usage(account.key);
    const wanted = rows.filter(({ outcome }) => outcome === "completed").length;
    const count = async () => {
      const { text } = await platform.call("GET", "/metrics");
      const lines = [...text.matchAll(/^tokenhub_requests_total\{[^}]*provider="double"[^}]*outcome="completed"[^}]*\} (\d+)$/gm)];
      return lines.reduce((sum, [, n]) => sum + Number(n), 0);
    };
    await until(`the database has ${wanted} completed rows`, async () => (await count()) === wanted, 100_000, 250).catch(async (error) => {
      throw new Error(`${error.message}; it has ${await count()}`);
    });
    t.diagnostic(`after ${Math.round(performance.now() - started)} ms`);
  });
});
