// An OpenAI-compatible upstream on a socket of its own: it records every byte that it gets, and behaves as the name of
// the model says that it is asked for. See `behaviours.mjs`.

import { EventEmitter, once } from "node:events";
import { createServer } from "node:net";

import { behaviours } from "./behaviours.mjs";
import { until } from "./processes.mjs";

const HEAD_END = Buffer.from("\r\n\r\n");

/** Starts one: `{ baseUrl, requests, close }`. `more` adds behaviours of a test's own, by name. */
export async function startUpstream(more = {}) {
  const upstream = new Upstream({ ...behaviours, ...more });
  await upstream.listen();
  return upstream;
}

class Upstream {
  constructor(known) {
    this.behaviours = known;
    /** Every request, in order of arrival. */
    this.requests = [];
    this.sockets = new Set();
    this.server = createServer((socket) => this.#accept(socket));
  }

  async listen() {
    this.server.listen(0, "127.0.0.1");
    await once(this.server, "listening");
    this.port = this.server.address().port;
    this.baseUrl = `http://127.0.0.1:${this.port}/v1`;
  }

  close() {
    for (const socket of this.sockets) socket.destroy();
    return new Promise((resolve) => this.server.close(resolve));
  }

  /** The requests for a model, by the name that the upstream is asked for. */
  of(model) {
    return this.requests.filter((request) => request.model === model);
  }

  /** Waits for the nth request for a model. */
  arrived(model, count = 1) {
    return until(`the upstream got request ${count} for ${model}`, () => this.of(model)[count - 1], 10_000, 2);
  }

  #accept(socket) {
    this.sockets.add(socket);
    socket.setNoDelay(true);
    let bytes = Buffer.alloc(0);
    let busy = false;
    let current;
    const pump = async () => {
      while (!busy) {
        const request = takeRequest(bytes);
        if (!request) return;
        bytes = request.rest;
        busy = true;
        current = this.#note(request);
        const reply = new Reply(socket, current);
        const [name, ...rest] = current.model.split(":");
        const behave = this.behaviours[name] ?? this.behaviours.unknown;
        await behave(reply, current, ...rest).catch((error) => {
          // A client that left in the middle is what some tests are about.
          if (!socket.destroyed) reply.reset();
          current.error = error;
        });
        busy = false;
      }
    };
    socket.on("data", (more) => {
      bytes = bytes.length ? Buffer.concat([bytes, more]) : more;
      pump();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.sockets.delete(socket);
      if (current && busy) {
        current.closedAt ??= performance.now();
        current.events.emit("closed");
      }
    });
  }

  #note({ head, body }) {
    const [line, ...fields] = head.split("\r\n");
    const [method, path] = line.split(" ");
    const headers = Object.fromEntries(fields.map((field) => [field.split(":")[0].toLowerCase(), field.slice(field.indexOf(":") + 1).trim()]));
    let json;
    try {
      json = JSON.parse(body);
    } catch {
      // The test will see.
    }
    const request = { method, path, head, headers, body, json, model: String(json?.model ?? ""), at: performance.now(), events: new EventEmitter() };
    /** Resolves with the time at which the platform closed the connection before the answer was complete. */
    request.closed = async (ms = 10_000) => {
      await until("the upstream's connection was closed", () => request.closedAt, ms, 2);
      return request.closedAt;
    };
    this.requests.push(request);
    return request;
  }
}

function takeRequest(bytes) {
  const end = bytes.indexOf(HEAD_END);
  if (end === -1) return undefined;
  const head = bytes.toString("latin1", 0, end);
  const start = end + HEAD_END.length;
  const length = head.match(/\r\ncontent-length:\s*(\d+)/i);
  if (length) {
    const stop = start + Number(length[1]);
    return bytes.length < stop ? undefined : { head, body: bytes.subarray(start, stop), rest: bytes.subarray(stop) };
  }
  if (/\r\ntransfer-encoding:\s*chunked/i.test(head)) return takeChunked(bytes, head, start);
  return { head, body: Buffer.alloc(0), rest: bytes.subarray(start) };
}

function takeChunked(bytes, head, start) {
  const parts = [];
  for (let at = start; ; ) {
    const line = bytes.indexOf("\r\n", at);
    if (line === -1) return undefined;
    const size = Number.parseInt(bytes.toString("latin1", at, line), 16);
    const stop = line + 2 + size;
    if (bytes.length < stop + 2) return undefined;
    if (size === 0) return { head, body: Buffer.concat(parts), rest: bytes.subarray(stop + 2) };
    parts.push(bytes.subarray(line + 2, stop));
    at = stop + 2;
  }
}

/** The answer to one request, to be given in any way, right or wrong. */
class Reply {
  constructor(socket, request) {
    Object.assign(this, { socket, request });
  }

  /** Raw bytes. */
  async raw(bytes) {
    if (this.socket.destroyed) throw new Error("the connection is closed");
    await new Promise((resolve) => this.socket.write(bytes, resolve));
  }

  /** A whole answer. */
  whole(status, body, headers = {}) {
    const bytes = Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
    return this.raw(Buffer.concat([head(status, { "content-type": "application/json", "content-length": bytes.length, ...headers }), bytes]));
  }

  /** The head of a stream. */
  stream(headers = {}) {
    return this.raw(head(200, { "content-type": "text/event-stream", "transfer-encoding": "chunked", ...headers }));
  }

  /** A piece of a stream, exactly so. */
  piece(bytes) {
    const piece = Buffer.from(bytes);
    return this.raw(Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from("\r\n")]));
  }

  /** One event. */
  event(value) {
    return this.piece(`data: ${typeof value === "string" ? value : JSON.stringify(value)}\n\n`);
  }

  end() {
    return this.raw("0\r\n\r\n");
  }

  reset() {
    this.socket.resetAndDestroy();
  }

  /** Says nothing until the platform gives up. */
  async silence() {
    if (!this.socket.destroyed) await once(this.socket, "close");
  }
}

function head(status, headers) {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`HTTP/1.1 ${status} Whatever\r\n${lines.join("")}\r\n`);
}
