// Messages, responses, embeddings, images, sound and film, with the official clients: on providers of either API.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";

import Anthropic from "@anthropic-ai/sdk";
import OpenAI, { toFile } from "openai";

import { CLAUDE_TEXT, CLAUDE_USAGE, startAnthropic } from "./support/anthropic.mjs";
import { TEXT, USAGE, chunk } from "./support/behaviours.mjs";
import { assertBalanced, startPlatform, sumOf } from "./support/platform.mjs";
import { until } from "./support/processes.mjs";
import { PYTHON, skip } from "./support/python.mjs";
import { startUpstream } from "./support/upstream.mjs";

const NAMES = ["answer", "tools", "mistake:400", "status:500", "limited:1", "resetMidBody", "streamedTools"];
const DOUBLES = Object.fromEntries(NAMES.map((name) => [`double-${name.split(":")[0]}`, { upstream_model: name }]));
DOUBLES["double-dear"] = { upstream_model: "answer", output_per_1k: 1_000_000 };
const CLAUDES = Object.fromEntries(["text", "tools", "mistake", "down", "overloaded"].map((name) => [`claude-${name}`, { upstream_model: name }]));
const KINDS = {
  "sandbox-embedding": { kind: "embedding", input_per_1k: 0.02 },
  "sandbox-image": { kind: "image", unit_price_usd: 0.04 },
  "sandbox-speech": { kind: "speech", unit_price_usd: 15 },
  "sandbox-transcription": { kind: "transcription", unit_price_usd: 0.006 },
  "sandbox-video": { kind: "video", unit_price_usd: 0.1 },
};
const PNG = "iVBORw0KGgo=";

let platform;
let upstream;
let claude;
let account;
let openai;
let anthropic;
before(async () => {
  const own = {
    /** A tool call whose arguments come in pieces. */
    async streamedTools(reply, request) {
      if (request.json.messages.at(-1).role === "tool") return upstream.behaviours.answer(reply, request);
      const call = (fields) => chunk({ tool_calls: [{ index: 0, ...fields }] });
      const { name } = request.json.tools[0].function;
      await reply.stream();
      await reply.event(chunk({ role: "assistant", content: null }));
      await reply.event(call({ id: "call_1", type: "function", function: { name, arguments: "" } }));
      for (const piece of ['{"ci', 'ty":"Gr', 'az"}']) await reply.event(call({ function: { arguments: piece } }));
      await reply.event(chunk({}, "tool_calls"));
      if (request.json.stream_options?.include_usage) await reply.event({ ...chunk({}), choices: [], usage: USAGE });
      await reply.event("[DONE]");
      await reply.end();
    },
  };
  [platform, upstream, claude] = await Promise.all([startPlatform(), startUpstream(own), startAnthropic()]);
  await platform.register("double", upstream.baseUrl, DOUBLES);
  await platform.register("claude", claude.baseUrl, CLAUDES, { type: "anthropic" });
  for (const [id, fields] of Object.entries(KINDS)) {
    await platform.admin("POST", "/admin/v1/models", { id, provider_id: "sandbox", enabled: true, ...fields });
  }
  account = await platform.provision();
  openai = new OpenAI({ baseURL: `${platform.url}/v1`, apiKey: account.key, maxRetries: 0, timeout: 30_000 });
  anthropic = connect();
});
after(() => Promise.allSettled([platform?.stop(), upstream?.close(), claude?.close()]));

const connect = (options) => new Anthropic({ baseURL: platform.url, apiKey: account.key, maxRetries: 0, timeout: 30_000, ...options });
const HELLO = [{ role: "user", content: "Hello there" }];
const WEATHER = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const TOOL = { name: "get_weather", description: "The weather of a city", input_schema: WEATHER };
const FUNCTION = { type: "function", function: { name: "get_weather", parameters: WEATHER } };
const say = (model, extra = {}) => ({ model, max_tokens: 100, messages: HELLO, ...extra });

