// The processes that the benchmark needs beside workerd: the upstream, the load generator, and a guard over workerd.

import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";

import { atEnd } from "../../scripts/lib/process.mjs";
import { Failure } from "../../scripts/lib/progress.mjs";
import { cpuOf } from "./meters.mjs";
import { FRAMES, NONCE, renderBody } from "./scenarios.mjs";

/** Longest time beyond a job's own that the generator may take. */
const PATIENCE_MS = 30_000;

function startProcess(name) {
  const child = fork(fileURLToPath(new URL(name, import.meta.url)), { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  atEnd(() => child.kill("SIGKILL"));
  return child;
}

let guard;

/** Nothing waits for the guard: it must not keep us alive. */
function startGuard() {
  const child = fork(fileURLToPath(new URL("guard.mjs", import.meta.url)), { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  child.unref();
  child.channel.unref();
  return child;
}

/** Makes sure that a process ends with us, whatever happens to us. */
export function guardProcess(pid) {
  guard ??= startGuard();
  guard.send(pid);
}

export async function startUpstream() {
  const child = startProcess("upstream.mjs");
  const { port } = await new Promise((resolve) => child.once("message", resolve));
  return { host: "127.0.0.1", port };
}

/** A generator whose `run` resolves with counts, latencies and the target's CPU per request. */
export async function startGenerator() {
  const child = startProcess("load.mjs");
  const run = (target, scenario, model) =>
    new Promise((resolve, reject) => {
      const limit = setTimeout(() => reject(new Failure("the load generator hangs")), scenario.duration_ms + PATIENCE_MS);
      let cpu_us;
      const listen = (message) => {
        if (message.started) cpu_us = target.pid && -cpuOf(target.pid);
        if (message.stopped && target.pid) cpu_us += cpuOf(target.pid);
        if (!message.result) return;
        clearTimeout(limit);
        child.off("message", listen);
        const { result } = message;
        resolve({ ...result, cpu_us: cpu_us && result.count ? cpu_us / result.count : undefined });
      };
      child.on("message", listen);
      child.send(renderJob(target, scenario, model));
    });
  return { run };
}

function renderJob(target, { connections, warmup_ms, duration_ms, stream = false, payers, body, nonce, ...scenario }, model) {
  const headers = { ...target.headers, accept: "application/json", "user-agent": "OpenAI/JS 7.57.0" };
  const keys = target.payers?.[payers]?.map(({ key }) => key);
  return {
    host: target.host,
    port: target.port,
    path: target.path,
    // One after the other.
    headers: keys?.map((key) => ({ ...headers, authorization: `Bearer ${key}` })) ?? [headers],
    body: body ?? renderBody({ stream, ...scenario }, model),
    nonce: nonce && NONCE,
    connections,
    warmup_ms,
    duration_ms,
    stream,
    frames: FRAMES,
    stamped: scenario.gap_ms !== undefined,
    expect: '"usage"',
  };
}
