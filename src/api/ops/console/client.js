// The API as the console calls it: by the operations of openapi.json. What goes wrong is an ApiError, in the API's own words.

export class ApiError extends Error {
  constructor(message, status, body) {
    super(message);
    Object.assign(this, { status, body });
  }

  /** Whether it was the token that was refused: a vault's wrong password is a 401 too. */
  get isSignedOut() {
    return this.status === 401 && /admin token/.test(this.message);
  }
}

/** Idempotency keys of what was asked and not answered: asked again, it happens once. */
const unanswered = new Map();

/** Calls with a token. Reading ends with `signal`; what changes something is never broken off. */
export class Client {
  #options;

  constructor({ token, signal, refused = () => {}, fetch = globalThis.fetch.bind(globalThis) }) {
    this.#options = { token, signal, refused, fetch };
  }

  /** `call("PATCH /admin/v1/models/{id}", { id, body })`; what may happen `once` alone is told so until it is answered. */
  async call(operation, { query = {}, body, once = false, ...values } = {}) {
    const [method, template] = operation.split(" ");
    const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
    const path = template.replace(/\{(\w+)\}/, (_, name) => encodeURIComponent(values[name])) + (given.length ? `?${new URLSearchParams(given)}` : "");
    const request = { method, headers: {}, signal: method === "GET" ? this.#options.signal : undefined };
    if (body !== undefined) {
      request.body = JSON.stringify(body);
      request.headers["content-type"] = "application/json";
    }
    const response = await (once ? this.#sendOnce(path, request) : this.#send(path, request));
    return readJson(await response.text());
  }

  async #sendOnce(path, request) {
    const asked = `${path} ${request.body}`;
    const key = unanswered.get(asked) ?? drawKey();
    unanswered.set(asked, key);
    request.headers["idempotency-key"] = key;
    try {
      const response = await this.#send(path, request);
      unanswered.delete(asked);
      return response;
    } catch (error) {
      if (error.status > 0 && error.status < 500) unanswered.delete(asked);
      throw error;
    }
  }

  /** A response that is read while it comes. */
  stream(path, headers, signal) {
    return this.#send(path, { method: "GET", headers, signal });
  }

  async #send(path, request) {
    const { token, fetch, refused } = this.#options;
    const headers = { ...request.headers, authorization: `Bearer ${token}` };
    // A cookie must not stand in for a wrong token.
    const sent = fetch(path, { ...request, headers, cache: "no-store", credentials: "omit" });
    const response = await sent.catch((error) => {
      throw error.name === "AbortError" ? error : new ApiError("The server cannot be reached.", 0);
    });
    if (response.ok) return response;
    const error = await readFailure(response);
    if (error.isSignedOut) refused(error);
    throw error;
  }
}

function drawKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function readJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function readFailure(response) {
  const text = await response.text();
  const body = readJson(text);
  const said = body?.error?.message ?? body?.error ?? text.slice(0, 200);
  const wait = response.headers.get("retry-after");
  const id = response.status >= 500 && response.headers.get("x-request-id");
  const message = `${said || `HTTP ${response.status}`}${wait ? ` (again in ${wait} s)` : ""}${id ? ` (${id})` : ""}`;
  return new ApiError(message, response.status, body);
}
