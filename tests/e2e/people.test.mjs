// People, in workerd: signing up by mail, sessions, claiming a provisioned key, and the admin token over restarts.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { startPlatform, toMicros } from "./support/platform.mjs";
import { until } from "./support/processes.mjs";

const MAIL_KEY = "re_e2e";
const FROM = "Guildhall <hello@example.com>";

/** A mail API: it takes every mail, and remembers it. */
async function startMailApi() {
  const mails = [];
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    mails.push({ authorization: request.headers.authorization, url: request.url, ...JSON.parse(Buffer.concat(chunks).toString()) });
    response.writeHead(200, { "content-type": "application/json" }).end('{"id":"1"}');
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return { mails, url: `http://127.0.0.1:${server.address().port}/emails`, close: () => server.close() };
}

let platform;
let mail;
before(async () => {
  mail = await startMailApi();
  platform = await startPlatform({ settings: { MAIL_API_URL: mail.url, MAIL_API_KEY: MAIL_KEY, MAIL_FROM: FROM } });
});
after(() => Promise.allSettled([platform?.stop(), mail?.close()]));

const form = (path, fields) =>
  platform.call("POST", path, {
    body: new URLSearchParams(fields).toString(),
    headers: { "content-type": "application/x-www-form-urlencoded" },
  });

/** The token of the newest link that was mailed to an address. */
async function linkTo(email) {
  const { mails } = await platform.ask("GET", "/sandbox/outbox.json");
  const link = new URL(mails.find(({ to }) => to === email).links[0]);
  assert.equal(link.origin, platform.url);
  return link;
}

async function signIn(email) {
  await platform.ask("POST", "/v1/auth/login", { body: { email } });
  const token = (await linkTo(email)).searchParams.get("token");
  return platform.ask("POST", "/v1/auth/verify", { body: { token }, headers: { "user-agent": "e2e" } });
}

describe("signing in", () => {
  test("by the outbox's page, as a person would", async () => {
    await platform.ask("POST", "/v1/auth/signup", { body: { email: "Ada@Example.com" } });
    const outbox = await platform.call("GET", "/sandbox/outbox");
    assert.equal(outbox.status, 200);
    const link = outbox.text.match(/<a href="([^"]+\/auth\/verify\?token=[0-9a-f]{64})">/)[1];
    const sent = mail.mails.at(-1);
    assert.deepEqual([sent.authorization, sent.url, sent.from, sent.to], [`Bearer ${MAIL_KEY}`, "/emails", FROM, ["ada@example.com"]]);
    assert.ok(sent.text.includes(link) && sent.html.includes(link));

    const path = link.slice(platform.url.length);
    for (const method of ["HEAD", "GET", "GET"]) assert.equal((await platform.call(method, path)).status, 200, "looking uses nothing up");
    const page = await platform.call("GET", path);
    assert.deepEqual([page.headers.get("cache-control"), page.headers.get("referrer-policy")], ["no-store", "no-referrer"]);
    assert.match(page.headers.get("content-security-policy"), /default-src 'none'/);
    const token = page.text.match(/name="token" value="([0-9a-f]{64})"/)[1];
    const shown = await form("/auth/verify", { token });
    assert.equal(shown.status, 200, shown.text);
    const session = shown.text.match(/sess_[0-9a-f]{64}/)[0];
    const me = await platform.ask("GET", "/v1/auth/me", { token: session });
    assert.equal(me.person.email, "ada@example.com");
    assert.match(me.account.id, /^acc_/);
    assert.equal((await form("/auth/verify", { token })).status, 401, "it works once");
    assert.equal((await platform.ask("GET", "/v1/balance", { token: session })).balance_usd, 0);
  });

  test("of two uses of a link at once one wins", async () => {
    await platform.ask("POST", "/v1/auth/login", { body: { email: "ada@example.com" } });
    const token = (await linkTo("ada@example.com")).searchParams.get("token");
    const uses = await Promise.all(Array.from({ length: 5 }, () => platform.call("POST", "/v1/auth/verify", { body: { token } })));
    assert.deepEqual(uses.map(({ status }) => status).sort(), [200, 401, 401, 401, 401]);
  });

  test("sessions are listed and end at once", async () => {
    const one = await signIn("bob@example.com");
    const two = await signIn("bob@example.com");
    const list = async () => (await platform.ask("GET", "/v1/auth/sessions", { token: two.session_token })).sessions;
    const sessions = await list();
    assert.deepEqual(sessions.map(({ is_current, user_agent }) => [is_current, user_agent]).sort(), [[false, "e2e"], [true, "e2e"]]);
    const other = sessions.find(({ is_current }) => !is_current);
    await platform.ask("DELETE", `/v1/auth/sessions/${other.id}`, { token: two.session_token });
    assert.equal((await platform.call("GET", "/v1/auth/me", { token: one.session_token })).status, 401);
    await platform.ask("POST", "/v1/auth/logout", { token: two.session_token });
    assert.equal((await platform.call("GET", "/v1/auth/me", { token: two.session_token })).status, 401);
  });
});

