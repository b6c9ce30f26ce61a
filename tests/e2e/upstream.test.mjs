// The platform between a client and an upstream that it has never seen: what goes up, what comes down, and when.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { TEXT, USAGE, WORDS, chunk, completion, eventsOf } from "./support/behaviours.mjs";
import { startPlatform } from "./support/platform.mjs";
import { sleep, until } from "./support/processes.mjs";
import { openStream, readEvents } from "./support/stream.mjs";
import { startUpstream } from "./support/upstream.mjs";

/** Short, so that silence need not be waited out for minutes. A whole answer may take eight times the first. */
const SETTINGS = { FIRST_BYTE_MS: 1_000, STALL_MS: 1_500 };

let platform;
let upstream;
let account;

/** Gates by which a test steers the double, one event at a time. */
const gates = new Map();
const own = {
  /** `gated:name`: sends the next event when the test says so. */
  async gated(reply, request, name) {
    await reply.stream();
    for (const event of eventsOf(request)) {
      await gates.get(name).next();
      await reply.event(event);
    }
    await reply.end();
  },
  /** `spaced:50`: 24 chunks, so many milliseconds apart; the time of each is noted. */
  async spaced(reply, request, ms) {
    request.sentAt = [];
    await reply.stream();
    for (let i = 0; i < 24; i++) {
      request.sentAt.push(performance.now());
      await reply.event(chunk({ content: ` ${i}` }));
      await sleep(Number(ms));
    }
    await reply.event("[DONE]");
    await reply.end();
  },
  /** `burst:500`: so many numbered chunks of a kilobyte, all at once. */
  async burst(reply, request, count) {
    await reply.stream();
    for (let i = 0; i < Number(count); i++) await reply.event(chunk({ content: `${i} ${"x".repeat(1000)}` }));
    await reply.event({ ...chunk({}), choices: [], usage: USAGE });
    await reply.event("[DONE]");
    await reply.end();
  },
  /** Says its last word, and keeps the stream open until the connection closes. `lingering:whole` says all of it in one piece. */
  async lingering(reply, request, whole) {
    await reply.stream({ "content-type": "TEXT/EVENT-STREAM;charset=UTF-8" });
    const events = eventsOf(request).map((event) => (typeof event === "string" ? event : JSON.stringify(event)));
    if (whole) await reply.event(events.join("\n\ndata: "));
    else for (const event of events) await reply.event(event);
    request.sentAt = performance.now();
    await new Promise((resolve) => reply.socket.once("close", resolve));
    request.closedAfterMs = performance.now() - request.sentAt;
  },
  /** Comments for ever: no answer begins. */
  async murmuring(reply) {
    await reply.stream();
    for (;;) {
      await reply.piece(": processing\n\n");
      await sleep(500);
    }
  },
  /** Chunks of 16 KB for ever, as fast as they are taken. */
  async torrent(reply, request) {
    await reply.stream();
    for (request.sent = 0; ; request.sent += 16_384) await reply.event(chunk({ content: "x".repeat(16_384) }));
  },
  /** Fails as often as it says, then all is well: `recovering:1`. */
  async recovering(reply, request, times) {
    if (upstream.of(request.model).length <= Number(times)) return upstream.behaviours.status(reply, request, "503");
    await upstream.behaviours.answer(reply, request);
  },
};

before(async () => {
  [platform, upstream] = await Promise.all([startPlatform({ settings: SETTINGS }), startUpstream(own)]);
  account = await platform.provision();
});
after(() => Promise.allSettled([platform?.stop(), upstream?.close()]));

let registered = 0;

/**
 * Registers a provider of its own (health is the provider's) with one model, which behaves as told; gives the model's
 * name and a way to find its requests.
 */
async function offer(behaviour, { id = `model-${++registered}`, provider = `provider-${registered}`, ...fields } = {}) {
  await platform.register(provider, upstream.baseUrl, { [id]: { upstream_model: `${behaviour}:${id}`.replace("::", ":"), ...fields } });
  return { id, provider, requests: () => upstream.requests.filter((request) => request.model === `${behaviour}:${id}`) };
}

const say = (model, extra = {}) => ({ model, messages: [{ role: "user", content: "Hello" }], ...extra });

function chat(model, extra, options) {
  return platform.call("POST", "/v1/chat/completions", { token: account.key, body: say(model, extra), ...options });
}

/** The usage row of an answer, by its request id. */
function receiptOf({ headers }) {
  return until("the usage row", () => platform.receipt(account.key, headers.get("x-request-id")).catch(() => undefined));
}

