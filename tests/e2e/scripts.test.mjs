// What the scripts rest on, without a platform: processes that end, packages, toolchains, what a state directory remembers.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { delimiter, dirname, join } from "node:path";
import { after, describe, test } from "node:test";

import { liveSettings } from "../../scripts/lib/live.mjs";
import { commandOf, endGroup, membersOf, start } from "../../scripts/lib/process.mjs";
import { ensureKey } from "../../scripts/lib/sandbox.mjs";
import { State } from "../../scripts/lib/state.mjs";
import { ROOT, temporaryDirectory } from "./support/platform.mjs";
import { signal, until } from "./support/processes.mjs";

/** Runs a module's text that has `lib` before its imports; `{ child, ended, output() }`. */
function runScript(text, { root = ROOT, env } = {}) {
  const lib = join(root, "scripts/lib");
  const child = spawn(process.execPath, ["--input-type=module", "--eval", text.replaceAll("lib/", `${lib}/`)], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (more) => (output += more));
  const ended = new Promise((resolve) => child.once("close", (code, name) => resolve(code ?? name)));
  return { child, ended, output: () => output };
}

/** A directory of commands, each a shell script: an environment that finds these first. */
function commands(scripts) {
  const directory = temporaryDirectory();
  for (const [name, text] of Object.entries(scripts)) {
    writeFileSync(join(directory, name), `#!/bin/sh\n${text}\n`);
    chmodSync(join(directory, name), 0o755);
  }
  return { PATH: `${directory}${delimiter}${dirname(process.execPath)}${delimiter}${process.env.PATH}` };
}

describe("secrets of a deploy", () => {
  const unseen = join(temporaryDirectory(), "unseen");
  /** Hands a secret over to an upload that takes a minute. */
  const handOver = () =>
    runScript(`
      import { handOver } from "lib/live.mjs";
      import { capture } from "lib/process.mjs";
      await handOver({ ADMIN_TOKEN: "first", SEAL_KEY: "second" }, async (flag, file) => {
        process.stderr.write(\`in \${file} now\\n\`);
        await capture("sleep", ["60"]);
      }, ${JSON.stringify(unseen)});
    `);
  const fileOf = (run) => until("the file", () => run.output().match(/in (.*) now\n/)?.[1]);

  test("Ctrl-C shows them, and takes their file away", async () => {
    const run = handOver();
    const file = await fileOf(run);
    assert.equal(statSync(file).mode & 0o077, 0);
    signal(run.child.pid, "SIGINT");
    assert.equal(await run.ended, 130);
    assert.match(run.output(), /shown this once\.\n {2}ADMIN_TOKEN {2}first\n {2}SEAL_KEY {2}second\n/);
    assert.equal(run.output().split("shown this once").length, 2, "once");
    assert.ok(!existsSync(dirname(file)));
    assert.ok(!existsSync(unseen));
  });

  test("where the terminal has gone they go into a file", async () => {
    const run = handOver();
    const file = await fileOf(run);
    run.child.stdout.destroy();
    run.child.stderr.destroy();
    signal(run.child.pid, "SIGHUP");
    assert.equal(await run.ended, 129);
    assert.equal(readFileSync(unseen, "utf8"), "ADMIN_TOKEN=first\nSEAL_KEY=second\n");
    assert.equal(statSync(unseen).mode & 0o077, 0);
    assert.ok(!existsSync(dirname(file)));
  });

  test("the settings say where vectors are kept, in either case", () => {
    const text = readFileSync(join(ROOT, "wrangler.toml"), "utf8");
    const settings = (vectors) => liveSettings(text, { databaseId: "d1", cacheId: "kv", vectors });
    assert.match(settings("vectorize"), /^VECTORS = "vectorize"$[^]*^\[\[vectorize\]\]\nbinding = "VECTORIZE"\nindex_name = "guildhall"$/m);
    assert.match(settings("embedded"), /^VECTORS = "embedded"$/m);
    assert.doesNotMatch(settings("embedded"), /^\[\[vectorize\]\]/m);
    assert.doesNotMatch(settings("embedded"), /^(FREE_BALANCE_USD|HOUSE_CREDIT_USD)/m);
  });
});

