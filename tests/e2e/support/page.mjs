// As much of a browser's page as the console needs: a tree of elements, their values, and events. Nothing is drawn.

export class Node {
  parent;
}

class Text extends Node {
  constructor(text) {
    super();
    this.textContent = text;
  }
}

class Element extends Node {
  children = [];
  disabled = false;
  hidden = false;
  #attributes = new Map();
  #listeners = new Map();
  #value;
  #checked;

  constructor(tag) {
    super();
    this.tag = tag;
  }

  setAttribute(name, value) {
    this.#attributes.set(name, `${value}`);
  }

  getAttribute(name) {
    return this.#attributes.get(name) ?? null;
  }

  removeAttribute(name) {
    this.#attributes.delete(name);
  }

  append(...nodes) {
    for (const node of nodes) {
      const child = node instanceof Node ? node : new Text(`${node}`);
      child.remove?.();
      child.parent = this;
      this.children.push(child);
    }
  }

  replaceChildren(...nodes) {
    for (const child of this.children) child.parent = undefined;
    this.children = [];
    this.append(...nodes);
  }

  remove() {
    if (this.parent) this.parent.children = this.parent.children.filter((child) => child !== this);
    this.parent = undefined;
  }

  get textContent() {
    return this.children.map((child) => child.textContent).join("");
  }

  set textContent(text) {
    this.replaceChildren(...(text === "" ? [] : [text]));
  }

  get value() {
    if (this.#value !== undefined) return this.#value;
    if (this.tag === "textarea") return this.textContent;
    if (this.tag !== "select") return this.getAttribute("value") ?? "";
    const options = this.all("option");
    return (options.find((option) => option.getAttribute("selected") !== null) ?? options[0])?.getAttribute("value") ?? "";
  }

  set value(value) {
    this.#value = `${value}`;
  }

  get checked() {
    return this.#checked ?? this.getAttribute("checked") !== null;
  }

  set checked(value) {
    this.#checked = value;
  }

  addEventListener(type, listener) {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }

  /** Tells an event to whoever listens here, and waits for what they do. */
  async dispatch(type, fields = {}) {
    const event = { type, target: this, currentTarget: this, preventDefault() {}, ...fields };
    for (const listener of this.#listeners.get(type) ?? []) await listener(event);
  }

  get elements() {
    return this.children.filter((child) => child instanceof Element);
  }

  /** Elements below of this tag that fit. */
  all(tag, fits = () => true) {
    const isOne = (node) => node.tag === tag && fits(node);
    return this.elements.flatMap((child) => (isOne(child) ? [child, ...child.all(tag, fits)] : child.all(tag, fits)));
  }

  querySelectorAll(selector) {
    return selector.split(" ").reduce((found, tag) => found.flatMap((node) => node.all(tag)), [this]);
  }

  showModal() {}

  close() {
    void this.dispatch("close");
  }

  focus() {}

  select() {}
}

/** Puts a page in the place of the browser's, with the elements of these ids; its calls go to `origin`. */
export function openPage(origin, ids) {
  const body = new Element("body");
  for (const id of ids) {
    const element = new Element("div");
    element.setAttribute("id", id);
    body.append(element);
  }
  const kept = new Map();
  const listeners = new Map();
  const document = {
    body,
    title: "",
    hidden: false,
    createElement: (tag) => new Element(tag),
    createElementNS: (_, tag) => new Element(tag),
    getElementById: (id) => find(body, id),
    querySelectorAll: (selector) => body.querySelectorAll(selector),
  };
  const request = globalThis.fetch;
  Object.assign(globalThis, {
    document,
    location: { hash: "" },
    window: { addEventListener: (type, listener) => listeners.set(type, listener) },
    sessionStorage: { getItem: (name) => kept.get(name) ?? null, setItem: (name, value) => kept.set(name, value), removeItem: (name) => kept.delete(name) },
    fetch: (path, options) => request(new URL(path, origin), options),
  });
  return { body, kept, text: () => body.textContent, go: (hash) => ((globalThis.location.hash = hash), listeners.get("hashchange")()) };
}

function find(element, id) {
  if (element.getAttribute("id") === id) return element;
  for (const child of element.elements) {
    const found = find(child, id);
    if (found) return found;
  }
  return null;
}
