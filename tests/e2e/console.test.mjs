// The console: its parts by themselves, and an operator who works with it, in a page of the tests' own.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { roundUp, toLines, toPath } from "../../src/api/ops/console/chart.js";
import { Client } from "../../src/api/ops/console/client.js";
import { Feed, FrameParser } from "../../src/api/ops/console/feed.js";
import { count, ms, percent, tell, time, title, usd } from "../../src/api/ops/console/format.js";
import { windowOf } from "../../src/api/ops/console/series.js";
import { openPage } from "./support/page.mjs";
import { startPlatform } from "./support/platform.mjs";
import { until } from "./support/processes.mjs";
import { startUpstream } from "./support/upstream.mjs";

const WAIT_MS = 8_000;

describe("the feed's frames", () => {
  const STREAM = ': hello\n\nevent: route_success\nid: 7\ndata: {"a":1}\n\ndata: one\ndata:two\n\nevent: heartbeat\ndata: {}\n\n';
  const FRAMES = [
    { event: "route_success", id: "7", data: '{"a":1}' },
    { event: "message", data: "one\ntwo" },
    { event: "heartbeat", data: "{}" },
  ];

  test("are the same wherever the stream is cut", () => {
    for (const text of [STREAM, STREAM.replaceAll("\n", "\r\n")]) {
      for (let cut = 0; cut <= text.length; cut++) {
        const parser = new FrameParser();
        assert.deepEqual([...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut))], FRAMES, `cut at ${cut}`);
      }
    }
  });

  test("go on behind the last one where a connection broke, until the token is refused", async () => {
    const streams = ["event: connected\nid: 3\ndata: {}\n\nevent: a\nid: 4\ndata: {}\n\n", "", "event: b\nid: 5\ndata: no JSON\n\n"];
    const asked = [];
    const open = async (headers) => {
      asked.push(headers["last-event-id"]);
      if (streams.length === 0) throw Object.assign(new Error("invalid admin token"), { status: 401 });
      return new Response(streams.shift());
    };
    const feed = new Feed();
    const states = [];
    const session = new AbortController();
    feed.hear((event) => event || states.push(feed.state), session.signal);
    await feed.run(open, session.signal, 1);
    assert.deepEqual(asked, [undefined, "4", "4", "5"]);
    assert.deepEqual(feed.events.map(({ type, id, reason }) => [type, id, reason]), [["b", "5", "no JSON"], ["a", "4", undefined]]);
    assert.deepEqual([...new Set(states)], ["connected", "disconnected", "refused"]);
  });
});

describe("the client", () => {
  const calls = [];
  const answering = (...answers) => {
    const fetch = async (path, request) => (calls.push([path, request]), answers.shift()());
    return new Client({ token: "t", refused: (error) => calls.push(error.message), fetch });
  };
  const json = (status, body, headers) => () => Response.json(body, { status, headers });

  test("encodes what stands in a path, and leaves out what is not asked", async () => {
    calls.length = 0;
    await answering(json(200, {})).call("GET /admin/v1/models/{id}", { id: "a/b ?#", query: { limit: 5, model_id: "", step: undefined } });
    const [[path, request]] = calls;
    assert.equal(path, "/admin/v1/models/a%2Fb%20%3F%23?limit=5");
    assert.deepEqual([request.headers.authorization, request.credentials, request.body], ["Bearer t", "omit", undefined]);
  });

  test("says what went wrong in the API's words", async () => {
    const rejects = (answer, message) => assert.rejects(answering(answer).call("GET /healthz"), { message });
    await rejects(json(400, { error: "weight must be between 0 and 10" }), "weight must be between 0 and 10");
    await rejects(json(429, { error: "rate limit exceeded" }, { "retry-after": "3" }), "rate limit exceeded (again in 3 s)");
    await rejects(json(500, { error: { message: "our fault" } }, { "x-request-id": "req_1" }), "our fault (req_1)");
    await rejects(() => new Response("", { status: 404 }), "HTTP 404");
    await rejects(() => Promise.reject(new TypeError("fetch failed")), "The server cannot be reached.");
  });

  test("tells a refused token from a wrong password", async () => {
    calls.length = 0;
    const client = answering(json(401, { error: "unlock failed" }), json(401, { error: "invalid admin token" }));
    for (let i = 0; i < 2; i++) await client.call("GET /admin/v1/info").catch(() => {});
    assert.deepEqual(calls.filter((call) => typeof call === "string"), ["invalid admin token"]);
  });

  test("asks again with the same idempotency key until there is an answer", async () => {
    calls.length = 0;
    const client = answering(() => Promise.reject(new TypeError("lost")), json(503, {}), json(200, {}), json(200, {}), json(200, {}));
    const pay = (amount_usd) => client.call("POST /admin/v1/accounts/{id}/credits", { id: "a", body: { amount_usd }, once: true }).catch(() => {});
    for (const amount of [1, 1, 1, 1, 2]) await pay(amount);
    const [lost, failed, answered, next, other] = calls.map(([, { headers }]) => headers["idempotency-key"]);
    assert.ok(lost === failed && failed === answered, "a retry");
    assert.equal(new Set([lost, next, other]).size, 3);
  });
});