/** Splits a stream's text into its data; checks that every event is complete. */
function eventsIn(text) {
  assert.ok(text.endsWith("\n\n"), `the stream ends with a whole event: …${JSON.stringify(text.slice(-80))}`);
  return readEvents(text);
}

describe("what goes up", () => {
  test("the upstream sees the client's own bytes; only the model's name changes", async () => {
    const { id, requests } = await offer("answer", { provider: "exact" });
    const body =
      `{ "messages" : [\n\t{"role":"user","content":"Grüße \\u00e9 😀 \\/ \\"x\\""} ],"x_unknown": {"b":1.50,"a":[1e3, -0.0, 12345678901234567890]},\r\n` +
      ` "model":"${id}" , "temperature":0.70,"seed":9007199254740993,"logit_bias":{"50256":-100},"user":"ü"}`;
    const answer = await platform.call("POST", "/v1/chat/completions", {
      token: account.key,
      body,
      headers: { "x-secret-of-the-client": "1", cookie: "a=b", "user-agent": "test/1" },
    });
    assert.equal(answer.status, 200, answer.text);
    const [request] = requests();
    assert.equal(request.body.toString(), body.replace(`"model":"${id}"`, `"model":"answer:${id}"`));
    assert.equal(`${request.method} ${request.path}`, "POST /v1/chat/completions");
    assert.equal(request.headers.authorization, "Bearer sk-exact", "the provider's key, not the client's");
    assert.equal(request.headers["content-type"], "application/json");
    assert.equal(request.headers.host, `127.0.0.1:${upstream.port}`);
    for (const name of ["x-secret-of-the-client", "cookie", "x-api-key"]) assert.equal(request.headers[name], undefined, name);
    assert.ok(!request.head.includes(account.key), "the client's key goes nowhere");
  });

  test("a stream asks for usage, and changes nothing else", async () => {
    const { id, requests } = await offer("answer");
    for (const [given, wanted] of [
      ["", '"stream_options":{"include_usage":true},'],
      ['"stream_options":{"include_usage":false,"x":1},', '"stream_options":{"include_usage":true,"x":1},'],
      ['"stream_options":{"include_usage":true},', '"stream_options":{"include_usage":true},'],
      ['"stream_options":null,', '"stream_options":{"include_usage":true},'],
    ]) {
      const body = (options, model) => `{${options}"model":"${model}","stream":true,"messages":[{"role":"user","content":"Hello"}]}`;
      const { status, text } = await platform.call("POST", "/v1/chat/completions", { token: account.key, body: body(given, id) });
      assert.equal(status, 200, text);
      const seen = requests().at(-1).body.toString();
      assert.deepEqual(JSON.parse(seen), JSON.parse(body(wanted, `answer:${id}`)), given);
      assert.equal(seen.length, body(wanted, `answer:${id}`).length, `nothing else changed: ${seen}`);
      const usages = eventsIn(text).filter((event) => event.usage);
      assert.equal(usages.length, given.includes("true") ? 1 : 0, `usage is shown to who asked for it only (${given})`);
    }
  });

  test("no limit is added while there is money, whatever the lease of the moment holds", async () => {
    const { id, requests } = await offer("answer");
    for (let i = 0; i < 150; i++) {
      // Each needs a little more than the one before; the pauses let the lease shrink in between.
      const { status, text } = await platform.chat(account.key, { model: id, messages: [{ role: "user", content: "x".repeat(20 * i) }] });
      assert.equal(status, 200, text);
      if (i % 3 === 0) await sleep(i);
    }
    const limited = requests().filter(({ json }) => "max_tokens" in json || "max_completion_tokens" in json);
    assert.equal(limited.length, 0, `of ${requests().length} requests ${limited.length} were cut, e.g. ${limited[0]?.body.toString().slice(0, 100)}`);
  });

  test("eight megabytes of prompt arrive whole", async () => {
    const { id, requests } = await offer("answer");
    const content = "0123456789abcdef".repeat(1 << 19);
    const rich = await platform.provision({ balanceMicros: 100_000_000 });
    const { status, text } = await platform.chat(rich.key, { model: id, messages: [{ role: "user", content }] });
    assert.equal(status, 200, text.slice(0, 300));
    assert.equal(requests()[0].json.messages[0].content, content);
  });
});

