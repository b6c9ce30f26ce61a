// Forms, made of what openapi.json says of an operation's body: its fields, their kinds, and what they mean.

import { button, buttons, el, openDialog } from "./dom.js";
import { title, toLocalInput } from "./format.js";

const MODES = ["", "cheap", "normal", "high_confidence", "planning", "adversarial", "thompson"];
/** What the document leaves open. */
const HOUSE = {
  type: { options: ["openai", "anthropic", "vllm", "sandbox"] },
  mode: { options: MODES },
  default_mode: { options: MODES },
  scopes: { kind: "several", options: ["chat", "plan", "embeddings", "media", "payouts", "manage"], value: '["chat","plan"]' },
  variants: { kind: "shares" },
  expires_at: { kind: "time" },
  enabled: { value: true },
  rate_limit_rps: { min: -1 },
  token_count: { value: 1_000 },
};

let reading;

/** Reads the document once. */
function readDocument() {
  reading ??= fetch("/openapi.json").then((response) => response.json());
  reading.catch(() => (reading = undefined));
  return reading;
}

/** The fields of an operation, from their names: `"id! type enabled"`; `!` says that one is needed. */
export async function readFields(operation, names) {
  const api = await readDocument();
  const [method, path] = operation.split(" ");
  const body = resolve(api, api.paths[path][method.toLowerCase()].requestBody.content["application/json"].schema);
  return names.split(" ").map((word) => {
    const name = word.replace("!", "");
    const schema = body.properties[name];
    if (!schema) throw new Error(`${operation} has no field ${name}`);
    const meaning = resolve(api, schema);
    const hint = (schema.description ?? "").replaceAll("`", "").replaceAll("\n", " ");
    return { name, hint, required: word.endsWith("!"), ...readKind(name, meaning), ...HOUSE[name] };
  });
}

/** The schema itself, behind references and beside null. */
function resolve(api, schema) {
  if (schema.$ref) return resolve(api, schema.$ref.slice(2).split("/").reduce((node, name) => node[name], api));
  const meant = schema.anyOf?.find(({ type }) => type !== "null");
  return meant ? resolve(api, meant) : schema;
}

function readKind(name, { type, oneOf, enum: words }) {
  const types = [type].flat();
  if (oneOf || words) return { kind: "choice", options: words ?? oneOf.map((one) => one.const ?? one.enum[0]) };
  if (types.includes("boolean")) return { kind: "checkbox" };
  if (types.includes("integer")) return { kind: "number", step: 1 };
  if (types.includes("number")) return { kind: "number" };
  if (types.includes("object")) return { kind: "json" };
  return { kind: /password|api_key|^token$|^value$/.test(name) ? "password" : "text" };
}

/**
 * A form. With `values` it changes something that is there, and sends the fields that were changed alone.
 * `send(values)` may fail: then what was typed stays, and the reason stands below.
 */
export function form({ fields, values, verb = "Save", kind = "main", send }) {
  const controls = fields.map((field) => buildControl(field, values?.[field.name]));
  const before = controls.map(({ read }) => JSON.stringify(read()));
  const failure = el("p", { role: "alert", class: "error" });
  const submit = el("button", { type: "submit", class: kind }, verb);

  function collect() {
    const result = {};
    controls.forEach(({ field, read }, i) => {
      const value = read();
      const isSaid = values ? JSON.stringify(value) !== before[i] : value !== undefined;
      // What was emptied is taken away.
      if (isSaid) result[field.name] = value ?? (field.kind === "json" ? null : "");
    });
    return result;
  }

  async function run(event) {
    event.preventDefault();
    failure.textContent = "";
    submit.disabled = true;
    try {
      await send(collect());
    } catch (error) {
      failure.textContent = error.message;
    }
    submit.disabled = false;
  }

  return el("form", { onsubmit: run, autocomplete: "off" }, controls.map(({ node }) => node), failure, buttons(submit));
}

/** A form in a dialog, which begins in its first field and closes when it is sent. */
export function formDialog(title, { send, ...options }) {
  const fields = options.fields.map((field, i) => ({ ...field, autofocus: i === 0 }));
  openDialog(title, (close) => form({ ...options, fields, send: async (values) => (await send(values), close()) }));
}

