// The house around the models, in workerd: limits, idempotency, CORS, documents.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { join } from "node:path";

import { TEXT } from "./support/behaviours.mjs";
import { post, tally } from "./support/load.mjs";
import { ROOT, assertBalanced, startPlatform } from "./support/platform.mjs";
import { sleep, until } from "./support/processes.mjs";
import { startUpstream } from "./support/upstream.mjs";

let platform;
let upstream;
const held = [];
const own = {
  /** Answers when the test lets go. */
  async held(reply, request) {
    await new Promise((resolve) => held.push(resolve));
    await upstream.behaviours.answer(reply, request);
  },
};
const letGo = () => held.splice(0).forEach((go) => go());

before(async () => {
  [platform, upstream] = await Promise.all([startPlatform(), startUpstream(own)]);
  await platform.register("double", upstream.baseUrl, {
    "double-answer": { upstream_model: "answer" },
    "double-held": { upstream_model: "held" },
    "double-late": { upstream_model: "late:300" },
    "double-down": { upstream_model: "status:500" },
  });
});
after(() => Promise.allSettled([platform?.stop(), upstream?.close()]));

describe("rate limits", () => {
  test("a new key has sixty requests a minute; the sixty-first is refused", async () => {
    const { api_key: key } = await platform.ask("POST", "/v1/auth/provision", { body: {} });
    const answers = [];
    for (let i = 0; i < 61; i++) answers.push(await platform.call("GET", "/v1/models", { token: key }));
    assert.deepEqual(answers.map(({ status }) => status), [...Array(60).fill(200), 429]);
    for (const [i, { headers }] of answers.slice(0, 60).entries()) {
      assert.equal(headers.get("x-ratelimit-limit"), "60");
      assert.equal(headers.get("x-ratelimit-remaining"), `${59 - i}`);
      const reset = Number(headers.get("x-ratelimit-reset"));
      assert.ok(reset >= 1 && reset <= 60, `x-ratelimit-reset: ${reset}`);
    }
    const { headers, body } = answers[60];
    const wait = Number(headers.get("retry-after"));
    assert.ok(wait >= 1 && wait <= 60, `retry-after: ${wait}`);
    assert.equal(headers.get("x-ratelimit-remaining"), "0");
    assert.equal(body.error, "Rate limit exceeded");
    const other = await platform.ask("POST", "/v1/auth/provision", { body: {} });
    assert.equal((await platform.call("GET", "/v1/models", { token: other.api_key })).status, 200, "another key is not concerned");
  });

  test("sixty-one at once: sixty, exactly", async () => {
    const { key } = await platform.provision({ limits: { requests_per_minute: 60, requests_per_hour: 1_000, concurrent: 1_000 } });
    // The provisioning has read the balance once.
    const answers = await Promise.all(Array.from({ length: 61 }, () => platform.call("GET", "/v1/models", { token: key })));
    assert.deepEqual(tally(answers.map(({ status }) => status)), { 200: 59, 429: 2 });
  });

  test("five calls at once; the sixth is refused until one has ended", async () => {
    const account = await platform.provision({ limits: null });
    const five = Array.from({ length: 5 }, () => platform.chat(account.key, { model: "double-held" }));
    await until("five calls are under way", () => held.length === 5);
    const sixth = await platform.chat(account.key, { model: "double-answer" });
    assert.equal(sixth.status, 429, sixth.text);
    assert.match(sixth.headers.get("retry-after"), /^\d+$/);
    letGo();
    for (const { status } of await Promise.all(five)) assert.equal(status, 200);
    await until("there is room again", async () => (await platform.chat(account.key, { model: "double-answer" })).status === 200, 5_000, 100);
    await assertBalanced(platform, account);
  });

  test("a key with wide limits can be used beside a long call of its own", async () => {
    const account = await platform.provision();
    const long = platform.chat(account.key, { model: "double-held" });
    await until("the long call is under way", () => held.length === 1);
    // Over several renewals of the lease.
    for (let i = 0; i < 12; i++) {
      const { status, text } = await platform.call("GET", "/v1/models", { token: account.key });
      assert.equal(status, 200, `request ${i} beside a long call: ${text}`);
      await sleep(i % 3 === 2 ? 900 : 100);
    }
    letGo();
    assert.equal((await long).status, 200);
  });
});

