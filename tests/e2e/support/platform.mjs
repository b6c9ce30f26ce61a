// The platform as a newcomer starts it: `scripts/start.mjs`, and with it wrangler and workerd.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { familyOf, freePort, isAlive, signal, until } from "./processes.mjs";

export const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

/** What `start.mjs` may take on a machine that is busy with something else; usually 4 s. */
const START_MS = 90_000;
const ANSWER_MS = 40_000;
const WIDE_LIMITS = { requests_per_minute: 1_000_000, requests_per_hour: 10_000_000, concurrent: 5_000 };

/** Every platform that runs, so that nothing outlives the tests, however they end. */
const running = new Set();
const directories = new Set();
process.on("exit", () => {
  for (const platform of running) platform.killAll();
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});
for (const [name, code] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]]) process.on(name, () => process.exit(code));

/** A directory that goes away with the tests. */
export function temporaryDirectory() {
  const directory = mkdtempSync(join(tmpdir(), "guildhall-e2e-"));
  directories.add(directory);
  return directory;
}

/**
 * A platform of its own. `settings` are variables of the deployment, such as FIRST_BYTE_MS: they go into the file of the
 * state directory from which `start.mjs` reads the secrets.
 */
export async function startPlatform({ settings = {}, state = temporaryDirectory(), port } = {}) {
  if (Object.keys(settings).length) prepareState(state, settings);
  const platform = new Platform(state, port ?? (await freePort()));
  await platform.start();
  return platform;
}

function prepareState(state, settings) {
  const secrets = ["ADMIN_TOKEN", "KEY_PEPPER", "SEAL_KEY"].map((name) => [name, randomBytes(32).toString("hex")]);
  const lines = [...secrets, ...Object.entries(settings)].map(([name, value]) => `${name}="${value}"\n`);
  writeFileSync(join(state, ".guildhall-state"), "A test's.\n");
  writeFileSync(join(state, "secrets.env"), lines.join(""), { mode: 0o600 });
}

class Platform {
  #child;
  #output = "";

  constructor(state, port) {
    Object.assign(this, { state, port, url: `http://127.0.0.1:${port}` });
  }

