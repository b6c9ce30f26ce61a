// What every script needs before its own work: npm packages and Rust toolchains, installed where missing.

import { ensurePackages } from "./node.mjs";
import { ensureToolchains } from "./rust.mjs";

/** Installs what is missing; gives the toolchains. */
export async function setUp() {
  await ensurePackages();
  return ensureToolchains();
}
