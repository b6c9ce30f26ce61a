// `npm start` itself: what it prints, remembers and leaves behind.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { ROOT, startPlatform, temporaryDirectory } from "./support/platform.mjs";
import { freePort, isAlive, signal, until } from "./support/processes.mjs";

const START = join(ROOT, "scripts/start.mjs");

/** Runs a command to its end, at most a minute. */
async function run(command, args) {
  const child = spawn(command, args, { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
  const timer = setTimeout(() => child.kill("SIGTERM"), 60_000);
  const code = await new Promise((resolve) => child.once("error", () => resolve(127)).once("close", resolve));
  clearTimeout(timer);
  return { code, stdout, stderr };
}

/** Each of these goes on where the one before has stopped: a start costs seconds. */
describe("start.mjs", () => {
  let one;
  let two;
  let account;
  before(async () => {
    [one, two] = await Promise.all([startPlatform(), startPlatform()]);
  });
  after(() => Promise.allSettled([one?.stop(), two?.stop()]));

  test("two run side by side, and know nothing of each other", async (t) => {
    t.diagnostic(`first starts, two at once: ${one.tookMs} and ${two.tookMs} ms`);
    await until("the line `ready`, on stderr beside --json", () => one.output.includes(`\nready ${one.url}\n`));
    assert.notEqual(one.apiKey, two.apiKey);
    assert.notEqual(one.adminToken, two.adminToken);
    await one.register("mine", "http://127.0.0.1:9/v1", { "my-model": {} });
    account = await one.provision({ balanceMicros: 7_000_000 });
    assert.equal((await one.chat(account.key, { model: "sandbox-large" })).status, 200);
    for (const token of [one.apiKey, account.key]) assert.equal((await two.call("GET", "/v1/balance", { token })).status, 401);
    assert.equal((await two.call("GET", "/admin/v1/providers", { token: one.adminToken })).status, 401);
    const { body } = await two.call("GET", "/v1/models", { token: two.apiKey });
    assert.ok(!body.data.some(({ id }) => id === "my-model"));
  });

  test("what is taken, or not its own, is refused with a reason, and left alone", async () => {
    const refuse = async (text, ...args) => {
      const { code, stdout, stderr } = await run(process.execPath, [START, "--json", ...args]);
      assert.equal(code, 1, stderr);
      assert.match(stderr, text);
      assert.equal(stdout, "", "stdout is for the result");
    };
    const foreign = temporaryDirectory();
    writeFileSync(join(foreign, "thesis.txt"), "years of work");
    const port = `${await freePort()}`;
    const past = temporaryDirectory();
    for (const name of [".guildhall-state", "api-key"]) writeFileSync(join(past, name), "of an earlier start");
    await refuse(new RegExp(`${one.port} is taken`), "--port", `${one.port}`, "--state", past, "--fresh");
    assert.ok(existsSync(join(past, "api-key")), "what was not replaced is not forgotten");
    await refuse(/in use/, "--port", port, "--state", one.state);
    await refuse(/not empty/, "--port", port, "--state", foreign);
    await refuse(/not empty/, "--port", port, "--state", foreign, "--fresh");
    assert.deepEqual(readdirSync(foreign), ["thesis.txt"]);
    assert.equal((await one.call("GET", "/healthz")).status, 200, "what runs goes on");
    for (const name of ["secrets.env", "api-key"]) assert.equal(statSync(join(one.state, name)).mode & 0o077, 0, `${name} is nobody else's to read`);
    assert.equal(readFileSync(join(one.state, ".gitignore"), "utf8"), "*\n", "no commit takes it along");
  });

  test("Ctrl-C leaves no process; a second start has the same key, token, models, money and usage", async (t) => {
    await one.admin("DELETE", "/admin/v1/models/sandbox-large");
    const [balance, usage] = [await one.balanceMicros(account.key), await one.usage(account.key)];
    assert.equal(usage.length, 1);
    const family = one.family();
    assert.ok(family.length >= 4, `start.mjs, wrangler and two workerds, but there are ${family.length}`);
    // As a terminal does it: the signal goes to the whole foreground group.
    signal(-one.pid, "SIGINT");
    await one.gone(family);
    assert.equal(await one.ended, 130);
    await assert.rejects(fetch(`${one.url}/healthz`), "nothing listens any more");
    assert.equal((await two.call("GET", "/healthz")).status, 200, "the other goes on");

    // As if the first start had been stopped between two models.
    rmSync(join(one.state, "sandbox-models"));
    const { announced } = one;
    await one.start();
    t.diagnostic(`second start: ${one.tookMs} ms`);
    assert.deepEqual(one.announced, announced);
    assert.equal(await one.balanceMicros(account.key), balance);
    assert.deepEqual(await one.usage(account.key), usage);
    const { body } = await one.call("GET", "/v1/models", { token: account.key });
    for (const model of ["my-model", "sandbox-large"]) assert.ok(body.data.some(({ id }) => id === model), model);
    await one.admin("DELETE", "/admin/v1/models/sandbox-large");
  });

  test("after kill -9 a start ends what was left; a person gets a URL, a key and a curl that works", async () => {
    const orphans = one.family().filter(({ pid }) => pid !== one.pid);
    signal(one.pid, "SIGKILL");
    await one.ended;
    assert.ok(orphans.some(({ pid }) => isAlive(pid)), "wrangler outlives it");

    const child = spawn(process.execPath, [START, "--port", `${one.port}`, "--state", one.state], { cwd: ROOT, stdio: ["ignore", "pipe", "ignore"] });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    try {
      let text = "";
      child.stdout.setEncoding("utf8").on("data", (more) => (text += more));
      await until("the line `ready`", () => text.includes(`\nready ${one.url}\n`), 90_000);
      assert.deepEqual(orphans.filter(({ pid }) => isAlive(pid)), [], "what was left has ended");
      for (const part of [one.url, one.apiKey, one.adminToken]) assert.ok(text.includes(part), text);
      const [curl] = text.match(/curl [^]*?'\n/);
      const { code, stdout } = await run("sh", ["-c", curl]);
      if (code !== 127) assert.match(JSON.parse(stdout).choices[0].message.content, /Hello!/);
      assert.equal((await one.chat(one.apiKey, { model: "sandbox-large" })).status, 404, "a model that was deleted stays so");
    } finally {
      child.kill("SIGTERM");
    }
    assert.equal(await ended, 143);
    await assert.rejects(fetch(`${one.url}/healthz`));
  });
});
