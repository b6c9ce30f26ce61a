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
    const parts = (this.#text + text).split("\n\n");
    this.#text = parts.pop();
    for (const part of parts) if (part.startsWith("data:")) this.#events.push(part.slice(5).trim());
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
