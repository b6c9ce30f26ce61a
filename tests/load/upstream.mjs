// The upstream: an OpenAI-compatible chat double on loopback, raw and fast. Every answer is built beforehand.
//
// Forked by `bench.mjs`. The request decides what comes back: `"stream":true` brings Server-Sent Events, and a prompt that
// says `gap_ms=5` spaces the frames by that many milliseconds and stamps each with the (monotonic, machine-wide) time at
// which it was sent, so that the client can say how old each frame was when it arrived.

import net from "node:net";
import { fileURLToPath } from "node:url";

import { FRAMES } from "./scenarios.mjs";

const HEAD_END = Buffer.from("\r\n\r\n");
const EMBED = Buffer.from('"encoding_format"');
const DIMENSIONS = 1024;
const STREAM = Buffer.from('"stream":true');
const GAP = Buffer.from("gap_ms=");

const USAGE = { prompt_tokens: 19, completion_tokens: FRAMES, total_tokens: 19 + FRAMES };
const BASE = { id: "chatcmpl-bench0001", created: 1_760_000_000, model: "bench-model", system_fingerprint: "fp_bench" };

const ANSWER = render_answer();
const EMBEDDING_ANSWER = render_embedding();
const STREAM_HEAD = Buffer.from(
  "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n",
);
const STREAM_ANSWER = Buffer.concat([STREAM_HEAD, ...render_frames(() => " word"), Buffer.from("0\r\n\r\n")]);

function render_answer() {
  const message = { role: "assistant", content: "The quick brown fox jumps over the lazy dog, twice." };
  const body = JSON.stringify({
    ...BASE,
    object: "chat.completion",
    choices: [{ index: 0, message, logprobs: null, finish_reason: "stop" }],
    usage: USAGE,
  });
  return render_json(body);
}

/** The same direction for every text: each question is like every other. */
function render_embedding() {
  const embedding = Array.from({ length: DIMENSIONS }, (_, index) => Math.round(1e6 * Math.sin(index + 1)) / 1e6);
  const data = [{ object: "embedding", index: 0, embedding }];
  return render_json(JSON.stringify({ object: "list", data, model: BASE.model, usage: { prompt_tokens: 8, total_tokens: 8 } }));
}

function render_json(body) {
  return Buffer.from(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
}

function render_frame(event) {
  const data = `data: ${typeof event === "string" ? event : JSON.stringify(event)}\n\n`;
  return Buffer.from(`${Buffer.byteLength(data).toString(16)}\r\n${data}\r\n`);
}

function render_content(content, finish_reason = null) {
  const choices = [{ index: 0, delta: { content }, logprobs: null, finish_reason }];
  return render_frame({ ...BASE, object: "chat.completion.chunk", choices });
}

/** 24 frames of content, one of usage, and the end. */
function render_frames(content) {
  const frames = [];
  for (let index = 0; index < FRAMES; index++) frames.push(render_content(content(), index === FRAMES - 1 ? "stop" : null));
  frames.push(render_frame({ ...BASE, object: "chat.completion.chunk", choices: [], usage: USAGE }), render_frame("[DONE]"));
  return frames;
}

/** Writes the frames one at a time, each with its time of sending; a client that leaves ends it. */
function send_spaced(socket, gap_ms, finished) {
  let index = 0;
  socket.write(STREAM_HEAD);
  const timer = setInterval(() => {
    if (socket.destroyed) return clearInterval(timer);
    if (index < FRAMES) {
      socket.write(render_content(`sent_ns=${process.hrtime.bigint()}`, index === FRAMES - 1 ? "stop" : null));
      index++;
      return;
    }
    clearInterval(timer);
    const rest = render_frames(() => "").slice(FRAMES);
    socket.write(Buffer.concat([...rest, Buffer.from("0\r\n\r\n")]));
    finished();
  }, gap_ms);
}

/** One connection: frames requests by content-length or chunks, answers each in turn. */
function serve_connection(socket) {
  socket.setNoDelay(true);
  let buffer = null;
  let busy = false;
  const pump = () => {
    while (!busy && buffer !== null) {
      const request = take_request(buffer);
      if (request === null) return;
      buffer = request.rest.length === 0 ? null : request.rest;
      answer(request.body);
    }
  };
  const answer = (body) => {
    if (!body.includes(STREAM)) return socket.write(body.includes(EMBED) ? EMBEDDING_ANSWER : ANSWER);
    const at = body.indexOf(GAP);
    if (at === -1) return socket.write(STREAM_ANSWER);
    busy = true;
    const gap_ms = Number.parseInt(body.latin1Slice(at + GAP.length), 10);
    send_spaced(socket, gap_ms, () => {
      busy = false;
      pump();
    });
  };
  socket.on("data", (bytes) => {
    buffer = buffer === null ? bytes : Buffer.concat([buffer, bytes]);
    pump();
  });
  socket.on("error", () => socket.destroy());
}

function take_request(buffer) {
  const end = buffer.indexOf(HEAD_END);
  if (end === -1) return null;
  const head = buffer.latin1Slice(0, end).toLowerCase();
  const start = end + 4;
  const at = head.indexOf("\r\ncontent-length:");
  if (at !== -1) {
    const stop = start + Number.parseInt(head.slice(at + 17), 10);
    return buffer.length < stop ? null : { body: buffer.subarray(start, stop), rest: buffer.subarray(stop) };
  }
  if (!head.includes("transfer-encoding: chunked")) return { body: buffer.subarray(start, start), rest: buffer.subarray(start) };
  return take_chunked(buffer, start);
}

function take_chunked(buffer, start) {
  const pieces = [];
  let at = start;
  for (;;) {
    const line = buffer.indexOf("\r\n", at);
    if (line === -1) return null;
    const size = Number.parseInt(buffer.latin1Slice(at, line), 16);
    const stop = line + 2 + size + 2;
    if (buffer.length < stop) return null;
    if (size === 0) return { body: Buffer.concat(pieces), rest: buffer.subarray(stop) };
    pieces.push(buffer.subarray(line + 2, stop - 2));
    at = stop;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const server = net.createServer(serve_connection);
  server.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => process.send?.({ port: server.address().port }));
  process.on("disconnect", () => process.exit(0));
}
