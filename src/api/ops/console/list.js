// Lists by pages, and things that are listed, made, changed and deleted.

import { button, buttons, dangerButton, el, notify, put, showDetails, showSecret, table, toggle } from "./dom.js";
import { formDialog, readFields } from "./form.js";

/** A list by pages with a filter. `load({ limit, offset })` gives `{ items, total }`. */
export function pagedList({ load, columns, empty, limit = 50, extra }) {
  let page = { items: [], total: 0, offset: 0 };
  const rows = el("div");
  const range = el("span", { "aria-live": "polite" });
  const filter = el("input", { type: "search", placeholder: "Filter what is shown", "aria-label": "Filter what is shown", oninput: show });
  const back = button("Back", () => read(page.offset - limit));
  const on = button("Next", () => read(page.offset + limit));

  async function read(offset) {
    const from = Math.max(0, offset);
    const { items, total = items.length } = await load({ limit, offset: from });
    // The last row of a page may be gone.
    if (items.length === 0 && from > 0) return read(from - limit);
    page = { items, total, offset: from };
    show();
  }

  function show() {
    const { items, total, offset } = page;
    const shown = items.filter((item) => JSON.stringify(item).toLowerCase().includes(filter.value.toLowerCase()));
    put(rows, table(columns, shown, items.length ? "Nothing fits the filter." : empty));
    range.textContent = items.length ? `${offset + 1}–${offset + items.length} of ${total}` : "";
    back.hidden = offset === 0;
    on.hidden = offset + items.length >= total;
  }

  const refresh = () => read(page.offset);
  return { node: el("div", {}, el("div", { class: "bar" }, extra, filter, button("Refresh", refresh), range, back, on), rows), refresh };
}

/** A page that is a list alone; `rows` says where the answer has them. */
export async function showLog({ api }, { title, list, rows, columns, empty, query = () => ({}), actions = () => [], limit, extra }) {
  const load = async (page) => {
    const { [rows]: items, total } = await api.call(list, { query: { ...page, ...query() } });
    return { items, total };
  };
  const all = [...columns, ["", (item) => buttons(button("Details", () => showDetails(title, item)), actions(item))]];
  const shown = pagedList({ load, columns: all, empty, limit, extra });
  extra?.addEventListener("change", shown.refresh);
  await shown.refresh();
  return [el("h1", {}, title), shown.node];
}

/**
 * Things that are kept. `list`, `create`, `change` and `remove` are the API's operations; the parameter of the last says what
 * a thing is known by. `fields` are those of the forms, `newFields` those of a new thing alone.
 */
export async function manage(cx, thing) {
  const { noun, list, rows = "items", toRow = (row) => row, create, change, remove, columns, empty, warning = "", limit, actions = () => [] } = thing;
  const { api } = cx;
  const by = remove.match(/\{(\w+)\}/)[1];
  const known = (item) => ({ [by]: item[by] });
  const name = (item) => `${noun} ${item.name ?? item[by]}`;

  const load = async (page) => {
    const { [rows]: items, total } = await api.call(list, { query: page });
    return { items: items.map(toRow), total };
  };
  const drop = (item) =>
    dangerButton("Delete", `Delete ${name(item)}${warning}?`, async () => {
      await api.call(remove, known(item));
      await shown.refresh();
    });
  const refresh = () => shown.refresh();
  const edit = (item) => openEditor(cx, thing, { title: name(item), values: item, known, refresh });
  const add = () => openEditor(cx, thing, { title: `Add ${noun}`, known, by: create.includes("{") && by, refresh });
  const isOn = (item) => toggle(`${name(item)} is on`, item.enabled, (enabled) => api.call(change, { ...known(item), body: { enabled } }));
  const isPatched = change.startsWith("PATCH");
  const shown = pagedList({
    load,
    columns: [
      ...columns.map((column) => (column === "enabled" && isPatched ? ["On", isOn] : column)),
      ["", (item) => buttons(button("Edit", () => edit(item)), actions(item, refresh), drop(item))],
    ],
    empty,
    limit,
    extra: button(`Add ${noun}`, add, "main"),
  });
  await shown.refresh();
  return shown.node;
}

/** The form of a new thing, or with `values` of one that is there; `by` is asked for where the path of a new one names it. */
async function openEditor({ api }, thing, { title, values, known, by, refresh }) {
  const { create, change, fields, newFields, options = {}, done = () => notify("Saved.") } = thing;
  const operation = values ? change : create;
  const names = values || !newFields ? fields : `${newFields} ${fields}`;
  const read = await readFields(operation, names);
  const all = read.map((field) => ({ ...field, options: options[field.name] ?? field.options }));
  if (by) all.unshift({ name: by, required: true });
  const whole = values && operation.startsWith("PUT") && Object.fromEntries(read.map(({ name }) => [name, values[name]]));

  const send = async (typed) => {
    // What is put is put as a whole.
    const body = { ...whole, ...typed };
    if (by) delete body[by];
    const answer = await api.call(operation, { ...known(values ?? typed), body, once: operation.startsWith("POST") });
    if (answer.key && answer.warning) showSecret("Shown this once", answer.key, answer.warning);
    else done(answer);
    await refresh();
  };
  formDialog(title, { fields: all, values, verb: values ? "Save" : "Add", send });
}