describe("what comes down", () => {
  test("an answer: the model that was asked for, everything else the upstream's", async () => {
    const { id } = await offer("answer");
    const answer = await chat(id);
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual(answer.body, completion({ model: id }));
    assert.equal(answer.headers.get("content-type"), "application/json");
    assert.equal(answer.headers.get("x-tokaroo-cache"), "miss");
    const cost = USAGE.prompt_tokens * 1 + USAGE.completion_tokens * 2;
    assert.equal(Number(answer.headers.get("x-tokaroo-cost")), cost / 1e6);
    const { outcome, charged_usd, receipt } = await receiptOf(answer);
    assert.deepEqual([outcome, charged_usd, receipt.rule], ["completed", cost / 1e6, "reported"]);
  });

  test("a stream: event by event, usage hidden, one [DONE]", async () => {
    const { id } = await offer("answer");
    const answer = await chat(id, { stream: true });
    assert.equal(answer.headers.get("content-type"), "text/event-stream; charset=utf-8");
    const events = eventsIn(answer.text);
    assert.equal(events.at(-1), "[DONE]");
    assert.deepEqual(events.slice(0, -1), eventsOf({ json: {} }).slice(0, -1).map((event) => ({ ...event, model: id })));
    const { outcome, input_tokens, output_tokens } = await receiptOf(answer);
    assert.deepEqual([outcome, input_tokens, output_tokens], ["completed", USAGE.prompt_tokens, USAGE.completion_tokens]);
  });

  for (const [behaviour, when] of [["lingering", "whenever its upstream closes"], ["lingering:whole", "also when that has come with its first chunk"]]) {
    test(`a stream ends with its [DONE], ${when}`, async () => {
      const { id, requests } = await offer(behaviour);
      const answer = await chat(id, { stream: true });
      const tookMs = performance.now() - requests()[0].sentAt;
      assert.equal(eventsIn(answer.text).at(-1), "[DONE]");
      assert.ok(tookMs < 2_000, `after ${tookMs} ms`);
      assert.equal((await receiptOf(answer)).outcome, "completed");
      await until("the upstream's connection closes", () => requests()[0].closedAfterMs);
    });
  }

  test("comments are no answer: when none begins in time, the provider has failed", async () => {
    const { id } = await offer("murmuring");
    const startedAt = performance.now();
    const answer = await chat(id, { stream: true });
    const tookMs = performance.now() - startedAt;
    assert.equal(answer.status, 502, answer.text);
    assert.ok(tookMs > 7_000 && tookMs < 12_000, `eight first bytes, and ${tookMs} ms`);
  });

  test("an answer in drops, byte by byte, is the same answer", async () => {
    const { id } = await offer("drip");
    assert.deepEqual((await chat(id)).body, completion({ model: id }));
    const events = eventsIn((await chat(id, { stream: true })).text);
    assert.equal(events.map((event) => event.choices?.[0]?.delta.content ?? "").join(""), TEXT);
    assert.equal(events.at(-1), "[DONE]");
  });

  test("an answer that is late, but not too late, is an answer", async () => {
    const { id } = await offer("late:2500");
    assert.equal((await chat(id)).status, 200, "a whole answer may take longer than a first byte");
  });
});

/** Failures before the first byte: nothing of them reaches the client. */
const EARLY = [
  { behaviour: "status:500", whole: 502, stream: 502 },
  { behaviour: "status:503", whole: 502, stream: 502 },
  { behaviour: "status:401", whole: 502, stream: 502 },
  { behaviour: "limited:7", whole: 429, stream: 429, retryAfter: "7" },
  { behaviour: "resetBeforeHead", whole: 502, stream: 502 },
  { behaviour: "noise", whole: 502, stream: 502 },
  { behaviour: "silentBeforeHead", whole: 502, stream: 502 },
  { behaviour: "silentAfterHead", stream: 502 },
  { behaviour: "processing:reset", stream: 502 },
  { behaviour: "processing:error", stream: 502 },
  { behaviour: "processing:silence", stream: 502 },
  { behaviour: "processing:end", stream: 502 },
  { behaviour: "garbage", whole: 502 },
  { behaviour: "resetMidBody", whole: 502 },
  { behaviour: "hugeJson", whole: 502, stream: 502 },
];

/** Failures that may pass in a moment: quick, and without words that mean something. */
const PASSING = new Set(["status:500", "status:503", "resetBeforeHead", "noise", "resetMidBody"]);

