// A stream as it arrives, event by event.

import { request as httpRequest } from "node:http";

/** The data of a text of events; JSON is parsed. Comments are skipped. */
export function readEvents(text) {
  return text
    .split("\n\n")
    .filter((event) => event.startsWith("data:"))
    .map((event) => event.slice(5).trim())
    .map((data) => (data.startsWith("{") ? JSON.parse(data) : data));
}

/** Takes what is whole off a text of events: `{event, id, data}` of each, and the rest. Comments are skipped. */
export function takeEvents(text) {
  const parts = text.split("\n\n");
  const rest = parts.pop();
  const read = (part) => {
    const field = (name) => part.match(new RegExp(`^${name}:(.*)$`, "m"))?.[1].trim();
    return { event: field("event"), id: field("id"), data: field("data") };
  };
  return { events: parts.map(read).filter(({ data }) => data !== undefined), rest };
}

/** Opens a stream on a connection of its own: `nextEvent` gives the data of the next event as it arrives. */
export function openStream(url, key, body) {
  const stream = new Stream();
  const bytes = Buffer.from(JSON.stringify(body));
  stream.request = httpRequest(url, {
    method: "POST",
    agent: false,
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json", "content-length": bytes.length },
  });
  stream.request.setNoDelay(true);
  stream.request.once("error", (error) => stream.fail(error));
  stream.request.once("response", (response) => {
    Object.assign(stream, { status: response.statusCode, headers: response.headers });
    stream.response = response;
    response.setEncoding("utf8").on("data", (text) => stream.take(text));
    response.once("end", () => stream.fail(new Error("the stream has ended")));
    response.once("error", (error) => stream.fail(error));
  });
  stream.request.end(bytes);
  return stream;
}

class Stream {
  #text = "";
  #events = [];
  #waiting;
  #error;

  take(text) {
    const { events, rest } = takeEvents(this.#text + text);
    this.#text = rest;
    this.#events.push(...events.map(({ data }) => data));
    this.#serve();
  }

  fail(error) {
    this.#error ??= error;
    this.#serve();
  }

  #serve() {
    if (!this.#waiting) return;
    const { resolve, reject } = this.#waiting;
    if (this.#events.length) resolve(this.#events.shift());
    else if (this.#error) reject(this.#error);
    else return;
    this.#waiting = undefined;
  }

  async nextEvent(ms) {
    let timer;
    const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`nothing came for ${ms} ms`)), ms)));
    const next = new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#serve();
    });
    try {
      return await Promise.race([next, late]);
    } finally {
      clearTimeout(timer);
      this.#waiting = undefined;
    }
  }

  /** Takes nothing any more, and stays. */
  pause() {
    this.response.pause();
  }

  /** Leaves. */
  close() {
    this.request.on("error", () => {});
    this.request.destroy();
  }
}
