// How it goes: what is missing, numbers of the last minutes and hours, providers' health, and what happens right now.

import { attempt, badge, buttons, el, put, section, select, table } from "./dom.js";
import { count, ms, percent, usd, words } from "./format.js";

const WINDOWS = ["1m", "5m", "1h", "24h"];
const REFRESH_MS = 10_000, DRAW_MS = 200;
const SHOWN_EVENTS = 50, SHOWN_PARTS = 10;

export async function showOverview({ api, feed, signal }) {
  const state = el("div");
  const numbers = el("div");
  const span = select("Window", WINDOWS, () => attempt(refresh), "1h");

  async function refresh() {
    const [health, info, stats, { providers }] = await Promise.all([
      // 503 says that something is missing, and what.
      api.call("GET /healthz").catch((error) => error.body ?? Promise.reject(error)),
      api.call("GET /admin/v1/info"),
      api.call("GET /admin/v1/stats"),
      api.call("GET /admin/v1/health"),
    ]);
    const chosen = span.value;
    put(state, tellState(health, info));
    put(numbers, cards(stats.global[chosen]?.[0]), tellParts(stats, chosen), section("Providers", tellHealth(providers)));
  }

  await refresh();
  // Told once, in the place of the state, however often it fails.
  const fail = (error) => error.name === "AbortError" || put(state, el("p", { class: "error" }, error.message));
  const timer = setInterval(() => document.hidden || refresh().catch(fail), REFRESH_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  return [el("h1", {}, "Overview"), state, buttons(el("label", {}, "The last ", span)), numbers, section("Live", liveEvents(feed, signal))];
}

function tellState({ ok, adapters, models }, { vault_locked: isLocked, vault_initialized: isMade, config_faults: faults }) {
  const hint = (words, href, verb) => el("p", { class: "hint" }, `${words} `, el("a", { href }, verb));
  return [
    el("p", {}, badge(ok ? "serving" : "not serving", ok ? "good" : "bad"), ` ${count(adapters)} providers, ${count(models)} models`),
    faults.map((fault) => el("p", { class: "error" }, `Off, for its settings: ${fault}`)),
    !adapters && hint("No provider takes traffic.", "#providers", "Add one"),
    adapters > 0 && !models && hint("No model is registered.", "#models", "Add one"),
    isLocked && hint(isMade ? "The vault is locked." : "The vault has no password yet: providers' keys can't be kept.", "#vault", "Open it"),
  ];
}

function cards(sums) {
  if (!sums?.request_count) return el("p", { class: "empty" }, "No request in this time.");
  const card = (title, value) => el("div", { class: "card" }, title, el("strong", {}, value));
  return el("div", { class: "cards" }, [
    card("Requests", count(sums.request_count)),
    card("Errors", percent(sums.error_rate)),
    card("Average", ms(sums.avg_latency_ms)),
    card("95 of 100 within", ms(sums.p95_latency_ms)),
    card("Tokens", count(sums.total_tokens)),
    card("Cost", usd(sums.total_cost_usd)),
  ]);
}

function tellParts(stats, chosen) {
  const part = (rows, name) => {
    const sorted = [...(rows[chosen] ?? [])].sort((a, b) => b.request_count - a.request_count);
    return sorted.length > 0 && table([name, "request_count", "error_rate", "avg_latency_ms", "total_cost_usd"], sorted.slice(0, SHOWN_PARTS));
  };
  return [part(stats.by_model, "model_id"), part(stats.by_provider, "provider_id"), part(stats.by_api_key, "api_key_name"), part(stats.by_mode, "mode")];
}

function tellHealth(providers) {
  const counts = "provider_id state total_requests total_errors consec_errors avg_latency_ms";
  return table(words(`${counts} last_success_at last_error_time last_error cooldown_until`), providers, "There is no provider yet.");
}

function liveEvents(feed, signal) {
  const place = el("div", { class: "feed", tabindex: 0, role: "region", "aria-label": "Live events" });
  const why = ({ reason, error_msg, old_state, new_state }) => [reason, error_msg, new_state && `${old_state} → ${new_state}`].filter(Boolean).join("; ");
  const columns = [...words("timestamp type model_id provider_id api_key_name latency_ms cost_usd"), ["Why", why]];
  let isWaiting = false;
  const draw = () => {
    isWaiting = false;
    put(place, table(columns, feed.events.slice(0, SHOWN_EVENTS), "Nothing yet. Requests and changes show here as they happen."));
  };
  draw();
  // Many events at once are drawn once.
  const hear = () => {
    if (!isWaiting) setTimeout(draw, DRAW_MS);
    isWaiting = true;
  };
  feed.hear(hear, signal);
  return place;
}
