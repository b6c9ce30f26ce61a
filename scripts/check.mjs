// `npm run check`: the fast inner loop; what `npm test` does without wasm and workerd.

import * as checks from "./lib/checks.mjs";
import { main } from "./lib/progress.mjs";
import { ensureLinters } from "./lib/rust.mjs";
import { setUp } from "./lib/setup.mjs";

await main(() =>
  checks.report(async () => {
    const toolchains = await ensureLinters(await setUp());
    return [checks.formatting, checks.nativeClippy, checks.nativeTests].map((check) => check(toolchains));
  }),
);