test("processes are found by `ps` as by /proc", async () => {
  const child = start("sh", ["-c", `sleep 61; : ${"x".repeat(200)} the end of a long line`]);
  const all = (hasProc) => membersOf(child.pid, "", hasProc).sort();
  try {
    await until("both processes", () => all(false).length === 2);
    for (const hasProc of [false, existsSync("/proc/self/stat")]) {
      assert.deepEqual(membersOf(child.pid, "the end of a long line", hasProc), [child.pid]);
      assert.equal(membersOf(child.pid, "sleep 61", hasProc).length, 2);
      assert.deepEqual(membersOf(process.pid + 1_000_000, "", hasProc), []);
      assert.match(commandOf(child.pid, hasProc), /the end of a long line/);
      assert.deepEqual(all(hasProc), all(false));
    }
  } finally {
    await endGroup(child.pid);
  }
});

describe("npm packages", () => {
  /** A copy without packages, and an npm that installs what `installs` says. */
  function copy(installs) {
    const root = temporaryDirectory();
    cpSync(join(ROOT, "scripts"), join(root, "scripts"), { recursive: true });
    for (const name of ["package.json", "package-lock.json"]) cpSync(join(ROOT, name), join(root, name));
    writeFileSync(join(root, "npm.mjs"), `import { mkdirSync } from "node:fs";\nconst isAsked = process.argv.includes("--include=dev");\n${installs}`);
    const run = async () => {
      const { ended, output } = runScript('import { ensurePackages } from "lib/node.mjs"; await ensurePackages();', {
        root,
        env: { npm_execpath: join(root, "npm.mjs"), NODE_ENV: "production" },
      });
      return { code: await ended, output: output() };
    };
    return { root, run, stamp: join(root, "node_modules/.installed-lock") };
  }

  test("those of development are installed where NODE_ENV is production, and again when they have gone", async () => {
    const { root, run, stamp } = copy('if (isAsked) mkdirSync("node_modules/wrangler", { recursive: true });');
    mkdirSync(join(root, "node_modules"));
    // As a start before has left it.
    const { createHash } = await import("node:crypto");
    writeFileSync(stamp, createHash("sha256").update(readFileSync(join(root, "package-lock.json"))).digest("hex"));
    const first = await run();
    assert.equal(first.code, 0, first.output);
    assert.match(first.output, /installing npm packages/);
    assert.doesNotMatch((await run()).output, /installing/);
  });

  test("nothing is taken for installed without wrangler", async () => {
    const { run, stamp } = copy('mkdirSync("node_modules", { recursive: true });');
    const { code, output } = await run();
    assert.equal(code, 1);
    assert.match(output, /npm has installed no wrangler/);
    assert.ok(!existsSync(stamp));
  });
});

describe("checks", () => {
  test("a set-up that fails is in the summary", async () => {
    const { ended, output } = runScript(`
      import { report } from "lib/checks.mjs";
      import { Failure } from "lib/progress.mjs";
      await report(async () => { throw new Failure("no Rust here"); });
    `);
    assert.equal(await ended, 1);
    assert.match(output(), /✗ no Rust here[^]*✗ set-up[^]*\nsummary: 0 passed, 1 failed\n$/);
  });

  test("nextest that cannot be installed is a check that fails", async () => {
    const env = commands({ cargo: 'echo "cargo $*"; exit 1' });
    const { ended, output } = runScript(
      'import { nativeTests, report } from "lib/checks.mjs"; await report(async () => [nativeTests({ native: { env: process.env } })]);',
      { env },
    );
    assert.equal(await ended, 1);
    assert.match(output(), /cargo install --locked cargo-nextest --version 0\.\d+\.\d+\n[^]*\nsummary: 0 passed, 1 failed\n$/);
  });

  test("clippy and rustfmt are added where rustup has left them out", async () => {
    const added = join(temporaryDirectory(), "added");
    const env = commands({
      cargo: `[ "$1" = fmt ] || [ -e ${added} ]`,
      rustup: `[ "$1" = --version ] || { echo "rustup $*"; touch ${added}; }`,
    });
    const { ended, output } = runScript(
      `
      import { ensureLinters } from "lib/rust.mjs";
      const native = { label: "Rust 1.92", env: process.env, clippy: false };
      const { native: complete, wasm } = await ensureLinters({ native, wasm: native });
      process.stdout.write(\`\${complete.clippy} \${wasm.clippy}\\n\`);
    `,
      { env },
    );
    assert.equal(await ended, 0, output());
    assert.match(output(), /adding clippy to Rust 1\.92 …\n[^]*rustup component add clippy\n/);
    assert.match(output(), /^true true$/m);
  });
});

