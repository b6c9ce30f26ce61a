// `npm run check`: the fast inner loop; what `npm test` does without wasm and workerd.

import * as checks from "./lib/checks.mjs";
import { main } from "./lib/progress.mjs";
import { ensureNextest } from "./lib/rust.mjs";
import { setUp } from "./lib/setup.mjs";

await main(async () => {
  const toolchains = await setUp();
  await ensureNextest(toolchains);
  await checks.report([checks.formatting, checks.nativeClippy, checks.nativeTests].map((check) => check(toolchains)));
});
