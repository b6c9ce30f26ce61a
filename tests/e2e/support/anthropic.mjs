// An upstream that speaks Anthropic's API on a socket of its own: it records every request, and behaves as the name of the
// model says that it is asked for.

import { once } from "node:events";
import { createServer } from "node:http";

export const CLAUDE_WORDS = ["Bonjour", " tout", " le", " monde"];
export const CLAUDE_TEXT = CLAUDE_WORDS.join("");
export const CLAUDE_USAGE = { input_tokens: 23, output_tokens: 7, cache_creation_input_tokens: 0, cache_read_input_tokens: 0 };
const BASE = { id: "msg_double", type: "message", role: "assistant", model: "the-upstreams-own-name", stop_sequence: null };
/** What a tool is called with, in pieces that are no JSON by themselves. */
const INPUT_PIECES = ["", '{"ci', 'ty":"Gr', 'az"}'];

const message = (content, stop_reason) => ({ ...BASE, content, stop_reason, usage: CLAUDE_USAGE });

function* eventsOf(block, deltas, stop_reason) {
  yield { type: "message_start", message: { ...BASE, content: [], stop_reason: null, usage: { ...CLAUDE_USAGE, output_tokens: 1 } } };
  yield { type: "content_block_start", index: 0, content_block: block };
  yield { type: "ping" };
  for (const delta of deltas) yield { type: "content_block_delta", index: 0, delta };
  yield { type: "content_block_stop", index: 0 };
  yield { type: "message_delta", delta: { stop_reason, stop_sequence: null }, usage: { output_tokens: CLAUDE_USAGE.output_tokens } };
  yield { type: "message_stop" };
}

const behaviours = {
  text: (request) =>
    request.json.stream
      ? eventsOf({ type: "text", text: "" }, CLAUDE_WORDS.map((text) => ({ type: "text_delta", text })), "end_turn")
      : [200, message([{ type: "text", text: CLAUDE_TEXT }], "end_turn")],

  /** Calls the first tool; answers once it has the tool's result. */
  tools(request) {
    const last = request.json.messages.at(-1);
    if (Array.isArray(last.content) && last.content.some(({ type }) => type === "tool_result")) return behaviours.text(request);
    const block = { type: "tool_use", id: "toolu_1", name: request.json.tools[0].name, input: {} };
    const deltas = INPUT_PIECES.map((partial_json) => ({ type: "input_json_delta", partial_json }));
    return request.json.stream
      ? eventsOf(block, deltas, "tool_use")
      : [200, message([{ ...block, input: JSON.parse(INPUT_PIECES.join("")) }], "tool_use")];
  },

  mistake: () => [400, problem("invalid_request_error", "temperature: too hot")],
  down: () => [500, problem("api_error", "secret words of the upstream")],
  overloaded: () => [529, problem("overloaded_error", "Overloaded")],
  unknown: (request) => [404, problem("not_found_error", `model: ${request.model}`)],
};

const problem = (type, text) => ({ type: "error", error: { type, message: text } });

/** Starts one: `{ baseUrl, requests, of, close }`. */
export async function startAnthropic() {
  const requests = [];
  const server = createServer(async (incoming, outgoing) => {
    const chunks = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const json = JSON.parse(Buffer.concat(chunks));
    const request = { path: incoming.url, headers: incoming.headers, json, model: json.model };
    requests.push(request);
    const isMessage = incoming.method === "POST" && incoming.url === "/v1/messages" && json.max_tokens > 0;
    const answer = isMessage ? (behaviours[request.model] ?? behaviours.unknown)(request) : [400, problem("invalid_request_error", "not a message")];
    if (Array.isArray(answer)) {
      outgoing.writeHead(answer[0], { "content-type": "application/json" }).end(JSON.stringify(answer[1]));
      return;
    }
    outgoing.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
    for (const event of answer) outgoing.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
    outgoing.end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    requests,
    baseUrl: `http://127.0.0.1:${server.address().port}/v1`,
    of: (model) => requests.filter((request) => request.model === model),
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}
