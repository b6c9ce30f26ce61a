// TokenHub's own API and what operators have, in workerd: keys and budgets, the vault, the feed, the books of calls.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, test } from "node:test";

import { TEXT, USAGE } from "./support/behaviours.mjs";
import { startPlatform } from "./support/platform.mjs";
import { until } from "./support/processes.mjs";
import { takeEvents } from "./support/stream.mjs";
import { startUpstream } from "./support/upstream.mjs";

const COST_USD = (USAGE.prompt_tokens * 1 + USAGE.completion_tokens * 2) / 1e6;
const EVENT_MS = 8_000;

let platform;
let upstream;
before(async () => {
  [platform, upstream] = await Promise.all([startPlatform(), startUpstream()]);
  await platform.register("double", upstream.baseUrl, {
    "double-answer": { upstream_model: "answer", max_output_tokens: 10 },
    "double-dear": { upstream_model: "answer", input_per_1k: 1, output_per_1k: 1, max_output_tokens: 10 },
  });
});
after(() => Promise.allSettled([platform?.stop(), upstream?.close()]));

const HELLO = [{ role: "user", content: "Hello there" }];
const issue = (fields) => platform.admin("POST", "/admin/v1/apikeys", { name: "app", ...fields });
const hint = (model) => ({ request: { messages: HELLO, model_hint: model }, policy: { max_budget_usd: 100 } });
const native = (key, model = "double-answer") => platform.call("POST", "/v1/chat", { token: key, body: hint(model) });

describe("TokenHub's keys and calls", () => {
  test("a key from the administrator chats, and the envelope says what it cost", async () => {
    const { key, prefix, warning } = await issue();
    assert.match(key, /^tokenhub_[0-9a-f]{64}$/);
    assert.ok(key.startsWith(prefix) && /not shown again/.test(warning));
    const { status, headers, body, text } = await native(key);
    assert.equal(status, 200, text);
    assert.deepEqual(Object.keys(body).sort(), ["estimated_cost_usd", "negotiated_model", "response", "routing_reason"]);
    assert.equal(body.negotiated_model, "double-answer");
    assert.equal(headers.get("x-negotiated-model"), "double-answer");
    assert.equal(body.response.choices[0].message.content, TEXT);
    assert.equal(body.estimated_cost_usd, COST_USD);
    assert.equal(upstream.of("answer").at(-1).headers.authorization, "Bearer sk-double");
  });

  test("a plan by vote asks several models and has one judge", async () => {
    const { key } = await issue();
    const request = { messages: [{ role: "user", content: "Build a bridge." }] };
    const orchestration = { mode: "vote", review_model_id: "double-answer" };
    const { status, body, text } = await platform.call("POST", "/v1/plan", { token: key, body: { request, orchestration } });
    assert.equal(status, 200, text);
    assert.equal(body.routing_reason, "vote-orchestration");
    const { responses, selected, judge } = body.response;
    assert.deepEqual([judge, responses[selected].model], ["double-answer", body.negotiated_model]);
    const voters = responses.map(({ model }) => model);
    assert.ok(new Set(voters).size === voters.length && voters.length >= 2 && voters.includes("sandbox-large"), `${voters}`);
    assert.match(responses[voters.indexOf("sandbox-large")].content, /Build a bridge/);
    assert.match(JSON.stringify(upstream.of("answer").at(-1).json.messages), /Build a bridge/, "the judge reads them");
  });

  test("a spent budget refuses until it is paid", async () => {
    const { key, id } = await issue({ monthly_budget_usd: 0.1 });
    // 19 + 5 tokens at $1 a thousand.
    const spend = 0.024;
    const spent = async () => (await platform.admin("GET", "/admin/v1/apikeys")).find((item) => item.id === id).current_spend_usd;
    let calls = 0;
    let last;
    for (; calls < 10; calls++) {
      last = await native(key, "double-dear");
      if (last.status !== 200) break;
      assert.equal(last.body.estimated_cost_usd, spend);
    }
    assert.ok(calls >= 1 && calls <= 4, `${calls} calls of ${spend} out of 0.1`);
    assert.equal(last.status, 429, last.text);
    const told = (calls * 24_000) / 1e6;
    assert.deepEqual(last.body, { error: "monthly budget exceeded", budget_usd: 0.1, spent_usd: told });
    assert.deepEqual([last.headers.get("retry-after"), last.headers.get("x-should-retry")], [null, "false"]);
    assert.equal(await spent(), told);
    const reached = upstream.of("answer").length;
    assert.equal((await native(key, "double-dear")).status, 429);
    assert.equal(upstream.of("answer").length, reached, "what is refused reaches nobody");
    await platform.admin("POST", `/admin/v1/apikeys/${id}/paid`);
    assert.equal(await spent(), 0);
    assert.equal((await native(key, "double-dear")).status, 200);
  });

  test("a key that is deleted, disabled or rotated is refused at once", async () => {
    const [gone, off, turned] = [await issue(), await issue(), await issue()];
    for (const { key } of [gone, off, turned]) assert.equal((await native(key)).status, 200);
    await platform.admin("DELETE", `/admin/v1/apikeys/${gone.id}`);
    await platform.admin("PATCH", `/admin/v1/apikeys/${off.id}`, { enabled: false });
    const { key: next } = await platform.admin("POST", `/admin/v1/apikeys/${turned.id}/rotate`);
    for (const { key } of [gone, off, turned]) {
      const { status, body } = await native(key);
      assert.deepEqual([status, body], [401, { error: "invalid api key" }]);
    }
    assert.equal((await native(next)).status, 200);
    await platform.admin("PATCH", `/admin/v1/apikeys/${off.id}`, { enabled: true });
    // What was heard of the key is believed for a second.
    await until("the key is let in again", async () => (await native(off.key)).status === 200, 2_000, 100);
  });
});

