// `npm run deploy`: provisions what wrangler.toml names, migrates the database, and deploys in live mode.
//
//   -- --dry-run       builds and checks everything, and changes nothing
//   -- --config FILE   where wrangler's settings of the live deployment go (wrangler.live.toml), beside wrangler.toml
//
// Needs CLOUDFLARE_API_TOKEN, or `npx wrangler login` once. What exists already is left as it is.

import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { buildWorker } from "./lib/build.mjs";
import { fromRoot } from "./lib/paths.mjs";
import { Failure, main, say, step } from "./lib/progress.mjs";
import { setUp } from "./lib/setup.mjs";
import { wrangler } from "./lib/wrangler.mjs";

const DATABASE = "guildhall";
const CACHE = "guildhall-cache";
const QUEUES = ["guildhall-usage", "guildhall-usage-dead"];
const SECRETS = ["ADMIN_TOKEN", "KEY_PEPPER", "METRICS_TOKEN", "SEAL_KEY"];

await main(async () => {
  const { values } = parseArgs({
    options: { "dry-run": { type: "boolean", default: false }, config: { type: "string", default: "wrangler.live.toml" } },
  });
  const toolchains = await setUp();
  // Not after minutes of building.
  if (!values["dry-run"]) await checkLogin();
  await buildWorker(toolchains);
  await (values["dry-run"] ? rehearse() : deploy(values.config));
});

async function rehearse() {
  const config = "wrangler.rehearsal.toml";
  writeConfig(config, "00000000-0000-0000-0000-000000000000", "0".repeat(32));
  const rehearsal = step("wrangler deploy --dry-run", () => ask("deploy", "--dry-run", "--config", config));
  const { output } = await rehearsal.finally(() => rmSync(fromRoot(config)));
  say(`${output}\n\nNothing was changed. A real deploy makes, where missing, the D1 database ${DATABASE}, the KV namespace ${CACHE}, the queues`);
  say(`${QUEUES.join(" and ")}, and the secrets ${SECRETS.join(", ")}; it applies the migrations and deploys.`);
}

async function deploy(config) {
  const databaseId = await step(`D1 database ${DATABASE}`, ensureDatabase);
  writeConfig(config, databaseId, await step(`KV namespace ${CACHE}`, ensureCache));
  for (const queue of QUEUES) await step(`queue ${queue}`, () => ensureQueue(queue));
  const secrets = await missingSecrets(config);
  await step("applying the migrations", () => ask("d1", "migrations", "apply", "DB", "--remote", "--config", config));
  try {
    const { output } = await step("deploying", () => deployWith(config, secrets));
    process.stdout.write(`${output}\n`);
  } finally {
    // A deploy that fails may have put them up before it did, and the next one would find them there.
    const lines = Object.entries(secrets).map(([name, value]) => `  ${name}  ${value}\n`);
    if (lines.length > 0) process.stdout.write(`\nNew secrets. Keep them: they are shown this once.\n${lines.join("")}`);
  }
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

/** New values for the secrets that the deployed Worker lacks. A failure to list them is no sign that there are none. */
async function missingSecrets(config) {
  const { code, stdout, output } = await wrangler("secret", "list", "--config", config);
  // A first deploy: there is no such Worker yet.
  if (code !== 0 && !/code: 10007|Worker "[^"]*".* not found/.test(output)) throw new Failure(`cannot list the secrets:\n${output}`);
  const present = code === 0 ? JSON.parse(stdout).map(({ name }) => name) : [];
  const missing = SECRETS.filter((name) => !present.includes(name));
  return Object.fromEntries(missing.map((name) => [name, randomBytes(32).toString("hex")]));
}

/** Secrets go up with the code, by a file that only we can read. */
async function deployWith(config, secrets) {
  const directory = mkdtempSync(join(tmpdir(), "guildhall-deploy-"));
  try {
    const file = join(directory, "secrets.json");
    writeFileSync(file, JSON.stringify(secrets), { mode: 0o600 });
    const upload = Object.keys(secrets).length > 0 ? ["--secrets-file", file] : [];
    return await ask("deploy", "--config", config, ...upload);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Writes wrangler.toml with the live database, cache and mode. Variables set in the dashboard stay; the sandbox's gifts do not. */
function writeConfig(config, databaseId, cacheId) {
  const changes = [
    [/^name = .*$/m, "$&\nkeep_vars = true"],
    [/^MODE = .*$/m, 'MODE = "live"'],
    [/^ALLOW_LOOPBACK = .*$/m, 'ALLOW_LOOPBACK = "false"'],
    [/^FREE_BALANCE_USD = .*\n/m, ""],
    [/^HOUSE_CREDIT_USD = .*\n/m, ""],
    [/^PROVISIONS_PER_HOUR = .*\n/m, ""],
    [/^SIGN_INS_PER_HOUR = .*\n/m, ""],
    [/^database_id = .*$/m, `database_id = "${databaseId}"`],
    [/^id = "local"$/m, `id = "${cacheId}"`],
  ];
  let text = readFileSync(fromRoot("wrangler.toml"), "utf8");
  for (const [pattern, replacement] of changes) {
    if (!pattern.test(text)) throw new Failure(`wrangler.toml has no line ${pattern}; scripts/deploy.mjs expects one`);
    text = text.replace(pattern, replacement);
  }
  writeFileSync(fromRoot(config), `# Written by scripts/deploy.mjs from wrangler.toml; not committed.\n${text}`);
}

async function ask(...words) {
  const answer = await wrangler(...words);
  if (answer.code !== 0) throw new Failure(`\`wrangler ${words.join(" ")}\` failed:\n${answer.output}`);
  return answer;
}
