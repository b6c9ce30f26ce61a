// Routing, accounts and the vault.

import { badge, button, buttons, code, dangerButton, el, notify, put, section, showSecret, table } from "./dom.js";
import { form, readFields } from "./form.js";
import { count, time, usd } from "./format.js";
import { aliasList, secretList } from "./things.js";

/** A form of one operation; `then(answer)` follows it. `own` fields stand for the path. */
async function ask({ api }, operation, names, { own = [], once, then = () => notify("Saved."), ...options }) {
  const send = async (values) => {
    const body = { ...values };
    for (const { name } of own) delete body[name];
    await then(await api.call(operation, { ...values, body, once }));
  };
  return form({ fields: [...own, ...(await readFields(operation, names))], send, ...options });
}

export async function showRouting(cx) {
  const { api } = cx;
  const [defaults, { items: models }] = await Promise.all([api.call("GET /admin/v1/routing-config"), api.call("GET /admin/v1/models")]);
  const result = el("div", { "aria-live": "polite" });
  const asked = "token_count! mode model_hint max_budget_usd max_latency_ms min_weight";
  const then = (answer) => put(result, tellDecision(answer));
  return [
    el("h1", {}, "Routing"),
    section("What would a request get?", await ask(cx, "POST /admin/v1/routing/simulate", asked, { verb: "Simulate", then }), result),
    section("Aliases", await aliasList(cx, models.map(({ id }) => id))),
    section(
      "Defaults",
      el("p", {}, "They hold where a request does not say."),
      await ask(cx, "PUT /admin/v1/routing-config", "default_mode default_max_budget_usd default_max_latency_ms", { values: defaults }),
    ),
  ];
}

function tellDecision({ decision, error, eligible, skipped }) {
  const chosen = decision && [code(decision.model_id), ` of ${decision.provider_id}: ${decision.reason}, about ${usd(decision.estimated_cost_usd)}`];
  const columns = ["id", "provider_id", "score", "estimated_cost_usd", "weight", ["", ({ selected }) => selected && badge("asked first", "good")]];
  return [
    el("p", { class: decision ? "" : "error" }, chosen || error),
    table(columns, eligible, "No model is eligible."),
    skipped.length > 0 && [el("h3", {}, "Left out"), table(["id", "provider_id", "reason"], skipped)],
  ];
}

export async function showAccounts(cx) {
  const { api, argument } = cx;
  const [{ keys }, books] = await Promise.all([api.call("GET /admin/v1/apikeys", { query: { envelope: 1 } }), api.call("GET /admin/v1/reconciliation")]);
  const known = [...new Set(keys.map(({ account_id }) => account_id))];
  const own = [{ name: "id", label: "Account", required: true, list: "accounts", value: argument, hint: "Accounts with a key are suggested." }];
  const credited = ({ account_id, amount_usd, balance_usd }) => notify(`${usd(amount_usd)} added. ${account_id} has ${usd(balance_usd)}.`);
  const limited = (now) =>
    notify(`${now.account_id}: ${count(now.requests_per_minute)} a minute, ${count(now.requests_per_hour)} an hour, ${count(now.concurrent)} at once.`);
  const limits = "requests_per_minute requests_per_hour concurrent";
  return [
    el("h1", {}, "Accounts"),
    el("datalist", { id: "accounts" }, known.map((id) => el("option", { value: id }))),
    section("Credits", await ask(cx, "POST /admin/v1/accounts/{id}/credits", "amount_usd! reason", { own, once: true, verb: "Add credits", then: credited })),
    section("Rate limits", el("p", {}, "What is left empty stays."), await ask(cx, "PATCH /admin/v1/accounts/{id}/limits", limits, { own, then: limited })),
    section("Books", reconciliation(api, books)),
  ];
}

function reconciliation(api, books) {
  const place = el("div");
  const draw = ({ run, differences }) => {
    const state = run?.finished_at ? `${count(run.accounts)} accounts, ended ${time(run.finished_at)} ` : "Under way: compare again to go on. ";
    const told = run ? [state, badge(`${count(run.differences)} differences`, run.differences ? "bad" : "good")] : "Usage and ledgers were not compared yet.";
    const rows = differences.length > 0 && table(["account_id", "usage_usd", "ledger_usd", "fault", "found_at"], differences);
    put(place, el("p", {}, told), rows);
  };
  draw(books);
  return [place, buttons(button("Compare now", async () => draw(await api.call("POST /admin/v1/reconciliation"))))];
}

export async function showVault(cx) {
  const { vault_locked: isLocked, vault_initialized: isMade } = await cx.api.call("GET /admin/v1/info");
  const renewed = ({ token }) => {
    cx.changeToken(token);
    showSecret("The admin token", token, "It is shown this once. All other sessions have ended.");
  };
  const renew = await ask(cx, "POST /admin/v1/admin-token/rotate", "token", { verb: "Rotate the token", kind: "danger", then: renewed });
  return [
    el("h1", {}, "Vault ", badge(isLocked ? (isMade ? "locked" : "not made yet") : "unlocked", isLocked ? "bad" : "good")),
    isLocked ? await unlocking(cx, isMade) : await opened(cx),
    section("Admin token", el("p", {}, "Another one holds everywhere at once; the present one ends."), renew),
  ];
}

async function unlocking(cx, isMade) {
  const advice = isMade ? "Providers whose keys it holds take no traffic." : "The first password makes the vault. Keep it: nobody can open it without.";
  const unlock = await ask(cx, "POST /admin/v1/vault/unlock", "admin_password!", { verb: "Unlock", then: cx.reload });
  return section(isMade ? "Unlock" : "Choose a password", el("p", {}, advice), unlock);
}

async function opened(cx) {
  const lock = async () => {
    await cx.api.call("POST /admin/v1/vault/lock");
    await cx.reload();
  };
  const changed = () => (notify("The vault has another password."), cx.reload());
  return [
    buttons(dangerButton("Lock", "Lock the vault? Providers whose keys it holds take no more traffic until it is unlocked here.", lock)),
    section("Secrets", await secretList(cx)),
    section("Password", await ask(cx, "POST /admin/v1/vault/rotate", "old_password! new_password!", { verb: "Change", then: changed })),
  ];
}
