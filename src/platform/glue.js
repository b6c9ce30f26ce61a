// What the Worker does in JavaScript because each call from wasm costs: every function here is one crossing.
// Headers travel as one text, "name\nvalue\n…": no header value can hold a line end.
// What takes time is given a number, and `resume` is told when it is over (see executor.rs).

const RESOLVED = 0, REJECTED = 1, OPEN = 2;
let resume;

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

const cancelReader = (reader) => reader.cancel().catch(() => {});

// A length that is stated and small is read in one step, without making a stream of it; anything else (a length of -1 is
// unknown) is counted while it comes.
function readAll(message, statedBytes, maxBytes, leave = cancelReader) {
  return statedBytes >= 0 && statedBytes <= maxBytes ? message.arrayBuffer().then(toBytes) : readCounted(message, maxBytes, leave);
}

// `bytes()` would cost 10 µs more.
const toBytes = (buffer) => new Uint8Array(buffer);

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

function toHeaders(text) {
  const parts = text.split("\n");
  const headers = {};
  for (let i = 0; i + 1 < parts.length; i += 2) headers[parts[i]] = parts[i + 1];
  return headers;
}

// Headers that are set one by one cost half of what they cost as an object.
function respondWith(body, status, headers) {
  const response = status === 200 ? new Response(body) : new Response(body, { status });
  const fields = response.headers, parts = headers.split("\n");
  for (let i = 0; i + 1 < parts.length; i += 2) fields.set(parts[i], parts[i + 1]);
  return response;
}

// Sends a request outside. Gives [status, contentType, retryAfter, bytes, stream | null]; throws a word.
// The client's own signal is handed on as it is: an AbortController per call would cost more than the call's headers.
// One that races others may be given up (see abandon), and has a controller of its own.
export function send(id, signal, method, url, headers, body, stream, maxBytes, firstByteMs, tickMs, isRaced) {
  const giveUp = isRaced ? new AbortController() : null;
  if (giveUp) raced.set(id, giveUp);
  const due = Date.now() + firstByteMs;
  let isOpen = true;
  // A stream takes the timer over (see Pump); one that nobody relays, because its first chunk was a fault, is let go.
  const watch = { timer: 0, tickMs, onTick: null, reader: null };
  watch.timer = setInterval(() => {
    if (watch.onTick) return watch.onTick();
    if (!isOpen) {
      clearInterval(watch.timer);
      watch.reader?.cancel().catch(() => {});
      return;
    }
    resume(id, OPEN);
    lookAtClock(due, tickMs, timeOut);
  }, Math.min(tickMs, firstByteMs));
  const timeOut = () => {
    if (isOpen) giveUp?.abort();
    end(REJECTED, "timed_out");
  };
  const end = (how, value) => {
    if (!isOpen) return;
    isOpen = false;
    if (giveUp) raced.delete(id);
    if (how === REJECTED || !value[4]) clearInterval(watch.timer);
    resume(id, how, value);
  };
  const either = giveUp ? AbortSignal.any(signal ? [signal, giveUp.signal] : [giveUp.signal]) : signal;
  exchange(either, method, url, headers, body, stream, maxBytes, watch).then(
    // A stream that begins too late is nobody's.
    (answer) => (isOpen ? end(RESOLVED, answer) : answer[4]?.reader.cancel().catch(() => {})),
    (error) => end(REJECTED, OWN_ERRORS.has(error) ? error : signal?.aborted ? "client_gone" : "broken: " + error),
  );
}

// Ends what is due; what is due before the next tick has a timer of its own.
function lookAtClock(due, tickMs, timeOut) {
  const leftMs = due - Date.now();
  if (leftMs <= 0) timeOut();
  else if (leftMs < tickMs) setTimeout(timeOut, leftMs);
}

const OWN_ERRORS = new Set(["too_large", "not_asked"]);

// The requests that race others, and how each is given up.
const raced = new Map();

// Gives up a request that nobody waits for any more; one that is over stays as it is.
export function abandon(id) {
  raced.get(id)?.abort();
}