describe("an upstream that fails before it has said anything", { concurrency: 4 }, () => {
  for (const { behaviour, retryAfter, ...statuses } of EARLY) {
    for (const [kind, status] of Object.entries(statuses)) {
      const stream = kind === "stream";
      test(`${behaviour}, ${kind}: ${status}`, async () => {
        const { id, requests } = await offer(behaviour);
        const answer = await chat(id, { stream });
        assert.equal(answer.status, status, answer.text.slice(0, 300));
        assert.equal(answer.headers.get("content-type"), "application/json");
        assert.equal(typeof answer.body.error, "string");
        assert.equal(answer.headers.get("retry-after"), retryAfter ?? null);
        assert.ok(!answer.text.includes("secret"), "the upstream's words stay with us");
        assert.equal(requests().length, PASSING.has(behaviour) ? 3 : 1, "what may pass is tried three times, anything else once");
        const { outcome, charged_usd, receipt } = await receiptOf(answer);
        assert.deepEqual([outcome, charged_usd, receipt.rule], ["upstream_failed", 0, "nothing_delivered"]);
        if (behaviour === "hugeJson") assert.ok(requests()[0].poured < 80e6, `read ${requests()[0].poured} bytes of an answer that is too large`);
      });

      // A whole answer is waited for for eight seconds: once is enough.
      if (behaviour === "silentBeforeHead" && !stream) continue;
      test(`${behaviour}, ${kind}: another provider takes over`, async () => assertFallback(await offer(behaviour), stream));
    }
  }
});

/** The modes choose among all models: so a failing one and a good one are made the best, by one test at a time. */
let turn = Promise.resolve();
function assertFallback(failing, stream) {
  const check = async () => {
    const good = await offer("answer");
    // `max` takes the greatest weight first.
    await platform.admin("PATCH", `/admin/v1/models/${failing.id}`, { weight: 10 });
    await platform.admin("PATCH", `/admin/v1/models/${good.id}`, { weight: 9 });
    try {
      const answer = await chat("max", { stream });
      assert.equal(failing.requests().length, 1, "the failing one was tried first");
      assert.equal(good.requests().length, 1, "the other one was tried then");
      assert.equal(answer.status, 200, answer.text.slice(0, 300));
      if (stream) {
        const events = eventsIn(answer.text);
        assert.equal(events.at(-1), "[DONE]");
        assert.ok(events.slice(0, -1).every((event) => event.model === "max" && !event.error));
      } else {
        assert.deepEqual(answer.body, completion({ model: "max" }));
      }
      const { outcome, receipt } = await receiptOf(answer);
      assert.deepEqual([outcome, receipt.attempts, receipt.price.model], ["completed", 2, good.id]);
    } finally {
      for (const { id } of [failing, good]) await platform.admin("DELETE", `/admin/v1/models/${id}`);
    }
  };
  turn = turn.then(check, check);
  return turn;
}

/** Failures in the middle: the client keeps what it has, and is told. */
const MIDWAY = [
  { behaviour: "resetMidBody", code: "upstream_reset" },
  { behaviour: "half", code: "upstream_incomplete" },
  { behaviour: "wordsAlone", code: "upstream_incomplete" },
  { behaviour: "errorEvent", code: "upstream_error" },
  { behaviour: "garbage", code: "upstream_invalid_response" },
  { behaviour: "silentMidStream", code: "upstream_timeout" },
  { behaviour: "longLine", code: "upstream_invalid_response" },
];

async function assertMidway(behaviour, code) {
  const { id, requests } = await offer(behaviour);
  const answer = await chat(id, { stream: true });
  assert.equal(answer.status, 200, answer.text.slice(0, 300));
  assert.ok(!answer.text.includes("[DONE]"), answer.text.slice(-300));
  assert.ok(!answer.text.includes("secret"), "the upstream's words stay with us");
  const events = eventsIn(answer.text);
  const words = events.map((event) => event.choices?.[0]?.delta?.content ?? "").join("");
  assert.ok(words.startsWith(WORDS.slice(0, 2).join("")), `what came before the break is delivered: ${words}`);
  assert.deepEqual({ ...events.at(-1).error, message: undefined }, { code, type: "upstream_error", param: null, message: undefined });
  assert.ok(events.slice(0, -1).every((event) => !event.error), "one error");
  const { outcome, charged_usd, receipt } = await receiptOf(answer);
  assert.deepEqual([outcome, receipt.rule], ["stream_broken", "estimated"]);
  assert.ok(charged_usd > 0, "what was delivered is paid");
  assert.equal(requests().length, 1, "nothing is tried again once a byte has gone out");
  if (behaviour === "longLine") {
    // Sixteen megabytes and more of it lie in sockets and in Miniflare's own Worker before the upstream.
    assert.ok(requests()[0].poured < 60e6, `read ${requests()[0].poured} bytes of a line that is too long`);
  }
}

