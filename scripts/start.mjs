// `npm start`: the whole platform on this machine, with a key that works.
//
//   -- --port N      where it listens (8787)        -- --fresh   forgets everything first
//   -- --state DIR   what it remembers (.guildhall) -- --json    one JSON line instead of text

import { resolve } from "node:path";
import { parseArgs } from "node:util";

import { buildWorker } from "./lib/build.mjs";
import { portError } from "./lib/http.mjs";
import { ROOT } from "./lib/paths.mjs";
import { end, endWithNpm } from "./lib/process.mjs";
import { Failure, main, say, seconds, step } from "./lib/progress.mjs";
import { ensureKey, ensureModels, waitUntilUp } from "./lib/sandbox.mjs";
import { setUp } from "./lib/setup.mjs";
import { State } from "./lib/state.mjs";
import { listenerDied, migrateLocally, startDev } from "./lib/wrangler.mjs";

function readArguments() {
  const { values } = parseArgs({
    options: {
      port: { type: "string", default: "8787" },
      state: { type: "string", default: resolve(ROOT, ".guildhall") },
      fresh: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
    },
  });
  const port = Number(values.port);
  if (!Number.isInteger(port) || port < 1 || port > 65535) throw new Failure(`--port takes a port, not ${values.port}`);
  return { ...values, port, state: resolve(values.state) };
}

async function serve({ port, state: directory, fresh, json }) {
  const started = Date.now();
  const state = await State.open(directory);
  await checkPort(port);
  if (fresh) state.empty();
  await buildWorker(await setUp());
  await migrateLocally(state);

  const { file, adminToken } = state.secrets();
  const url = `http://127.0.0.1:${port}`;
  const dev = startDev(state, { port, secretsFile: file });
  state.rememberGroup(dev.group, url);
  let hasEnded = false;
  dev.ended.then(() => (hasEnded = true));
  try {
    await step("starting wrangler dev", () => waitUntilUp(url, () => hasEnded));
    const isCurrent = await ensureModels(url, state, adminToken);
    const apiKey = await ensureKey(url, state, isCurrent && adminToken);
    announce({ url, apiKey, adminToken: isCurrent ? adminToken : null, json, state, took: seconds(started) });
    const code = await Promise.race([dev.ended, listenerDied(dev.group, port)]);
    throw new Failure(code === undefined ? "workerd died" : `wrangler ended with exit code ${code}`);
  } catch (error) {
    say(`\nThe last of ${state.label}/wrangler.log:\n${dev.lastOutput()}`);
    throw error;
  }
}

async function checkPort(port) {
  const code = await portError(port);
  if (!code) return;
  const problem = code === "EADDRINUSE" ? `port ${port} is taken` : `port ${port} cannot be listened at (${code})`;
  throw new Failure(`${problem}; choose another with --port`);
}

function announce({ url, apiKey, adminToken, json, state, took }) {
  say(`• up after ${took}; logs in ${state.label}/wrangler.log`);
  if (json) {
    process.stdout.write(`${JSON.stringify({ url, api_key: apiKey, admin_token: adminToken })}\n`);
    // The other line that is waited for; stdout is the JSON's alone.
    return say(`ready ${url}`);
  }
  process.stdout.write(`
  Base URL     ${url}
  Console      ${url}/admin/
  API key      ${apiKey}
  Admin token  ${adminToken ?? `the one that was set by API; lost? put another ADMIN_TOKEN into ${state.label}/secrets.env`}

  curl ${url}/v1/chat/completions \\
    -H "authorization: Bearer ${apiKey}" \\
    -H "content-type: application/json" \\
    -d '{"model": "auto", "messages": [{"role": "user", "content": "Hello!"}]}'

  Ctrl-C ends it. What it knows stays in ${state.label}.

ready ${url}
`);
}

await main(async () => {
  endWithNpm();
  await serve(readArguments());
});
await end(process.exitCode ?? 0);