/** What every good answer has, by model: text, tokens in and out. */
const GOOD = {
  "double-answer": [TEXT, USAGE.prompt_tokens, USAGE.completion_tokens],
  "claude-text": [CLAUDE_TEXT, CLAUDE_USAGE.input_tokens, CLAUDE_USAGE.output_tokens],
};

describe("@anthropic-ai/sdk: messages", () => {
  for (const [model, [text, input, output]] of Object.entries(GOOD)) {
    test(`a message of ${model}, its usage and its cost`, async () => {
      const { data, response } = await anthropic.messages.create(say(model, { system: "Be short." })).withResponse();
      assert.deepEqual(data.content.map(({ type, text }) => [type, text]), [["text", text]]);
      assert.deepEqual([data.type, data.role, data.model, data.stop_reason], ["message", "assistant", model, "end_turn"]);
      assert.deepEqual([data.usage.input_tokens, data.usage.output_tokens], [input, output]);
      assert.match(data._request_id, /\S{8,}/);
      const row = await until("the usage row", () => platform.receipt(account.key, response.headers.get("x-request-id")).catch(() => undefined));
      assert.equal(sumOf([row]), input + 2 * output);
    });

    test(`a stream of ${model}`, async () => {
      const stream = anthropic.messages.stream(say(model));
      const pieces = [];
      stream.on("text", (piece) => pieces.push(piece));
      const whole = await stream.finalMessage();
      assert.ok(pieces.length > 2, `${pieces.length} pieces`);
      assert.equal(pieces.join(""), text);
      assert.deepEqual([whole.content[0].text, whole.stop_reason, whole.model], [text, "end_turn", model]);
      assert.equal(whole.usage.output_tokens, output);
    });
  }

  test("the system prompt and pictures reach either kind of provider in its own words", async () => {
    const source = { type: "base64", media_type: "image/png", data: PNG };
    const content = [{ type: "text", text: "What is this?" }, { type: "image", source }];
    const request = { system: "Be short.", messages: [{ role: "user", content }] };
    await anthropic.messages.create(say("claude-text", request));
    const kept = claude.of("text").at(-1).json;
    assert.deepEqual([kept.system, kept.messages], [request.system, request.messages]);
    await anthropic.messages.create(say("double-answer", request));
    const [system, user] = upstream.of("answer").at(-1).json.messages;
    assert.deepEqual([system.role, system.content], ["system", "Be short."]);
    assert.deepEqual(user.content[0], { type: "text", text: "What is this?" });
    assert.equal(user.content[1].image_url.url, `data:image/png;base64,${PNG}`);
    const seen = await anthropic.messages.create(say("sandbox-small", request));
    assert.match(seen.content[0].text, /1 image/);
  });

  for (const model of ["sandbox-small", "double-streamedTools", "claude-tools"]) {
    test(`${model} calls a tool in a stream and hears its result`, async () => {
      const stream = anthropic.messages.stream(say(model, { tools: [TOOL] }));
      const snapshots = [];
      stream.on("inputJson", (partial, snapshot) => snapshots.push([partial, snapshot]));
      const first = await stream.finalMessage();
      assert.equal(first.stop_reason, "tool_use");
      const used = first.content.find(({ type }) => type === "tool_use");
      assert.equal(used.name, "get_weather");
      assert.equal(typeof used.input.city, "string");
      assert.deepEqual(JSON.parse(snapshots.map(([partial]) => partial).join("")), used.input, "the pieces are the input");
      if (model !== "sandbox-small") assert.equal(used.input.city, "Graz");
      const result = { type: "tool_result", tool_use_id: used.id, content: "sunny, 21 degrees" };
      const messages = [...HELLO, { role: "assistant", content: first.content }, { role: "user", content: [result] }];
      // The double's other model knows whole answers only.
      const second = await anthropic.messages.create(say(model.replace("streamedT", "t"), { tools: [TOOL], messages }));
      assert.equal(second.stop_reason, "end_turn");
      if (model === "sandbox-small") assert.match(second.content[0].text, /sunny, 21 degrees/);
      if (model === "claude-tools") assert.equal(claude.of("tools").at(-1).json.messages.at(-1).content[0].tool_use_id, used.id);
      if (model === "double-streamedTools") {
        const [, call, answer] = upstream.of("tools").at(-1).json.messages;
        assert.equal(answer.tool_call_id, call.tool_calls[0].id);
        assert.deepEqual([answer.role, answer.content], ["tool", "sunny, 21 degrees"]);
      }
    });
  }

  const ERRORS = [
    ["a wrong key", "AuthenticationError", 401, "authentication_error", say("auto"), { apiKey: "tr_live_nope" }],
    ["an unknown model", "NotFoundError", 404, "not_found_error", say("nobody/nothing")],
    ["no messages", "BadRequestError", 400, "invalid_request_error", say("auto", { messages: [] })],
    ["an upstream that refuses", "BadRequestError", 400, "invalid_request_error", say("double-mistake")],
    ["Anthropic refuses", "BadRequestError", 400, "invalid_request_error", say("claude-mistake")],
    ["Anthropic refuses a stream", "BadRequestError", 400, "invalid_request_error", say("claude-mistake", { stream: true })],
    ["no money", "APIError", 402, "billing_error", say("double-dear")],
    ["an upstream that is limited", "RateLimitError", 429, "rate_limit_error", say("double-limited")],
    ["Anthropic is overloaded", "RateLimitError", 429, "rate_limit_error", say("claude-overloaded")],
    ["Anthropic is down", "InternalServerError", 502, "api_error", say("claude-down")],
    ["an upstream that is down", "InternalServerError", 502, "api_error", say("double-status")],
  ];
  for (const [name, kind, status, type, body, options] of ERRORS) {
    test(`${name}: ${kind} ${status}`, async () => {
      const error = await connect(options).messages.create(body).then(() => assert.fail("it succeeded"), (error) => error);
      assert.ok(error instanceof Anthropic[kind], `${error.constructor.name}: ${error.message}`);
      assert.deepEqual([error.status, error.error.type, error.error.error.type], [status, "error", type], error.message);
      assert.equal(error.error.request_id, error.headers.get("x-request-id"));
      assert.equal(error.requestID, error.error.request_id);
      assert.doesNotMatch(error.message, /secret words/);
    });
  }

  test("a stream that breaks throws", async () => {
    const broken = anthropic.messages.stream(say("double-resetMidBody")).finalMessage();
    const error = await broken.then(() => assert.fail("a broken stream looks complete"), (error) => error);
    assert.ok(error instanceof Anthropic.APIError, `${error.constructor.name}: ${error.message}`);
  });
});

