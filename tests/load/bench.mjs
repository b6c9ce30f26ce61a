// `npm run bench`: what Guildhall adds. One run, one upstream, three targets side by side: the upstream itself, an empty
// Worker that forwards (the floor), and Guildhall with authentication, limits, a hard budget and usage on.
//
//   --quick            about four minutes instead of nine
//   --json             the figures as JSON on stdout (the table goes to stderr either way)
//   --only REGEX       only the scenarios that match (`wallets` is the one of holds and captures, `features` what each costs)
//   --interceptor      leave Miniflare's own Worker in front of outbound fetches (see runtime.mjs)
//   --wrk              and wrk's figures for the same requests, if it is installed: a check of our own load generator
//   --profile          instead: where the time goes, under load, by V8's profiler and perf
//   --build DIR        another build than build/: one with function names in its wasm, or an older one to compare
//   --against DIR      one more build beside it, under the name "against": which of the two is faster
//   --rounds N         how often the targets take turns (3 with --quick, else 7)
//   --wasm FILE        only another wasm, that fits the build's worker.js
//   --scenario NAME    what to profile (json c=16)
//   --verbose          Miniflare's and the Workers' logs
//
// The targets take turns within every round, so that a noisy machine is equally noisy to all; the medians of the rounds
// count, and ratios more than absolutes.

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { findNode } from "../../scripts/lib/node.mjs";
import { end } from "../../scripts/lib/process.mjs";
import { Failure, main, say, step } from "../../scripts/lib/progress.mjs";
import { FEATURES, measureFeatures, renderFeatures } from "./features.mjs";
import { balanceOf, MODEL, priceOf, startGuildhall } from "./guildhall.mjs";
import { describeMachine, memoryOf } from "./meters.mjs";
import { startGenerator, startUpstream } from "./processes.mjs";
import { profile } from "./profile.mjs";
import { renderMachine, renderReport, renderVerdict, summarize } from "./report.mjs";
import { startWorker } from "./runtime.mjs";
import { findScenarios, PACE } from "./scenarios.mjs";
import { measureWallets, renderWallets, WALLETS } from "./wallets.mjs";
import { crossCheck } from "./wrk.mjs";

/** Miniflare wants a newer Node than some machines have; the npm package `node` brings one. */
const OLDEST_NODE = 22;

function readArguments() {
  const flag = { type: "boolean", default: false };
  const text = { type: "string" };
  const options = { quick: flag, json: flag, interceptor: flag, profile: flag, verbose: flag, wrk: flag, only: text, build: text, against: text, rounds: text, wasm: text, scenario: text };
  const { values } = parseArgs({ options });
  const pace = values.quick ? PACE.quick : PACE.full;
  return { ...values, pace: { ...pace, rounds: Number(values.rounds ?? pace.rounds) } };
}

async function startTargets(upstream, { interceptor: intercept, verbose, build, against, wasm, profile: inspect }) {
  const path = "/v1/chat/completions";
  const floor = await startWorker(
    {
      name: "floor",
      modules: [{ type: "ESModule", path: "floor.js", contents: readFileSync(new URL("floor.js", import.meta.url), "utf8") }],
      compatibilityDate: "2026-11-01",
      bindings: { UPSTREAM: `http://127.0.0.1:${upstream.port}${path}` },
    },
    { intercept, verbose },
  );
  const other = against && (await startGuildhall({ upstream, build: resolve(against), intercept, verbose }));
  const guildhall = await startGuildhall({ upstream, build: build && resolve(build), wasm, intercept, verbose, inspect });
  const headers = { authorization: "Bearer sk-bench" };
  return [
    { ...upstream, name: "upstream", path, headers },
    { ...floor, path, headers },
    ...(other ? [{ ...other, name: "against" }] : []),
    guildhall,
  ];
}

/** Compiles, fills the caches and takes the leases, so that the first round is like the others. */
async function warmUp(targets, generator, { warmup_ms }) {
  for (const target of targets) {
    for (const scenario of findScenarios(/^(json|streams) c=16$/)) {
      const result = await generator.run(target, { ...scenario, warmup_ms: 0, duration_ms: warmup_ms }, MODEL);
      target.served = (target.served ?? 0) + result.served;
      if (result.count === 0) throw new Failure(`${target.name} answers nothing right: ${JSON.stringify(result.errors)}`);
    }
  }
}

