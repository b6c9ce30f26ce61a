// `npm run deploy`, with wrangler and a double of Cloudflare's API.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { startCloudflare } from "./support/cloudflare.mjs";
import { ROOT } from "./support/platform.mjs";

/** Not the file of a real deployment, which may be there. */
const CONFIG = "wrangler.e2e.toml";
const SECRETS = ["ADMIN_TOKEN", "KEY_PEPPER", "METRICS_TOKEN", "SEAL_KEY"];
const MIGRATIONS = readdirSync(join(ROOT, "migrations")).filter((name) => name.endsWith(".sql")).sort();

/** Each of these goes on where the one before has stopped. */
describe("deploy.mjs", () => {
  let cloudflare;
  let account;
  before(async () => {
    cloudflare = await startCloudflare();
    ({ account } = cloudflare);
  });
  after(() => {
    rmSync(join(ROOT, CONFIG), { force: true });
    return cloudflare?.close();
  });

  const deploy = (...options) =>
    new Promise((resolve) => {
      const where = { cwd: ROOT, env: { ...process.env, ...cloudflare.env } };
      execFile(process.execPath, ["scripts/deploy.mjs", "--config", CONFIG, ...options], where, (error, stdout, stderr) =>
        resolve({ code: error ? error.code : 0, stdout, output: stdout + stderr }),
      );
    });
  const worker = () => account.workers.get("guildhall");
  const bindingsOf = (type) => worker().bindings.filter((binding) => binding.type === type);
  const textsOf = (type) => Object.fromEntries(bindingsOf(type).map(({ name, text }) => [name, text]));
  const migrated = () => account.databases[0].sqlite.prepare("SELECT name FROM d1_migrations ORDER BY id").all().map(({ name }) => name);

  test("a fresh account gets a database, a cache, queues, secrets and the Worker, by name", async () => {
    const { code, stdout, output } = await deploy();
    assert.equal(code, 0, output);
    assert.deepEqual(account.databases.map(({ name }) => name), ["guildhall"]);
    assert.deepEqual(account.namespaces.map(({ title }) => title), ["guildhall-cache"]);
    assert.deepEqual(account.queues.map(({ queue_name: name }) => name), ["guildhall-usage", "guildhall-usage-dead"]);
    assert.deepEqual(migrated(), MIGRATIONS);

    assert.deepEqual(worker().modules.sort(), ["guildhall_bg.wasm", "worker.js"]);
    assert.deepEqual(textsOf("plain_text"), { MODE: "live", VECTORS: "embedded", ALLOW_LOOPBACK: "false" }, "nothing of the sandbox");
    assert.equal(bindingsOf("d1")[0].id, account.databases[0].uuid);
    assert.equal(bindingsOf("kv_namespace")[0].namespace_id, account.namespaces[0].id);
    assert.equal(bindingsOf("queue")[0].queue_name, "guildhall-usage");
    const [consumer, ...others] = account.queues[0].consumers;
    assert.deepEqual([consumer.script, consumer.dead_letter_queue, others], ["guildhall", "guildhall-usage-dead", []]);
    const settings = readFileSync(join(ROOT, "wrangler.toml"), "utf8");
    assert.equal(worker().migrationTag, settings.match(/^tag = "(.*)"$/gm).at(-1).match(/"(.*)"/)[1]);
    assert.deepEqual(worker().crons, JSON.parse(settings.match(/^crons = (.*)$/m)[1]));
    assert.ok(worker().isPublic, "on workers.dev");

    const secrets = textsOf("secret_text");
    assert.deepEqual(Object.keys(secrets).sort(), SECRETS);
    for (const [name, value] of Object.entries(secrets)) {
      assert.match(value, /^[0-9a-f]{64}$/);
      assert.match(stdout, new RegExp(`^  ${name}  ${value}$`, "m"), "shown this once");
    }
  });

  test("who may not list the secrets replaces none", async () => {
    const before = worker();
    account.broken = /\/secrets$/;
    const { code, output } = await deploy();
    account.broken = /^$/;
    assert.equal(code, 1, output);
    assert.match(output, /cannot list the secrets/);
    assert.equal(worker(), before);
  });

  test("the next deploy makes nothing anew, and keeps secrets and the dashboard's variables", async () => {
    const secrets = textsOf("secret_text");
    worker().bindings.push({ name: "MAIL_FROM", type: "plain_text", text: "house@example.com" });
    worker().bindings = worker().bindings.filter(({ name }) => name !== "METRICS_TOKEN");
    account.changes.length = 0;
    const { code, stdout, output } = await deploy();
    assert.equal(code, 0, output);
    assert.deepEqual(account.changes.filter((change) => /^POST (d1|storage|queues)/.test(change)), []);
    assert.deepEqual(migrated(), MIGRATIONS);
    assert.deepEqual(textsOf("plain_text"), { MODE: "live", VECTORS: "embedded", ALLOW_LOOPBACK: "false", MAIL_FROM: "house@example.com" });
    const { METRICS_TOKEN: made, ...kept } = textsOf("secret_text");
    const { METRICS_TOKEN: lost, ...known } = secrets;
    assert.deepEqual(kept, known);
    assert.ok(made && made !== lost && stdout.includes(made), "what is missing is made, and shown");
    for (const value of Object.values(kept)) assert.ok(!output.includes(value), "what is known is not shown again");
  });

  test("vectors are kept where a deploy has said, until another says otherwise", async () => {
    for (const [options, indexes] of [[["--vectors", "vectorize"], ["guildhall"]], [[], ["guildhall"]], [["--vectors", "embedded"], []]]) {
      const { code, output } = await deploy(...options);
      assert.equal(code, 0, output);
      assert.deepEqual(bindingsOf("vectorize").map(({ index_name: name }) => name), indexes);
      assert.equal(textsOf("plain_text").VECTORS, indexes.length ? "vectorize" : "embedded");
    }
    const [{ name, config }, ...others] = account.indexes;
    assert.deepEqual([name, config, others], ["guildhall", { dimensions: 1536, metric: "cosine" }, []]);
    assert.match((await deploy("--vectors", "elsewhere")).output, /--vectors takes embedded or vectorize/);
  });
});
