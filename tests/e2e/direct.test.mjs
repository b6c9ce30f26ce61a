// The Worker on workerd's own socket, without the proxy of `wrangler dev` in front of it, as Cloudflare's edge calls
// it: a client that leaves is noticed even while nothing is being written.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { MODEL, openAccount, startGuildhall } from "../load/guildhall.mjs";
import { chunk } from "./support/behaviours.mjs";
import { ROOT } from "./support/platform.mjs";
import { sleep, until } from "./support/processes.mjs";
import { openStream } from "./support/stream.mjs";
import { startUpstream } from "./support/upstream.mjs";

/** Between an ordinary close and a reset: only this tells workerd at once; of the edge, every client that leaves does. */
const leave = (request) => request.socket.resetAndDestroy();

describe("a client that leaves, while nothing is written", () => {
  let upstream;
  let guildhall;
  const call = (method, path, token, body) =>
    fetch(`${guildhall.url}${path}`, { method, headers: { authorization: `Bearer ${token}` }, body }).then((answer) => answer.json());
  /** A new account's call that its client can leave; `behaviour` is what the upstream does. */
  const start = async (behaviour, stream, more) => {
    const { api_key: key } = await call("POST", "/v1/auth/provision", "", "{}");
    const body = JSON.stringify({ model: MODEL, stream, messages: [{ role: "user", content: behaviour }] });
    const seen = upstream.requests.length;
    const request = httpRequest(`${guildhall.url}/v1/chat/completions`, {
      method: "POST",
      agent: false,
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json", "content-length": Buffer.byteLength(body), ...more },
    });
    request.on("error", () => {}).on("response", (response) => response.on("data", () => {}).on("error", () => {}));
    request.end(body);
    const sent = await until("the upstream is asked", () => upstream.requests[seen]);
    const row = (patienceMs = 5_000, everyMs = 100) =>
      until("the usage row", async () => (await call("GET", "/v1/usage", key)).data?.[0], patienceMs, everyMs);
    return { body, request, sent, row };
  };
  const behaviours = {
    /** Asks to be asked again in a second. */
    busy: (reply) => reply.whole(503, { error: { message: "busy" } }, { "retry-after": "1" }),
  };
  before(async () => {
    // The prompt names the behaviour: this Worker has one model.
    const behave = (reply, request) => {
      const name = request.json.messages[0].content;
      return (behaviours[name] ?? upstream.behaviours[name])(reply, request);
    };
    upstream = await startUpstream({ [MODEL]: behave });
    guildhall = await startGuildhall({ upstream });
  });
  after(() => Promise.allSettled([guildhall?.dispose(), upstream?.close()]));

  for (const [name, behaviour, stream, rule] of [
    ["before a whole answer", "silentBeforeHead", false, 499],
    ["before a stream's head", "silentBeforeHead", true, 499],
    ["before a stream's first event", "silentAfterHead", true, 499],
    ["in the middle of a stream", "silentMidStream", true, 200],
  ]) {
    test(`${name}: the upstream's connection closes within 2 s, and the rule says who pays`, async (t) => {
      const { body, request, sent, row: readRow } = await start(behaviour, stream);
      await sleep(200);
      const left = performance.now();
      leave(request);
      const tookMs = (await sent.closed(5_000)) - left;
      t.diagnostic(`the upstream was left after ${Math.round(tookMs)} ms`);
      assert.ok(tookMs < 2_000, `the upstream was left after ${Math.round(tookMs)} ms`);
      const row = await readRow();
      assert.deepEqual([row.outcome, row.status], ["client_gone", rule]);
      assert.equal(row.input_tokens, Math.floor(body.length / 4), "the upstream has read it");
      if (rule === 499) assert.equal(row.output_tokens, 0);
      else assert.ok(row.output_tokens > 0);
      assert.equal(Math.round(row.charged_usd * 1e6), row.input_tokens * 1 + row.output_tokens * 2);
    });
  }

  test("before the upstream is asked again: it is not, and nobody pays", async () => {
    const { request, row: readRow } = await start("busy", false);
    const asked = upstream.requests.length;
    leave(request);
    const row = await readRow();
    assert.deepEqual([row.outcome, row.charged_usd, upstream.requests.length], ["client_gone", 0, asked]);
  });

  test("before an answer that another may ask for: it is waited for, but not for longer than the runtime lets us", async (t) => {
    const { request, sent, row: readRow } = await start("silentBeforeHead", false, { "idempotency-key": "k1" });
    await sleep(200);
    const left = performance.now();
    leave(request);
    const row = await readRow(40_000, 1_000);
    const tookMs = performance.now() - left;
    t.diagnostic(`filed after ${Math.round(tookMs)} ms`);
    assert.ok(tookMs > 15_000, "an answer would have been taken");
    assert.deepEqual([row.outcome, row.status, row.output_tokens], ["client_gone", 499, 0]);
    await sent.closed(2_000);
  });
});

