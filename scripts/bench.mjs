// `npm run bench`: builds, then runs tests/load/bench.mjs with what stands behind `--`.

import { buildWorker } from "./lib/build.mjs";
import { findNode, nodeEnvironment } from "./lib/node.mjs";
import { fromRoot } from "./lib/paths.mjs";
import { run } from "./lib/process.mjs";
import { main } from "./lib/progress.mjs";
import { setUp } from "./lib/setup.mjs";

await main(async () => {
  await buildWorker(await setUp());
  const script = fromRoot("tests/load/bench.mjs");
  await run(findNode(), [script, ...process.argv.slice(2)], { env: nodeEnvironment(), stdout: 1 });
});