// What is relayed as it comes, when that is wanted.
const STREAMS = /^(text\/event-stream|audio\/|video\/|application\/octet-stream)/;

async function exchange(signal, method, url, headers, body, stream, maxBytes, watch) {
  if (signal?.aborted) throw "not_asked";
  const response = await fetch(url, { method, headers: toHeaders(headers), body, redirect: "manual", signal });
  const type = response.headers.get("content-type") ?? "";
  const retryAfter = response.ok ? "" : (response.headers.get("retry-after") ?? "");
  if (!stream || !response.ok || !STREAMS.test(type) || !response.body) {
    return [response.status, type, retryAfter, await readAll(response, statedBytesOf(response.headers), maxBytes), null];
  }
  const reader = (watch.reader = response.body.getReader());
  const { done, value } = await reader.read();
  return [response.status, type, retryAfter, done ? NOTHING : value,
    done ? null : { body: response.body, reader, watch, isEvents: type.startsWith("text/event-stream") }];
}

// Reads on in a stream that nobody relays yet; gives null at its end.
export function read_more(id, signal, { reader, watch }, waitMs) {
  const due = Date.now() + waitMs;
  let isOpen = true;
  const end = (how, value) => {
    if (!isOpen) return;
    isOpen = false;
    watch.onTick = null;
    resume(id, how, value);
  };
  const look = () => lookAtClock(due, watch.tickMs, () => end(REJECTED, "timed_out"));
  watch.onTick = () => {
    resume(id, OPEN);
    look();
  };
  if (waitMs < watch.tickMs) look();
  reader.read().then(
    ({ done, value }) => end(RESOLVED, done ? null : value),
    (error) => end(REJECTED, signal?.aborted ? "client_gone" : "broken: " + error),
  );
}

const NOTHING = new Uint8Array(0);

// The runtime unpacks what is packed: its length says nothing then.
function statedBytesOf(headers) {
  const stated = headers.get("content-length");
  return stated === null || headers.has("content-encoding") ? -1 : Number(stated);
}

export function respond(status, headers, body) {
  return respondWith(body ?? null, status, headers);
}