/** Server-sent events with their numbers, as they arrive. */
async function listen(path, headers) {
  const abort = new AbortController();
  const response = await fetch(new URL(path, platform.url), { headers, signal: abort.signal });
  const frames = [];
  const pump = async () => {
    let text = "";
    for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
      const { events, rest } = takeEvents(text + piece);
      text = rest;
      frames.push(...events.map((frame) => ({ ...frame, data: JSON.parse(frame.data) })));
    }
  };
  const ended = response.ok ? pump().catch(() => {}) : response.body.cancel();
  const next = (event, fits = () => true) =>
    until(`the event ${event}`, () => frames.find((frame) => frame.event === event && fits(frame.data)), EVENT_MS);
  return { status: response.status, type: response.headers.get("content-type"), frames, next, close: () => (abort.abort(), ended) };
}

describe("what operators see", () => {
  let key;
  before(async () => ({ key } = await issue({ name: "watched" })));
  const admin = () => ({ authorization: `Bearer ${platform.adminToken}` });

  test("the feed tells a call, and goes on where a reader was", async () => {
    const feed = await listen("/admin/v1/events", admin());
    assert.equal(feed.status, 200);
    assert.match(feed.type, /^text\/event-stream/);
    const connected = await feed.next("connected");
    assert.deepEqual([feed.frames[0], connected.data], [connected, { status: "ok" }]);
    const first = await native(key);
    const told = await feed.next("route_success", ({ request_id }) => request_id === first.headers.get("x-request-id"));
    const { model_id, provider_id, api_key_name, cost_usd, input_tokens, output_tokens } = told.data;
    assert.deepEqual([model_id, provider_id, api_key_name, cost_usd], ["double-answer", "double", "watched", COST_USD]);
    assert.deepEqual([input_tokens, output_tokens], [USAGE.prompt_tokens, USAGE.completion_tokens]);
    await feed.close();

    const missed = [];
    for (let i = 0; i < 3; i++) missed.push((await native(key)).headers.get("x-request-id"));
    const again = await listen("/admin/v1/events", { ...admin(), "last-event-id": told.id });
    await again.next("route_success", ({ request_id }) => request_id === missed.at(-1));
    const calls = again.frames.filter(({ event }) => event === "route_success");
    assert.deepEqual(calls.map(({ data }) => data.request_id), missed, "each once, and nothing from before");
    const numbers = calls.map(({ id }) => Number(id));
    assert.ok(numbers.every((number, i) => number > (numbers[i - 1] ?? Number(told.id))), `${numbers}`);
    await again.close();
  });

  test("a browser comes in with a token in the address; nobody else does", async () => {
    const feed = await listen(`/admin/v1/events?token=${platform.adminToken}`);
    assert.equal((await feed.next("connected")).data.status, "ok");
    await feed.close();
    for (const path of ["/admin/v1/events", "/admin/v1/events?token=wrong", `/admin/v1/events?token=${key}`]) {
      assert.equal((await listen(path)).status, 401, path);
    }
    assert.equal((await listen("/admin/v1/events", { authorization: `Bearer ${key}` })).status, 401, "a key is no token");
  });

  test("logs, stats, time series and rewards show a call as soon as it has ended", async () => {
    const { key: own } = await issue({ name: "counted" });
    const stats = async () => (await platform.admin("GET", "/admin/v1/stats")).by_api_key["1m"]?.find(({ api_key_name }) => api_key_name === "counted");
    const points = async (metric) => {
      const { series } = await platform.admin("GET", `/admin/v1/tsdb/query?metric=${metric}&model_id=double-answer`);
      return series.flatMap(({ points }) => points).reduce((sum, { v }) => sum + v, 0);
    };
    const before = { requests: await points("requests"), tokens: await points("tokens") };
    assert.equal(await stats(), undefined);
    const { headers } = await native(own);
    const { logs } = await platform.admin("GET", "/admin/v1/logs?limit=5");
    const log = logs.find(({ request_id }) => request_id === headers.get("x-request-id"));
    assert.deepEqual([log.model_id, log.provider_id, log.api_key_name, log.status_code], ["double-answer", "double", "counted", 200]);
    assert.deepEqual([log.estimated_cost_usd, log.total_tokens, log.outcome], [COST_USD, USAGE.total_tokens, "completed"]);
    const { request_count, error_count, total_cost_usd } = await stats();
    assert.deepEqual([request_count, error_count, total_cost_usd], [1, 0, COST_USD]);
    assert.equal((await points("requests")) - before.requests, 1);
    assert.equal((await points("tokens")) - before.tokens, USAGE.total_tokens);
    assert.match(JSON.stringify(await platform.admin("GET", "/admin/v1/rewards?limit=5")), new RegExp(headers.get("x-request-id")));
  });

  test("the audit knows every change, and no secret", async () => {
    const { id, key: secret } = await issue({ name: "audited" });
    await platform.admin("DELETE", `/admin/v1/apikeys/${id}`);
    const { logs } = await platform.admin("GET", "/admin/v1/audit?limit=1000");
    const own = logs.filter(({ resource }) => resource === id).map(({ action }) => action);
    assert.deepEqual(own, ["apikey.revoke", "apikey.create"], "newest first");
    for (const action of ["provider.upsert", "model.upsert"]) assert.ok(logs.some((log) => log.action === action), action);
    const text = JSON.stringify(logs);
    for (const value of [secret, "sk-double", platform.adminToken]) assert.ok(!text.includes(value));
  });
});