// The runtime ends an event half a minute after its client has left, and one that has used up its time: nothing of it runs again.
describe("an event that ends without a word", () => {
  const PLACES = 32;
  const MINUTE_MS = 60_000;
  /** Ends events, and sets the clock of its isolate ahead. */
  const front = `
    import worker from "./worker.js";
    export * from "./worker.js";
    const now = Date.now;
    export default {
      ...worker,
      fetch(request, env, context) {
        const ahead = Number(request.headers.get("x-ahead-ms"));
        if (ahead) Date.now = () => now() + ahead;
        if (!request.headers.has("x-end")) return worker.fetch(request, env, context);
        worker.fetch(request, env, { waitUntil() {} });
        return new Promise((resolve) => setTimeout(() => resolve(new Response("ended")), 500));
      },
    };`;
  let upstream;
  let guildhall;
  before(async () => {
    upstream = await startUpstream({ [MODEL]: (reply) => upstream.behaviours.silentBeforeHead(reply) });
    guildhall = await startGuildhall({ upstream, front });
  });
  after(() => Promise.allSettled([guildhall?.dispose(), upstream?.close()]));

  test("gives back what it holds after a quarter of an hour", async () => {
    const { key } = await openAccount(guildhall, { requests_per_minute: 6_000, requests_per_hour: 100_000, concurrent: PLACES });
    const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
    const body = JSON.stringify({ model: MODEL, messages: [{ role: "user", content: "Hi" }] });
    const ask = () => fetch(`${guildhall.url}/v1/chat/completions`, { method: "POST", headers: { ...headers, "x-end": "1" }, body });
    for (const answer of await Promise.all(Array.from({ length: PLACES }, ask))) assert.equal(await answer.text(), "ended");
    const look = async (aheadMs) => {
      const answer = await fetch(`${guildhall.url}/v1/balance`, { headers: { ...headers, "x-ahead-ms": aheadMs } });
      return { status: answer.status, ...(await answer.json()) };
    };
    const full = await look(14 * MINUTE_MS);
    assert.deepEqual([full.status, full.limit], [429, PLACES], "the places are theirs for so long");
    await look(16 * MINUTE_MS);
    const found = await until("a place", async () => { const seen = await look(16 * MINUTE_MS); return seen.status === 200 && seen; }, 5_000, 200);
    assert.equal(found.available_usd, found.balance_usd, "and their money is free");
  });
});