describe("Idempotency-Key", () => {
  for (const stream of [false, true]) {
    test(`twenty equal calls at once, ${stream ? "streams" : "whole"}: one runs, all get its answer`, async () => {
      const account = await platform.provision();
      const headers = { "idempotency-key": `twenty-${stream}` };
      const before = upstream.of("late:300").length;
      const answers = await Promise.all(Array.from({ length: 20 }, () => platform.chat(account.key, { model: "double-late", stream }, { headers })));
      assert.deepEqual(tally(answers.map(({ status }) => status)), { 200: 20 }, answers.find(({ status }) => status !== 200)?.text);
      assert.equal(upstream.of("late:300").length - before, 1, "calls that reached the upstream");
      assert.equal(new Set(answers.map(({ text }) => text)).size, 1, "one answer");
      assert.ok(answers[0].text.includes(stream ? "[DONE]" : TEXT));
      assert.equal(answers.filter((answer) => answer.headers.get("idempotency-replay") === "true").length, 19);
      assert.equal((await assertBalanced(platform, account)).length, 1, "charged once");

      const again = await platform.chat(account.key, { model: "double-late", stream }, { headers });
      assert.deepEqual([again.status, again.text], [200, answers[0].text]);
      const other = await platform.chat(account.key, { model: "double-answer" }, { headers });
      assert.equal(other.status, 422, other.text);
      const stranger = await platform.provision();
      assert.equal((await platform.chat(stranger.key, { model: "double-answer" }, { headers })).status, 200, "another account's keys are its own");
    });
  }

  test("a failure may be tried again", async () => {
    const account = await platform.provision();
    const headers = { "idempotency-key": "failing" };
    for (let i = 1; i <= 2; i++) {
      const before = upstream.of("status:500").length;
      assert.equal((await platform.chat(account.key, { model: "double-down" }, { headers })).status, 502);
      assert.ok(upstream.of("status:500").length > before, "the upstream was asked anew");
    }
  });

  test("a credit that is sent again, also at once, adds once", async () => {
    const account = await platform.provision();
    const credit = () =>
      platform.admin("POST", `/admin/v1/accounts/${account.id}/credits`, { amount_usd: 1, reason: "once" }, { "idempotency-key": `credit-${account.id}` });
    const answers = await Promise.all(Array.from({ length: 10 }, credit));
    assert.equal(new Set(answers.map(({ id }) => id)).size, 1);
    assert.equal(await platform.balanceMicros(account.key), account.depositedMicros + 1_000_000);
  });
});

describe("requests that are refused", () => {
  test("a body that is too large: 413, stated or not", async () => {
    const { key } = await platform.provision();
    const large = "x".repeat((10 << 20) + 1);
    // Several times: an answer that comes before the body has been taken is lost to a client that is still writing.
    for (let i = 0; i < 6; i++) {
      const stated = await post(`${platform.url}/v1/chat/completions`, { key, body: large }).catch((error) => assert.fail(`no answer: ${error.message}`));
      assert.equal(stated.status, 413, stated.text);
      assert.equal(JSON.parse(stated.text).max_bytes, 10 << 20);
    }
    for (const body of [large, ...Array(4).fill("x".repeat(40 << 20))]) {
      const chunked = await fetch(`${platform.url}/v1/chat/completions`, {
        method: "POST",
        headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
        body: new Blob([body]).stream(),
        duplex: "half",
      });
      assert.equal(chunked.status, 413, await chunked.text());
    }
    assert.equal((await platform.call("POST", "/v1/auth/provision", { body: `{"name":"${"x".repeat(1 << 16)}"}` })).status, 413, "a smaller limit for strangers");
  });

  test("405 names what is allowed; 404 in the path's own words", async () => {
    const wrong = await platform.call("DELETE", "/v1/chat/completions");
    assert.deepEqual([wrong.status, wrong.headers.get("allow"), typeof wrong.body.error], [405, "POST", "string"]);
    assert.equal((await platform.call("GET", "/v1/nothing")).body.error.code, "NOT_FOUND");
    assert.deepEqual((await platform.call("GET", "/api/v1/nothing")).body, { detail: "Not Found" });
    assert.equal(typeof (await platform.call("GET", "/admin/v1/nothing")).body.error, "string");
  });

  test("JSON that is nested as deep as it can be does no harm", async () => {
    const { key } = await platform.provision();
    const depth = 400_000;
    const deep = "[".repeat(depth) + "]".repeat(depth);
    for (const body of [deep, `{"messages":[{"role":"user","content":${deep}}],"model":"double-answer"}`, `{"model":"sandbox-small","messages":[{"role":"user","content":"x"}],"x":${deep}}`]) {
      const answer = await platform.call("POST", "/v1/chat/completions", { token: key, body });
      assert.ok(answer.status === 200 || answer.status === 400, `${answer.status}: ${answer.text.slice(0, 300)}`);
      assert.equal((await platform.chat(key, { model: "double-answer" })).status, 200, "the next call is served");
    }
    const credit = await platform.call("POST", `/admin/v1/accounts/x/credits`, { token: platform.adminToken, body: `{"amount_usd":1,"x":${"[".repeat(200_000)}${"]".repeat(200_000)}}` });
    assert.ok(credit.status === 400 || credit.status === 404, `${credit.status}: ${credit.text.slice(0, 300)}`);
    assert.equal((await platform.call("GET", "/healthz")).status, 200);
  });

  test("half a request is nobody's trouble", async () => {
    const { key } = await platform.provision();
    const socket = connect(platform.port, "127.0.0.1");
    socket.write(`POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{"model":`);
    await sleep(200);
    socket.resetAndDestroy();
    assert.equal((await platform.chat(key, { model: "double-answer" })).status, 200);
  });

  test("the admin API wants the admin token, the models a key", async () => {
    const { key } = await platform.provision();
    assert.equal((await platform.call("GET", "/admin/v1/providers")).status, 401);
    assert.equal((await platform.call("GET", "/admin/v1/providers", { token: key })).status, 401);
    assert.equal((await platform.call("GET", "/v1/models", { token: platform.adminToken })).status, 403);
    assert.equal((await platform.call("GET", "/v1/models", { headers: { "x-api-key": key } })).status, 200);
  });
});

