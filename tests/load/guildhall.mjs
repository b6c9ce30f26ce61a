// Guildhall as the benchmark wants it: the built Worker with the bindings of wrangler.toml, migrated, and accounts whose
// keys are authenticated, limited and charged like any other; only their limits are too wide to be reached.

import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";

import { BUILD, fromRoot } from "../../scripts/lib/paths.mjs";
import { Failure } from "../../scripts/lib/progress.mjs";
import { startWorker } from "./runtime.mjs";

const require = createRequire(fromRoot("package.json"));

export const MODEL = "bench-model";
export const PROVIDER = "bench";
const PRICE = { input_per_1k: 0.001, output_per_1k: 0.002 };
const CREDIT_USD = 10_000;
const LIMITS = { requests_per_minute: 100_000_000, requests_per_hour: 1_000_000_000, concurrent: 10_000 };
/** Below 32 calls at once a limit is checked exactly: each request asks the limiter. */
const EXACT_LIMITS = { ...LIMITS, concurrent: 31 };
const WALLETS = 100;

/** Starts the Worker in the directory `build`, with `wasm` in place of its own if given, and prepares it: a target. */
export async function startGuildhall({ upstream, ...options }) {
  const { secrets, url, ...target } = await startBare(options);
  const started = performance.now();
  await call(url, "GET", "/healthz", { accept: [200, 503] });
  const first_ms = performance.now() - started;
  const admin = secrets.ADMIN_TOKEN;
  await register(url, upstream, admin);
  const open = (limits) => openAccount({ url, admin }, limits);
  const [account, exact] = [await open(), await open(EXACT_LIMITS)];
  const many = [];
  while (many.length < WALLETS) many.push(await open());
  const accounts = [account, exact, ...many];
  const headers = { authorization: `Bearer ${account.key}` };
  return { ...target, accounts, payers: { exact: [exact], many }, url, admin, first_ms, path: "/v1/chat/completions", headers };
}

/** The migrated Worker with nothing in it; `front` is a module that stands before it. */
export async function startBare({ build = BUILD, wasm, front, settings, ...options }) {
  const secrets = makeSecrets();
  const target = await startWorker(readWorker({ build, wasm, bindings: { ...secrets, ...settings }, front }), options);
  await migrate(target.mf);
  return { ...target, secrets, url: `http://127.0.0.1:${target.port}` };
}

function makeSecrets() {
  return Object.fromEntries(["ADMIN_TOKEN", "KEY_PEPPER", "SEAL_KEY", "VAULT_PASSWORD"].map((name) => [name, randomBytes(32).toString("hex")]));
}

/** The Worker's options as wrangler reads them from wrangler.toml, with our modules, secrets and settings. */
function readWorker({ build, wasm, bindings, front }) {
  const script = `${build}/worker.js`;
  if (!existsSync(script)) throw new Failure(`${script} is missing: \`npm run build\` makes it`);
  const { unstable_getMiniflareWorkerOptions } = require("wrangler");
  const { modulesRules, ...worker } = unstable_getMiniflareWorkerOptions(fromRoot("wrangler.toml")).workerOptions;
  const others = readdirSync(build).filter((name) => name.endsWith(".wasm"));
  const modules = [
    ...(front ? [{ type: "ESModule", path: `${build}/front.js`, contents: front }] : []),
    { type: "ESModule", path: script, contents: readFileSync(script, "utf8") },
    ...others.map((name) => ({ type: "CompiledWasm", path: `${build}/${name}`, contents: readFileSync(wasm ?? `${build}/${name}`) })),
  ];
  return { ...worker, name: "guildhall", modules, modulesRoot: build, bindings: { ...worker.bindings, ...bindings } };
}

async function migrate(mf) {
  const { unstable_splitSqlQuery } = require("wrangler");
  const database = await mf.getD1Database("DB");
  for (const name of readdirSync(fromRoot("migrations")).sort()) {
    if (!name.endsWith(".sql")) continue;
    const statements = unstable_splitSqlQuery(readFileSync(fromRoot("migrations", name), "utf8"));
    await database.batch(statements.map((statement) => database.prepare(statement)));
  }
}

/** A provider and a model. */
async function register(url, upstream, admin) {
  const base_url = `http://127.0.0.1:${upstream.port}/v1`;
  await call(url, "POST", "/admin/v1/providers", {
    token: admin,
    body: { id: PROVIDER, type: "openai", base_url, api_key: "sk-upstream", enabled: true },
  });
  await call(url, "POST", "/admin/v1/models", {
    token: admin,
    body: { id: MODEL, provider_id: PROVIDER, weight: 1, max_context_tokens: 100_000, ...PRICE, enabled: true },
  });
}

/** An account with limits and money, through the public and the admin API. */
export async function openAccount({ url, admin }, limits = LIMITS) {
  const { api_key: key, account_id: account } = await call(url, "POST", "/v1/auth/provision", { body: { name: "bench" } });
  await call(url, "PATCH", `/admin/v1/accounts/${account}/limits`, { token: admin, body: limits });
  await call(url, "POST", `/admin/v1/accounts/${account}/credits`, {
    token: admin,
    body: { amount_usd: CREDIT_USD, reason: "bench" },
  });
  return { key, account };
}

/** What all accounts have, in micro-dollars. */
export async function balanceOf({ url, accounts }) {
  let sum = 0;
  for (const { key } of accounts) {
    const { balance_usd } = await call(url, "GET", "/v1/balance", { token: key });
    sum += Math.round(Number(balance_usd) * 1e6);
  }
  return sum;
}

/** What one answer of the upstream costs, in micro-dollars, by the prices above. */
export function priceOf(usage) {
  return usage.prompt_tokens * PRICE.input_per_1k * 1000 + usage.completion_tokens * PRICE.output_per_1k * 1000;
}

export async function call(url, method, path, { token, body, accept = [200, 201] } = {}) {
  const headers = { ...(token && { authorization: `Bearer ${token}` }), ...(body && { "content-type": "application/json" }) };
  const response = await fetch(new URL(path, url), { method, headers, body: body && JSON.stringify(body) });
  const text = await response.text();
  if (accept.includes(response.status)) return text.startsWith("{") ? JSON.parse(text) : text;
  throw new Failure(`${method} ${path} answered ${response.status}: ${text.slice(0, 300)}`);
}