describe("charts and numbers", () => {
  test("lines have a value for each step, and what is too much stands together", () => {
    const window = { start: 0, step: 60_000, steps: 3 };
    const at = (minute) => new Date(minute * 60_000).toISOString();
    const series = Array.from({ length: 8 }, (_, i) => ({ model_id: `m${i}`, provider_id: "p", points: [{ t: at(1), v: i + 1 }, { t: at(9), v: 100 }] }));
    const sums = toLines(series, { ...window, isSum: true });
    assert.deepEqual(sums[0], { name: "m7 · p", values: [0, 8, 0] });
    assert.deepEqual(sums.at(-1), { name: "2 others", values: [0, 3, 0] });
    assert.deepEqual(toLines(series.slice(0, 1), { ...window, isSum: false })[0].values, [null, 1, null]);
  });

  test("a line breaks where nothing is told, and a lone value is a dot", () => {
    assert.equal(toPath([0, 10, null, 5, null], 10), "M0.0,160.0L150.0,0.0M450.0,80.0h0");
    assert.deepEqual([0, 1, 3, 0.023, 26, 999].map(roundUp), [1, 1, 5, 0.025, 50, 1_000]);
    const { start, step, steps } = windowOf([60, 5], Date.UTC(2026, 0, 1, 12, 3));
    assert.deepEqual([new Date(start).toISOString(), step, steps], ["2026-01-01T11:05:00.000Z", 300_000, 12]);
  });

  test("values are told by their names", () => {
    assert.deepEqual([usd(0), usd(0.00000015), usd(1_234.5)], ["$0.00", "$0.00000015", "$1,234.50"]);
    assert.deepEqual([count(null), count(12_345.678), percent(0.125), ms(80.4), ms(1_500)], ["–", "12,345.68", "12.5 %", "80 ms", "1.5 s"]);
    assert.deepEqual([tell("total_cost_usd", 1), tell("status_code", 1_000), tell("enabled", false), tell("detail", [1])], ["$1.00", "1000", "no", "[1]"]);
    assert.deepEqual([time("0001-01-01T00:00:00Z"), title("max_budget_usd"), title("input_per_1k")], ["–", "Max budget", "Input per 1k"]);
  });
});

