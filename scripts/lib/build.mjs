// Builds build/worker.js and build/guildhall_bg.wasm from the Rust sources: cargo, wasm-bindgen, wasm-opt, esbuild.
// Every step but cargo's (which knows by itself) is skipped while its inputs are what they were.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

import { findNode } from "./node.mjs";
import { BUILD, TARGET, fromRoot } from "./paths.mjs";
import { run } from "./process.mjs";
import { Failure, say, step } from "./progress.mjs";
import { WASM } from "./toolchain.mjs";

const WORK = join(TARGET, "worker");
const BINDGEN = join(TARGET, "debug/guildhall-bindgen");
const COMPILED = join(TARGET, WASM, "release/guildhall.wasm");
const SHIM = fromRoot("src/platform/shim.js");
const MODULE = "guildhall_bg.wasm";

/** What rustc assumes of every wasm engine; wasm-opt has to be told. */
const WASM_FEATURES = [
  "bulk-memory",
  "bulk-memory-opt",
  "call-indirect-overlong",
  "multivalue",
  "mutable-globals",
  "nontrapping-float-to-int",
  "reference-types",
  "sign-ext",
];

/** What LLVM still copies into its callers. Its own 225 makes 8 % more wasm and no faster call (docs/PERFORMANCE.md). */
const INLINE = "-C llvm-args=-inline-threshold=60";

/** Builds what is out of date. `names` keeps function names in the wasm, for profiles. */
export async function buildWorker({ native, wasm }, { names = false } = {}) {
  checkVersions();
  const env = { ...wasm.env, RUSTFLAGS: `${wasm.env.RUSTFLAGS ?? ""} ${INLINE}`.trim() };
  await step(`compiling the Worker with ${wasm.label}`, () =>
    run("cargo", ["build", "--release", "--locked", "--target", WASM, "--package", "guildhall"], { env }),
  );
  await unlessFresh("wasm-bindgen", WORK, [COMPILED, fromRoot("tools/bindgen")], async () => {
    const manifest = fromRoot("tools/bindgen/Cargo.toml");
    await run("cargo", ["build", "--locked", "--manifest-path", manifest], { env: native.env });
    rmSync(WORK, { recursive: true, force: true });
    await run(BINDGEN, [COMPILED, WORK]);
  });
  const options = ["-O3", ...WASM_FEATURES.map((feature) => `--enable-${feature}`), ...(names ? ["--debuginfo"] : [])];
  // Their package.json says which version of them is at work.
  const [binaryen, esbuild] = ["binaryen", "esbuild"].map((name) => fromRoot("node_modules", name, "package.json"));
  await unlessFresh("wasm-opt", BUILD, [join(WORK, MODULE), binaryen], () => optimize(options), options.join(" "));
  await unlessFresh("esbuild", BUILD, [join(WORK, "guildhall.js"), join(WORK, "snippets"), SHIM, esbuild], bundle);
}

/** wasm-bindgen refuses modules of any other version; say so before a long build, and say what to do. */
function checkVersions() {
  const library = lockedVersion("Cargo.lock", "wasm-bindgen");
  const tool = lockedVersion("tools/bindgen/Cargo.lock", "wasm-bindgen-cli-support");
  if (library === tool) return;
  throw new Failure(
    `Cargo.lock has wasm-bindgen ${library}, tools/bindgen wasm-bindgen-cli-support ${tool}: they must be equal. ` +
      `Set \`wasm-bindgen-cli-support = "=${library}"\` in tools/bindgen/Cargo.toml and run \`cargo update\` there.`,
  );
}

function lockedVersion(lockfile, name) {
  const lock = readFileSync(fromRoot(lockfile), "utf8");
  return lock.match(new RegExp(`^name = "${name}"\\nversion = "(.*)"$`, "m"))?.[1];
}

async function optimize(options) {
  const tool = fromRoot("node_modules/binaryen/bin/wasm-opt");
  const output = join(BUILD, MODULE);
  await run(findNode(), [tool, ...options, join(WORK, MODULE), "-o", output]);
  const [size, packed] = [statSync(output).size, gzipSync(readFileSync(output)).length];
  say(`  ${MODULE}: ${Math.round(size / 1000)} kB, ${Math.round(packed / 1000)} kB gzipped`);
}

/**
 * Puts the entry module and the glue into one file. The glue keeps its instance in module variables; wrapped in a
 * function, it can be had again with a new instance, which the entry module does after a trap.
 */
async function bundle() {
  const esbuild = await import("esbuild");
  const shared = { bundle: true, target: "es2024", logLevel: "warning" };
  // wasm-bindgen names a module once for each block of imports from it; the keys are equal and so are their values.
  shared.logOverride = { "duplicate-object-key": "silent" };
  const glue = await esbuild.build({
    ...shared,
    entryPoints: [join(WORK, "guildhall.js")],
    format: "iife",
    globalName: "glue",
    write: false,
  });
  const factory = join(WORK, "glue.js");
  writeFileSync(
    factory,
    `export function instantiate(module) {\n${glue.outputFiles[0].text}\nglue.initSync({ module });\nreturn glue;\n}\n`,
  );
  await esbuild.build({
    ...shared,
    entryPoints: [SHIM],
    alias: { "guildhall:glue": factory },
    external: ["cloudflare:*", "node:*", "*.wasm"],
    format: "esm",
    outfile: join(BUILD, "worker.js"),
  });
}

/** Runs a step unless what stands in `output` was made from the same inputs (files or directories) and options. */
async function unlessFresh(name, output, inputs, work, options = "") {
  const stamp = join(output, `.made-by-${name}`);
  const hash = createHash("sha256").update(options);
  for (const input of inputs) addTo(hash, input);
  const wanted = hash.digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  rmSync(stamp, { force: true });
  mkdirSync(output, { recursive: true });
  await step(name, work);
  writeFileSync(stamp, wanted);
}

function addTo(hash, path) {
  if (!existsSync(path)) return;
  if (!statSync(path).isDirectory()) return void hash.update(path).update(readFileSync(path));
  for (const name of readdirSync(path).sort()) if (name !== "target") addTo(hash, join(path, name));
}
