// What callers bring along, in workerd: a key of a provider and an endpoint of their own, both of them a double on loopback.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";

import { WORDS, completion, eventsOf } from "./support/behaviours.mjs";
import { startPlatform, toMicros } from "./support/platform.mjs";
import { until } from "./support/processes.mjs";
import { startUpstream } from "./support/upstream.mjs";

const SECRET = "gsk_e2e_very_secret";

/** Providers and an endpoint, by the first part of the path; `states` says what each does: serve, or a status. */
async function startDouble() {
  const calls = [];
  const states = {};
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const [, who, ...rest] = request.url.split("/");
    const json = chunks.length ? JSON.parse(Buffer.concat(chunks).toString()) : undefined;
    calls.push({ who, path: `/${rest.join("/")}`, json, authorization: request.headers.authorization });
    const reply = (status, body) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    const state = states[who] ?? "serve";
    if (state === "hang up") return request.socket.destroy();
    if (state !== "serve") return reply(state, { error: { message: `no: ${request.headers.authorization}` } });
    if (request.url.endsWith("/models")) return reply(200, { object: "list", data: [{ id: "qwen3:8b" }, { id: "nomic-embed-text" }] });
    if (!json.stream) return reply(200, completion());
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (const event of eventsOf({ json })) response.write(`data: ${typeof event === "string" ? event : JSON.stringify(event)}\n\n`);
    response.end();
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const url = `http://127.0.0.1:${server.address().port}`;
  const take = () => calls.splice(0);
  return { url, states, take, close: () => (server.closeAllConnections(), server.close()) };
}

let platform;
let double;
let managed;
let session;
let key;
before(async () => {
  [double, managed] = await Promise.all([startDouble(), startUpstream()]);
  platform = await startPlatform({ settings: { BYOK_BASE_URL: double.url, FREE_BALANCE_USD: "5" } });
  await platform.register("managed", managed.baseUrl, {
    llama: { upstream_model: "llama-3.3-70b-versatile", input_per_1k: 0.01, output_per_1k: 0.03 },
  });
  await platform.ask("POST", "/v1/auth/login", { body: { email: "ada@example.com" } });
  const { mails } = await platform.ask("GET", "/sandbox/outbox.json");
  const token = new URL(mails.find(({ to }) => to === "ada@example.com").links[0]).searchParams.get("token");
  const signedIn = await platform.ask("POST", "/v1/auth/verify", { body: { token } });
  session = signedIn.session_token;
  const issued = await platform.admin("POST", "/admin/v1/apikeys", { name: "e2e", account_id: signedIn.account.id });
  key = issued.key;
  await platform.admin("POST", `/admin/v1/accounts/${signedIn.account.id}/credits`, { amount_usd: 5, reason: "test" });
});
after(() => Promise.allSettled([platform?.stop(), double?.close(), managed?.close()]));

const mine = (method, path, body) => platform.ask(method, path, { token: session, body });

async function lastUsage() {
  return (await platform.ask("GET", "/v1/usage?limit=1", { token: key })).data[0];
}

describe("a key for a provider", () => {
  test("serves its models at five percent, and is told to nobody", async () => {
    const created = await mine("POST", "/v1/provider-keys", { provider: "groq", secret: SECRET });
    assert.deepEqual(created, { created: true, provider: "groq", label: "groq", workspace_id: null });
    const { status } = await platform.chat(key, { model: "llama" });
    assert.equal(status, 200);
    const [call, ...more] = double.take();
    assert.deepEqual([call.who, call.path, call.authorization, call.json.model, more.length], [
      "groq",
      "/v1/chat/completions",
      `Bearer ${SECRET}`,
      "llama-3.3-70b-versatile",
      0,
    ]);
    const row = await lastUsage();
    assert.equal(row.billing_mode, "byok");
    assert.equal(toMicros(row.charged_usd), Math.ceil((toMicros(row.baseline_usd) * 5) / 100));
    const list = await platform.call("GET", "/v1/provider-keys", { token: session });
    assert.ok(!list.text.includes(SECRET));
  });

  test("that its provider refuses is marked, and the platform serves", async () => {
    double.states.groq = 401;
    const { status } = await platform.chat(key, { model: "llama" });
    assert.equal(status, 200);
    assert.equal((await lastUsage()).billing_mode, "managed");
    const marked = async () => (await mine("GET", "/v1/provider-keys")).data[0];
    await until("the key is marked", async () => (await marked()).status === "failed", 5_000);
    assert.equal((await marked()).last_failure_code, "401");
    assert.ok(!platform.output.includes(SECRET), "a provider may repeat the key; the log does not");
    const { id } = await marked();
    assert.deepEqual(await mine("DELETE", `/v1/provider-keys/${id}`), { deleted: true, id });
    double.take();
  });

  test("is nothing for keys to look after", async () => {
    assert.equal((await platform.call("GET", "/v1/provider-keys", { token: key })).status, 403);
  });
});

describe("an endpoint", () => {
  let endpoint;

  test("is examined, and serves what it can, whole and as a stream", async () => {
    endpoint = await mine("POST", "/v1/local-endpoints", { base_url: `${double.url}/home/v1`, model_map: { llama: "qwen3:8b" } });
    assert.deepEqual([endpoint.status, endpoint.models], ["healthy", ["nomic-embed-text", "qwen3:8b"]]);
    double.take();
    for (const stream of [false, true]) {
      const { status, text } = await platform.chat(key, { model: "llama", stream });
      assert.equal(status, 200);
      assert.ok(stream ? text.endsWith("data: [DONE]\n\n") : text.includes(WORDS[0]));
      assert.ok(!text.includes("qwen3"), text);
      const row = await lastUsage();
      assert.deepEqual([row.billing_mode, row.provider], ["local", "local"]);
      assert.equal(toMicros(row.charged_usd), Math.ceil((toMicros(row.baseline_usd) * 5) / 100));
    }
    assert.deepEqual(double.take().map(({ who, json }) => [who, json.model]), [["home", "qwen3:8b"], ["home", "qwen3:8b"]]);
  });

  test("that hangs up is left alone until it answers", async () => {
    double.states.home = "hang up";
    assert.equal((await platform.chat(key, { model: "llama" })).status, 200);
    assert.equal((await lastUsage()).billing_mode, "managed");
    const seen = async () => (await mine("GET", "/v1/local-endpoints")).data[0];
    await until("it is unreachable", async () => (await seen()).status === "unreachable", 5_000);
    double.states.home = "serve";
    assert.equal((await mine("POST", `/v1/local-endpoints/${endpoint.id}/recheck`)).status, "healthy");
    double.take();
    assert.equal((await platform.chat(key, { model: "llama" })).status, 200);
    assert.equal((await lastUsage()).billing_mode, "local");
  });

  test("has an address that passes the guard", async () => {
    const answer = await platform.call("POST", "/v1/local-endpoints", { token: session, body: { base_url: "http://169.254.169.254/v1" } });
    assert.equal(answer.status, 400);
  });
});
