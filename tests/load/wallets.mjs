// What wallets take: a hold and the capture that closes it, again and again, on one wallet and on a hundred. The Worker
// itself asks the objects, as a long-running call does, so that only the way to them and their work is measured.

import { readFileSync } from "node:fs";

import { Failure } from "../../scripts/lib/progress.mjs";
import { startBare } from "./guildhall.mjs";

/** What `--only` calls it. */
export const WALLETS = "wallets";

const COUNTS = [1, 100];
const AT_ONCE = 16;

/** For each number of wallets: pairs a second, and how long one takes. */
export async function measureWallets({ pace, intercept, verbose, build, wasm }) {
  const front = readFileSync(new URL("wallets.js", import.meta.url), "utf8");
  const target = await startBare({ front, build, wasm, intercept, verbose });
  const results = [];
  try {
    for (const wallets of COUNTS) {
      const run = (name, ms) => ask(target.url, { name, wallets, at_once: AT_ONCE, ms });
      await run("warm", pace.warmup_ms);
      const { pairs, took_ms, latencies_ms, charged, consistent } = await run("run", pace.rounds * pace.duration_ms);
      if (!consistent || charged !== pairs) throw new Failure(`the wallets' books: ${charged} charged for ${pairs} pairs, consistent: ${consistent}`);
      const at = (part) => latencies_ms[Math.floor(latencies_ms.length * part)];
      results.push({ wallets, pairs_per_second: (pairs / took_ms) * 1000, p50_ms: at(0.5), p99_ms: at(0.99) });
    }
  } finally {
    await target.dispose();
  }
  return results;
}

export function renderWallets(rows) {
  const lines = rows.map(({ wallets, pairs_per_second, p50_ms, p99_ms }) => {
    const rate = Math.round(pairs_per_second).toLocaleString("en");
    return `holds and captures on ${wallets} wallet${wallets > 1 ? "s" : ""}: ${rate} pairs/s, p50 ${p50_ms.toFixed(2)} ms, p99 ${p99_ms.toFixed(2)} ms`;
  });
  return ["", ...lines].join("\n");
}

async function ask(url, body) {
  const response = await fetch(new URL("/bench/wallets", url), { method: "POST", body: JSON.stringify(body) });
  const text = await response.text();
  if (!response.ok) throw new Failure(`/bench/wallets answered ${response.status}: ${text.slice(0, 300)}`);
  return JSON.parse(text);
}
