// The official clients, as the README says to use them.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import OpenAI from "openai";

import { TEXT, USAGE, WORDS } from "./support/behaviours.mjs";
import { sumOf, startPlatform } from "./support/platform.mjs";
import { until } from "./support/processes.mjs";
import { PYTHON, skip, version } from "./support/python.mjs";
import { startUpstream } from "./support/upstream.mjs";

const MODELS = {
  "double-answer": { upstream_model: "answer" },
  "double-tools": { upstream_model: "tools" },
  "double-mistake": { upstream_model: "mistake:400" },
  "double-down": { upstream_model: "status:500" },
  "double-limited": { upstream_model: "limited:1" },
  "double-limited-once": { upstream_model: "limitedOnce" },
  "double-endless": { upstream_model: "endless:20", input_per_1k: 1, output_per_1k: 1 },
  "double-reset": { upstream_model: "resetMidBody" },
  "double-dear": { upstream_model: "answer", output_per_1k: 1_000_000 },
  "double-off": { upstream_model: "answer", enabled: false },
};

let platform;
let upstream;
let client;
/** Its limits are too wide to be in the way. */
let key;
before(async () => {
  const own = {
    async limitedOnce(reply, request) {
      if (upstream.of("limitedOnce").length === 1) return upstream.behaviours.limited(reply, request, "1");
      await upstream.behaviours.answer(reply, request);
    },
  };
  [platform, upstream] = await Promise.all([startPlatform(), startUpstream(own)]);
  await platform.register("double", upstream.baseUrl, MODELS);
  ({ key } = await platform.provision());
  client = connect({ apiKey: key });
});
after(() => Promise.allSettled([platform?.stop(), upstream?.close()]));

const connect = (options) => new OpenAI({ baseURL: `${platform.url}/v1`, maxRetries: 0, timeout: 30_000, ...options });
const HELLO = [{ role: "user", content: "Hello there" }];

