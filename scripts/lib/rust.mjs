// The Rust toolchains: the default one for native code, and one that has a standard library for wasm32.

import { readFileSync } from "node:fs";

import { debianToolchain, packagedVersion, preparedDebianToolchain } from "./debian-rust.mjs";
import { fromRoot } from "./paths.mjs";
import { capture, run } from "./process.mjs";
import { Failure, say, step } from "./progress.mjs";
import { WASM, describe, hasWasmLibrary, isOlder } from "./toolchain.mjs";

/** Of Rust 1.91. */
const NEXTEST = "0.9.143";

/**
 * The toolchains `{ native, wasm }`. On an ordinary machine both are the default one; where rustup cannot fetch the
 * wasm target, `wasm` is Debian's. GUILDHALL_WASM_TOOLCHAIN=debian chooses that one outright.
 */
export async function ensureToolchains() {
  const wanted = readFileSync(fromRoot("Cargo.toml"), "utf8").match(/^rust-version = "(.*)"/m)[1];
  const installed = await describe(process.env);
  // Before anything is downloaded or installed for it.
  await checkInstalled(installed, wanted);
  const wasm = await wasmToolchain(installed, wanted);
  if (isOlder(wasm.version, wanted)) throw new Failure(`Rust ${wanted} or newer is needed, and Debian's is ${wasm.version}`);
  return { native: installed ?? wasm, wasm };
}

const prefersDebian = () => process.env.GUILDHALL_WASM_TOOLCHAIN === "debian";

/** Refuses a Rust that is too old, and none at all unless Debian has one. */
async function checkInstalled(installed, wanted) {
  if (installed ? !isOlder(installed.version, wanted) : prefersDebian() || (await packagedVersion())) return;
  const advice = (await hasRustup()) ? `run \`rustup ${installed ? "update" : "default stable"}\`` : "install it from https://rustup.rs";
  throw new Failure(`Rust ${wanted} or newer is needed, and ${installed ? `this is ${installed.label}` : "there is none"}: ${advice}`);
}

async function wasmToolchain(installed, wanted) {
  if (installed && !prefersDebian()) {
    if (await hasWasmLibrary(installed.env)) return installed;
    const prepared = await preparedDebianToolchain();
    if (prepared) return prepared;
    if (await addWasmTarget(installed)) return installed;
  }
  return debianToolchain(wanted);
}

async function hasRustup() {
  return (await capture("rustup", ["--version"])).code === 0;
}

async function addWasmTarget(installed) {
  if (!(await hasRustup())) return false;
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

/** Adds clippy and rustfmt where rustup has left them out, as its minimal profile does; gives the toolchains with them. */
export async function ensureLinters({ native, wasm }) {
  const has = async (command) => (await capture("cargo", [command, "--version"], { env: native.env })).code === 0;
  const missing = [];
  if (!(await has("clippy"))) missing.push("clippy");
  if (!(await has("fmt"))) missing.push("rustfmt");
  if (missing.length === 0 || !(await hasRustup())) return { native, wasm };
  const title = `adding ${missing.join(" and ")} to ${native.label}`;
  await step(title, () => run("rustup", ["component", "add", ...missing], { env: native.env })).catch((error) => {
    if (!(error instanceof Failure)) throw error;
    // The checks that want it say so, and the others are none the worse.
    say(`  ${error.message}`);
  });
  const complete = { ...native, clippy: await has("clippy") };
  return { native: complete, wasm: wasm === native ? complete : wasm };
}

/** Installs cargo-nextest unless it is there: a version that our oldest Rust compiles. */
export async function ensureNextest({ native }) {
  const { code } = await capture("cargo", ["nextest", "--version"], { env: native.env });
  if (code === 0) return;
  await step("installing cargo-nextest (once, some minutes)", () =>
    run("cargo", ["install", "--locked", "cargo-nextest", "--version", NEXTEST], { env: native.env }),
  );
}