describe("an upstream that fails in the middle of a stream", { concurrency: 4 }, () => {
  for (const { behaviour, code } of MIDWAY) {
    test(`${behaviour}: an error event, never [DONE]`, () => assertMidway(behaviour, code));
  }
  test("noDone: all is said behind the finish_reason, so the client gets its [DONE]", async () => {
    const answer = await chat((await offer("noDone")).id, { stream: true });
    assert.ok(answer.text.endsWith("data: [DONE]\n\n") && !answer.text.includes("error"), answer.text.slice(-300));
    const { outcome, receipt } = await receiptOf(answer);
    assert.deepEqual([outcome, receipt.rule], ["completed", "reported"]);
  });
});

describe("a client's own mistake", () => {
  for (const status of [400, 413, 422]) {
    test(`${status} is told at once, in the upstream's words, and tried nowhere else`, async () => {
      const [mistaken, other] = [await offer(`mistake:${status}`), await offer("answer")];
      await platform.admin("PATCH", `/admin/v1/models/${mistaken.id}`, { weight: 10 });
      await platform.admin("PATCH", `/admin/v1/models/${other.id}`, { weight: 9 });
      try {
        for (const stream of [false, true]) {
          const answer = await chat("max", { stream });
          assert.equal(answer.status, status, answer.text);
          assert.equal(answer.body.error, "Unsupported value: temperature");
          assert.deepEqual([answer.body.param, answer.body.code], ["temperature", "unsupported_value"]);
          assert.equal((await receiptOf(answer)).charged_usd, 0);
        }
        assert.deepEqual([mistaken.requests().length, other.requests().length], [2, 0]);
      } finally {
        for (const { id } of [mistaken, other]) await platform.admin("DELETE", `/admin/v1/models/${id}`);
      }
    });
  }
});

describe("streams are forwarded as they come", () => {
  test("no event waits for the next: each arrives before the upstream sends another", async () => {
    const { id } = await offer("gated:lockstep");
    // The double takes one pass for every event.
    const passes = [];
    let waiting;
    gates.set("lockstep", {
      next: () => new Promise((resolve) => (passes.length ? resolve(passes.pop()) : (waiting = resolve))),
    });
    const open = () => (waiting ? (waiting(), (waiting = undefined)) : passes.push(true));
    const stream = openStream(`${platform.url}/v1/chat/completions`, account.key, say(id, { stream: true, stream_options: { include_usage: true } }));
    try {
      const wanted = eventsOf({ json: { stream_options: { include_usage: true } } });
      for (const [at, event] of wanted.entries()) {
        open();
        const text = await stream.nextEvent(3_000).catch((error) => assert.fail(`event ${at} did not come while the upstream waited: ${error.message}`));
        const seen = text === "[DONE]" ? text : JSON.parse(text);
        assert.deepEqual(seen, event === "[DONE]" ? event : { ...event, model: id }, `event ${at}`);
      }
    } finally {
      stream.close();
    }
  });

  test("chunks 50 ms apart arrive one by one, without stalls", async (t) => {
    const { id, requests } = await offer("spaced:50");
    // A busy machine may spoil one run; a stall of ours would spoil them all.
    let report;
    for (let attempt = 1; attempt <= 3; attempt++) {
      const stream = openStream(`${platform.url}/v1/chat/completions`, account.key, say(id, { stream: true }));
      const arrivedAt = [];
      for (let i = 0; i < 24; i++) {
        await stream.nextEvent(10_000);
        arrivedAt.push(performance.now());
      }
      assert.equal(await stream.nextEvent(10_000), "[DONE]");
      stream.close();
      const { sentAt } = requests().at(-1);
      // The first one carries the way up and the reservation with it.
      const delays = arrivedAt.map((at, i) => at - sentAt[i]).slice(1).sort((a, b) => a - b);
      const gaps = arrivedAt.slice(1).map((at, i) => at - arrivedAt[i]);
      report = {
        median: delays[delays.length >> 1],
        nineOfTen: delays[Math.floor(delays.length * 0.9)],
        clumped: gaps.filter((gap) => gap < 15).length,
      };
      t.diagnostic(`delay per chunk: median ${report.median.toFixed(1)} ms, nine of ten ${report.nineOfTen.toFixed(1)} ms; ${report.clumped} chunks came together`);
      if (report.median < 25 && report.nineOfTen < 40 && report.clumped <= 2) return;
    }
    assert.fail(`three times in a row: ${JSON.stringify(report)}`);
  });
});