async function measure(targets, generator, scenarios, { rounds, duration_ms, settle_ms }) {
  const samples = {};
  for (let round = 1; round <= rounds; round++) {
    // A build files what it has served while the next one is measured: of two the second changes.
    const [bare, floor, ...builds] = targets;
    const inTurn = [bare, floor, ...(round % 2 === 1 ? builds : builds.toReversed())];
    await step(`round ${round} of ${rounds}`, async () => {
      for (const scenario of scenarios) {
        for (const target of inTurn) {
          const job = { ...scenario, warmup_ms: settle_ms, duration_ms: duration_ms * (scenario.stretch ?? 1) };
          const result = await generator.run(target, job, MODEL);
          target.served = (target.served ?? 0) + result.served;
          ((samples[scenario.name] ??= {})[target.name] ??= []).push(result);
        }
      }
    });
  }
  return samples;
}

/** Whether what the account paid is what was served: a benchmark of a gateway that forgets to charge is worth nothing. */
async function checkBooks(guildhall, before) {
  await new Promise((resolve) => setTimeout(resolve, 3000));
  const charged = before - (await balanceOf(guildhall));
  const owed = guildhall.served * priceOf({ prompt_tokens: 19, completion_tokens: 24 });
  return { served: guildhall.served, charged_usd_micros: charged, owed_usd_micros: Math.round(owed), balanced: Math.abs(charged - owed) < 1 };
}

async function bench(options) {
  const wanted = options.only ? new RegExp(options.only) : /./;
  const scenarios = findScenarios(wanted);
  const parts = { scenarios: scenarios.length > 0, wallets: wanted.test(WALLETS), features: wanted.test(FEATURES) };
  if (!Object.values(parts).some(Boolean)) throw new Failure(`no scenario matches ${options.only}`);
  const report = { machine: { ...describeMachine(), interceptor: options.interceptor } };
  say(renderMachine(report.machine));
  const upstream = await startUpstream();
  const generator = await startGenerator();
  const { pace, interceptor: intercept, verbose, build, wasm } = options;
  const common = { upstream, generator, pace, intercept, verbose, build: build && resolve(build), wasm };
  if (parts.wallets) {
    report.wallets = await step("holds and captures", () => measureWallets(common));
    say(renderWallets(report.wallets));
  }
  if (parts.scenarios) {
    Object.assign(report, await benchScenarios(scenarios, upstream, generator, options));
    say(renderReport(report));
  }
  if (parts.features) {
    report.features = await step("what each feature costs", () => measureFeatures(common));
    say(renderFeatures(report.features));
  }
  if (parts.scenarios) say(renderVerdict(report));
  if (options.json) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  if (report.books && !report.books.balanced) throw new Failure("the books do not balance: what was charged is not what was served");
}

async function benchScenarios(scenarios, upstream, generator, options) {
  const targets = await step("starting the floor and Guildhall", () => startTargets(upstream, options));
  const guildhall = targets.at(-1);
  const before = await balanceOf(guildhall);
  await step("warming up", () => warmUp(targets, generator, options.pace));
  const samples = await measure(targets, generator, scenarios, options.pace);
  const books = await step("checking the books", () => checkBooks(guildhall, before));
  const memory = Object.fromEntries(targets.slice(1).map(({ name, pid }) => [name, memoryOf(pid)]));
  if (options.wrk) say(crossCheck(targets, MODEL));
  await Promise.all(targets.slice(1).map((target) => target.dispose()));
  return summarize({ samples, memory, books, first_ms: guildhall.first_ms });
}

async function profileGuildhall(options) {
  const [scenario] = findScenarios(new RegExp(`^${options.scenario ?? "json c=16"}$`));
  if (!scenario) throw new Failure(`no scenario is called ${options.scenario}`);
  const upstream = await startUpstream();
  const targets = await step("starting Guildhall", () => startTargets(upstream, options));
  const generator = await startGenerator();
  await step("warming up", () => warmUp(targets.slice(-1), generator, options.pace));
  say(await step(`profiling ${scenario.name}`, () => profile(targets.at(-1), generator, scenario, MODEL)));
  await Promise.all(targets.slice(1).map((target) => target.dispose()));
}

if (Number(process.versions.node.split(".")[0]) < OLDEST_NODE) {
  const again = spawnSync(findNode(), [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: "inherit" });
  process.exit(again.status ?? 1);
}
await main(async () => {
  const options = readArguments();
  await (options.profile ? profileGuildhall(options) : bench(options));
});
await end(process.exitCode ?? 0);