describe("openai for Node", () => {
  test("models.list: the modes and every model that is on", async () => {
    const ids = [];
    for await (const model of client.models.list()) {
      assert.equal(model.object, "model");
      ids.push(model.id);
    }
    for (const id of ["auto", "fast", "max", "sandbox-small", "sandbox-large", "double-answer"]) assert.ok(ids.includes(id), `${id} of ${ids}`);
    assert.ok(!ids.includes("double-off"), "a model that is off is not listed");
  });

  test("a chat with the model that every newcomer has", async () => {
    const newcomer = connect({ apiKey: platform.apiKey });
    const answer = await newcomer.chat.completions.create({ model: "sandbox-small", messages: HELLO });
    assert.match(answer.choices[0].message.content, /Hello there/);
    assert.equal(answer.choices[0].finish_reason, "stop");
    assert.equal(answer.model, "sandbox-small");
    assert.ok(answer.usage.prompt_tokens > 0 && answer.usage.completion_tokens > 0);
    assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
    assert.match(answer._request_id, /\S{8,}/);
  });

  test("every mode answers, under the name that was asked for", async () => {
    // The sandbox's models are the only ones with a weight.
    for (const model of ["auto", "fast", "max"]) {
      const answer = await client.chat.completions.create({ model, messages: HELLO });
      assert.equal(answer.model, model);
    }
  });

  test("a chat with a provider of one's own, its cost and its headers", async () => {
    const { data, response, request_id } = await client.chat.completions.create({ model: "double-answer", messages: HELLO }).withResponse();
    assert.equal(data.choices[0].message.content, TEXT);
    assert.equal(data.model, "double-answer");
    assert.deepEqual(data.usage, USAGE);
    assert.equal(data._request_id, request_id);
    assert.equal(response.headers.get("x-request-id"), request_id);
    const cost = USAGE.prompt_tokens * 1 + USAGE.completion_tokens * 2;
    assert.equal(Math.round(response.headers.get("x-tokaroo-cost") * 1e6), cost);
    assert.equal(response.headers.get("x-tokaroo-cache"), "miss");
    for (const name of ["limit", "remaining", "reset"]) assert.match(response.headers.get(`x-ratelimit-${name}`), /^\d+$/, name);
    const row = await until("the usage row", () => platform.receipt(key, request_id).catch(() => undefined));
    assert.equal(sumOf([row]), cost);
  });

  for (const [model, words] of [["sandbox-small", /Hello there/], ["double-answer", new RegExp(`^${TEXT}$`)]]) {
    test(`a stream of ${model}`, async () => {
      const plain = await collect(await client.chat.completions.create({ model, messages: HELLO, stream: true }));
      assert.match(plain.text, words);
      assert.ok(plain.chunks.length > 3 && plain.chunks.every((chunk) => chunk.model === model && chunk.object === "chat.completion.chunk"));
      assert.equal(plain.chunks.filter((chunk) => chunk.usage).length, 0, "usage was not asked for");
      assert.equal(plain.chunks.at(-1).choices[0].finish_reason, "stop");

      const told = await collect(await client.chat.completions.create({ model, messages: HELLO, stream: true, stream_options: { include_usage: true } }));
      assert.equal(told.text, plain.text);
      assert.equal(told.chunks.filter((chunk) => chunk.usage).length, 1, "usage comes once");
      assert.deepEqual(told.chunks.at(-1).choices, []);
      assert.ok(told.chunks.at(-1).usage.completion_tokens > 0);
    });
  }

  test("the client's own stream helper gathers a completion", async () => {
    const completion = await client.chat.completions.stream({ model: "sandbox-small", messages: HELLO }).finalChatCompletion();
    assert.match(completion.choices[0].message.content, /Hello there/);
  });

  const tools = [
    {
      type: "function",
      function: { name: "get_weather", description: "The weather of a city", parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } },
    },
  ];
  for (const model of ["sandbox-small", "double-tools"]) {
    test(`${model} calls a tool and hears its result`, async () => {
      const messages = [{ role: "user", content: "How is the weather in Graz?" }];
      const first = await client.chat.completions.create({ model, messages, tools });
      assert.equal(first.choices[0].finish_reason, "tool_calls");
      const { message } = first.choices[0];
      const [call] = message.tool_calls;
      assert.equal(call.function.name, "get_weather");
      assert.equal(typeof JSON.parse(call.function.arguments).city, "string");
      messages.push(message, { role: "tool", tool_call_id: call.id, content: "sunny, 21 degrees" });
      const second = await client.chat.completions.create({ model, messages, tools });
      assert.equal(second.choices[0].finish_reason, "stop");
      if (model === "sandbox-small") assert.match(second.choices[0].message.content, /sunny, 21 degrees/);
      else assert.deepEqual(upstream.of("tools").at(-1).json.messages, messages, "the conversation as it was sent");
    });
  }

  test("a tool call as a stream, and the client's own tool loop", async () => {
    const { chunks } = await collect(await client.chat.completions.create({ model: "sandbox-small", messages: HELLO, tools, stream: true }));
    const deltas = chunks.flatMap((chunk) => chunk.choices[0]?.delta.tool_calls ?? []);
    assert.equal(deltas[0].function.name, "get_weather");
    assert.equal(typeof JSON.parse(deltas.map((delta) => delta.function.arguments ?? "").join("")).city, "string");
    const asked = [];
    const run = client.chat.completions.runTools({
      model: "sandbox-small",
      messages: HELLO,
      tools: [{ type: "function", function: { ...tools[0].function, parse: JSON.parse, function: ({ city }) => (asked.push(city), "cloudy") } }],
    });
    assert.match(await run.finalContent(), /cloudy/);
    assert.equal(asked.length, 1);
  });

  test("an answer that fits a JSON schema", async () => {
    const schema = {
      type: "object",
      properties: { name: { type: "string" }, age: { type: "integer" }, tags: { type: "array", items: { type: "string", enum: ["a", "b"] } } },
      required: ["name", "age", "tags"],
      additionalProperties: false,
    };
    const answer = await client.chat.completions.create({
      model: "sandbox-small",
      messages: HELLO,
      response_format: { type: "json_schema", json_schema: { name: "person", strict: true, schema } },
    });
    const person = JSON.parse(answer.choices[0].message.content);
    assert.deepEqual(Object.keys(person).sort(), ["age", "name", "tags"]);
    assert.ok(typeof person.name === "string" && Number.isInteger(person.age) && person.tags.every((tag) => ["a", "b"].includes(tag)));
  });

  test("pictures", async () => {
    const content = [
      { type: "text", text: "What is this?" },
      { type: "image_url", image_url: { url: "data:image/png;base64,iVBORw0KGgo=", detail: "low" } },
    ];
    const answer = await client.chat.completions.create({ model: "sandbox-small", messages: [{ role: "user", content }] });
    assert.match(answer.choices[0].message.content, /1 image/);
    await client.chat.completions.create({ model: "double-answer", messages: [{ role: "user", content }] });
    assert.deepEqual(upstream.of("answer").at(-1).json.messages, [{ role: "user", content }]);
  });
});

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return { chunks, text: chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("") };
}

