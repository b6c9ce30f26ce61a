// The npm packages, and a Node that wrangler accepts.

import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, dirname } from "node:path";

import { fromRoot } from "./paths.mjs";
import { run } from "./process.mjs";
import { Failure, step } from "./progress.mjs";

/** What wrangler asks for. */
const WANTED = [22, 12];

/** Installs the packages of package-lock.json unless exactly these are installed. */
export async function ensurePackages() {
  const lock = createHash("sha256").update(readFileSync(fromRoot("package-lock.json"))).digest("hex");
  const stamp = fromRoot("node_modules/.installed-lock");
  // Not by the stamp alone: something else may have taken away what is only needed here.
  const isThere = () => existsSync(fromRoot("node_modules/wrangler"));
  if (isThere() && existsSync(stamp) && readFileSync(stamp, "utf8") === lock) return;
  await step("installing npm packages", async () => {
    // Not `npm ci`: it refuses a lock file made where workerd's packages for other systems could not be looked up.
    // All that we need is a package of development, which npm leaves out where NODE_ENV is "production".
    const install = ["install", "--include=dev", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"];
    const npm = process.env.npm_execpath;
    if (npm) await run(process.execPath, [npm, ...install]);
    else await run("npm", install);
  });
  if (!isThere()) throw new Failure("npm has installed no wrangler: try `npm install --include=dev` and see what it says");
  findNode();
  writeFileSync(stamp, lock);
}

/** The Node to run wrangler and the tests with: the one from npm, else our own if it is new enough. */
export function findNode() {
  const packaged = fromRoot("node_modules/node/bin/node");
  if (existsSync(packaged)) return packaged;
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > WANTED[0] || (major === WANTED[0] && minor >= WANTED[1])) return process.execPath;
  throw new Failure(
    `wrangler needs Node ${WANTED.join(".")} or newer; this one is ${process.version}, and the npm package "node" ` +
      `brought none for ${process.platform}-${process.arch}. Install a newer Node, or let npm run install scripts.`,
  );
}

/** An environment in which `node` is that Node. */
export function nodeEnvironment(extra = {}) {
  return { ...process.env, PATH: `${dirname(findNode())}${delimiter}${process.env.PATH}`, ...extra };
}
