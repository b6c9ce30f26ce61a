// Where things stand.

import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root. */
export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

/** Cargo's target directory. */
export const TARGET = resolve(ROOT, process.env.CARGO_TARGET_DIR ?? "target");

/** What wrangler serves. */
export const BUILD = join(ROOT, "build");

/** A path from the root. */
export const fromRoot = (...parts) => join(ROOT, ...parts);