describe("openai for Node on a provider of Anthropic's kind", () => {
  test("a chat: the key, the version, the system prompt and the answer are translated", async () => {
    const messages = [{ role: "system", content: "Be kind." }, ...HELLO];
    const answer = await openai.chat.completions.create({ model: "claude-text", messages });
    assert.deepEqual([answer.choices[0].message.content, answer.choices[0].finish_reason, answer.model], [CLAUDE_TEXT, "stop", "claude-text"]);
    assert.deepEqual([answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens], [23, 7, 30]);
    const { headers, json } = claude.of("text").at(-1);
    assert.deepEqual([headers["x-api-key"], headers["anthropic-version"], headers.authorization], ["sk-claude", "2023-06-01", undefined]);
    assert.match(JSON.stringify(json.system), /Be kind\./);
    assert.deepEqual(json.messages.map(({ role }) => role), ["user"]);
  });

  test("a stream with its usage", async () => {
    const stream = openai.chat.completions.stream({ model: "claude-text", messages: HELLO, stream_options: { include_usage: true } });
    const whole = await stream.finalChatCompletion();
    assert.deepEqual([whole.choices[0].message.content, whole.choices[0].finish_reason], [CLAUDE_TEXT, "stop"]);
    assert.deepEqual([whole.usage.prompt_tokens, whole.usage.completion_tokens], [23, 7]);
  });

  for (const stream of [false, true]) {
    test(`a tool and its result, ${stream ? "streamed" : "whole"}`, async () => {
      const request = { model: "claude-tools", messages: HELLO, tools: [FUNCTION] };
      const first = stream ? await openai.chat.completions.stream(request).finalChatCompletion() : await openai.chat.completions.create(request);
      const { message, finish_reason } = first.choices[0];
      assert.equal(finish_reason, "tool_calls");
      const [call] = message.tool_calls;
      assert.deepEqual([call.function.name, JSON.parse(call.function.arguments)], ["get_weather", { city: "Graz" }]);
      const said = { role: "assistant", content: message.content, tool_calls: message.tool_calls };
      const messages = [...HELLO, said, { role: "tool", tool_call_id: call.id, content: "sunny" }];
      const second = await openai.chat.completions.create({ ...request, messages });
      assert.equal(second.choices[0].message.content, CLAUDE_TEXT);
      const [, used, told] = claude.of("tools").at(-1).json.messages;
      assert.deepEqual(used.content.at(-1).input, { city: "Graz" });
      assert.equal(told.content[0].tool_use_id, used.content.at(-1).id);
    });
  }

  test("its refusal is the client's", async () => {
    const error = await openai.chat.completions.create({ model: "claude-mistake", messages: HELLO }).catch((error) => error);
    assert.ok(error instanceof OpenAI.BadRequestError, `${error}`);
    assert.match(error.message, /temperature: too hot/);
  });
});

