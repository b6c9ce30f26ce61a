// What is kept and looked after: providers, models, keys, aliases, secrets.

import { badge, button, code, dangerButton, el, notify, openDialog, put, showSecret, table } from "./dom.js";
import { count, usd } from "./format.js";
import { manage } from "./list.js";

/** Of lists that come as a whole. */
const UNPAGED = 10_000;

export async function showProviders(cx) {
  const done = ({ models_registered: models }) => notify(models ? `Saved, with ${count(models.length)} new models.` : "Saved.");
  const list = await manage(cx, {
    noun: "provider",
    list: "GET /admin/v1/providers",
    create: "POST /admin/v1/providers",
    change: "PATCH /admin/v1/providers/{id}",
    remove: "DELETE /admin/v1/providers/{id}",
    newFields: "id!",
    fields: "type base_url api_key autoload_models enabled",
    columns: ["id", "type", "base_url", ["Key", ({ cred_store: store }) => badge(store, store === "vault" && "good")], "enabled"],
    empty: "There is no provider yet. Add one: models are served by it.",
    warning: ", all of its models and its key",
    actions: ({ id }) => button("Discover", () => discover(cx, id)),
    done,
  });
  return [el("h1", {}, "Providers"), list];
}

/** What a provider says that it has; each can be registered. */
async function discover({ api }, id) {
  const { models } = await api.call("GET /admin/v1/providers/{id}/discover", { id });
  const place = el("div");
  const register = async (model) => {
    await api.call("POST /admin/v1/models", { body: { id: model.id, provider_id: id } });
    model.registered = true;
    draw();
    notify(`${model.id} waits under Models to be switched on.`);
  };
  const state = (model) => (model.registered ? badge("registered", "good") : button("Register", () => register(model)));
  const draw = () => put(place, table(["id", "owned_by", ["", state]], models, "It names no models. Add them by hand under Models."));
  draw();
  openDialog(`What ${id} has`, () => place);
}

const MODEL_FIELDS =
  "upstream_model kind weight input_per_1k output_per_1k cache_read_per_1k cache_write_per_1k unit_price_usd free " +
  "max_context_tokens max_output_tokens tool_name_map gemma4_output enabled";

export async function showModels(cx) {
  const { items: providers } = await cx.api.call("GET /admin/v1/providers");
  const list = await manage(cx, {
    noun: "model",
    list: "GET /admin/v1/models",
    create: "POST /admin/v1/models",
    change: "PATCH /admin/v1/models/{id}",
    remove: "DELETE /admin/v1/models/{id}",
    newFields: "id! provider_id!",
    fields: MODEL_FIELDS,
    columns: ["id", "provider_id", "kind", "weight", ["Context", describeContext], ["Price", describePrice], "enabled"],
    empty: `There is no model yet. ${providers.length ? "Discover a provider's models, or add one." : "Add a provider first."}`,
    options: { provider_id: providers.map(({ id }) => id) },
  });
  return [el("h1", {}, "Models"), list];
}

const describeContext = ({ max_context_tokens: tokens }) => count(tokens || null);

function describePrice({ unit, unit_price_usd, input_per_1k, output_per_1k, pricing_source }) {
  // A price that is not set may also be left out.
  if ((unit ? unit_price_usd : input_per_1k) == null) return badge("no price", "bad");
  const words = unit ? `${usd(unit_price_usd)} / ${unit.replaceAll("_", " ")}` : `${usd(input_per_1k)} in, ${usd(output_per_1k)} out / 1k`;
  return [words, " ", badge(pricing_source)];
}

export async function showKeys(cx) {
  const { api } = cx;
  const rotate = ({ id, name }, refresh) =>
    dangerButton("Rotate", `Rotate ${name}? Its present secret ends at once.`, async () => {
      const { key, warning } = await api.call("POST /admin/v1/apikeys/{id}/rotate", { id });
      showSecret(`The new key of ${name}`, key, warning);
      await refresh();
    });
  const reset = ({ id, name }, refresh) =>
    dangerButton("Reset budget", `What ${name} has spent this month no longer counts?`, async () => {
      await api.call("POST /admin/v1/apikeys/{id}/paid", { id });
      await refresh();
    });
  const list = await manage(cx, {
    noun: "API key",
    list: "GET /admin/v1/apikeys",
    rows: "keys",
    create: "POST /admin/v1/apikeys",
    change: "PATCH /admin/v1/apikeys/{id}",
    remove: "DELETE /admin/v1/apikeys/{id}",
    newFields: "name! account_id",
    fields: "scopes monthly_budget_usd rate_limit_rps requests_per_minute requests_per_hour concurrent rotation_days expires_at enabled",
    columns: [
      ["Name", ({ name, key_prefix }) => [name, " ", code(key_prefix)]],
      ["Account", ({ account_id: id }) => el("a", { href: `#accounts/${encodeURIComponent(id)}` }, id)],
      ["Scopes", ({ scopes }) => JSON.parse(scopes || "[]").join(", ") || "all"],
      ["Budget", describeBudget],
      "last_used_at",
      "expires_at",
      "enabled",
    ],
    empty: "There is no key yet. Add one: it lets a client in.",
    warning: " for good (a key that is to come back is switched off instead)",
    actions: (key, refresh) => [key.monthly_budget_usd > 0 && reset(key, refresh), rotate(key, refresh)],
  });
  return [el("h1", {}, "API keys"), list];
}

function describeBudget({ monthly_budget_usd: budget, current_spend_usd: spent }) {
  return budget > 0 ? [`${usd(spent ?? 0)} of ${usd(budget)} `, spent >= budget && badge("spent", "bad")] : "–";
}

export function aliasList(cx, models) {
  return manage(cx, {
    noun: "alias",
    list: "GET /admin/v1/aliases",
    create: "PUT /admin/v1/aliases/{name}",
    change: "PUT /admin/v1/aliases/{name}",
    remove: "DELETE /admin/v1/aliases/{name}",
    fields: "variants sticky_by enabled",
    limit: UNPAGED,
    columns: ["name", ["Stands for", ({ variants }) => variants.map(({ model_id, weight }) => `${model_id} × ${weight}`).join(", ")], "sticky_by", "enabled"],
    empty: "There is no alias. One gives a model another name, or shares traffic between several; * serves requests that leave the choice open.",
    options: { variants: models },
  });
}

export function secretList(cx) {
  const show = async ({ key }) => {
    const { value } = await cx.api.call("GET /admin/v1/vault/secrets/{key}", { key });
    openDialog(key, () => el("pre", {}, value));
  };
  return manage(cx, {
    noun: "secret",
    list: "GET /admin/v1/vault/secrets",
    rows: "secrets",
    create: "PUT /admin/v1/vault/secrets/{key}",
    change: "PUT /admin/v1/vault/secrets/{key}",
    remove: "DELETE /admin/v1/vault/secrets/{key}",
    fields: "value!",
    limit: UNPAGED,
    columns: ["key"],
    empty: "There is none. Providers' keys are not among them.",
    actions: (secret) => button("Show", () => show(secret)),
    toRow: (key) => ({ key }),
  });
}