describe("the vault", () => {
  let key;
  before(async () => ({ key } = await platform.provision()));
  const password = () => readFileSync(join(platform.state, "secrets.env"), "utf8").match(/^VAULT_PASSWORD="(.*)"$/m)[1];
  const unlock = (admin_password) => platform.call("POST", "/admin/v1/vault/unlock", { token: platform.adminToken, body: { admin_password } });
  const isLocked = async () => (await platform.admin("GET", "/admin/v1/info")).vault_locked;
  const chat = (model = "double-answer") => platform.chat(key, { model });

  test("a lock ends traffic with keys, and only the password brings it back", async () => {
    assert.equal((await chat()).status, 200);
    assert.equal(await isLocked(), false);
    await platform.admin("PUT", "/admin/v1/vault/secrets/smtp", { value: "hunter2" });
    assert.deepEqual(await platform.admin("POST", "/admin/v1/vault/lock"), { ok: true, already_locked: false });
    const reached = upstream.of("answer").length;
    const refused = await chat();
    assert.equal(refused.status, 503, refused.text);
    assert.equal(upstream.of("answer").length, reached, "nothing is sent without the key");
    assert.equal((await chat("sandbox-small")).status, 200, "a provider without a key is not concerned");
    const secret = await platform.call("GET", "/admin/v1/vault/secrets/smtp", { token: platform.adminToken });
    assert.deepEqual([secret.status, secret.body], [503, { error: "vault is locked" }]);

    const wrong = await unlock("not the password");
    assert.deepEqual([wrong.status, wrong.body], [401, { error: "unlock failed" }]);
    assert.deepEqual([await isLocked(), (await chat()).status], [true, 503]);
    assert.equal((await unlock(password())).status, 200);
    assert.deepEqual([await isLocked(), (await chat()).status], [false, 200]);
    assert.equal(upstream.of("answer").at(-1).headers.authorization, "Bearer sk-double");
    assert.equal((await platform.admin("GET", "/admin/v1/vault/secrets/smtp")).value, "hunter2");
  });

  test("after kill -9 the deployment opens it by itself; what was locked by hand stays locked", async () => {
    const kill = async () => {
      const family = platform.family();
      platform.killAll();
      await platform.gone(family);
      await platform.start();
    };
    await kill();
    const answer = await chat();
    assert.equal(answer.status, 200, answer.text);
    assert.equal(upstream.of("answer").at(-1).headers.authorization, "Bearer sk-double");
    assert.equal((await platform.admin("GET", "/admin/v1/vault/secrets/smtp")).value, "hunter2");

    await platform.admin("POST", "/admin/v1/vault/lock");
    await kill();
    assert.deepEqual([await isLocked(), (await chat()).status], [true, 503]);
    assert.equal((await unlock(password())).status, 200);
    assert.equal((await chat()).status, 200);
  });
});

