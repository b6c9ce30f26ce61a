// What a live deployment has of its own: settings, and secrets.

import { mkdtempSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { fromRoot } from "./paths.mjs";
import { atEnd } from "./process.mjs";
import { Failure, say } from "./progress.mjs";

/** The Vectorize index. */
export const INDEX = "guildhall";

/** Where the Worker can keep vectors; the lines that each needs. */
const VECTORS = {
  embedded: "",
  vectorize: `\n[[vectorize]]\nbinding = "VECTORIZE"\nindex_name = "${INDEX}"\n`,
};
export const VECTOR_STORES = Object.keys(VECTORS);

/**
 * The text of wrangler.toml with the live database, cache, vectors and mode. Variables set in the dashboard stay; what the
 * sandbox gives away and allows goes, and the Worker's own defaults of live mode count instead (src/config.rs).
 */
export function liveSettings(text, { databaseId, cacheId, vectors }) {
  const changes = [
    [/^name = .*$/m, "$&\nkeep_vars = true"],
    // Said in either case: the variable of a deployment before would stay.
    [/^MODE = .*$/m, `MODE = "live"\nVECTORS = "${vectors}"`],
    [/^ALLOW_LOOPBACK = .*$/m, 'ALLOW_LOOPBACK = "false"'],
    [/^FREE_BALANCE_USD = .*\n/m, ""],
    [/^HOUSE_CREDIT_USD = .*\n/m, ""],
    [/^PROVISIONS_PER_HOUR = .*\n/m, ""],
    [/^SIGN_INS_PER_HOUR = .*\n/m, ""],
    [/^database_id = .*$/m, `database_id = "${databaseId}"`],
    [/^id = "local"$/m, `id = "${cacheId}"`],
  ];
  let live = text;
  for (const [pattern, replacement] of changes) {
    if (!pattern.test(live)) throw new Failure(`wrangler.toml has no line ${pattern}; scripts/lib/live.mjs expects one`);
    live = live.replace(pattern, replacement);
  }
  return live + VECTORS[vectors];
}

/**
 * Has `upload` send new secrets, by wrangler's words for a file that only we can read, and shows them. Also where it fails or we
 * are stopped: they may have gone up before that, and the next deploy would find them there.
 */
export async function handOver(secrets, upload, unseen = fromRoot(".env.secrets")) {
  if (Object.keys(secrets).length === 0) return upload();
  const directory = mkdtempSync(join(tmpdir(), "guildhall-deploy-"));
  const removeFile = atEnd(() => rmSync(directory, { recursive: true, force: true }));
  const show = atEnd(() => showOnce(secrets, unseen));
  try {
    const file = join(directory, "secrets.json");
    writeFileSync(file, JSON.stringify(secrets), { mode: 0o600 });
    return await upload("--secrets-file", file);
  } finally {
    show();
    removeFile();
  }
}

function showOnce(secrets, unseen) {
  const lines = (toLine) => Object.entries(secrets).map(([name, value]) => `${toLine(name, value)}\n`).join("");
  try {
    // At once, and with an error where the terminal has gone.
    writeSync(1, `\nNew secrets. Keep them: they are shown this once.\n${lines((name, value) => `  ${name}  ${value}`)}`);
  } catch {
    writeFileSync(unseen, lines((name, value) => `${name}=${value}`), { flag: "a", mode: 0o600 });
    say(`\nNew secrets, which could not be shown, stand in ${unseen}. Keep them, and delete the file.`);
  }
}