describe("browsers of other origins", () => {
  const origin = "https://app.example";

  test("a preflight is answered before anything else", async () => {
    const answer = await fetch(`${platform.url}/v1/chat/completions`, {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization, content-type" },
    });
    assert.equal(answer.status, 204);
    assert.equal(answer.headers.get("access-control-allow-origin"), "*");
    assert.ok(answer.headers.get("access-control-allow-methods").split(/,\s*/).includes("POST"));
    assert.match(answer.headers.get("access-control-allow-headers"), /\bauthorization\b/i);
    assert.ok(Number(answer.headers.get("access-control-max-age")) > 0);
    assert.equal(await answer.text(), "");
  });

  test("every answer may be read, errors too", async () => {
    const { key } = await platform.provision();
    for (const [path, token, status] of [["/v1/models", key, 200], ["/v1/models", undefined, 401], ["/v1/nothing", key, 404]]) {
      const answer = await platform.call("GET", path, { token, headers: { origin } });
      assert.equal(answer.status, status);
      assert.equal(answer.headers.get("access-control-allow-origin"), "*", path);
      assert.equal(answer.headers.get("access-control-expose-headers"), "*", path);
    }
    const stream = await platform.chat(key, { model: "double-answer", stream: true }, { headers: { origin } });
    assert.equal(stream.headers.get("access-control-allow-origin"), "*");
  });
});

describe("documents and health", () => {
  test("/healthz: both documented forms", async () => {
    const { status, body } = await platform.call("GET", "/healthz");
    assert.equal(status, 200);
    assert.deepEqual([body.ok, body.status], [true, "ok"]);
    assert.ok(body.adapters >= 2 && body.models >= 6, JSON.stringify(body));
    assert.equal((await platform.call("HEAD", "/healthz")).text, "");
  });

  test("/metrics: what was used shows", async () => {
    const { key } = await platform.provision();
    await platform.chat(key, { model: "double-answer" });
    const metrics = await until("the call shows in /metrics", async () => {
      const answer = await platform.call("GET", "/metrics");
      assert.equal(answer.status, 200);
      assert.match(answer.headers.get("content-type"), /^text\/plain; version=0\.0\.4/);
      return /^tokenhub_requests_total\{[^}]*model="double-answer"[^}]*\} [1-9]/m.test(answer.text) && answer.text;
    });
    for (const line of metrics.trim().split("\n")) assert.match(line, /^(# (HELP|TYPE) \w+ .+|\w+(\{[^}]*\})? [-+.\deE]+)$/, "Prometheus can read it");
    assert.match(metrics, /^tokenhub_models [1-9]/m);
  });

  test("/openapi.json is the document of the repository", async () => {
    const { status, headers, body } = await platform.call("GET", "/openapi.json");
    assert.equal(status, 200);
    assert.match(headers.get("content-type"), /^application\/json/);
    assert.deepEqual(body, JSON.parse(readFileSync(join(ROOT, "openapi.json"), "utf8")));
  });

  test("/ sends browsers to the console, and tells everybody else what there is", async () => {
    const browser = await platform.call("GET", "/", { headers: { accept: "text/html,application/xhtml+xml" } });
    assert.deepEqual([browser.status, browser.headers.get("location")], [302, "/admin/"]);
    const index = await platform.call("GET", "/", { headers: { accept: "application/json" } });
    assert.equal(index.status, 200);
    assert.equal(index.body.openapi, "/openapi.json");
  });

  for (const path of ["/admin/", "/docs"]) {
    test(`${path} is a page that loads nothing from elsewhere`, async () => {
      const { status, headers, text } = await platform.call("GET", path, { headers: { accept: "text/html" } });
      assert.equal(status, 200);
      assert.match(headers.get("content-type"), /^text\/html/);
      assert.match(headers.get("content-security-policy"), /default-src 'none'/);
      assert.match(text, /<title>/i);
      assert.ok(!/(src|href)="https?:/i.test(text));
    });
  }

  test("every answer carries a request id of its own, and the limits", async () => {
    const answers = await Promise.all(["/", "/healthz", "/v1/models", "/nothing", "/docs"].map((path) => platform.call("GET", path)));
    const ids = answers.map(({ headers }) => headers.get("x-request-id"));
    assert.equal(new Set(ids).size, answers.length, ids.join());
    for (const { headers } of answers) for (const name of ["limit", "remaining", "reset"]) assert.match(headers.get(`x-ratelimit-${name}`), /^\d+$/);
  });
});