describe("an operator", () => {
  const HOSTILE = '<img src=x onerror="alert(1)">';
  let platform;
  let upstream;
  let page;
  before(async () => {
    [platform, upstream] = await Promise.all([startPlatform(), startUpstream()]);
    page = openPage(platform.url, ["console", "notices"]);
    await import("../../src/api/ops/console/main.js");
  });
  after(async () => {
    if (page) await press("Sign out");
    await Promise.allSettled([platform?.stop(), upstream?.close()]);
  });

  const last = (list) => list.at(-1);
  const buttonOf = (label, within = page.body) => last(within.all("button", (node) => node.textContent === label && !node.hidden));
  const press = (label, within) => {
    const node = buttonOf(label, within);
    assert.ok(node, `no button ${label} in: ${page.text()}`);
    return node.dispatch("click");
  };
  const rowOf = (text) => {
    const row = page.body.all("tr", (node) => node.textContent.includes(text))[0];
    assert.ok(row, `no row ${text} in: ${page.text()}`);
    return row;
  };
  /** Fills in a form, the last unless another is meant, and sends it; gives what it complains of. */
  const submit = async (values, form = last(page.body.all("form"))) => {
    for (const [name, value] of Object.entries(values)) {
      const input = ["input", "select", "textarea"].flatMap((tag) => form.all(tag, (node) => node.getAttribute("name") === name))[0];
      assert.ok(input, `no field ${name}`);
      input.value = value;
    }
    await form.dispatch("submit");
    return form.all("p", (node) => node.getAttribute("role") === "alert")[0].textContent;
  };
  const dialogs = () => page.body.all("dialog");

  test("gets the page and its modules from the platform", async () => {
    const { status, headers, text } = await platform.call("GET", "/admin/");
    assert.equal(status, 200);
    assert.match(headers.get("content-security-policy"), /script-src 'self'/);
    const [, script] = text.match(/<script type="module" src="([^"]+)">/);
    const module = await platform.call("GET", script);
    assert.deepEqual([module.status, module.headers.get("content-type")], [200, "text/javascript; charset=utf-8"]);
    const again = await platform.call("GET", script, { headers: { "if-none-match": module.headers.get("etag") } });
    assert.equal(again.status, 304);
  });

  test("comes in with the admin token alone", async () => {
    assert.equal(await submit({ token: "not the token" }), "invalid admin token");
    assert.equal(page.kept.size, 0);
    await submit({ token: platform.adminToken });
    assert.deepEqual([...page.kept.values()], [platform.adminToken]);
    await until("the overview", () => /serving 1 providers/.test(page.text()), WAIT_MS);
    await until("the feed", () => /Guildhallconnected/.test(page.text()), WAIT_MS);
  });

  test("adds a provider and a model, and sees who gets traffic", async () => {
    await page.go("#providers");
    await press("Add provider");
    assert.match(await submit({ id: "double", base_url: "http://10.0.0.1/v1" }), /base_url/);
    assert.equal(await submit({ base_url: upstream.baseUrl, api_key: "sk-double" }), "");
    assert.equal(dialogs().length, 0);
    rowOf("double");
    await page.go("#models");
    await press("Add model");
    await submit({ id: `odd/${HOSTILE.length}`, provider_id: "double", upstream_model: "answer", input_per_1k: "0.001", output_per_1k: "0.002", weight: "9" });
    await press("Edit", rowOf("odd/"));
    assert.match(await submit({ weight: "11" }), /weight/);
    assert.equal(await submit({ weight: "10" }), "");
    const model = async () => (await platform.admin("GET", "/admin/v1/models")).items.find(({ id }) => id.startsWith("odd/"));
    assert.deepEqual([(await model()).weight, (await model()).enabled, (await model()).input_per_1k], [10, true, 0.001]);
    const [box] = rowOf("odd/").all("input");
    box.checked = false;
    await box.dispatch("change");
    assert.equal((await model()).enabled, false);
    await platform.admin("POST", "/admin/v1/models", { id: "unpriced", provider_id: "double", kind: "image", weight: 1, enabled: false });
    await page.go("#models");
    assert.match(rowOf("unpriced").textContent, /no price/);
    await page.go("#routing");
    await submit({}, page.body.all("form")[0]);
    assert.match(page.text(), /sandbox-\w+ of sandbox: routed/);
    assert.match(page.text(), /Left out.*odd\//);
  });

  test("issues a key, which is shown once, and looks after it", async () => {
    await page.go("#keys");
    await press("Add API key");
    assert.equal(await submit({ name: HOSTILE, monthly_budget_usd: "5" }), "");
    const secret = dialogs()[0].all("input", (node) => node.getAttribute("readonly") !== null)[0].value;
    assert.match(secret, /^tokenhub_[0-9a-f]{64}$/);
    await press("I have kept it");
    assert.ok(rowOf(HOSTILE).textContent.includes("$0.00 of $5.00"), "its name is text");
    assert.equal(page.body.all("img").length, 0);

    assert.equal((await platform.chat(secret, { model: "sandbox-small" })).status, 200);
    await page.go("#overview");
    await until("the call is told", () => page.body.all("td").some((cell) => cell.textContent === "route success"), WAIT_MS);

    await page.go("#keys");
    await press("Edit", rowOf(HOSTILE));
    await submit({ expires_at: "2099-01-01T00:00", monthly_budget_usd: "7" });
    const key = async () => (await platform.admin("GET", "/admin/v1/apikeys")).find(({ name }) => name === HOSTILE);
    const changed = await key();
    assert.deepEqual([changed.monthly_budget_usd, changed.scopes, new Date(changed.expires_at).getFullYear() >= 2098], [7, '["chat","plan"]', true]);
    const pressed = press("Delete", rowOf(HOSTILE));
    await until("a question", () => dialogs().length === 1, WAIT_MS);
    await press("Cancel", dialogs()[0]);
    await pressed;
    assert.ok(await key(), "nothing happened");
    const again = press("Delete", rowOf(HOSTILE));
    await until("a question", () => dialogs().length === 1, WAIT_MS);
    await press("Delete", dialogs()[0]);
    await again;
    assert.equal(await key(), undefined);
  });

  test("keeps secrets, locks the vault and opens it", async () => {
    const password = readFileSync(join(platform.state, "secrets.env"), "utf8").match(/^VAULT_PASSWORD="(.*)"$/m)[1];
    await page.go("#vault");
    await press("Add secret");
    assert.equal(await submit({ key: "mail/smtp", value: " hunter2 " }), "");
    await press("Show", rowOf("mail/smtp"));
    assert.equal(dialogs()[0].all("pre")[0].textContent, " hunter2 ");
    await press("×", dialogs()[0]);
    const pressed = press("Lock");
    await until("a question", () => dialogs().length === 1, WAIT_MS);
    await press("Lock", dialogs()[0]);
    await pressed;
    assert.match(page.text(), /Vault locked/);
    assert.equal(await submit({ admin_password: "not the password" }, page.body.all("form")[0]), "unlock failed");
    await submit({ admin_password: password }, page.body.all("form")[0]);
    assert.match(page.text(), /Vault unlocked/);
    assert.match(await submit({ token: "short" }), /16/);
  });

  test("shares traffic by an alias, and pays an account", async () => {
    await page.go("#routing");
    await press("Add alias");
    const [model] = last(page.body.all("form")).all("input", (node) => node.getAttribute("aria-label") === "Model");
    model.value = "sandbox-small";
    assert.equal(await submit({ name: "team/cheap" }), "");
    const [alias] = (await platform.admin("GET", "/admin/v1/aliases")).items;
    assert.deepEqual([alias.name, alias.variants, alias.sticky_by], ["team/cheap", [{ model_id: "sandbox-small", weight: 1 }], "request"]);
    const { key } = await platform.provision();
    const { account_id: account } = (await platform.admin("GET", "/admin/v1/apikeys"))[0];
    const before = await platform.balanceMicros(key);
    await page.go(`#accounts/${account}`);
    await submit({ amount_usd: "2.5" }, page.body.all("form")[0]);
    assert.equal((await platform.balanceMicros(key)) - before, 2_500_000);
  });

  test("finds every page readable", async () => {
    for (const name of ["overview", "charts", "providers", "models", "routing", "keys", "accounts", "vault", "requests", "audit", "rewards", "workflows"]) {
      await page.go(`#${name}`);
      const text = globalThis.document.getElementById("main").textContent;
      assert.ok(text.length > 100 && !/undefined|NaN|could not be read|\[object/.test(text), `${name}: ${text}`);
    }
    await page.go("#requests");
    rowOf("sandbox-small");
    await page.go("#audit");
    rowOf("apikey.revoke");
  });

  test("leaves nothing behind", async () => {
    await press("Sign out");
    assert.equal(page.kept.size, 0);
    assert.match(page.text(), /Sign in/);
    await submit({ token: platform.adminToken });
  });
});