  /** Starts it, again if need be, and waits until it is up. */
  async start() {
    const started = Date.now();
    const child = spawn(process.execPath, [join(ROOT, "scripts/start.mjs"), "--port", `${this.port}`, "--state", this.state, "--json"], {
      cwd: ROOT,
      stdio: ["ignore", "pipe", "pipe"],
      // A group of its own, as a terminal would give it.
      detached: true,
    });
    this.#child = child;
    this.#output = "";
    running.add(this);
    let line = "";
    child.stdout.setEncoding("utf8").on("data", (text) => (line += text));
    child.stderr.setEncoding("utf8").on("data", (text) => (this.#output += text));
    this.ended = new Promise((resolve) => child.once("exit", (code, name) => resolve(code ?? name)));
    let code;
    this.ended.then((end) => (code = end));
    await until(`${this.url} is up`, () => line.includes("\n") || code !== undefined, START_MS).catch((error) => {
      this.killAll();
      throw new Error(`${error.message}\n${this.#output}`);
    });
    assert.ok(line.includes("\n"), `start.mjs ended with ${code} before it was up:\n${this.#output}`);
    const announced = JSON.parse(line);
    assert.deepEqual(Object.keys(announced), ["url", "api_key", "admin_token"], "the line of --json");
    assert.equal(announced.url, this.url);
    Object.assign(this, { apiKey: announced.api_key, adminToken: announced.admin_token, announced, tookMs: Date.now() - started });
  }

  get pid() {
    return this.#child.pid;
  }

  /** What start.mjs has said on stderr. */
  get output() {
    return this.#output;
  }

  family() {
    return familyOf(this.pid);
  }

  /** The workerd that listens on the port, and the one behind it that runs the Worker. */
  runtimes() {
    const all = this.family().filter(({ command }) => /workerd\S* serve/.test(command));
    const isListener = ({ command }) => command.includes(`entry=127.0.0.1:${this.port} `);
    return { all, listener: all.find(isListener), worker: all.find((one) => !isListener(one)) };
  }

  /** Asks it to end, and waits until nothing of it is left. */
  async stop(name = "SIGTERM") {
    const family = this.family();
    signal(this.pid, name);
    await this.#gone(family, 15_000);
    return this.ended;
  }

  /** `kill -9` for everything. */
  killAll() {
    for (const { pid } of this.family().reverse()) signal(pid, "SIGKILL");
    running.delete(this);
  }

  async #gone(family, ms) {
    const left = () => family.filter(({ pid }) => isAlive(pid));
    await until("every process has ended", () => left().length === 0, ms).catch((error) => {
      const names = left().map(({ pid, command }) => `${pid} ${command.slice(0, 120)}`);
      for (const { pid } of left()) signal(pid, "SIGKILL");
      throw new Error(`${error.message}; left: ${names.join("; ")}`);
    });
    running.delete(this);
  }

  /** Waits until a process family (of before) is gone. */
  gone(family, ms = 15_000) {
    return this.#gone(family, ms);
  }

  /** One request: `{ status, headers, text, body }`; `body` is undefined when it is no JSON. */
  async call(method, path, { token, body, headers = {}, signal: abort = AbortSignal.timeout(ANSWER_MS) } = {}) {
    const isText = typeof body === "string" || body instanceof Uint8Array;
    const response = await fetch(new URL(path, this.url), {
      method,
      redirect: "manual",
      headers: {
        ...(token && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && { "content-type": "application/json" }),
        ...headers,
      },
      body: body === undefined || isText ? body : JSON.stringify(body),
      signal: abort,
    });
    const text = await response.text();
    let parsed;
    try {
      parsed = JSON.parse(text);
    } catch {
      // Not every answer is JSON.
    }
    return { status: response.status, headers: response.headers, text, body: parsed };
  }

  /** A request that must succeed; gives its body. */
  async ask(method, path, options) {
    const { status, text, body } = await this.call(method, path, options);
    assert.ok(status >= 200 && status < 300, `${method} ${path} answered ${status}: ${text.slice(0, 500)}`);
    return body;
  }

  admin(method, path, body, headers) {
    return this.ask(method, path, { token: this.adminToken, body, headers });
  }

  /** Registers a provider at an upstream double, and models `{ id: fields }` of it. */
  async register(id, baseUrl, models, fields = {}) {
    await this.admin("POST", "/admin/v1/providers", { id, type: "openai", base_url: baseUrl, api_key: `sk-${id}`, enabled: true, ...fields });
    for (const [model, price] of Object.entries(models)) {
      const entry = { id: model, provider_id: id, weight: 0, max_context_tokens: 0, input_per_1k: 0.001, output_per_1k: 0.002 };
      await this.admin("POST", "/admin/v1/models", { ...entry, enabled: true, ...price });
    }
  }

  /** A key of a new account. `limits`: "wide" (no test reaches them), undefined (the standard ones) or an object. */
  async provision({ limits = "wide", balanceMicros } = {}) {
    const { api_key: key, account_id: id, claim_url: claimUrl } = await this.ask("POST", "/v1/auth/provision", { body: {} });
    if (limits) await this.admin("PATCH", `/admin/v1/accounts/${id}/limits`, limits === "wide" ? WIDE_LIMITS : limits);
    const account = { key, id, claimToken: new URL(claimUrl).searchParams.get("token"), depositedMicros: await this.balanceMicros(key) };
    if (balanceMicros !== undefined) {
      const missing = balanceMicros - account.depositedMicros;
      assert.ok(missing >= 0, `the free balance of ${account.depositedMicros} µ$ is more than the ${balanceMicros} µ$ wanted`);
      if (missing > 0) await this.credit(account, missing);
    }
    return account;
  }

  async credit(account, amountMicros, headers) {
    const amount_usd = amountMicros / 1e6;
    const answer = await this.admin("POST", `/admin/v1/accounts/${account.id}/credits`, { amount_usd, reason: "test" }, headers);
    account.depositedMicros += amountMicros;
    return answer;
  }

  async balanceMicros(key) {
    return toMicros((await this.ask("GET", "/v1/balance", { token: key })).balance_usd);
  }

  /** Every usage row of a key, page by page, each once. */
  async usage(key) {
    const rows = new Map();
    for (let before = ""; ; ) {
      const page = await this.ask("GET", `/v1/usage?limit=1000${before && `&before=${encodeURIComponent(before)}`}`, { token: key });
      for (const row of page.data) {
        assert.ok(!rows.has(row.id), `usage row ${row.id} is listed twice`);
        rows.set(row.id, row);
      }
      if (!page.has_more) return [...rows.values()];
      before = page.data.at(-1).created_at;
    }
  }

  /** A usage row with its receipt, by the request's id. */
  receipt(key, id) {
    return this.ask("GET", `/v1/usage/${id}`, { token: key });
  }

  chat(key, body, options = {}) {
    return this.call("POST", "/v1/chat/completions", { token: key, body: { messages: [{ role: "user", content: "Hello" }], ...body }, ...options });
  }
}

/** US dollars as the API writes them, in micro-dollars. */
export function toMicros(dollars) {
  const micros = Math.round(Number(dollars) * 1e6);
  assert.ok(Number.isSafeInteger(micros), `${dollars} is no amount`);
  return micros;
}

export const sumOf = (rows) => rows.reduce((sum, row) => sum + toMicros(row.charged_usd), 0);

/** Checks that what an account has and what it was charged for is what was put in. Gives the rows. */
export async function assertBalanced(platform, account) {
  const rows = await platform.usage(account.key);
  const balance = await platform.balanceMicros(account.key);
  const charged = sumOf(rows);
  assert.equal(balance + charged, account.depositedMicros, `balance ${balance} + charged ${charged} (${rows.length} rows) is not what was deposited`);
  const { total_cost: total } = await platform.ask("GET", "/v1/usage?period=all", { token: account.key });
  assert.equal(toMicros(total), charged, "the summary of the usage is the sum of its rows");
  return rows;
}