describe("openai for Node: responses", () => {
  for (const model of ["double-answer", "claude-text"]) {
    const [text, input, output] = GOOD[model];
    test(`${model}: given, kept, continued, listed and deleted`, async () => {
      const first = await openai.responses.create({ model, input: "Hello there", instructions: "Be short." });
      assert.deepEqual([first.output_text, first.status, first.model], [text, "completed", model]);
      assert.deepEqual([first.usage.input_tokens, first.usage.output_tokens, first.usage.total_tokens], [input, output, input + output]);
      const second = await openai.responses.create({ model, input: "And now?", previous_response_id: first.id });
      assert.equal(second.previous_response_id, first.id);
      const sent = (model === "claude-text" ? claude.of("text") : upstream.of("answer")).at(-1).json;
      assert.deepEqual(sent.messages.map(({ role }) => role), ["user", "assistant", "user"]);
      assert.match(JSON.stringify(sent.messages[1]), new RegExp(text));

      const kept = await openai.responses.retrieve(first.id);
      assert.deepEqual([kept.id, kept.output_text, kept.usage], [first.id, text, first.usage]);
      const items = [];
      for await (const item of openai.responses.inputItems.list(first.id)) items.push(item);
      assert.equal(items.length, 1);
      assert.match(JSON.stringify(items[0].content), /Hello there/);
      await openai.responses.delete(first.id);
      const gone = await openai.responses.retrieve(first.id).catch((error) => error);
      assert.ok(gone instanceof OpenAI.NotFoundError, `${gone}`);
      const lost = await openai.responses.create({ model, input: "?", previous_response_id: first.id }).catch((error) => error);
      assert.ok(lost instanceof OpenAI.BadRequestError, `${lost}`);
      assert.equal(lost.code, "previous_response_not_found");
    });

    test(`${model}: a stream, event by event and whole`, async () => {
      const types = [];
      let said = "";
      for await (const event of await openai.responses.create({ model, input: "Hello there", stream: true })) {
        assert.equal(event.sequence_number, types.length);
        types.push(event.type);
        if (event.type === "response.output_text.delta") said += event.delta;
      }
      assert.equal(said, text);
      assert.deepEqual(types.slice(0, 2), ["response.created", "response.in_progress"]);
      assert.equal(types.at(-1), "response.completed");

      const whole = await openai.responses.stream({ model, input: "Hello there" }).finalResponse();
      assert.deepEqual([whole.output_text, whole.status, whole.usage.output_tokens], [text, "completed", output]);
      const kept = await until("the stream's response is kept", () => openai.responses.retrieve(whole.id).catch(() => undefined));
      assert.equal(kept.output_text, text);
    });
  }

  for (const model of ["sandbox-small", "claude-tools", "double-streamedTools"]) {
    test(`${model} calls a function and hears its result`, async () => {
      const tools = [{ type: "function", name: "get_weather", parameters: WEATHER, strict: false }];
      const first = await openai.responses.stream({ model, input: "How is the weather?", tools }).finalResponse();
      const call = first.output.find(({ type }) => type === "function_call");
      assert.equal(call.name, "get_weather");
      assert.equal(typeof JSON.parse(call.arguments).city, "string");
      const input = [{ type: "function_call_output", call_id: call.call_id, output: "sunny, 21 degrees" }];
      const second = await openai.responses.stream({ model, input, tools, previous_response_id: first.id }).finalResponse();
      const wanted = { "sandbox-small": /sunny, 21 degrees/, "claude-tools": new RegExp(CLAUDE_TEXT), "double-streamedTools": new RegExp(TEXT) };
      assert.match(second.output_text, wanted[model]);
    });
  }

  test("errors are the client's exceptions", async () => {
    for (const [body, kind] of [
      [{ model: "nobody/nothing", input: "a" }, "NotFoundError"],
      [{ model: "double-answer", input: "a", background: true }, "BadRequestError"],
      [{ model: "double-mistake", input: "a" }, "BadRequestError"],
      [{ model: "double-status", input: "a" }, "InternalServerError"],
    ]) {
      const error = await openai.responses.create(body).then(() => assert.fail("it succeeded"), (error) => error);
      assert.ok(error instanceof OpenAI[kind], `${JSON.stringify(body)}: ${error.constructor.name} ${error.message}`);
    }
    const broken = openai.responses.stream({ model: "double-resetMidBody", input: "a" });
    const error = await broken.finalResponse().then(() => assert.fail("a broken stream looks complete"), (error) => error);
    assert.ok(error instanceof OpenAI.APIError, `${error.constructor.name}: ${error.message}`);
    assert.equal(error.code, "upstream_reset");
  });
});

