// What the Worker does in JavaScript because each call from wasm costs: every function here is one crossing.
// Headers travel as one text, "name\nvalue\n…": no header value can hold a line end.
// What takes time is given a number, and `resume` is told when it is over (see executor.rs).

export const RESOLVED = 0, REJECTED = 1, OPEN = 2;
export let resume;

// Takes the module's exports as they are: a closure would put three calls before each of `resume`.
export function connect(exports) {
  ({ resume } = exports);
}

function settle(id, promise) {
  promise.then((value) => resume(id, RESOLVED, value), (error) => resume(id, REJECTED, error));
}

// In the order of `Head` and of `RareHead` in request.rs.
const FIELDS = ["authorization", "x-api-key", "content-length", "idempotency-key", "origin", "cf-connecting-ip",
  "cache-control", "x-tokaroo-cache-control"];
const RARE_FIELDS = ["content-type", "accept", "if-none-match", "access-control-request-method", "cookie", "last-event-id",
  "stripe-signature", "user-agent", "anthropic-version", "anthropic-beta"];

export function read_head(request) {
  return request.method + "\n" + request.url + "\n" + readFields(request, FIELDS);
}

export function read_rare_head(request) {
  return readFields(request, RARE_FIELDS);
}

function readFields({ headers }, names) {
  let text = "";
  for (const name of names) text += (headers.get(name) ?? "") + "\n";
  return text;
}

export function read_body(id, request, statedBytes, maxBytes) {
  settle(id, readAll(request, statedBytes, maxBytes, drainReader));
}

const DRAIN_MAX_BYTES = 64 << 20, DRAIN_MAX_MS = 5000;

// Takes what the client still sends of a body that nobody wants: closed upon while it writes, it would not see the answer.
export function drain_body(id, request) {
  settle(id, drain(request).catch(() => {}));
}

async function drain(request) {
  if (request.body && !request.bodyUsed) await drainReader(request.body.getReader());
}

async function drainReader(reader) {
  const timer = setTimeout(cancelReader, DRAIN_MAX_MS, reader);
  for (let bytes = 0; bytes < DRAIN_MAX_BYTES;) {
    const { done, value } = await reader.read();
    if (done) break;
    bytes += value.byteLength;
  }
  clearTimeout(timer);
  cancelReader(reader);
}

// Nobody reads on; what was still to come is not wanted.
export const cancelReader = (reader) => reader?.cancel().catch(() => {});

// A length that is stated and small is read in one step, without making a stream of it; anything else (a length of -1 is
// unknown) is counted while it comes.
export function readAll(message, statedBytes, maxBytes, leave = cancelReader) {
  return statedBytes >= 0 && statedBytes <= maxBytes ? message.arrayBuffer().then(toBytes) : readCounted(message, maxBytes, leave);
}

// `bytes()` would cost 10 µs more.
const toBytes = (buffer) => new Uint8Array(buffer);

export const NOTHING = new Uint8Array(0);

// `leave` is what becomes of the rest of a message that is too large.
async function readCounted(message, maxBytes, leave) {
  if (!message.body) return NOTHING;
  const reader = message.body.getReader();
  const chunks = [];
  let bytes = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    bytes += value.byteLength;
    if (bytes > maxBytes) {
      await leave(reader);
      throw "too_large";
    }
    chunks.push(value);
  }
  return join(chunks, bytes);
}

// Headers that are set one by one cost half of what they cost as an object.
export function respondWith(body, status, headers) {
  const response = status === 200 ? new Response(body) : new Response(body, { status });
  const fields = response.headers, parts = headers.split("\n");
  for (let i = 0; i + 1 < parts.length; i += 2) fields.set(parts[i], parts[i + 1]);
  return response;
}

export function respond(status, headers, body) {
  return respondWith(body ?? null, status, headers);
}

// Answers with what `write_live` is given until `close_live`; gives the response and the writer.
export function open_live(status, headers) {
  const { readable, writable } = new IdentityTransformStream();
  return [respondWith(readable, status, headers), writable.getWriter()];
}

// Settles when the client has taken the bytes, fails when it has left.
export function write_live(id, writer, bytes) {
  settle(id, writer.write(bytes));
}

export function close_live(writer) {
  writer.close().catch(() => {});
}

export function join(chunks, bytes) {
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.byteLength;
  }
  return whole;
}

// Runs [[sql, ...params], …] as one batch; gives [[rows, changes], …] as JSON.
export function run_sql(id, env, binding, statements) {
  settle(id, runSql(env[binding], statements));
}

async function runSql(db, statements) {
  const list = statements.map(([sql, ...params]) => db.prepare(sql).bind(...params));
  const results = list.length === 1 ? [await list[0].all()] : await db.batch(list);
  return JSON.stringify(results.map((result) => [result.results ?? [], result.meta?.changes ?? 0]));
}

export function call_object(id, env, binding, name, command) {
  settle(id, callObject(env, binding, name, command));
}

async function callObject(env, binding, name, command) {
  const response = await env[binding].getByName(name).fetch("https://object/", { method: "POST", body: command });
  const reply = new Uint8Array(await response.arrayBuffer());
  if (!response.ok) throw `object ${binding}: ${response.status} ${new TextDecoder().decode(reply.subarray(0, 300))}`;
  return reply;
}

export function kv_get(id, env, binding, key) {
  settle(id, env[binding].get(key, "arrayBuffer").then((value) => value && new Uint8Array(value)));
}

export function kv_put(id, env, binding, key, value, ttlS) {
  settle(id, env[binding].put(key, value, { expirationTtl: ttlS }));
}

export function kv_delete(id, env, binding, key) {
  settle(id, env[binding].delete(key));
}

const toFloats = (text) => new Float32Array(Uint8Array.from(atob(text), (byte) => byte.charCodeAt(0)).buffer);

// One method of a Vectorize index; argument and answer are JSON, vectors in it base64.
export function run_vectorize(id, env, binding, method, argument) {
  settle(id, runVectorize(env[binding], method, JSON.parse(argument)).then((answer) => JSON.stringify(answer ?? null)));
}

async function runVectorize(index, method, argument) {
  switch (method) {
    case "query": {
      const [vector, namespace, topK] = argument;
      const { matches } = await index.query(toFloats(vector), { namespace, topK, returnMetadata: "all" });
      return matches.map(({ score, metadata }) => ({ score, metadata }));
    }
    case "upsert":
      await index.upsert(argument.map(({ vector, ...row }) => ({ ...row, values: toFloats(vector) })));
      return null;
    case "deleteByIds":
      await index.deleteByIds(argument);
      return null;
    default: {
      const { vectorCount, vectorsCount } = await index.describe();
      return vectorCount ?? vectorsCount ?? 0;
    }
  }
}

export function sleep(id, ms) {
  setTimeout(() => resume(id, RESOLVED), ms);
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

// Whether the client has left; what has no client has no signal.
export function is_aborted(signal) {
  return signal?.aborted === true;
}

const tasks = new Map();

// Keeps the event's context alive until `end_task` is called with the same number.
export function begin_task(context, id) {
  context.waitUntil(new Promise((resolve) => tasks.set(id, resolve)));
}

export function end_task(id) {
  tasks.get(id)?.();
  tasks.delete(id);
}

export function log(line) {
  console.log(line);
}

// A message is JSON on one line.
export function read_messages(batch) {
  return batch.messages.map((message) => message.body).join("\n");
}
