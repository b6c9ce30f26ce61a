// What a newcomer's sandbox starts with: a model provider, and a key.

import { readFileSync } from "node:fs";

import { call } from "./http.mjs";
import { fromRoot } from "./paths.mjs";
import { sleep } from "./process.mjs";
import { Failure } from "./progress.mjs";

const START_MS = 60_000;
/** With less, a call may be refused for what it could cost at most. */
const ENOUGH_USD = 1;
const CREDIT_USD = 5;
const PROVIDER = { id: "sandbox", type: "sandbox", enabled: true };
/** The file of a state directory that names the models that it was given, one a line. */
const GIVEN = "sandbox-models";

/** Waits until the platform answers: 503 is an answer too, of one that has no models yet. */
export async function waitUntilUp(url, hasEnded) {
  for (const deadline = Date.now() + START_MS; Date.now() < deadline && !hasEnded(); await sleep(100)) {
    const answer = await call(url, "GET", "/healthz").catch(() => undefined);
    if (answer?.status === 200 || answer?.status === 503) return;
  }
  throw new Failure(hasEnded() ? "wrangler ended before the platform was up" : `${url} did not answer within a minute`);
}

/**
 * Registers the sandbox provider and each of its models once: what an interrupted start or an older release left out comes,
 * what was deleted stays so. Gives whether the token of the state directory is the administrator's still: where it was
 * rotated, somebody looks after the models.
 */
export async function ensureModels(url, state, token) {
  if ((await call(url, "GET", "/admin/v1/providers", { token })).status === 401) return false;
  const models = JSON.parse(readFileSync(fromRoot("scripts/sandbox-models.json"), "utf8"));
  const given = state.read(GIVEN)?.split("\n") ?? [];
  const missing = models.filter(({ id }) => !given.includes(id));
  if (missing.length === 0) return true;
  const [providers, registered] = [await list(url, "providers", token), await list(url, "models", token)];
  if (!providers.has(PROVIDER.id)) {
    if (providers.size > 0) return true;
    await ask(url, "POST", "/admin/v1/providers", { token, body: PROVIDER });
  }
  for (const body of missing) if (!registered.has(body.id)) await ask(url, "POST", "/admin/v1/models", { token, body });
  state.write(GIVEN, models.map(({ id }) => id).join("\n"));
  return true;
}

/** The ids of what is registered. */
async function list(url, things, token) {
  const { items } = await ask(url, "GET", `/admin/v1/${things}`, { token });
  return new Set(items.map(({ id }) => id));
}

/**
 * The key that earlier starts have shown, if it still works, else a new one. What its account has spent is given again by
 * the administrator's token; without one it is a new account's.
 */
export async function ensureKey(url, state, token) {
  const [known, account] = [state.read("api-key"), state.read("api-account")];
  if (known) {
    const { status, body } = await call(url, "GET", "/v1/balance", { token: known });
    if (status !== 401 && !(body?.available_usd < ENOUGH_USD)) return known;
    if (status !== 401 && account && token) {
      const credit = { amount_usd: CREDIT_USD, reason: "the sandbox's key has spent its money" };
      if ((await call(url, "POST", `/admin/v1/accounts/${account}/credits`, { token, body: credit })).status === 200) return known;
    }
  }
  const { api_key: key, account_id: id } = await ask(url, "POST", "/v1/auth/provision");
  state.write("api-account", id);
  state.write("api-key", key);
  return key;
}

async function ask(url, method, path, options) {
  const { status, body, text } = await call(url, method, path, options);
  if (status >= 200 && status < 300 && body) return body;
  throw new Failure(`${method} ${path} answered ${status}: ${text ?? JSON.stringify(body)}`);
}
