// What the Worker does in JavaScript because each call from wasm costs: every function here is one crossing.
// Headers travel as one text, "name\nvalue\n…": no header value can hold a line end.

const FIELDS = ["authorization", "x-api-key", "content-length", "idempotency-key", "origin", "accept",
  "access-control-request-method", "cf-connecting-ip"];

export function read_head(request) {
  const headers = request.headers;
  let text = request.method + "\n" + request.url;
  for (const field of FIELDS) text += "\n" + (headers.get(field) ?? "");
  return text;
}

export async function read_body(request, maxBytes) {
  return readAll(request, Number(request.headers.get("content-length") ?? -1), maxBytes);
}

// A length that is stated and small is read in one step; anything else is counted while it comes.
async function readAll(message, statedBytes, maxBytes) {
  if (!message.body) return new Uint8Array(0);
  if (statedBytes >= 0 && statedBytes <= maxBytes) return new Uint8Array(await message.arrayBuffer());
  const reader = message.body.getReader();
  const chunks = [];
  let bytes = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    bytes += value.byteLength;
    if (bytes > maxBytes) {
      reader.cancel().catch(() => {});
      throw "too_large";
    }
    chunks.push(value);
  }
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.byteLength;
  }
  return whole;
}

function toHeaders(text) {
  const parts = text.split("\n");
  const headers = {};
  for (let i = 0; i + 1 < parts.length; i += 2) headers[parts[i]] = parts[i + 1];
  return headers;
}

// Sends a request outside. Gives [status, contentType, retryAfter, bytes, reader | null]; throws a word.
export async function send(signal, method, url, headers, body, stream, maxBytes, firstByteMs) {
  const abort = new AbortController();
  let why = "";
  const leave = () => { why ||= "client_gone"; abort.abort(); };
  if (signal) {
    if (signal.aborted) throw "client_gone";
    signal.addEventListener("abort", leave, { once: true });
  }
  const timer = setTimeout(() => { why ||= "timed_out"; abort.abort(); }, firstByteMs);
  try {
    const response = await fetch(url, { method, headers: toHeaders(headers), body, redirect: "manual", signal: abort.signal });
    const type = response.headers.get("content-type") ?? "";
    const retryAfter = response.headers.get("retry-after") ?? "";
    if (stream && response.ok && type.startsWith("text/event-stream") && response.body) {
      const reader = response.body.getReader();
      const { done, value } = await reader.read();
      return [response.status, type, retryAfter, done ? new Uint8Array(0) : value, done ? null : { reader, abort }];
    }
    const statedBytes = Number(response.headers.get("content-length") ?? -1);
    return [response.status, type, retryAfter, await readAll(response, statedBytes, maxBytes), null];
  } catch (error) {
    if (error === "too_large") { abort.abort(); throw error; }
    throw why || "broken: " + error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", leave);
  }
}

export function respond(status, headers, body) {
  return new Response(body ?? null, { status, headers: toHeaders(headers) });
}

// How a stream ended; the numbers of `StreamEnd` in response.rs.
const EOF = 0, BROKEN = 1, STALLED = 2, CLIENT_GONE = 3;

// Answers with `first`, then with what the tap makes of each chunk of the upstream's stream.
export function relay(context, signal, status, headers, first, source, tap, stallMs) {
  const { readable, writable } = new IdentityTransformStream();
  context.waitUntil(pump(writable.getWriter(), signal, first, source, tap, stallMs));
  return new Response(readable, { status, headers: toHeaders(headers) });
}

async function pump(writer, signal, first, { reader, abort }, tap, stallMs) {
  let end = EOF;
  // One timer watches the whole stream and looks when the last chunk came: no timer per chunk.
  let heard = Date.now();
  let timer = setTimeout(watch, stallMs);
  function watch() {
    const left = heard + stallMs - Date.now();
    if (left > 0) { timer = setTimeout(watch, left); return; }
    end = STALLED;
    abort.abort();
  }
  const leave = () => { end = CLIENT_GONE; abort.abort(); };
  signal?.addEventListener("abort", leave, { once: true });
  try {
    if (first.byteLength) await write(writer, first);
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      heard = Date.now();
      const out = tap.push(value);
      if (out.byteLength) await write(writer, out);
      if (tap.is_stopped()) {
        end = -1;
        abort.abort();
        break;
      }
    }
  } catch (error) {
    if (error === GONE) end = CLIENT_GONE;
    else if (end === EOF) end = BROKEN;
    if (end === CLIENT_GONE) abort.abort();
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", leave);
  }
  try {
    const last = end >= 0 ? tap.end(end) : new Uint8Array(0);
    if (end !== CLIENT_GONE && last.byteLength) await writer.write(last);
    await writer.close();
  } catch {
    // The client is gone; the books are closed already.
  } finally {
    tap.free();
  }
}

const GONE = Symbol("client gone");

async function write(writer, bytes) {
  try {
    await writer.write(bytes);
  } catch {
    throw GONE;
  }
}

// Runs [[sql, [params]], …] as one batch; gives [[rows, changes], …] as JSON.
export async function run_sql(env, binding, statements) {
  const db = env[binding];
  const list = JSON.parse(statements).map(([sql, params]) => db.prepare(sql).bind(...params));
  const results = list.length === 1 ? [await list[0].all()] : await db.batch(list);
  return JSON.stringify(results.map((result) => [result.results ?? [], result.meta?.changes ?? 0]));
}

export async function call_object(env, binding, name, command) {
  const response = await env[binding].getByName(name).fetch("https://object/", { method: "POST", body: command });
  const reply = new Uint8Array(await response.arrayBuffer());
  if (!response.ok) throw `object ${binding}: ${response.status} ${new TextDecoder().decode(reply.subarray(0, 300))}`;
  return reply;
}

export function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

export function read_setting(env, name) {
  const value = env[name];
  return typeof value === "string" ? value : undefined;
}

export function random_bytes(count) {
  return crypto.getRandomValues(new Uint8Array(count));
}

export function signal_of(request) {
  return request.signal;
}

export function wait_until(context, promise) {
  context.waitUntil(promise);
}

export function log(line) {
  console.log(line);
}

export function read_messages(batch) {
  return JSON.stringify(batch.messages.map((message) => message.body));
}
