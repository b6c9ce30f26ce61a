// The live feed: server-sent events by fetch, because the token belongs into a header and not into an address.

const KEPT = 200;
const PAUSE_MS = 1_000, PAUSE_MAX_MS = 30_000;
// A heartbeat comes every 15 s: a connection that says nothing for so long is none any more.
const SILENCE_MS = 45_000;

/** Takes a stream of text apart into frames: `{ event, id, data }`. */
export class FrameParser {
  #rest = "";

  push(text) {
    const blocks = (this.#rest + text).split(/\r?\n\r?\n/);
    this.#rest = blocks.pop();
    return blocks.map(readFrame).filter((frame) => frame.data !== undefined);
  }
}

function readFrame(block) {
  const frame = { event: "message" };
  for (const line of block.split(/\r?\n/)) {
    const [, name, value] = line.match(/^(\w+)(?:: ?(.*))?$/s) ?? [];
    if (name === "data") frame.data = frame.data === undefined ? (value ?? "") : `${frame.data}\n${value ?? ""}`;
    else if (name) frame[name] = value ?? "";
  }
  return frame;
}

/** Hears the feed until `signal` ends it, and goes on behind the last event wherever the connection broke. */
export class Feed {
  /** The newest first. */
  events = [];
  state = "connecting";
  #hearers = new Set();
  #lastId;

  /** Calls back with each event (and without one when the state changes) until `signal` ends it. */
  hear(callback, signal) {
    this.#hearers.add(callback);
    signal.addEventListener("abort", () => this.#hearers.delete(callback));
  }

  /** `open(headers, signal)` gives a response. */
  async run(open, signal, pauseMs = PAUSE_MS) {
    let pause = pauseMs;
    while (!signal.aborted) {
      try {
        await this.#listen(open, signal, () => (pause = pauseMs));
      } catch (error) {
        if (error.status === 401) return this.#become("refused");
      }
      if (signal.aborted) return;
      this.#become("disconnected");
      await sleep(pause, signal);
      pause = Math.min(pause * 2, PAUSE_MAX_MS);
    }
  }

  async #listen(open, signal, connected) {
    const attempt = new AbortController();
    const end = () => attempt.abort();
    signal.addEventListener("abort", end);
    let timer = setTimeout(end, SILENCE_MS);
    try {
      const response = await open(this.#lastId === undefined ? {} : { "last-event-id": this.#lastId }, attempt.signal);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new FrameParser();
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        clearTimeout(timer);
        timer = setTimeout(end, SILENCE_MS);
        connected();
        for (const frame of parser.push(piece.value)) this.#take(frame);
      }
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
    }
  }

  #take({ event, id, data }) {
    if (id !== undefined) this.#lastId = id;
    if (this.state !== "connected") this.#become("connected");
    if (event === "connected" || event === "heartbeat") return;
    let fields = {};
    try {
      fields = JSON.parse(data);
    } catch {
      fields.reason = data;
    }
    const told = { ...fields, type: event, id };
    this.events = [told, ...this.events].slice(0, KEPT);
    for (const callback of this.#hearers) callback(told);
  }

  #become(state) {
    this.state = state;
    for (const callback of this.#hearers) callback();
  }
}

function sleep(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