// An isolate that relays floods reads its streams in another way than one that relays single tokens (stream.js, Collector).
describe("streams in a flood of streams", () => {
  const FRAMES = 400;
  const FRAME_BYTES = Buffer.byteLength(`data: ${JSON.stringify(chunk({ content: " 0" }))}\n\n`);
  const SAMPLE_MS = 250;
  /** What stream.js takes for a flood, in bytes a millisecond: where as much has come in a while, some moment of it was one. */
  const [, windowMs, floodKiB] = readFileSync(join(ROOT, "src/platform/stream.js"), "utf8").match(/WINDOW_MS = (\d+), FLOOD_BYTES = (\d+) << 10/);
  const FLOOD = (1024 * floodKiB) / windowMs;
  const text = (frames) => Array.from({ length: frames }, (_, i) => ` ${i}`).join("");
  const pour = async (reply) => {
    await reply.stream();
    for (let i = 0; i < FRAMES; i++) await reply.event(chunk({ content: ` ${i}` }));
  };
  const SHORT = Array.from({ length: 4 }, (_, i) => chunk({ content: ` ${i}` }));
  const toEvent = (data) => `data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`;
  const sendAtOnce = async (reply, pieces) => {
    reply.socket.cork();
    const sent = [reply.stream(), ...pieces.map((piece) => reply.piece(piece)), reply.end()];
    reply.socket.uncork();
    await Promise.all(sent);
  };
  const behaviours = {
    async whole(reply) {
      await pour(reply);
      await reply.event(chunk({}, "stop"));
      await reply.event({ ...chunk({}), choices: [], usage: { prompt_tokens: 7, completion_tokens: FRAMES, total_tokens: FRAMES + 7 } });
      await reply.event("[DONE]");
      await reply.end();
    },
    async cut(reply) {
      await pour(reply);
      await reply.end();
    },
    /** Here as a whole before anybody reads on. */
    short: (reply) => sendAtOnce(reply, [...SHORT, chunk({}, "stop"), "[DONE]"].map(toEvent)),
    /** … whose rest is nothing for the client. */
    tail: (reply) => sendAtOnce(reply, [...SHORT.slice(0, 3), chunk({ content: " 3" }, "stop")].map(toEvent).concat([": bye\n\n", ": bye\n\n"])),
    late: (reply) => sendAtOnce(reply, [...SHORT, chunk({}, "stop"), "[DONE]"].map(toEvent).concat([": bye\n\n", ": bye\n\n"])),
    one: (reply) => sendAtOnce(reply, [toEvent(chunk({ content: text(4) }, "stop")), ": bye\n\n", ": bye\n\n"]),
    /** The last chunks bring the client nothing: usage that it did not ask for, a comment. */
    async hidden(reply) {
      await pour(reply);
      await reply.event(chunk({}, "stop"));
      for (let i = 0; i < 3; i++) {
        await sleep(15);
        await reply.event({ ...chunk({}), choices: [], usage: { prompt_tokens: 7, completion_tokens: FRAMES, total_tokens: FRAMES + 7 } });
      }
      await reply.event("[DONE]");
      await reply.end();
    },
    /** Silent for longer than a client is left without a word. */
    async thoughtful(reply) {
      await pour(reply);
      await sleep(16_000);
      await reply.event(chunk({ content: " after" }));
      await sleep(50);
      await reply.event(chunk({}, "stop"));
      await reply.event("[DONE]");
      await reply.end();
    },
    async pause(reply, request) {
      await pour(reply);
      await new Promise((resolve) => (request.goOn = resolve));
      await reply.event(chunk({ content: " after" }));
      await reply.silence();
    },
  };
  let upstream;
  let guildhall;
  let flooding = true;
  let floods;
  let thought;
  let framesRead = 0;
  /** Waits until as much is relayed as makes a flood; gives what is relayed at last, in bytes a millisecond. */
  const waitForFlood = async (ms) => {
    for (const deadline = performance.now() + ms; ; ) {
      const [since, before] = [performance.now(), framesRead];
      await sleep(SAMPLE_MS);
      const rate = ((framesRead - before) * FRAME_BYTES) / (performance.now() - since);
      if (rate >= FLOOD || performance.now() > deadline) return rate;
    }
  };
  /** Whether there is one; a test without it would say nothing of the other way. */
  const requireFlood = async (t, rate) => {
    const found = rate ?? (await waitForFlood(5_000));
    t.diagnostic(`${Math.round(found)} bytes a millisecond are relayed; ${FLOOD} are a flood`);
    if (found < FLOOD) t.skip("this machine is too slow for a flood");
    return found >= FLOOD;
  };
  const open = (behaviour) => {
    const body = { model: MODEL, stream: true, messages: [{ role: "user", content: behaviour }] };
    return openStream(`${guildhall.url}/v1/chat/completions`, guildhall.accounts[0].key, body);
  };
  /** All that comes until the end, or until so many frames have come. */
  const read = async (stream, frames = Infinity) => {
    let said = "";
    for (let i = 0; i < frames; i++) {
      const data = await stream.nextEvent(20_000);
      framesRead++;
      if (data === "[DONE]") return { said, end: data };
      const { choices, error } = JSON.parse(data);
      if (error) return { said, end: error };
      said += choices[0]?.delta.content ?? "";
    }
    return { said };
  };
  before(async () => {
    upstream = await startUpstream({ [MODEL]: (reply, request) => behaviours[request.json.messages[0].content](reply, request) });
    guildhall = await startGuildhall({ upstream });
    // Twelve clients without a pause keep the isolate flooded while the tests run.
    const flood = async () => {
      while (flooding) assert.deepEqual(await read(open("whole")), { said: text(FRAMES), end: "[DONE]" });
    };
    floods = Promise.all(Array.from({ length: 12 }, flood));
    floods.catch(() => {});
    const rate = await waitForFlood(10_000);
    thought = read(open("thoughtful")).then((said) => ({ said, rate }));
    thought.catch(() => {});
  });
  after(async () => {
    await Promise.allSettled([guildhall?.dispose(), upstream?.close()]);
  });

  test("one that the upstream cuts ends in an error event, after all that came", async (t) => {
    if (!(await requireFlood(t))) return;
    for (let i = 0; i < 5; i++) {
      const { said, end } = await read(open("cut"));
      assert.equal(said, text(FRAMES));
      assert.equal(end.code, "upstream_incomplete");
    }
  });

  test("one whose last chunks bring nothing ends all the same", async (t) => {
    if (!(await requireFlood(t))) return;
    for (let i = 0; i < 5; i++) assert.deepEqual(await read(open("hidden")), { said: text(FRAMES), end: "[DONE]" });
  });

  test("those that are here at once are whole, whatever their rest is", async (t) => {
    if (!(await requireFlood(t))) return;
    const readMany = async (behaviour) => {
      for (let i = 0; i < 60; i++) assert.deepEqual(await read(open(behaviour)), { said: text(4), end: "[DONE]" }, behaviour);
    };
    await Promise.all(["short", "short", "tail", "late", "one"].map(readMany));
  });

  test("what has come is delivered while the upstream is silent, and a client that leaves ends it", async (t) => {
    if (!(await requireFlood(t))) return;
    const seen = upstream.requests.length;
    const stream = open("pause");
    assert.equal((await read(stream, FRAMES)).said, text(FRAMES));
    const sent = upstream.requests.slice(seen).find((request) => request.goOn);
    sent.goOn();
    assert.equal((await read(stream, 1)).said, " after");
    leave(stream.request);
    await sent.closed(2_000);
    stream.close();
  });

  test("one that is silent for a while goes on after it", async (t) => {
    const { said, rate } = await thought;
    if (!(await requireFlood(t, rate))) return;
    assert.deepEqual(said, { said: `${text(FRAMES)} after`, end: "[DONE]" });
  });

  test("none of the flood lost a frame", async () => {
    flooding = false;
    await floods;
  });
});
