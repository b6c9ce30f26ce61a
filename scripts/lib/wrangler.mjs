// wrangler, with the Node that it wants, and quiet about everything but our Worker.

import { createHash } from "node:crypto";
import { cpSync, createWriteStream, existsSync, readFileSync, readdirSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";

import { findNode, nodeEnvironment } from "./node.mjs";
import { TARGET, fromRoot } from "./paths.mjs";
import { capture, exitOf, isAlive, membersOf, sleep, start } from "./process.mjs";
import { Failure, step } from "./progress.mjs";

const WRANGLER = fromRoot("node_modules/wrangler/bin/wrangler.js");
const LAST_LINES = 40;

/** Without looking for updates, sending figures, or asking where we are. */
export function wranglerEnvironment(extra = {}) {
  return nodeEnvironment({
    CLOUDFLARE_CF_FETCH_ENABLED: "false",
    WRANGLER_HIDE_BANNER: "true",
    WRANGLER_SEND_METRICS: "false",
    WRANGLER_WRITE_LOGS: "false",
    NO_COLOR: "1",
    ...extra,
  });
}

/** Runs a wrangler command to its end: `{ code, stdout, output }`. */
export function wrangler(...args) {
  return capture(findNode(), [WRANGLER, ...args], { env: wranglerEnvironment() });
}

/**
 * Brings the local database up to date, unless it has seen exactly these migrations. A new state gets a copy of a
 * database that was migrated before: wrangler takes a second for each migration.
 */
export async function migrateLocally(state) {
  const hash = createHash("sha256");
  for (const name of readdirSync(fromRoot("migrations")).sort()) {
    if (name.endsWith(".sql")) hash.update(name).update(readFileSync(fromRoot("migrations", name)));
  }
  const wanted = hash.digest("hex");
  if (state.read("migrated") === wanted) return;
  const storage = state.path("storage");
  if (existsSync(storage)) {
    await step("applying the D1 migrations", () => migrate(storage));
  } else {
    const ready = join(TARGET, "migrated", wanted);
    if (!existsSync(ready)) await step("applying the D1 migrations", () => prepare(ready));
    cpSync(ready, storage, { recursive: true });
  }
  state.write("migrated", wanted);
}

async function migrate(storage) {
  const { code, output } = await wrangler("d1", "migrations", "apply", "DB", "--local", "--persist-to", storage);
  if (code !== 0) throw new Failure(`the migrations failed:\n${output}`);
}

/** Makes a migrated storage, whole or not at all, and forgets those of older migrations. */
async function prepare(ready) {
  // Several starts may be at it; a name with a dot is unfinished.
  const unfinished = `${ready}.${process.pid}`;
  await migrate(unfinished);
  const all = dirname(ready);
  for (const name of readdirSync(all)) if (!name.includes(".") && join(all, name) !== ready) rmSync(join(all, name), { recursive: true });
  if (existsSync(ready)) rmSync(unfinished, { recursive: true });
  else renameSync(unfinished, ready);
}

/**
 * Starts `wrangler dev` on loopback. Secrets go by file, so that `ps` shows none. Gives the process, a promise of its
 * end, and its last output; all of its output goes into wrangler.log in the state directory.
 */
export function startDev(state, { port, secretsFile }) {
  const child = start(
    findNode(),
    [WRANGLER, "dev", "--ip", "127.0.0.1", "--port", `${port}`]
      // Whichever port is free: two instances run side by side.
      .concat("--inspector-port", "0", "--persist-to", state.path("storage"), "--env-file", secretsFile)
      .concat("--show-interactive-dev-session=false"),
    // A registry of its own: instances must not find each other's objects and queues.
    { env: wranglerEnvironment({ WRANGLER_REGISTRY_PATH: state.path("registry") }), stdout: "pipe", stderr: "pipe" },
  );
  const log = createWriteStream(state.path("wrangler.log"), { mode: 0o600 });
  const lines = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      log.write(text);
      lines.push(...text.split("\n").filter((line) => line.trim()));
      lines.splice(0, lines.length - LAST_LINES);
    });
  }
  return { group: child.pid, ended: exitOf(child, "exit"), lastOutput: () => lines.join("\n") };
}

/**
 * Resolves when the workerd that listens for `wrangler dev` has died: wrangler starts another, but it never answers.
 * The workerd behind it, which runs our Worker, does recover.
 */
export async function listenerDied(group, port) {
  const [listener] = membersOf(group, `entry=127.0.0.1:${port}`);
  while (!listener || isAlive(listener)) await sleep(1_000);
}
