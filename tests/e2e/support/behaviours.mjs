// How the upstream double behaves, by the name of the model: what stands behind a colon is an argument.

import { sleep } from "./processes.mjs";

export const WORDS = ["The", " quick", " brown", " fox", " jumps"];
export const TEXT = WORDS.join("");
/** What every good answer reports. */
export const USAGE = { prompt_tokens: 19, completion_tokens: WORDS.length, total_tokens: 19 + WORDS.length };
const BASE = { id: "chatcmpl-double", created: 1_760_000_000, model: "the-upstreams-own-name", system_fingerprint: "fp_double" };

export const completion = (extra = {}) => ({
  ...BASE,
  object: "chat.completion",
  choices: [{ index: 0, message: { role: "assistant", content: TEXT, refusal: null }, logprobs: null, finish_reason: "stop" }],
  usage: USAGE,
  ...extra,
});

export const chunk = (delta, finish_reason = null, extra = {}) => ({
  ...BASE,
  object: "chat.completion.chunk",
  choices: [{ index: 0, delta, logprobs: null, finish_reason }],
  ...extra,
});

/** The events of a good stream; as OpenAI, it tells usage only when asked to. */
export function eventsOf(request) {
  const tells = request.json?.stream_options?.include_usage === true;
  const usage = tells ? { usage: null } : {};
  return [
    chunk({ role: "assistant", content: "" }, null, usage),
    ...WORDS.map((content) => chunk({ content }, null, usage)),
    chunk({}, "stop", usage),
    ...(tells ? [{ ...chunk({}), choices: [], usage: USAGE }] : []),
    "[DONE]",
  ];
}

const wire = (events) => events.map((event) => `data: ${typeof event === "string" ? event : JSON.stringify(event)}\n\n`).join("");
const isStream = (request) => request.json?.stream === true;
const problem = (message, extra = {}) => ({ error: { message, type: "an_error", param: null, code: null, ...extra } });

async function answer(reply, request) {
  if (!isStream(request)) return reply.whole(200, completion());
  await reply.stream();
  for (const event of eventsOf(request)) await reply.event(event);
  await reply.end();
}

async function beginStream(reply, request) {
  await reply.stream();
  for (const event of eventsOf(request).slice(0, 3)) await reply.event(event);
}

export const behaviours = {
  /** All is well. */
  answer,

  async unknown(reply, request) {
    await reply.whole(404, problem(`the double has no model ${request.model}`));
  },

  /** All is well, after a while. */
  async late(reply, request, ms) {
    await sleep(Number(ms));
    await answer(reply, request);
  },

  /** `status:500` */
  async status(reply, request, status) {
    await reply.whole(Number(status), problem("secret words of the upstream"));
  },

  /** `mistake:400`: the client's own. */
  async mistake(reply, request, status) {
    await reply.whole(Number(status), problem("Unsupported value: temperature", { param: "temperature", code: "unsupported_value" }));
  },

  /** `limited:7`: 429 with Retry-After. */
  async limited(reply, request, seconds) {
    await reply.whole(429, problem("slow down"), { "retry-after": seconds });
  },

  async resetBeforeHead(reply) {
    reply.reset();
  },

  /** The head promises more than comes. */
  async resetMidBody(reply, request) {
    if (isStream(request)) {
      await beginStream(reply, request);
      await sleep(50);
    } else {
      const body = JSON.stringify(completion());
      await reply.raw(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body.slice(0, 40)}`);
      await sleep(50);
    }
    reply.reset();
  },

  /** A stream that ends in good order, in the middle of an event. */
  async half(reply, request) {
    await beginStream(reply, request);
    await reply.piece('data: {"id":"chatcmpl-double","choices":[{"index":0,"delta":{"content":"los');
    await reply.end();
  },

  /** A stream that ends in good order behind its words. */
  async wordsAlone(reply, request) {
    await beginStream(reply, request);
    await reply.end();
  },

  /** A stream without [DONE]. */
  async noDone(reply, request) {
    await reply.stream();
    for (const event of eventsOf(request).slice(0, -1)) await reply.event(event);
    await reply.end();
  },

  /** An error in place of an event. */
  async errorEvent(reply, request) {
    await beginStream(reply, request);
    await reply.event(problem("secret words of the upstream"));
    await reply.end();
  },

  async silentBeforeHead(reply) {
    await reply.silence();
  },

  async silentAfterHead(reply) {
    await reply.stream();
    await reply.silence();
  },

  /** A stream that says that it is at work, and then no word of an answer: `processing:reset`, `:error`, `:silence`, `:end`. */
  async processing(reply, request, then) {
    await reply.stream();
    await reply.piece(": PROCESSING\n\n");
    await sleep(50);
    if (then === "reset") return reply.reset();
    if (then === "silence") return reply.silence();
    if (then === "error") await reply.event(problem("secret words of the upstream"));
    await reply.end();
  },

  async silentMidStream(reply, request) {
    await beginStream(reply, request);
    await reply.silence();
  },

  /** 100 MB without a line end, after two words. */
  async longLine(reply, request) {
    await beginStream(reply, request);
    await reply.piece('data: {"choices":[{"index":0,"delta":{"content":"');
    await pour(reply, request, (bytes) => reply.piece(bytes));
    await reply.end();
  },

  /** 100 MB of JSON. */
  async hugeJson(reply, request) {
    await reply.raw("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
    await reply.piece('{"id":"');
    await pour(reply, request, (bytes) => reply.piece(bytes));
    await reply.piece('"}');
    await reply.end();
  },

  async garbage(reply, request) {
    if (!isStream(request)) return reply.whole(200, "<html>It works!</html>", { "content-type": "text/html" });
    await beginStream(reply, request);
    await reply.event('{"choices": nonsense');
    await reply.end();
  },

  /** Not HTTP at all. */
  async noise(reply) {
    await reply.raw("\x16\x03\x01 what is this\r\n\r\n");
    reply.socket.destroy();
  },

  /** Byte by byte, a pause after each. */
  async drip(reply, request) {
    if (!isStream(request)) {
      const body = JSON.stringify(completion());
      await reply.raw(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`);
      for (const byte of Buffer.from(body)) await reply.raw(Buffer.of(byte)).then(() => new Promise(setImmediate));
      return;
    }
    await reply.stream();
    for (const byte of Buffer.from(wire(eventsOf(request)))) await reply.piece(Buffer.of(byte)).then(() => new Promise(setImmediate));
    await reply.end();
  },

  /** Events for ever, `endless:50` ms apart. */
  async endless(reply, request, ms) {
    await reply.stream();
    await reply.event(chunk({ role: "assistant", content: "" }));
    for (;;) {
      await reply.event(chunk({ content: " word" }));
      request.sent = (request.sent ?? 0) + 1;
      await sleep(Number(ms));
    }
  },

  /** Calls the first tool; answers once it has the tool's result. */
  async tools(reply, request) {
    const last = request.json.messages.at(-1);
    if (last.role === "tool") return reply.whole(200, completion());
    const { name } = request.json.tools[0].function;
    const tool_calls = [{ id: "call_1", type: "function", function: { name, arguments: '{"city":"Graz"}' } }];
    const message = { role: "assistant", content: null, tool_calls };
    await reply.whole(200, completion({ choices: [{ index: 0, message, finish_reason: "tool_calls" }] }));
  },
};

async function pour(reply, request, write) {
  const piece = Buffer.alloc(1 << 20, "x");
  request.poured = 0;
  for (let i = 0; i < 100 && !reply.socket.destroyed; i++) {
    await write(piece);
    request.poured += piece.length;
  }
}
