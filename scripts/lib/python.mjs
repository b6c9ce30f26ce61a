// A Python with the packages of the tests: OpenAI's other client.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { TARGET, fromRoot } from "./paths.mjs";
import { capture, run } from "./process.mjs";
import { Failure, say, step } from "./progress.mjs";

const ENVIRONMENT = join(TARGET, "python");
const REQUIREMENTS = fromRoot("tests/e2e/support/requirements.txt");

/** The interpreter that the tests use. */
export const PYTHON = process.env.PYTHON ?? join(ENVIRONMENT, "bin/python");

/** Installs the packages unless exactly these are installed. Python is no need of ours: without it its tests are skipped. */
export async function ensurePython() {
  if (process.env.PYTHON || (await capture("python3", ["--version"])).code !== 0) return;
  const stamp = join(ENVIRONMENT, ".installed-requirements");
  const wanted = readFileSync(REQUIREMENTS, "utf8");
  // The interpreter is a link, and its aim may have gone.
  if (existsSync(PYTHON) && existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  try {
    await step("installing Python packages for the tests", async () => {
      await run("python3", ["-m", "venv", "--clear", ENVIRONMENT]);
      await run(PYTHON, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", REQUIREMENTS]);
    });
    writeFileSync(stamp, wanted);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    say(`  ${error.message}\n  the tests with Python's client are skipped`);
  }
}
