// Child processes. Each runs in a process group of its own, and the whole group ends with us: grandchildren too.

import { execFileSync, spawn } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { constants } from "node:os";

import { ROOT } from "./paths.mjs";
import { Failure, say } from "./progress.mjs";

const STOP_GRACE_MS = 5_000;
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"];
/** macOS has none: there, `ps` tells. */
const HAS_PROC = existsSync("/proc/self/stat");
/** Without it macOS cuts what `ps` says at 79 columns. */
const WHOLE_LINES = ["-w", "-w"];

/** The groups to end with us, and what else to do then. */
const groups = new Set();
const cleanups = new Set();
let ending = false;

/** Starts a child in its own group; `stdio` as in node, stdin is closed. */
export function start(command, args, { cwd = ROOT, env, stdout = 2, stderr = 2, foreground = false } = {}) {
  const child = spawn(command, args, { cwd, env, stdio: ["ignore", stdout, stderr], detached: !foreground });
  if (child.pid) groups.add(child.pid);
  child.once("exit", () => isAlive(-child.pid) || groups.delete(child.pid));
  return child;
}

/**
 * Resolves with the exit code (1 for a signal); rejects when the command cannot be started. By default it waits for
 * the output's end as well, which "exit" does not: a grandchild may hold it open. While we end, nothing resolves: what
 * we have stopped ourselves is nobody's failure.
 */
export function exitOf(child, event = "close") {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once(event, (code) => ending || resolve(code ?? 1));
  });
}

/** Runs a command with its output on our stderr. */
export async function run(command, args, options = {}) {
  const code = await exitOf(start(command, args, options)).catch((error) => {
    throw new Failure(`cannot run ${command}: ${error.message}`);
  });
  if (code !== 0) throw new Failure(`\`${[command, ...args].join(" ")}\` failed with exit code ${code}`);
}

/**
 * Runs a command quietly: `{ code, stdout, output }`; a command that does not exist has code 127. With `show` it is not
 * quiet: its output goes to our stderr as well.
 */
export async function capture(command, args, { show = false, ...options } = {}) {
  const child = start(command, args, { ...options, stdout: "pipe", stderr: "pipe" });
  let stdout = "";
  let output = "";
  const take = (text) => {
    output += text;
    if (show) process.stderr.write(text);
  };
  child.stdout.setEncoding("utf8").on("data", (text) => ((stdout += text), take(text)));
  child.stderr.setEncoding("utf8").on("data", take);
  const code = await exitOf(child).catch(() => 127);
  return { code, stdout: stdout.trim(), output: output.trim() };
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Whether a process (or, negative, a group) exists. */
export function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

/** Ends a process group: asks, waits, then insists. */
export async function endGroup(pgid) {
  signal(-pgid, "SIGTERM");
  for (const deadline = Date.now() + STOP_GRACE_MS; isAlive(-pgid) && Date.now() < deadline; ) await sleep(50);
  signal(-pgid, "SIGKILL");
  groups.delete(pgid);
}

function signal(pid, name) {
  try {
    process.kill(pid, name);
  } catch {
    // Gone already.
  }
}

/** Something to do when we end, however we end; gives what does it sooner. It is done once. */
export function atEnd(cleanup) {
  const doOnce = () => cleanups.delete(doOnce) && cleanup();
  cleanups.add(doOnce);
  return doOnce;
}

/** Ends everything we started, then ourselves. */
export async function end(code) {
  if (ending) return;
  ending = true;
  await Promise.all([...groups].map(endGroup));
  for (const cleanup of [...cleanups]) {
    try {
      cleanup();
    } catch (error) {
      // The others still have their turn.
      say(`✗ ${error.message}`);
    }
  }
  process.exit(code);
}

for (const name of SIGNALS) process.on(name, () => end(128 + constants.signals[name]));

/** Ends us when npm, or the shell that it started us with, has died without telling us. */
export function endWithNpm() {
  if (!process.env.npm_lifecycle_event) return;
  const ancestors = [process.ppid];
  if (commandOf(process.ppid).includes("-c ")) ancestors.push(parentOf(process.ppid));
  setInterval(() => ancestors.every((pid) => pid && isAlive(pid)) || end(1), 500).unref();
}

/** The processes of a group whose command line contains a text. */
export function membersOf(group, text, hasProc = HAS_PROC) {
  if (!hasProc) return listByPs().filter((one) => one.group === group && one.command.includes(text)).map(({ pid }) => pid);
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => commandOf(pid).includes(text) && groupOf(pid) === group);
}

/** Every process, as macOS tells: `{ pid, group, command }`. */
function listByPs() {
  const table = execFileSync("ps", ["-A", ...WHOLE_LINES, "-o", "pid=,pgid=,command="], { encoding: "utf8", maxBuffer: 1 << 26 });
  const lines = table.matchAll(/^ *(\d+) +(\d+) +(.*)$/gm);
  return [...lines].map(([, pid, group, command]) => ({ pid: Number(pid), group: Number(group), command }));
}

/** A process's command line, empty when it cannot be read. */
export function commandOf(pid, hasProc = HAS_PROC) {
  try {
    if (!hasProc) return execFileSync("ps", [...WHOLE_LINES, "-o", "command=", "-p", String(pid)], { encoding: "utf8" });
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    return "";
  }
}

/** Of `pid (name) state parent group …`; the name may contain anything. */
function statusOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1).split(" ");
  } catch {
    return [];
  }
}

const parentOf = (pid) => Number(statusOf(pid)[1] ?? process.ppid);
const groupOf = (pid) => Number(statusOf(pid)[2]);
