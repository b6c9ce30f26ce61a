// The same requests by wrk, where it is installed: whether our own load generator is the bottleneck.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { renderBody } from "./scenarios.mjs";

const SECONDS = 3;
const CONNECTIONS = [16, 64];

/** Requests per second of every target, as text. */
export function crossCheck(targets, model) {
  if (spawnSync("wrk", ["--version"]).error) return "wrk is not installed: no cross-check";
  const lines = targets.map((target) => {
    const rates = CONNECTIONS.map((connections) => `c=${connections} ${run(target, connections, model)} req/s`);
    return `  ${target.name.padEnd(11)}${rates.join("   ")}`;
  });
  return ["by wrk:", ...lines, ""].join("\n");
}

function run(target, connections, model) {
  const directory = mkdtempSync(join(tmpdir(), "guildhall-wrk-"));
  try {
    const script = join(directory, "request.lua");
    const headers = { ...target.headers, "content-type": "application/json" };
    const lines = Object.entries(headers).map(([name, value]) => `wrk.headers["${name}"] = [[${value}]]`);
    writeFileSync(script, [`wrk.method = "POST"`, `wrk.body = [[${renderBody({}, model)}]]`, ...lines].join("\n"));
    const url = `http://${target.host}:${target.port}${target.path}`;
    const { stdout } = spawnSync("wrk", ["-t1", `-c${connections}`, `-d${SECONDS}`, "-s", script, url], { encoding: "utf8" });
    const failed = stdout.match(/Non-2xx or 3xx responses: (\d+)/)?.[1];
    const rate = Math.round(Number(stdout.match(/Requests\/sec:\s+([\d.]+)/)?.[1])).toLocaleString("en");
    return failed ? `${rate} (${failed} failed)` : rate;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