// Answers with `first`, then with what the tap makes of the upstream's stream.
export function relay(context, signal, status, headers, first, stream, tap, stallMs) {
  const { readable, writable } = new IdentityTransformStream();
  const Kind = isFlooded(Date.now()) ? BatchPump : FramePump;
  context.waitUntil(new Promise((resolve) => new Kind(signal, stream, writable.getWriter(), tap, stallMs, resolve).start(first)));
  return respondWith(readable, status, headers);
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

// How a stream ended; the numbers of `StreamEnd` in response.rs.
const EOF = 0, BROKEN = 1, STALLED = 2, CLIENT_GONE = 3, STOPPED = 4;

// A write costs twice a read, and workerd hands over one frame per read even when twenty have arrived. So a frame that
// comes after a moment of quiet goes out at once, and those that come within one are written together (FramePump). The
// moment is a millisecond: real models leave more between two tokens. An isolate that relays floods has the runtime do the
// reading, and takes what has come eight milliseconds later (Collector, BatchPump).
const GATHER_MS = 1, BATCH_MS = 8;
const WINDOW_MS = 16, FLOOD_BYTES = 24 << 10, FLOOD_MS = 100;
let windowAt = 0, windowBytes = 0, floodedUntil = 0;

const isFlooded = (now) => now < floodedUntil;

function countBytes(now, bytes) {
  windowBytes += bytes;
  if (now - windowAt < WINDOW_MS) return;
  if (windowBytes > FLOOD_BYTES) floodedUntil = now + FLOOD_MS;
  windowAt = now;
  windowBytes = 0;
}

// A slow client stops the reading of the upstream here.
const GATHERED_MAX_BYTES = 1 << 20;
const KEEP_ALIVE_MS = 10000;
const KEEP_ALIVE = new TextEncoder().encode(": keep-alive\n\n");
const COLLECT_BYTES = 8192;

// Buffers that no stream reads into any more; a new one is filled with zeros first.
const BUFFER_BYTES = 32768, BUFFERS_MAX = 64;
const buffers = [];

const takeBuffer = () => buffers.pop() ?? new Uint8Array(BUFFER_BYTES);

// `view` is what a read gave: its buffer is nobody's now.
function giveBack(view) {
  if (view?.buffer.byteLength === BUFFER_BYTES && buffers.length < BUFFERS_MAX) buffers.push(new Uint8Array(view.buffer));
}

// Reads a stream frame by frame without JavaScript: the runtime pumps one branch of a tee into a reader that wants far more
// than a frame, and the other branch keeps what has come until `read` takes all of it at once.
class Collector {
  constructor(body, onOver) {
    const [kept, pumped] = body.tee();
    const { readable, writable } = new IdentityTransformStream();
    this.kept = kept.getReader({ mode: "byob" });
    this.drain = readable.getReader({ mode: "byob" });
    this.isOver = this.isBroken = false;
    this.onOver = onOver;
    this.unreadBytes = 0;
    this.onBroken = () => { this.isBroken = true; this.over(); };
    this.onDrained = ({ done, value }) => {
      if (!done) this.unreadBytes += value.byteLength;
      // It gives less than was wanted only at the end.
      if (done || value.byteLength < COLLECT_BYTES) {
        giveBack(value);
        return this.over();
      }
      this.spare = new Uint8Array(value.buffer);
      this.pull();
    };
    this.spare = takeBuffer();
    this.buffer = takeBuffer();
    pumped.pipeTo(writable).catch(this.onBroken);
    this.pull();
  }

  // Whether all has come and been read.
  get isRead() {
    return this.isOver && !this.isBroken && this.unreadBytes === 0;
  }

  pull() {
    if (!this.spare || this.unreadBytes >= GATHERED_MAX_BYTES) return;
    this.drain.readAtLeast(COLLECT_BYTES, this.spare).then(this.onDrained, this.onBroken);
    this.spare = null;
  }

  over() {
    if (this.isOver) return;
    this.isOver = true;
    this.onOver();
  }

  // What the last call gave is overwritten by the next.
  async read() {
    const { buffer } = this;
    this.buffer = null;
    const answer = await this.kept.read(buffer);
    if (answer.done) {
      giveBack(answer.value);
      return answer;
    }
    this.buffer = new Uint8Array(answer.value.buffer);
    this.unreadBytes -= answer.value.byteLength;
    this.pull();
    return answer;
  }

  // Gives back the buffers that nothing is being read into.
  release() {
    giveBack(this.buffer);
    giveBack(this.spare);
    this.buffer = this.spare = null;
  }

  async cancel() {
    this.release();
    await Promise.all([this.kept.cancel(), this.drain.cancel()]);
  }
}

// Writes what the tap makes of a stream, until either side ends. The tap calls `write` with a view of its own memory: the
// runtime copies what it is given to write at once.
class Pump {
  constructor(signal, { body, reader, watch, isEvents }, writer, tap, stallMs, resolve) {
    Object.assign(this, { body, source: reader, watch, isEvents, writer, tap, stallMs, resolve });
    this.timer = 0;
    this.heardAt = this.wroteAt = Date.now();
    this.writes = 0;
    this.isReading = this.isEnded = false;
    this.onGone = () => this.end(CLIENT_GONE);
    this.onRead = (answer) => this.heard(answer);
    // The client's signal was handed to the fetch: when the client leaves, the read breaks.
    this.onBroken = () => this.end(signal?.aborted ? CLIENT_GONE : BROKEN);
    this.onWritten = () => {
      this.writes--;
      if (!this.isEnded && !this.isWriting) this.written();
    };
    this.onTimer = () => {
      this.timer = 0;
      this.timedOut();
    };
    watch.onTick = () => this.tick();
  }

  get isWriting() {
    return this.writes > 0;
  }

  read() {
    this.isReading = true;
    this.heardAt = Date.now();
    this.source.read().then(this.onRead, this.onBroken);
  }

  heard({ done, value }) {
    this.isReading = false;
    if (this.isEnded) return;
    if (!done) {
      this.heardAt = Date.now();
      countBytes(this.heardAt, value.byteLength);
      return this.take(value);
    }
    this.flush();
    this.end(EOF);
  }

  write(bytes) {
    this.writes++;
    this.wroteAt = Date.now();
    this.writer.write(bytes).then(this.onWritten, this.onGone);
  }

  tick() {
    this.tap.tick();
    const now = Date.now();
    if (this.isReading && now - this.heardAt >= this.stallMs) this.end(STALLED);
    else if (!this.isReading && this.isWriting && now - this.wroteAt >= this.stallMs) this.end(CLIENT_GONE);
    // A client that left while nothing is sent is noticed only by a write; nothing can be put into sound.
    else if (this.isEvents && !this.isWriting && now - this.wroteAt >= KEEP_ALIVE_MS) this.write(KEEP_ALIVE);
  }

  end(how) {
    // What has come before the break is the client's.
    if (how === BROKEN || how === STALLED) this.flush();
    if (this.isEnded) return;
    this.isEnded = true;
    clearInterval(this.watch.timer);
    clearTimeout(this.timer);
    if (how !== EOF) this.source.cancel().catch(() => {});
    if (how !== STOPPED) this.tap.end(how, this);
    this.tap.free();
    if (how === CLIENT_GONE) {
      this.writer.abort().catch(() => {});
      return this.resolve();
    }
    this.writer.close().then(this.resolve, this.resolve);
  }
}

// Reads frame by frame, and writes at once or after a moment.
class FramePump extends Pump {
  gathered = [];
  gatheredBytes = 0;

  start(first) {
    if (first.byteLength) this.write(first);
    this.read();
  }

  take(frame) {
    this.gathered.push(frame);
    this.gatheredBytes += frame.byteLength;
    this.schedule();
    if (!this.isEnded && this.gatheredBytes < GATHERED_MAX_BYTES) this.read();
  }

  schedule() {
    if (this.isWriting || this.timer || !this.gatheredBytes) return;
    if (Date.now() - this.wroteAt >= GATHER_MS) this.flush();
    else this.timer = setTimeout(this.onTimer, GATHER_MS);
  }

  timedOut() {
    if (!this.isWriting) this.flush();
  }

  written() {
    this.schedule();
    if (!this.isEnded && !this.isReading) this.read();
  }

  // Passes what has been gathered through the tap.
  flush() {
    if (!this.gatheredBytes || this.isEnded) return;
    const chunk = this.gathered.length === 1 ? this.gathered[0] : join(this.gathered, this.gatheredBytes);
    this.gathered = [];
    this.gatheredBytes = 0;
    if (this.tap.push(chunk, this)) this.end(STOPPED);
  }
}

// Takes what has been collected, in turn with the writing of it.
class BatchPump extends Pump {
  start(first) {
    if (first.byteLength) this.write(first);
    this.source.releaseLock();
    this.source = new Collector(this.body, () => this.hurry());
    if (!this.isWriting) this.wait();
  }

  // All has come: what is collected need not wait.
  hurry() {
    if (!this.timer) return;
    clearTimeout(this.timer);
    this.onTimer();
  }

  wait() {
    if (this.source.isRead) {
      this.source.release();
      return this.heard({ done: true });
    }
    if (this.source.isOver) this.read();
    else this.timer = setTimeout(this.onTimer, isFlooded(this.heardAt) ? BATCH_MS : GATHER_MS);
  }

  timedOut() {
    this.read();
  }

  take(batch) {
    if (this.tap.push(batch, this)) this.end(STOPPED);
    // What is written waits on; what came to nothing for the client is not written.
    else if (!this.isWriting || this.source.isRead) this.wait();
  }

  // A keep-alive is written while a read waits.
  written() {
    if (!this.isReading && !this.timer) this.wait();
  }

  // Nothing is gathered here: what is collected has not been read.
  flush() {}
}

function join(chunks, bytes) {
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
