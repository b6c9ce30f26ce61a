// Python's client of OpenAI, where there is one.

import { execFileSync } from "node:child_process";

import { PYTHON } from "../../../scripts/lib/python.mjs";

export { PYTHON };

/** Its version, or nothing. */
export const version = (() => {
  try {
    return execFileSync(PYTHON, ["-c", "import openai; print(openai.__version__)"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return undefined;
  }
})();

/** Why a test with it is skipped, or false. */
export const skip = version ? false : `\`${PYTHON} -c "import openai"\` fails: \`npm test\` (or PYTHON=…) lets this run`;