let ids = 0;

function buildControl(field, known) {
  const { name, label = title(name), kind = field.options ? "choice" : "text", options = [], hint, value: standard, ...attributes } = field;
  const id = `field-${(ids += 1)}`;
  // A number that is there can be changed, not emptied: no price and a price of 0 are not the same.
  const required = attributes.required || (kind === "number" && typeof known === "number");
  const shared = { id, name, ...attributes, required, "aria-describedby": hint ? `${id}-hint` : undefined };
  const build = KINDS[options.length && kind === "text" ? "choice" : kind];
  const { node, read } = build({ shared, options, value: known ?? standard });
  const isGroup = kind === "several" || kind === "shares";
  const caption = isGroup ? el("legend", {}, label) : el("label", { for: id }, label, required && " *");
  const parts = [kind === "checkbox" ? [node, caption] : [caption, node], hint && el("small", { id: `${id}-hint` }, hint)];
  return { field: { ...field, kind }, read, node: el(isGroup ? "fieldset" : "div", { class: `field ${kind}` }, parts) };
}

/** What kinds of fields there are: each gives its node, and how its value is read (undefined: nothing is said). */
const KINDS = {
  text: ({ shared, value }) => input({ ...shared, value, spellcheck: "false" }, ({ value }) => value.trim() || undefined),
  // Spaces belong to a password.
  password: ({ shared }) => input({ autocomplete: "new-password", ...shared, type: "password" }, ({ value }) => value || undefined),
  number: ({ shared, value }) => input({ step: "any", min: 0, ...shared, type: "number", value }, ({ value }) => (value === "" ? undefined : Number(value))),
  checkbox: ({ shared, value }) => input({ ...shared, type: "checkbox", checked: Boolean(value) }, ({ checked }) => checked),
  time: ({ shared, value }) =>
    input({ ...shared, type: "datetime-local", value: toLocalInput(value) }, ({ value }) => (value ? new Date(value).toISOString() : undefined)),
  choice({ shared, value, options }) {
    const node = el("select", shared, options.map((option) => el("option", { value: option, selected: option === value }, option || "–")));
    return { node, read: () => node.value || undefined };
  },
  json({ shared, value }) {
    const node = el("textarea", { ...shared, rows: 3, spellcheck: "false" }, value ? JSON.stringify(value) : "");
    return { node, read: () => (node.value.trim() ? JSON.parse(node.value) : undefined) };
  },
  // A text that holds a JSON array, as keys have their scopes.
  several({ shared, value, options }) {
    const chosen = JSON.parse(value || "[]");
    const boxes = options.map((option) => el("input", { type: "checkbox", name: shared.name, value: option, checked: chosen.includes(option) }));
    const node = el("div", {}, boxes.map((box, i) => el("label", {}, box, options[i])));
    return { node, read: () => JSON.stringify(options.filter((_, i) => boxes[i].checked)) };
  },
  shares,
};

function input(attributes, read) {
  const node = el("input", attributes);
  return { node, read: () => read(node) };
}

/** Models with their shares, as many as one likes. */
function shares({ shared, value = [{}], options }) {
  const lines = el("div");
  const rows = new Set();
  const add = ({ model_id, weight = 1 }) => {
    const model = el("input", { value: model_id, list: `${shared.id}-models`, required: true, "aria-label": "Model" });
    const share = el("input", { type: "number", value: weight, min: 1, step: 1, required: true, "aria-label": "Share" });
    const row = { model, share };
    const line = el("div", { class: "share" }, model, share, button("Remove", () => (rows.delete(row), line.remove())));
    rows.add(row);
    lines.append(line);
  };
  value.forEach(add);
  const models = el("datalist", { id: `${shared.id}-models` }, options.map((option) => el("option", { value: option })));
  const read = () => Array.from(rows, ({ model, share }) => ({ model_id: model.value.trim(), weight: Number(share.value) }));
  return { node: el("div", {}, lines, models, button("Another model", () => add({}))), read };
}
