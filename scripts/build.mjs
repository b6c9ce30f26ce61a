// `npm run build`: the Worker, ready for wrangler. `-- --names` keeps function names in the wasm, for profiles.

import { parseArgs } from "node:util";

import { buildWorker } from "./lib/build.mjs";
import { main } from "./lib/progress.mjs";
import { setUp } from "./lib/setup.mjs";

await main(async () => {
  const { values } = parseArgs({ options: { names: { type: "boolean", default: false } } });
  await buildWorker(await setUp(), values);
});
