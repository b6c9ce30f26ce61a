// What pages are made of. Text of the server only ever becomes text: nothing here reads HTML.

import { tell, title } from "./format.js";

/** An element; attributes that begin with "on" are listeners, those that are false or missing are left out. */
export const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const svg = (tag, attributes, ...children) => fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (!isThere(value)) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...flat(children));
  return node;
}

const isThere = (value) => value !== undefined && value !== null && value !== false;
const flat = (children) => children.flat(Infinity).filter(isThere);

/** Puts these in the place of what is in there. */
export const put = (node, ...children) => node.replaceChildren(...flat(children));

/** Says something at the edge of the page: errors until they are closed, all else for a while. */
export function notify(message, kind = "done") {
  const notice = el("p", { class: `notice ${kind}` }, message, el("button", { type: "button", "aria-label": "Close", onclick: () => notice.remove() }, "×"));
  document.getElementById("notices").append(notice);
  if (kind === "done") setTimeout(() => notice.remove(), 6_000);
}

/** Does something and tells what went wrong, unless somebody has left meanwhile. */
export async function attempt(work) {
  try {
    await work();
    return true;
  } catch (error) {
    if (error.name !== "AbortError") notify(error.message, "error");
    return false;
  }
}

/** A button whose work may take time and may fail. */
export function button(label, work, kind) {
  const node = el("button", { type: "button", class: kind, onclick: run }, label);
  async function run() {
    node.disabled = true;
    await attempt(work);
    node.disabled = false;
  }
  return node;
}

/** A button for what cannot be undone: it asks first. */
export const dangerButton = (label, question, work) => button(label, async () => (await confirm(question, label)) && work(), "danger");

/** On or off at once; it falls back when that fails. */
export function toggle(label, isOn, change) {
  const input = el("input", { type: "checkbox", role: "switch", checked: isOn, "aria-label": label, onchange: run });
  async function run() {
    input.disabled = true;
    if (!(await attempt(() => change(input.checked)))) input.checked = !input.checked;
    input.disabled = false;
  }
  return input;
}

export const badge = (word, kind) => el("span", { class: `badge ${kind || ""}` }, word);
export const code = (text) => el("code", {}, text || "–");
export const buttons = (...children) => el("div", { class: "buttons" }, children);
export const section = (title, ...children) => el("section", {}, el("h2", {}, title), children);
export const select = (label, names, onchange, chosen) =>
  el("select", { "aria-label": label, onchange }, names.map((name) => el("option", { value: name, selected: name === chosen }, name || "all")));

/** A table. A column is a field's name or `[title, (row) => content]`; without rows it says what to do next. */
export function table(columns, rows, empty) {
  if (rows.length === 0) return el("p", { class: "empty" }, empty);
  const cells = columns.map((column) => (typeof column === "string" ? [title(column), (row) => tellCell(column, row[column])] : column));
  const head = el("tr", {}, cells.map(([title]) => el("th", { scope: "col" }, title)));
  // On a phone each cell tells its column.
  const line = (row) => el("tr", {}, cells.map(([title, content]) => el("td", { "data-title": title }, content(row))));
  return el("table", {}, el("thead", {}, head), el("tbody", {}, rows.map(line)));
}

const GOOD = /^(true|healthy|completed|success|2\d\d)$/i, BAD = /fail|error|down|timed|^[45]\d\d$/i;

function tellCell(name, value) {
  if (/^(id|name|key|action|\w+_id)$/.test(name)) return code(value);
  if (!/^(state|status|status_code|success|type)$/.test(name)) return tell(name, value);
  return badge(tell(name, value).replaceAll("_", " "), GOOD.test(value) ? "good" : BAD.test(value) ? "bad" : "");
}

/** A dialog; `build(close)` gives what is in it. One that is `kept` closes by its own buttons alone. */
export function openDialog(title, build, isKept = false) {
  const dialog = el("dialog", { "aria-label": title });
  const close = () => dialog.close();
  const cross = !isKept && el("button", { type: "button", "aria-label": "Close", onclick: close }, "×");
  put(dialog, el("header", {}, el("h2", {}, title), cross), build(close));
  dialog.addEventListener("close", () => {
    dialog.remove();
    // What opened it may be gone.
    if (document.activeElement === document.body) document.getElementById("main")?.focus();
  });
  dialog.addEventListener("cancel", (event) => isKept && event.preventDefault());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

export function confirm(question, verb) {
  return new Promise((resolve) => {
    const yes = (close) => () => (resolve(true), close());
    // Escape is a no as well.
    openDialog(question, (close) => buttons(button(verb, yes(close), "danger"), button("Cancel", close))).addEventListener("close", () => resolve(false));
  });
}

/** Shows what is shown this once. */
export function showSecret(title, secret, advice) {
  const shown = el("input", { readonly: true, value: secret, "aria-label": title, class: "secret" });
  const copy = async () => {
    shown.select();
    // Without TLS browsers have no clipboard.
    await navigator.clipboard?.writeText(secret);
    notify(navigator.clipboard ? "Copied." : "Selected: copy it by hand.");
  };
  openDialog(title, (close) => [el("p", {}, advice), shown, buttons(button("Copy", copy, "main"), button("I have kept it", close))], true);
}

/** All that is known of something. */
export function showDetails(title, item) {
  const lines = Object.entries(item).map(([name, value]) => [el("dt", {}, name), el("dd", {}, tell(name, value))]);
  openDialog(title, () => el("dl", {}, lines));
}
