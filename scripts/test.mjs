// `npm test`: sets up as `npm start` does, then runs every check there is.

import * as checks from "./lib/checks.mjs";
import { main } from "./lib/progress.mjs";
import { ensureLinters } from "./lib/rust.mjs";
import { setUp } from "./lib/setup.mjs";

await main(() =>
  checks.report(async () => {
    const toolchains = await ensureLinters(await setUp());
    return [
      checks.formatting(toolchains),
      checks.nativeClippy(toolchains),
      checks.wasmClippy(toolchains),
      checks.beside(checks.nativeTests(toolchains), checks.build(toolchains)),
      checks.endToEnd(),
    ];
  }),
);