/** Errors by what the call needs to be wrong in: `[name, call, class, status, text]`. */
const ask = (model, extra = {}) => (api) => api.chat.completions.create({ model, messages: HELLO, ...extra });
const ERRORS = [
  ["no credential", ask("auto"), "AuthenticationError", 401, /Missing Authorization header/, { defaultHeaders: { authorization: null } }],
  ["a wrong key", ask("auto"), "AuthenticationError", 401, /Invalid or expired credential/, { apiKey: "tr_live_nope" }],
  ["no money", ask("double-dear"), "APIError", 402, /billing_required/],
  ["no messages", ask("auto", { messages: [] }), "BadRequestError", 400, /messages/],
  ["a wrong type", ask("auto", { temperature: "hot" }), "BadRequestError", 400, /temperature/],
  ["an upstream that refuses the request", ask("double-mistake"), "BadRequestError", 400, /Unsupported value: temperature/],
  ["an upstream that refuses a stream", ask("double-mistake", { stream: true }), "BadRequestError", 400, /Unsupported value: temperature/],
  ["an unknown model", ask("nobody/nothing"), "NotFoundError", 404, /nobody\/nothing/],
  ["an unknown path", (api) => api.files.list(), "NotFoundError", 404, /NOT_FOUND|route/],
  ["an upstream that is limited", ask("double-limited"), "RateLimitError", 429, /Rate limit exceeded/],
  ["an upstream that is down", ask("double-down"), "InternalServerError", 502, /provider failed/],
  ["an upstream that is down, a stream", ask("double-down", { stream: true }), "InternalServerError", 502, /provider failed/],
  ["a model that is off", ask("double-off"), "InternalServerError", 503, /No provider configured/],
];

describe("openai for Node: errors are exceptions", () => {
  for (const [name, call, kind, status, text, options] of ERRORS) {
    test(`${name}: ${kind} ${status}`, async () => {
      const api = connect({ apiKey: key, ...options });
      const error = await call(api).then(() => assert.fail("it succeeded"), (error) => error);
      assert.ok(error instanceof OpenAI[kind], `${error.constructor.name}: ${error.message}`);
      assert.ok(error instanceof OpenAI.APIError);
      assert.equal(error.status, status, error.message);
      assert.match(`${error.message} ${JSON.stringify(error.error)}`, text);
      assert.match(error.requestID, /\S{8,}/, "the exception knows the request's id");
      if (status === 429 || status === 503) assert.match(error.headers.get("retry-after"), /^\d+$/);
    });
  }

  test("402 tells what is there and what is needed", async () => {
    const { status, body } = await platform.chat(key, { model: "double-dear" });
    assert.equal(status, 402);
    assert.ok(body.balance_usd > 0 && body.required_usd > body.balance_usd, JSON.stringify(body));
    assert.equal(body.error, "billing_required");
    assert.match(body.message, /balance/);
  });

  test("maxRetries waits as Retry-After says, and then succeeds", async () => {
    const started = performance.now();
    const answer = await connect({ apiKey: key, maxRetries: 1 }).chat.completions.create({ model: "double-limited-once", messages: HELLO });
    assert.equal(answer.choices[0].message.content, TEXT);
    assert.equal(upstream.of("limitedOnce").length, 2);
    assert.ok(performance.now() - started >= 950, "it waited for the second");
  });

  test("a stream that breaks throws, after what had come", async () => {
    const stream = await client.chat.completions.create({ model: "double-reset", messages: HELLO, stream: true });
    let text = "";
    const error = await (async () => {
      for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
    })().then(() => assert.fail("a broken stream looks complete"), (error) => error);
    assert.ok(error instanceof OpenAI.APIError, `${error.constructor.name}: ${error.message}`);
    assert.match(error.message, /broke/);
    assert.equal(text, WORDS.slice(0, 2).join(""));
  });

  test("abort() in the middle of a stream reaches the upstream, and is charged by the rule", async (t) => {
    const own = await platform.provision();
    const stream = await connect({ apiKey: own.key }).chat.completions.create({ model: "double-endless", messages: HELLO, stream: true });
    let seen = 0;
    for await (const chunk of stream) {
      if (chunk.choices[0].delta.content) seen++;
      if (seen === 5) break;
    }
    const left = performance.now();
    stream.controller.abort();
    const [request] = upstream.of("endless:20");
    const tookMs = (await request.closed()) - left;
    t.diagnostic(`the upstream was left after ${Math.round(tookMs)} ms`);
    assert.ok(tookMs < 2_000, `the upstream was left after ${Math.round(tookMs)} ms`);
    const [row] = await until("the usage row", async () => {
      const rows = await platform.usage(own.key);
      return rows.length > 0 && rows;
    });
    assert.equal(row.outcome, "client_gone");
    assert.ok(row.input_tokens > 0 && row.output_tokens >= seen, JSON.stringify(row));
    assert.equal(sumOf([row]), (row.input_tokens + row.output_tokens) * 1_000);
    assert.equal(await platform.balanceMicros(own.key), own.depositedMicros - sumOf([row]));
  });
});

describe("openai for Python", () => {
  test("models, chat, streams, tools and errors", { skip }, async (t) => {
    t.diagnostic(`openai ${version}`);
    const script = fileURLToPath(new URL("support/client.py", import.meta.url));
    const child = spawn(PYTHON, [script], {
      env: { ...process.env, OPENAI_BASE_URL: `${platform.url}/v1`, OPENAI_API_KEY: key },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (output += text));
    const code = await new Promise((resolve, reject) => child.once("error", reject).once("close", resolve));
    assert.equal(code, 0, output);
    assert.match(output, /^all 12 passed$/m, output);
  });
});
