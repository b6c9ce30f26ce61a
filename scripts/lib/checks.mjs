// The checks of `npm test` and `npm run check`: named steps that never hide each other, and one summary.

import { buildWorker } from "./build.mjs";
import { findNode, nodeEnvironment } from "./node.mjs";
import { fromRoot } from "./paths.mjs";
import { capture, run } from "./process.mjs";
import { Failure, say, seconds, step } from "./progress.mjs";
import { ensurePython } from "./python.mjs";
import { ensureNextest } from "./rust.mjs";
import { WASM } from "./toolchain.mjs";

const DENY_WARNINGS = ["--", "-D", "warnings"];

export function formatting({ native }) {
  return check("formatting", async () => {
    for (const manifest of ["Cargo.toml", "tools/bindgen/Cargo.toml"]) {
      await run("cargo", ["fmt", "--all", "--check", "--manifest-path", fromRoot(manifest)], { env: native.env });
    }
  });
}

export function nativeClippy({ native }) {
  const lint = ["clippy", "--locked", "--workspace", "--all-targets", ...DENY_WARNINGS];
  return check("clippy, native", () => run("cargo", lint, { env: native.env }));
}

export function wasmClippy({ wasm }) {
  const where = ["--locked", "--workspace", "--lib", "--target", WASM];
  const lint = ["clippy", ...where, ...DENY_WARNINGS];
  if (wasm.clippy) return check("clippy, wasm32", () => run("cargo", lint, { env: wasm.env }));
  const env = { ...wasm.env, RUSTFLAGS: `${wasm.env.RUSTFLAGS ?? ""} -D warnings` };
  const name = `compiler warnings, wasm32 (${wasm.label} has no clippy)`;
  return check(name, () => run("cargo", ["check", ...where], { env }));
}

export function nativeTests({ native }) {
  return check("native tests", async () => {
    await ensureNextest({ native });
    const tests = ["nextest", "run", "--locked", "--workspace"];
    const { code, output } = await capture("cargo", tests, { env: native.env, show: true });
    const summary = output.match(/^\s*Summary .*$/m)?.[0] ?? "";
    return outcome(code, sum(summary, /(\d+) passed/g), sum(summary, /(\d+) (?:failed|timed out)/g), sum(summary, /(\d+) skipped/g));
  });
}

export function build(toolchains) {
  return check("build", () => buildWorker(toolchains));
}

export function endToEnd() {
  return check("end to end", async () => {
    await ensurePython();
    // One file after the other: each starts a platform of its own, and two cores are not many.
    const files = ["--test", "--test-reporter=spec", "--test-concurrency=1", "tests/e2e/**/*.test.mjs"];
    const { code, output } = await capture(findNode(), files, { env: nodeEnvironment(), show: true });
    const count = (words) => sum(output, new RegExp(`^ℹ (?:${words}) (\\d+)$`, "gm"));
    return outcome(code, count("pass"), count("fail|cancelled"), count("skipped"));
  });
}

/** Checks at one time: where one has work for a single core, another uses the other. */
export function beside(...checks) {
  return () => Promise.all(checks.map((each) => each()));
}

/**
 * Sets up, runs the checks that `setUp` gives, and says how each went. The last line is `summary: N passed, M failed[, K
 * skipped]`, of steps and tests; a set-up that fails is the one step there is.
 */
export async function report(setUp) {
  const { checks = [], ...ready } = await check("set-up", async () => ({ checks: await setUp() }))();
  const results = ready.ok ? [] : [ready];
  for (const each of checks) results.push(...[await each()].flat());
  say("");
  for (const { name, ok, took } of results) say(`${ok ? "✓" : "✗"} ${name} (${took})`);
  const total = (pick) => results.reduce((running, result) => running + pick(result), 0);
  const passed = total((result) => result.passed + (result.ok ? 1 : 0));
  const failed = total((result) => result.failed + (result.ok ? 0 : 1));
  const skipped = total((result) => result.skipped);
  process.stdout.write(`\nsummary: ${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}\n`);
  if (failed > 0) process.exitCode = 1;
}

/** Of a test runner: one that found nothing to run has not passed. */
const outcome = (code, passed, failed, skipped) => ({ ok: code === 0 && passed > 0, passed, failed, skipped });

/** A step that may give `{ ok, passed, failed, skipped }`, counting the tests that it ran. */
function check(name, work) {
  return async () => {
    const started = Date.now();
    let result;
    try {
      result = await step(name, work);
    } catch (error) {
      say(error instanceof Failure ? `✗ ${error.message}` : `✗ ${error.stack}`);
      result = { ok: false };
    }
    return { name, took: seconds(started), ok: true, passed: 0, failed: 0, skipped: 0, ...result };
  };
}

/** The sum of the numbers that a pattern finds. */
function sum(text, pattern) {
  return [...text.matchAll(pattern)].reduce((total, match) => total + Number(match[1]), 0);
}
