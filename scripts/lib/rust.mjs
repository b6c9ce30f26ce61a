// The Rust toolchains: the default one for native code, and one that has a standard library for wasm32.

import { readFileSync } from "node:fs";

import { debianToolchain, preparedDebianToolchain } from "./debian-rust.mjs";
import { fromRoot } from "./paths.mjs";
import { capture, run } from "./process.mjs";
import { Failure, say, step } from "./progress.mjs";
import { WASM, describe, hasWasmLibrary } from "./toolchain.mjs";

/**
 * The toolchains `{ native, wasm }`. On an ordinary machine both are the default one; where rustup cannot fetch the
 * wasm target, `wasm` is Debian's. GUILDHALL_WASM_TOOLCHAIN=debian chooses that one outright.
 */
export async function ensureToolchains() {
  const wanted = readFileSync(fromRoot("Cargo.toml"), "utf8").match(/^rust-version = "(.*)"/m)[1];
  const installed = await describe(process.env);
  const wasm = await wasmToolchain(installed);
  const native = installed ?? wasm;
  for (const { label, version } of [native, wasm]) {
    if (isOlder(version, wanted)) throw new Failure(`Rust ${wanted} or newer is needed, and this is ${label}`);
  }
  return { native, wasm };
}

async function wasmToolchain(installed) {
  if (installed && process.env.GUILDHALL_WASM_TOOLCHAIN !== "debian") {
    if (await hasWasmLibrary(installed.env)) return installed;
    const prepared = await preparedDebianToolchain();
    if (prepared) return prepared;
    if (await addWasmTarget(installed)) return installed;
  }
  return debianToolchain();
}

async function addWasmTarget(installed) {
  if ((await capture("rustup", ["--version"])).code !== 0) return false;
  try {
    const env = { ...process.env, RUST_BACKTRACE: "0" };
    await step(`adding the wasm target to ${installed.label}`, () => run("rustup", ["target", "add", WASM], { env }));
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    say("  rustup cannot fetch it here: falling back to Debian's toolchain");
    return false;
  }
  return hasWasmLibrary(installed.env);
}

function isOlder(version, wanted) {
  const [a, b] = [version, wanted].map((text) => text.split(".").map(Number));
  return a[0] < b[0] || (a[0] === b[0] && a[1] < b[1]);
}

/** Installs cargo-nextest unless it is there. */
export async function ensureNextest({ native }) {
  const { code } = await capture("cargo", ["nextest", "--version"], { env: native.env });
  if (code === 0) return;
  await step("installing cargo-nextest (once, some minutes)", () =>
    run("cargo", ["install", "--locked", "cargo-nextest"], { env: native.env }),
  );
}