describe("a client that leaves", () => {
  const rates = { input_per_1k: 1, output_per_1k: 1 };

  test("a stream: the upstream's connection closes, and what was delivered is paid", async (t) => {
    const { id, requests } = await offer("endless:20", rates);
    const own = await platform.provision();
    const body = say(id, { stream: true });
    const stream = openStream(`${platform.url}/v1/chat/completions`, own.key, body);
    for (let i = 0; i < 10; i++) await stream.nextEvent(5_000);
    const requestId = stream.headers["x-request-id"];
    const left = performance.now();
    stream.close();
    const closed = await requests()[0].closed();
    t.diagnostic(`the upstream was left ${Math.round(closed - left)} ms after the client had gone`);
    assert.ok(closed - left < 2_000, `the upstream was left ${Math.round(closed - left)} ms after the client had gone`);
    const row = await until("the usage row", () => platform.receipt(own.key, requestId).catch(() => undefined));
    const { rule, usage, cost_micros } = row.receipt;
    assert.deepEqual([row.outcome, rule], ["client_gone", "estimated"]);
    assert.equal(cost_micros, (usage.input + usage.output) * 1_000, "recomputed");
    assert.equal(Math.round(row.charged_usd * 1e6), cost_micros);
    assert.equal(usage.input, Math.floor(JSON.stringify(body).length / 4), "input: a token for every four bytes");
    const [seen, sent] = [9, requests()[0].sent];
    // " word" is five bytes of text: two tokens by its bytes, one by its chunk.
    assert.ok(usage.output >= seen && usage.output <= 2 * (sent + 1), `output: ${usage.output} for ${seen} to ${sent} chunks`);
    assert.equal(await platform.balanceMicros(own.key), own.depositedMicros - cost_micros);
  });

  test("a stream that is silent: noticed when it goes on", async (t) => {
    const { id, requests } = await offer("silentMidStream", rates);
    const own = await platform.provision();
    const stream = openStream(`${platform.url}/v1/chat/completions`, own.key, say(id, { stream: true }));
    await stream.nextEvent(5_000);
    const left = performance.now();
    stream.close();
    const closed = await requests()[0].closed();
    t.diagnostic(`the upstream was left ${Math.round(closed - left)} ms after the client had gone`);
    const [row] = await until("the usage row", async () => {
      const rows = await platform.usage(own.key);
      return rows.length && rows;
    });
    assert.ok(["client_gone", "stream_broken"].includes(row.outcome), row.outcome);
    assert.ok(row.charged_usd > 0);
  });
});

describe("an isolate that relays a flood", { concurrency: 4 }, () => {
  let isOver = false;
  let floods;
  before(async () => {
    const { id } = await offer("burst:200");
    const flood = async () => {
      while (!isOver) assert.ok((await chat(id, { stream: true })).text.endsWith("data: [DONE]\n\n"));
    };
    floods = Promise.all(Array.from({ length: 4 }, flood));
  });
  after(() => {
    isOver = true;
    return floods;
  });

  test("a stream is whole and in order", async () => {
    const { id } = await offer("burst:2000");
    for (let i = 0; i < 3; i++) {
      const events = eventsIn((await chat(id, { stream: true })).text);
      assert.equal(events.pop(), "[DONE]");
      assert.deepEqual(events.map(({ choices }) => Number.parseInt(choices[0].delta.content, 10)), [...Array(2000).keys()]);
    }
  });

  for (const { behaviour, code } of MIDWAY) {
    test(`${behaviour}: an error event, never [DONE]`, () => assertMidway(behaviour, code));
  }

  test("a client that takes nothing stops the upstream, and is given up", async (t) => {
    const { id, requests } = await offer("torrent");
    const own = await platform.provision();
    const stream = openStream(`${platform.url}/v1/chat/completions`, own.key, say(id, { stream: true }));
    await stream.nextEvent(5_000);
    stream.pause();
    // Its books are closed while it is still there. (Miniflare's own Worker before the upstream keeps that connection.)
    const row = await until("the usage row", () => platform.receipt(own.key, stream.headers["x-request-id"]).catch(() => undefined), 20_000);
    t.diagnostic(`${(requests()[0].sent / 1e6).toFixed(1)} MB were taken`);
    assert.equal(row.outcome, "client_gone");
    assert.ok(requests()[0].sent < 60e6, `${requests()[0].sent} bytes`);
    stream.close();
  });
});
