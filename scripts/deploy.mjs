// `npm run deploy`: provisions what wrangler.toml names, migrates the database, and deploys in live mode.
//
//   -- --dry-run       builds and checks everything, and changes nothing
//   -- --config FILE   where wrangler's settings of the live deployment go (wrangler.live.toml), beside wrangler.toml
//   -- --vectors KIND  where vectors are kept: `vectorize`, or `embedded`, in objects; without it, where they are kept now
//
// Needs CLOUDFLARE_API_TOKEN, or `npx wrangler login` once. What exists already is left as it is.

import { randomBytes } from "node:crypto";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";

import { buildWorker } from "./lib/build.mjs";
import { INDEX, VECTOR_STORES, handOver, liveSettings } from "./lib/live.mjs";
import { fromRoot } from "./lib/paths.mjs";
import { atEnd } from "./lib/process.mjs";
import { Failure, main, say, step } from "./lib/progress.mjs";
import { setUp } from "./lib/setup.mjs";
import { wrangler } from "./lib/wrangler.mjs";

const DATABASE = "guildhall";
const CACHE = "guildhall-cache";
const QUEUES = ["guildhall-usage", "guildhall-usage-dead"];
const SECRETS = ["ADMIN_TOKEN", "KEY_PEPPER", "METRICS_TOKEN", "SEAL_KEY"];

await main(async () => {
  const { values } = parseArgs({
    options: {
      "dry-run": { type: "boolean", default: false },
      config: { type: "string", default: "wrangler.live.toml" },
      vectors: { type: "string" },
    },
  });
  const { config, vectors } = values;
  if (vectors && !VECTOR_STORES.includes(vectors)) throw new Failure(`--vectors takes ${VECTOR_STORES.join(" or ")}, not ${vectors}`);
  const toolchains = await setUp();
  // Not after minutes of building.
  if (!values["dry-run"]) await checkLogin();
  await buildWorker(toolchains);
  await (values["dry-run"] ? rehearse(vectors ?? "embedded") : deploy(config, vectors));
});

async function rehearse(vectors) {
  const config = "wrangler.rehearsal.toml";
  const tidyUp = atEnd(() => rmSync(fromRoot(config), { force: true }));
  writeConfig(config, { databaseId: "00000000-0000-0000-0000-000000000000", cacheId: "0".repeat(32), vectors });
  const rehearsal = step("wrangler deploy --dry-run", () => ask("deploy", "--dry-run", "--config", config));
  const { output } = await rehearsal.finally(tidyUp);
  const index = vectors === "vectorize" ? `, the Vectorize index ${INDEX}` : "";
  say(`${output}\n\nNothing was changed. A real deploy makes, where missing, the D1 database ${DATABASE}, the KV namespace ${CACHE}${index}, the queues`);
  say(`${QUEUES.join(" and ")}, and the secrets ${SECRETS.join(", ")}; it applies the migrations and deploys.`);
}

async function deploy(config, wanted) {
  const vectors = wanted ?? (await step("asking what is deployed", deployedVectors));
  const databaseId = await step(`D1 database ${DATABASE}`, ensureDatabase);
  const cacheId = await step(`KV namespace ${CACHE}`, ensureCache);
  if (vectors === "vectorize") await step(`Vectorize index ${INDEX}`, ensureIndex);
  writeConfig(config, { databaseId, cacheId, vectors });
  for (const queue of QUEUES) await step(`queue ${queue}`, () => ensureQueue(queue));
  const secrets = await missingSecrets(config);
  await step("applying the migrations", () => ask("d1", "migrations", "apply", "DB", "--remote", "--config", config));
  await handOver(secrets, async (...file) => {
    const { output } = await step("deploying", () => ask("deploy", "--config", config, ...file));
    process.stdout.write(`${output}\n`);
  });
}

async function checkLogin() {
  if (process.env.CLOUDFLARE_API_TOKEN) return;
  const { output } = await wrangler("whoami");
  if (/not authenticated/i.test(output)) {
    throw new Failure("not logged in to Cloudflare: set CLOUDFLARE_API_TOKEN, or run `npx wrangler login`");
  }
}

async function ensureDatabase() {
  const find = async () => {
    const { stdout } = await ask("d1", "list", "--json");
    return JSON.parse(stdout).find(({ name }) => name === DATABASE)?.uuid;
  };
  const known = await find();
  if (known) return known;
  await ask("d1", "create", DATABASE);
  const created = await find();
  if (!created) throw new Failure(`D1 database ${DATABASE} was created but is not listed; try again`);
  return created;
}

async function ensureCache() {
  const find = async () => {
    const { stdout } = await ask("kv", "namespace", "list");
    return JSON.parse(stdout).find(({ title }) => title === CACHE)?.id;
  };
  const known = await find();
  if (known) return known;
  await ask("kv", "namespace", "create", CACHE);
  const created = await find();
  if (!created) throw new Failure(`KV namespace ${CACHE} was created but is not listed; try again`);
  return created;
}

async function ensureQueue(queue) {
  if ((await wrangler("queues", "info", queue)).code !== 0) await ask("queues", "create", queue);
}

/** Made for vectors of 1,536 numbers, as most models give them. One that is there is used as it is. */
async function ensureIndex() {
  if ((await wrangler("vectorize", "get", INDEX)).code === 0) return;
  await ask("vectorize", "create", INDEX, "--dimensions=1536", "--metric=cosine");
}

/** Where the deployed Worker keeps its vectors: a deploy that does not say otherwise leaves them there. */
async function deployedVectors() {
  const { code, stdout, output } = await wrangler("deployments", "status", "--json");
  if (code !== 0 && isMissing(output)) return "embedded";
  if (code !== 0) throw new Failure(`cannot ask what is deployed:\n${output}`);
  const [{ version_id: id }] = JSON.parse(stdout).versions;
  const { resources } = JSON.parse((await ask("versions", "view", id, "--json")).stdout);
  return resources.bindings.some(({ type }) => type === "vectorize") ? "vectorize" : "embedded";
}

/** Whether wrangler says that there is no such Worker: before a first deploy. */
function isMissing(output) {
  return /code: 10007|Worker "[^"]*".* not found|has no deployments/.test(output);
}

/** New values for the secrets that the deployed Worker lacks. A failure to list them is no sign that there are none. */
async function missingSecrets(config) {
  const { code, stdout, output } = await wrangler("secret", "list", "--config", config);
  if (code !== 0 && !isMissing(output)) throw new Failure(`cannot list the secrets:\n${output}`);
  const present = code === 0 ? JSON.parse(stdout).map(({ name }) => name) : [];
  const missing = SECRETS.filter((name) => !present.includes(name));
  return Object.fromEntries(missing.map((name) => [name, randomBytes(32).toString("hex")]));
}

function writeConfig(config, settings) {
  const text = liveSettings(readFileSync(fromRoot("wrangler.toml"), "utf8"), settings);
  writeFileSync(fromRoot(config), `# Written by scripts/deploy.mjs from wrangler.toml; not committed.\n${text}`);
}

async function ask(...words) {
  const answer = await wrangler(...words);
  if (answer.code !== 0) throw new Failure(`\`wrangler ${words.join(" ")}\` failed:\n${answer.output}`);
  return answer;
}