describe("claims", () => {
  const provision = async () => {
    const { api_key: key, account_id: id, claim_url: url } = await platform.ask("POST", "/v1/auth/provision", { body: {} });
    return { key, id, token: new URL(url).searchParams.get("token"), path: url.slice(platform.url.length) };
  };

  test("a newcomer who opens the claim link owns the account", async () => {
    const { key, id, token, path } = await provision();
    const before = await platform.balanceMicros(key);
    const page = await platform.call("GET", path);
    assert.ok(page.status === 200 && page.text.includes(id), page.text);
    assert.equal((await form("/claim", { token, email: "cleo@example.com" })).status, 200);
    const link = (await linkTo("cleo@example.com")).searchParams.get("token");
    const cleo = await platform.ask("POST", "/v1/auth/verify", { body: { token: link } });
    assert.deepEqual([cleo.account.id, cleo.is_new, cleo.claim], [id, true, { status: "attached", account_id: id }]);
    assert.equal(await platform.balanceMicros(key), before);
    assert.equal((await platform.call("GET", path)).status, 404, "claimed is claimed");
  });

  test("whoever has an account gets the key and its money there", async () => {
    const dan = await signIn("dan@example.com");
    const { key, id, token } = await provision();
    const before = await platform.balanceMicros(key);
    assert.ok(before > 0);
    const claims = await Promise.all([1, 2].map(() => platform.call("POST", "/v1/auth/claim", { token: dan.session_token, body: { token } })));
    const [won, lost] = claims.sort((a, b) => a.status - b.status);
    assert.deepEqual(won.body, { ok: true, status: "merged", account_id: dan.account.id });
    assert.ok([404, 409].includes(lost.status), lost.text);
    const balance = async () => toMicros((await platform.ask("GET", "/v1/balance", { token: dan.session_token })).balance_usd);
    await until("the money has arrived", async () => (await balance()) === before, 25_000, 100);
    await until("the key is of the new account", async () => (await platform.balanceMicros(key)) === before, 5_000, 100);
    const { accounts } = await platform.ask("GET", "/v1/auth/me", { token: dan.session_token });
    assert.equal(accounts.find((account) => account.id === id).merged_into, dan.account.id);
    const chat = await platform.chat(key, { model: "sandbox-small" });
    assert.equal(chat.status, 200, chat.text);
  });
});

describe("the admin token", () => {
  const rotate = (token, body) => platform.call("POST", "/admin/v1/admin-token/rotate", { token, body });
  const read = async (token) => (await platform.call("GET", "/admin/v1/providers", { token })).status;

  test("a rotated one outlives restarts, and a new secret voids it", async () => {
    const first = platform.adminToken;
    assert.equal((await rotate(first, { token: "short" })).status, 400);
    const next = "the-next-token-of-e2e";
    const rotated = await rotate(first, { token: next });
    assert.deepEqual([rotated.status, rotated.body], [200, { ok: true, token: next }]);
    assert.deepEqual([await read(first), await read(next)], [401, 200]);

    await platform.stop();
    await platform.start();
    assert.equal(platform.announced.admin_token, null, "what start.mjs knows is void");
    assert.deepEqual([await read(first), await read(next)], [401, 200]);

    await platform.stop();
    const file = join(platform.state, "secrets.env");
    const secret = "f".repeat(64);
    writeFileSync(file, readFileSync(file, "utf8").replace(/^ADMIN_TOKEN=.*$/m, `ADMIN_TOKEN="${secret}"`), { mode: 0o600 });
    await platform.start();
    assert.equal(platform.adminToken, secret);
    assert.deepEqual([await read(first), await read(next), await read(secret)], [401, 401, 200]);
  });
});