describe("openai for Node: vectors, pictures, sound and film of the sandbox", () => {
  test("embeddings as floats, as base64 and as the client asks for them", async () => {
    const create = (extra) => openai.embeddings.create({ model: "sandbox-embedding", input: ["a cat", "a dog"], ...extra });
    const [plain, float, base64, short] = await Promise.all([create(), create({ encoding_format: "float" }), create({ encoding_format: "base64" }), create({ dimensions: 8 })]);
    assert.deepEqual(float.data.map(({ index, object }) => [index, object]), [[0, "embedding"], [1, "embedding"]]);
    assert.ok(float.data[0].embedding.length > 8 && float.data[0].embedding.every(Number.isFinite));
    assert.notDeepEqual(float.data[0].embedding, float.data[1].embedding);
    const numbers = (text) => [...new Float32Array(new Uint8Array(Buffer.from(text, "base64")).buffer)];
    for (const [i, { embedding }] of float.data.entries()) {
      const singles = [...new Float32Array(embedding)];
      assert.equal(typeof base64.data[i].embedding, "string");
      assert.deepEqual(numbers(base64.data[i].embedding), singles, "base64 is the same vector");
      // Without an encoding_format the client asks for base64 and decodes it.
      assert.deepEqual([...plain.data[i].embedding], singles);
    }
    assert.deepEqual(short.data.map(({ embedding }) => embedding.length), [8, 8]);
    assert.deepEqual(plain.usage, { prompt_tokens: 4, total_tokens: 4 });
  });

  test("an image is a PNG of the size that was asked for", async () => {
    const answer = await openai.images.generate({ model: "sandbox-image", prompt: "a cat", n: 2, size: "256x256", response_format: "b64_json" });
    assert.equal(answer.data.length, 2);
    for (const { b64_json } of answer.data) {
      const png = Buffer.from(b64_json, "base64");
      assert.equal(png.subarray(0, 8).toString("latin1"), "\x89PNG\r\n\x1a\n");
      assert.deepEqual([png.readUInt32BE(16), png.readUInt32BE(20)], [256, 256]);
    }
    assert.notEqual(answer.data[0].b64_json, answer.data[1].b64_json);
  });

  test("speech is a WAV that the transcription understands", async () => {
    const input = "Good morning, all of you.";
    const speech = await openai.audio.speech.create({ model: "sandbox-speech", voice: "nova", input, response_format: "wav" });
    assert.equal(speech.headers.get("content-type"), "audio/wav");
    const wav = Buffer.from(await speech.arrayBuffer());
    assert.equal(wav.toString("latin1", 0, 4) + wav.toString("latin1", 8, 12), "RIFFWAVE");
    assert.equal(wav.readUInt32LE(4), wav.length - 8);
    const file = () => toFile(wav, "speech.wav", { type: "audio/wav" });
    const heard = await openai.audio.transcriptions.create({ model: "sandbox-transcription", file: await file() });
    assert.equal(heard.text, input);
    const subtitles = await openai.audio.transcriptions.create({ model: "sandbox-transcription", file: await file(), response_format: "srt" });
    assert.match(subtitles, /^1\n00:00:00,000 --> [\s\S]*Good morning/);
  });

  test("a video is polled until it is completed, downloaded, and charged once", async () => {
    const own = await platform.provision();
    const client = openai.withOptions({ apiKey: own.key });
    const begun = await client.videos.create({ model: "sandbox-video", prompt: "waves", seconds: "4" });
    assert.equal(begun.object, "video");
    const early = await client.videos.downloadContent(begun.id).catch((error) => error);
    assert.equal(early.status, 409, "it is not there yet");
    const done = await until("the video is made", async () => {
      const video = await client.videos.retrieve(begun.id);
      assert.notEqual(video.status, "failed");
      return video.status === "completed" && video;
    }, 15_000, 300);
    assert.equal(done.progress, 100);
    const film = await client.videos.downloadContent(begun.id);
    assert.equal(film.headers.get("content-type"), "video/mp4");
    assert.equal(Buffer.from(await film.arrayBuffer()).toString("latin1", 4, 8), "ftyp");
    const stranger = await openai.videos.retrieve(begun.id).catch((error) => error);
    assert.ok(stranger instanceof OpenAI.NotFoundError, `${stranger}`);
    await until("the video is charged", async () => (await platform.usage(own.key)).length === 1);
    assert.equal(sumOf(await assertBalanced(platform, own)), 400_000);
  });

  test("a model of one kind does nothing else", async () => {
    for (const call of [
      () => openai.embeddings.create({ model: "sandbox-small", input: "a" }),
      () => openai.images.generate({ model: "sandbox-speech", prompt: "a" }),
      () => openai.chat.completions.create({ model: "sandbox-image", messages: HELLO }),
    ]) {
      const error = await call().then(() => assert.fail("it succeeded"), (error) => error);
      assert.ok(error instanceof OpenAI.NotFoundError, `${error}`);
    }
  });
});

