// Processes and ports of this machine.

import { execFileSync } from "node:child_process";

import { portError } from "../../../scripts/lib/http.mjs";
import { isAlive, sleep } from "../../../scripts/lib/process.mjs";

export { isAlive, sleep };

/** A free port below those that the system gives to connections: none of these takes it before it is listened at. */
export async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if (!(await portError(port))) return port;
  }
}

/** Every process `{ pid, parent, command }` that descends from one, itself included. */
export function familyOf(root) {
  const table = execFileSync("ps", ["-A", "-w", "-w", "-o", "pid=,ppid=,args="], { encoding: "utf8", maxBuffer: 1 << 26 });
  const all = table
    .split("\n")
    .map((line) => line.match(/^\s*(\d+)\s+(\d+)\s+(.*)$/))
    .filter(Boolean)
    .map(([, pid, parent, command]) => ({ pid: Number(pid), parent: Number(parent), command }));
  const family = all.filter((one) => one.pid === root);
  for (const one of family) family.push(...all.filter((other) => other.parent === one.pid));
  return family;
}

/** Sends a signal; a process that is gone already is no fault. */
export function signal(pid, name) {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}

/** Waits until `check()` gives something true, and gives it; fails with `what` after `ms`. */
export async function until(what, check, ms = 10_000, pauseMs = 20) {
  for (const deadline = Date.now() + ms; ; await sleep(pauseMs)) {
    const found = await check();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`);
  }
}
