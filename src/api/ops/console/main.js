// The console: who comes in, which page is shown, and what goes on behind all of them.

import { Client } from "./client.js";
import { attempt, badge, el, notify, put } from "./dom.js";
import { Feed } from "./feed.js";
import { form } from "./form.js";
import { showAudit, showRequests, showRewards, showWorkflows } from "./logs.js";
import { showOverview } from "./overview.js";
import { showCharts } from "./series.js";
import { showAccounts, showRouting, showVault } from "./settings.js";
import { showKeys, showModels, showProviders } from "./things.js";

const PAGES = {
  overview: ["Overview", showOverview],
  charts: ["Charts", showCharts],
  providers: ["Providers", showProviders],
  models: ["Models", showModels],
  routing: ["Routing", showRouting],
  keys: ["API keys", showKeys],
  accounts: ["Accounts", showAccounts],
  vault: ["Vault", showVault],
  requests: ["Requests", showRequests],
  audit: ["Audit", showAudit],
  rewards: ["Rewards", showRewards],
  workflows: ["Workflows", showWorkflows],
};

/** The token, until the tab is closed; where the browser keeps nothing, until the page is left. */
const memory = {
  token: undefined,
  read() {
    try {
      return this.token ?? sessionStorage.getItem("guildhall-admin") ?? undefined;
    } catch {
      return this.token;
    }
  },
  write(token) {
    this.token = token;
    try {
      if (token === undefined) sessionStorage.removeItem("guildhall-admin");
      else sessionStorage.setItem("guildhall-admin", token);
    } catch {
      // Then it is kept here alone.
    }
  },
};

const root = document.getElementById("console");
let feed = new Feed();
let session = new AbortController();
let page = new AbortController();

function showSignIn(reason = "") {
  const send = async ({ token }) => {
    await new Client({ token }).call("GET /admin/v1/info");
    memory.write(token);
    enter();
  };
  const fields = [{ name: "token", label: "Admin token", kind: "password", required: true, autocomplete: "current-password", autofocus: true }];
  const help = el("p", {}, "npm start and npm run deploy print it. It stays in this tab. ", el("a", { href: "/docs" }, "API reference"));
  const complaint = reason && el("p", { class: "error" }, reason);
  put(root, el("main", { class: "sign-in" }, el("h1", {}, "Guildhall"), complaint, form({ fields, verb: "Sign in", send }), help));
}

function signOut(reason) {
  session.abort();
  page.abort();
  memory.write(undefined);
  document.querySelectorAll("dialog").forEach((dialog) => dialog.remove());
  document.title = "Guildhall";
  showSignIn(reason);
}

/** Builds what stands around every page, and begins to listen. */
function enter() {
  session = new AbortController();
  feed = new Feed();
  const { signal } = session;
  const state = el("span");
  const tellState = () => put(state, badge(feed.state, feed.state === "connected" ? "good" : ""));
  const links = Object.entries(PAGES).map(([name, [title]]) => el("a", { href: `#${name}` }, title));
  const out = el("button", { type: "button", onclick: () => signOut() }, "Sign out");
  const top = el("header", { class: "top" }, el("strong", {}, "Guildhall"), state, el("a", { href: "/docs" }, "API"), out);
  put(root, top, el("nav", { "aria-label": "Pages" }, links), el("main", { id: "main", tabindex: -1 }));
  tellState();
  feed.hear((event) => event || tellState(), signal);
  // Each attempt with the token that holds then.
  feed.run((headers, attempt) => clientOf(signal).stream("/admin/v1/events", headers, attempt), signal);
  showPage();
}

function clientOf(signal) {
  return new Client({ token: memory.read(), signal, refused: (error) => signal.aborted || signOut(error.message) });
}

/** Shows the page that the address names; what another page still reads is broken off. */
async function showPage() {
  const main = document.getElementById("main");
  if (!main) return;
  page.abort();
  page = new AbortController();
  const { signal } = page;
  const [name, argument] = location.hash.slice(1).split("/");
  const known = Object.hasOwn(PAGES, name) ? name : "overview";
  const [title, show] = PAGES[known];
  document.title = `${title} – Guildhall`;
  for (const link of root.querySelectorAll("nav a")) {
    link.setAttribute("aria-current", link.getAttribute("href") === `#${known}` ? "page" : "false");
  }
  main.setAttribute("aria-busy", "true");
  const isShown = await attempt(async () => {
    const of = argument && decodeURIComponent(argument);
    const nodes = await show({ api: clientOf(signal), feed, signal, argument: of, reload: showPage, changeToken });
    if (!signal.aborted) put(main, nodes);
  });
  if (signal.aborted) return;
  if (!isShown) put(main, el("h1", {}, title), el("p", {}, "This page could not be read."), el("button", { type: "button", onclick: showPage }, "Try again"));
  main.removeAttribute("aria-busy");
}

function changeToken(token) {
  memory.write(token);
  showPage();
}

window.addEventListener("hashchange", async () => {
  await showPage();
  document.getElementById("main")?.focus();
});
window.addEventListener("unhandledrejection", ({ reason }) => notify(reason?.message ?? String(reason), "error"));
if (memory.read()) enter();
else showSignIn();