describe("openai for Python: responses", () => {
  const script = `
import openai
client = openai.OpenAI(max_retries=0, timeout=30)
first = client.responses.create(model="double-answer", input="Hello there")
assert first.output_text == "${TEXT}", first
second = client.responses.create(model="claude-text", input="And now?", previous_response_id=first.id)
assert second.output_text == "${CLAUDE_TEXT}" and second.previous_response_id == first.id, second
with client.responses.stream(model="double-answer", input="Hello there") as stream:
    said = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
    assert said == stream.get_final_response().output_text == "${TEXT}", said
assert client.responses.retrieve(first.id).id == first.id
vector = client.embeddings.create(model="sandbox-embedding", input="a cat", dimensions=8).data[0].embedding
assert len(vector) == 8, vector
print("passed")
`;
  test("create, continue, stream, retrieve; an embedding", { skip }, async () => {
    const env = { ...process.env, OPENAI_BASE_URL: `${platform.url}/v1`, OPENAI_API_KEY: account.key };
    const { stdout } = await promisify(execFile)(PYTHON, ["-c", script], { env });
    assert.equal(stdout, "passed\n");
  });
});

test("after all of it the books balance", async () => {
  const rows = await assertBalanced(platform, account);
  for (const type of ["chat", "embedding", "image", "speech", "transcription"]) assert.ok(rows.some((row) => row.request_type === type), type);
});
