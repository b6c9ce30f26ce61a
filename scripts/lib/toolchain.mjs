// What a Rust toolchain is to the scripts.

import { existsSync, readdirSync } from "node:fs";

import { TARGET } from "./paths.mjs";
import { capture } from "./process.mjs";

export const WASM = "wasm32-unknown-unknown";

/** `{ label, version, env, clippy }` of the toolchain that `rustc` is under `env`; nothing when there is none. */
export async function describe(env) {
  const rustc = await capture("rustc", ["--version"], { env });
  const cargo = await capture("cargo", ["--version"], { env });
  if (rustc.code !== 0 || cargo.code !== 0) return undefined;
  const clippy = (await capture("cargo", ["clippy", "--version"], { env })).code === 0;
  const version = rustc.stdout.split(" ")[1];
  return { label: `Rust ${version}`, version, env: { ...env, CARGO_TARGET_DIR: TARGET }, clippy };
}

/** Whether a version `major.minor…` comes before another. */
export function isOlder(version, wanted) {
  const [a, b] = [version, wanted].map((text) => text.split(".").map(Number));
  return a[0] < b[0] || (a[0] === b[0] && a[1] < b[1]);
}

/** Where the toolchain looks for the wasm32 standard library. */
export async function wasmLibraryDirectory(env) {
  return (await capture("rustc", ["--print", "target-libdir", "--target", WASM], { env })).stdout;
}

/** Whether the toolchain can compile for wasm32. */
export async function hasWasmLibrary(env) {
  const directory = await wasmLibraryDirectory(env);
  return existsSync(directory) && readdirSync(directory).some((name) => /^libstd-.*\.rlib$/.test(name));
}
