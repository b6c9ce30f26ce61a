// What a newcomer's sandbox starts with: a model provider, and a key.

import { readFileSync } from "node:fs";

import { call } from "./http.mjs";
import { fromRoot } from "./paths.mjs";
import { sleep } from "./process.mjs";
import { Failure } from "./progress.mjs";

const START_MS = 60_000;
const PROVIDER = { id: "sandbox", type: "sandbox", enabled: true };

/** Waits until the platform answers: 503 is an answer too, of one that has no models yet. */
export async function waitUntilUp(url, hasEnded) {
  for (const deadline = Date.now() + START_MS; Date.now() < deadline && !hasEnded(); await sleep(100)) {
    const answer = await call(url, "GET", "/healthz").catch(() => undefined);
    if (answer?.status === 200 || answer?.status === 503) return;
  }
  throw new Failure(hasEnded() ? "wrangler ended before the platform was up" : `${url} did not answer within a minute`);
}

/**
 * Registers the sandbox provider and its models, unless there is any provider. Gives whether the token of the state directory
 * is the administrator's still: where it was rotated, somebody looks after the models.
 */
export async function ensureModels(url, token) {
  if ((await call(url, "GET", "/admin/v1/providers", { token })).status === 401) return false;
  const { total, items } = await ask(url, "GET", "/admin/v1/providers", { token });
  if ((total ?? items.length) > 0) return true;
  await ask(url, "POST", "/admin/v1/providers", { token, body: PROVIDER });
  for (const body of JSON.parse(readFileSync(fromRoot("scripts/sandbox-models.json"), "utf8"))) {
    await ask(url, "POST", "/admin/v1/models", { token, body });
  }
  return true;
}

/** The key that earlier starts have shown, if it still works, else a new one. */
export async function ensureKey(url, state) {
  const known = state.read("api-key");
  if (known) {
    const { status } = await call(url, "GET", "/v1/balance", { token: known });
    if (status !== 401) return known;
  }
  const { api_key: key } = await ask(url, "POST", "/v1/auth/provision");
  state.write("api-key", key);
  return key;
}

async function ask(url, method, path, options) {
  const { status, body, text } = await call(url, method, path, options);
  if (status >= 200 && status < 300 && body) return body;
  throw new Failure(`${method} ${path} answered ${status}: ${text ?? JSON.stringify(body)}`);
}
