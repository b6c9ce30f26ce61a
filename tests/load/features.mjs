// What each feature costs that a call can have on: the same JSON call at c = 16 with it and, in the same round, without.

import { Failure } from "../../scripts/lib/progress.mjs";
import { call, MODEL, openAccount, PROVIDER, startGuildhall } from "./guildhall.mjs";
import { cpuOf } from "./meters.mjs";
import { median } from "./report.mjs";
import { NONCE, renderBody } from "./scenarios.mjs";

/** What `--only` calls them. */
export const FEATURES = "features";

const CONNECTIONS = 16;
const HEDGE_AFTER_MS = 1000;
const SYSTEM = "You are a helpful assistant. Answer briefly.";
const question = (nonce = "") => `Which animals are in the sentence?${nonce}`;

/**
 * What differs from the plain call. `nonce` makes every call another; `account` prepares one for it and gives the key
 * that pays; `settings` are a Worker's own; `told` is what its answers' headers tell, which shows that it was on.
 */
const LIST = [
  { name: "alias", model: "bench-alias" },
  { name: "/v1/messages", path: "/v1/messages", body: renderMessages },
  { name: "/v1/responses, kept", path: "/v1/responses", body: (model) => renderResponse(model, true) },
  { name: "/v1/responses, not kept", path: "/v1/responses", body: (model) => renderResponse(model, false) },
  { name: "Idempotency-Key", headers: { "idempotency-key": NONCE }, nonce: true },
  { name: "key with a budget", account: giveBudget },
  { name: "exact cache, missed", account: (target) => caching(target, { exact: "all" }), body: renderUnique, nonce: true, told: { "x-tokaroo-cache": "miss" } },
  { name: "exact cache, hit", account: (target) => caching(target, { exact: "all" }), told: { "x-tokaroo-cache": "hit", "x-tokaroo-cache-tier": "exact" } },
  { name: "semantic cache, hit", account: (target) => caching(target, { exact: "all", semantic: true }), body: renderUnique, nonce: true, told: { "x-tokaroo-cache-tier": "semantic" } },
  { name: "hedging, not needed", settings: { HEDGE_AFTER_MS: `${HEDGE_AFTER_MS}` } },
];

function renderMessages(model) {
  return JSON.stringify({ model, system: SYSTEM, messages: [{ role: "user", content: question() }], max_tokens: 64 });
}

function renderResponse(model, store) {
  return JSON.stringify({ model, instructions: SYSTEM, input: question(), max_output_tokens: 64, store });
}

function renderUnique(model) {
  return renderBody({ question: question(NONCE) }, model);
}

async function caching(target, settings) {
  const account = await openAccount(target);
  await call(target.url, "PUT", "/v1/cache/settings", { token: account.key, body: settings });
  return account.key;
}

async function giveBudget(target) {
  const account = await openAccount(target);
  const { key } = await call(target.url, "POST", "/v1/keys", { token: account.key, body: { name: "bench", credits: 1000 } });
  return key;
}

/** An alias, and a model for the likeness of questions. */
async function register({ url, admin }) {
  const variants = [{ model_id: MODEL, weight: 1 }];
  await call(url, "PUT", "/admin/v1/aliases/bench-alias", { token: admin, body: { variants } });
  const embedding = { id: "bench-embedding", provider_id: PROVIDER, kind: "embedding", weight: 1, input_per_1k: 0.00001, enabled: true };
  await call(url, "POST", "/admin/v1/models", { token: admin, body: embedding });
}

/** For each feature: requests a second and CPU a request, medians over rounds, with it and without. */
export async function measureFeatures({ upstream, generator, pace, ...options }) {
  const start = async (settings) => {
    const target = await startGuildhall({ upstream, settings, ...options });
    await register(target);
    return target;
  };
  const plain = await start();
  const rows = [];
  for (const feature of LIST) {
    const target = feature.settings ? await start(feature.settings) : plain;
    const key = await feature.account?.(target);
    const headers = { ...target.headers, ...feature.headers, ...(key && { authorization: `Bearer ${key}` }) };
    const own = { ...target, headers, path: feature.path ?? target.path };
    await settle(target);
    rows.push({ name: feature.name, ...(await compare(plain, own, feature, generator, pace)) });
    if (target !== plain) await target.dispose();
  }
  await plain.dispose();
  return rows;
}

const SETTLED_US = 20_000, LOOK_MS = 200, LOOKS = 50;

/** Waits until what the feature before left behind is done (values on their way to KV, objects' files): nobody else should pay. */
async function settle({ pid }) {
  for (let look = 0, before = cpuOf(pid); look < LOOKS; look++) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    const now = cpuOf(pid);
    // Also where nothing can be read.
    if (!(now - before > SETTLED_US)) return;
    before = now;
  }
}

async function compare(plain, target, { name, model = MODEL, body, nonce, told = {} }, generator, { rounds, duration_ms, settle_ms, warmup_ms }) {
  const run = async (whose, job, model) => {
    const result = await generator.run(whose, { connections: CONNECTIONS, ...job }, model);
    if (result.failed || !result.count) throw new Failure(`${name}: ${JSON.stringify(result.errors)}`);
    return result;
  };
  const own = { body: body?.(model), nonce };
  await run(target, { ...own, warmup_ms: warmup_ms / 2, duration_ms: warmup_ms / 2 }, model);
  await prove(name, target, body?.(model) ?? renderBody({}, model), told);
  const samples = [];
  for (let round = 0; round < rounds; round++) {
    const without = await run(plain, { warmup_ms: settle_ms, duration_ms }, MODEL);
    samples.push({ without, with: await run(target, { ...own, warmup_ms: settle_ms, duration_ms }, model) });
  }
  const of = (read) => median(samples.map(read));
  return {
    per_second: of((sample) => sample.with.per_second),
    of_plain: of((sample) => sample.with.per_second / sample.without.per_second),
    cpu_us: of((sample) => sample.with.cpu_us),
    more_cpu_us: of((sample) => sample.with.cpu_us - sample.without.cpu_us),
    p50_us: of((sample) => sample.with.total_us.p50),
  };
}

async function prove(name, { url, path, headers }, body, told) {
  const draw = (text) => text.replaceAll(NONCE, `${9_000_000_000 + Math.floor(1e9 * Math.random())}`);
  const own = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, draw(value)]));
  const response = await fetch(new URL(path, url), { method: "POST", headers: { ...own, "content-type": "application/json" }, body: draw(body) });
  await response.arrayBuffer();
  for (const [header, value] of Object.entries(told)) {
    if (response.headers.get(header) !== value) throw new Failure(`${name}: ${header} is ${response.headers.get(header)}`);
  }
}

export function renderFeatures(rows) {
  const heading = ["requests/s", "of plain", "p50 ms", "CPU µs", "more µs"].map((text) => text.padStart(11)).join("");
  const lines = rows.map(({ name, per_second, of_plain, p50_us, cpu_us, more_cpu_us }) => {
    const more = `${more_cpu_us >= 0 ? "+" : ""}${Math.round(more_cpu_us)}`;
    const cells = [Math.round(per_second).toLocaleString("en"), `${Math.round(100 * of_plain)} %`, (p50_us / 1000).toFixed(2), Math.round(cpu_us), more];
    return `  ${name.padEnd(26)}${cells.map((cell) => `${cell}`.padStart(11)).join("")}`;
  });
  return ["", `what is on, beside a plain JSON call, c=${CONNECTIONS}`, `  ${"".padEnd(26)}${heading}`, ...lines].join("\n");
}