test("the hour's jobs delete what is past its time, and nothing else", async () => {
  await platform.stop();
  addOldChange(platform.state);
  await platform.start();
  const changes = async () => (await platform.admin("GET", "/admin/v1/audit?limit=1000")).logs.map(({ action }) => action);
  const before = await changes();
  assert.equal(before.at(-1), OLD_CHANGE);
  const { status, text } = await platform.call("GET", "/cdn-cgi/local/scheduled");
  assert.deepEqual([status, text], [200, "ok"]);
  assert.deepEqual(await changes(), before.slice(0, -1));
});

const OLD_CHANGE = "model.upsert-of-last-year";

/** Writes a change of last year into the database of a platform that does not run. */
function addOldChange(state) {
  const directory = join(state, "storage/v3/d1/miniflare-D1DatabaseObject");
  const files = readdirSync(directory).filter((name) => name.endsWith(".sqlite") && name !== "metadata.sqlite");
  assert.equal(files.length, 1, `${files}`);
  const database = new DatabaseSync(join(directory, files[0]));
  const insert = database.prepare("INSERT INTO audit_log (id, at_ms, action, resource, detail, request_id) VALUES (-1, ?, ?, '', '', 'req_old')");
  insert.run(Date.now() - 365 * 86_400_000, OLD_CHANGE);
  database.close();
}