describe("the secrets of a state directory", () => {
  const secretsOf = (text) => {
    const state = new State(temporaryDirectory());
    if (text !== undefined) writeFileSync(state.path("secrets.env"), text);
    return { ...state.secrets(), read: () => state.read("secrets.env") };
  };
  const token = "0123456789abcdef";

  test("an administrator's token may be written as people write it", () => {
    for (const line of [`ADMIN_TOKEN=${token}`, `ADMIN_TOKEN='${token}'`, `export ADMIN_TOKEN = "${token}" # mine`, `ADMIN_TOKEN=${token} # mine`]) {
      for (const end of ["", "\n", "\r\n"]) {
        const { adminToken, read } = secretsOf(`${line}${end}`);
        assert.equal(adminToken, token, JSON.stringify(line + end));
        assert.equal(read().match(/ADMIN_TOKEN/g).length, 1, "no other is put beside it");
        assert.match(read(), /^KEY_PEPPER="[0-9a-f]{64}"$/m, "what is missing has a line of its own");
      }
    }
    assert.equal(secretsOf(`ADMIN_TOKEN="of an earlier time"\nADMIN_TOKEN=${token}\n`).adminToken, token);
    assert.match(secretsOf().adminToken, /^[0-9a-f]{64}$/);
  });

  test("one that the Worker would refuse is refused with a reason", () => {
    for (const value of ["", '""', "short", '"short"']) assert.throws(() => secretsOf(`ADMIN_TOKEN=${value}\n`), /shorter than 16 bytes/);
  });
});

describe("the key of a sandbox", () => {
  /** A platform of accounts alone. */
  const accounts = new Map();
  const requests = [];
  let made = 0;
  const server = createServer(async (request, response) => {
    let text = "";
    for await (const part of request) text += part;
    requests.push(`${request.method} ${request.url}`);
    const send = (status, body) => response.writeHead(status).end(JSON.stringify(body));
    const token = request.headers.authorization?.replace("Bearer ", "");
    if (request.url === "/v1/auth/provision") {
      const account = { api_key: `key-${made}`, account_id: `account-${made++}`, available_usd: 5 };
      accounts.set(account.api_key, account);
      return send(200, account);
    }
    if (request.url === "/v1/balance") return accounts.has(token) ? send(200, accounts.get(token)) : send(401, {});
    if (token !== "admin") return send(401, {});
    const account = [...accounts.values()].find(({ account_id: id }) => request.url === `/admin/v1/accounts/${id}/credits`);
    if (!account) return send(404, {});
    account.available_usd += JSON.parse(text).amount_usd;
    send(200, {});
  });
  after(() => server.close());

  test("works at every start: what is spent is given again, else it is a new one", async () => {
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${server.address().port}`;
    const state = new State(temporaryDirectory());
    const ensure = (token = "admin") => ensureKey(url, state, token);
    assert.equal(await ensure(), "key-0");
    assert.equal(await ensure(), "key-0");
    assert.deepEqual(requests, ["POST /v1/auth/provision", "GET /v1/balance"], "a balance that is enough stays as it is");
    accounts.get("key-0").available_usd = 0.001;
    assert.equal(await ensure(), "key-0");
    assert.ok(accounts.get("key-0").available_usd > 1);
    accounts.get("key-0").available_usd = 0;
    assert.equal(await ensure(false), "key-1", "without the administrator's token");
    accounts.delete("key-1");
    assert.equal(await ensure(), "key-2", "where the old one is unknown");
  });
});
