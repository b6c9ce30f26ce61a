// The load generator: one process of its own, raw sockets, keep-alive, no HTTP library in the way.
//
// Forked by `bench.mjs`; takes one job at a time over IPC and answers with counts and latencies. It frames responses by
// content-length and by chunks, so it sees the same bytes as any client, and it checks every answer (status, usage or
// `[DONE]`, number of frames): a fast wrong answer counts as an error.

import net from "node:net";

const now_ns = () => process.hrtime.bigint();
const now_us = () => Number(now_ns() / 100n) / 10;

const MAX_SAMPLES = 400_000;
const HEAD_END = Buffer.from("\r\n\r\n");
const FRAME = Buffer.from("data:");
const DONE = Buffer.from("data: [DONE]");
const STAMP = /sent_ns=(\d+)/g;

/** Counts how often `needle` stands in `hay`. */
function count_of(hay, needle) {
  let count = 0;
  for (let at = hay.indexOf(needle); at !== -1; at = hay.indexOf(needle, at + needle.length)) count++;
  return count;
}

/** One keep-alive connection that sends the same request again and again until told to stop. */
class Connection {
  constructor(job, run) {
    this.job = job;
    this.run = run;
    this.pending = null;
    this.open();
  }

  open() {
    const socket = net.connect({ host: this.job.host, port: this.job.port, noDelay: true });
    this.socket = socket;
    socket.on("connect", () => this.send());
    socket.on("data", (bytes) => this.receive(bytes));
    socket.on("error", (error) => this.fail(error.code ?? error.message));
    socket.on("close", () => this.fail("closed"));
  }

  /** A broken connection is an error, once, and is opened again while the run lasts. */
  fail(reason) {
    if (this.dead) return;
    this.dead = true;
    this.socket.destroy();
    if (this.run.stopping) return this.run.left();
    this.run.error(reason);
    setTimeout(() => {
      this.dead = false;
      if (this.run.stopping) this.run.left();
      else this.open();
    }, 20);
  }

  send() {
    if (this.run.stopping) {
      this.dead = true;
      this.socket.destroy();
      return this.run.left();
    }
    this.phase = "head";
    this.buffer = null;
    this.frames = 0;
    this.first_us = 0;
    this.done = false;
    this.body = [];
    this.stamps_seen = 0;
    this.started_us = now_us();
    this.socket.write(this.next());
  }

  next() {
    const turn = this.run.turn++;
    const { bytes, nonces } = this.job.requests[turn % this.job.requests.length];
    if (nonces.length === 0) return bytes;
    const own = Buffer.from(bytes);
    for (const at of nonces) own.write(`${this.job.first_nonce + turn}`, at, "latin1");
    return own;
  }

  receive(bytes) {
    if (this.dead) return;
    this.buffer = this.buffer === null ? bytes : Buffer.concat([this.buffer, bytes]);
    if (this.phase === "head" && !this.read_head()) return;
    if (this.phase === "length") this.read_length();
    else if (this.phase === "chunks") this.read_chunks();
  }

  read_head() {
    const end = this.buffer.indexOf(HEAD_END);
    if (end === -1) return false;
    const head = this.buffer.latin1Slice(0, end).toLowerCase();
    this.status = Number(head.slice(9, 12));
    this.buffer = this.buffer.subarray(end + 4);
    const at = head.indexOf("\r\ncontent-length:");
    if (at !== -1) {
      this.phase = "length";
      this.left = Number.parseInt(head.slice(at + 17), 10);
    } else {
      this.phase = "chunks";
    }
    return true;
  }

  read_length() {
    if (this.buffer.length < this.left) return;
    this.take(this.buffer.subarray(0, this.left));
    this.finish();
  }

  read_chunks() {
    for (;;) {
      const line = this.buffer.indexOf("\r\n");
      if (line === -1) return;
      const size = Number.parseInt(this.buffer.latin1Slice(0, line), 16);
      const end = line + 2 + size;
      if (this.buffer.length < end + 2) return;
      if (size === 0) return this.finish();
      this.take(this.buffer.subarray(line + 2, end));
      this.buffer = this.buffer.subarray(end + 2);
    }
  }

  /** One piece of the body: count its frames and, if the upstream stamped them, how old they are. */
  take(piece) {
    if (this.first_us === 0) this.first_us = now_us();
    if (!this.job.stream || this.status !== 200) {
      this.body.push(piece);
      return;
    }
    this.frames += count_of(piece, FRAME);
    if (piece.includes(DONE)) {
      this.done = true;
      this.frames -= 1;
    }
    if (this.job.stamped) {
      const at = now_ns();
      for (const match of piece.latin1Slice().matchAll(STAMP)) {
        this.run.delay(Number(at - BigInt(match[1])) / 1000, this.stamps_seen++);
      }
    }
  }

  finish() {
    const ended_us = now_us();
    const wrong = this.check();
    if (wrong === null) this.run.sample(ended_us - this.started_us, this.first_us - this.started_us);
    else this.run.error(wrong);
    this.send();
  }

  /** `null` if the answer is right, or what is wrong with it. */
  check() {
    if (this.status !== 200) return `${this.status} ${Buffer.concat(this.body).toString("utf8").slice(0, 160)}`;
    if (!this.job.stream) {
      const text = Buffer.concat(this.body);
      return !this.job.expect || text.includes(this.job.expect) ? null : "answer without usage";
    }
    if (!this.done) return "stream without [DONE]";
    return this.frames >= this.job.frames ? null : `stream with ${this.frames} frames`;
  }
}

function run_job(job) {
  return new Promise((resolve) => {
    const total_us = new Float64Array(MAX_SAMPLES);
    const first_us = new Float64Array(MAX_SAMPLES);
    const delays_us = [];
    const first_delays_us = [];
    const errors = {};
    let count = 0;
    let failed = 0;
    let served = 0;
    let measuring = false;
    let started_us = 0;
    let left = 0;
    let cpu;
    const run = {
      turn: 0,
      stopping: false,
      sample(total, first) {
        served++;
        if (!measuring || count >= MAX_SAMPLES) return;
        total_us[count] = total;
        first_us[count++] = first;
      },
      delay(us, index) {
        if (!measuring) return;
        if (index === 0) first_delays_us.push(us);
        else delays_us.push(us);
      },
      error(reason) {
        if (!measuring) return;
        failed++;
        if (Object.keys(errors).length < 5 || reason in errors) errors[reason] = (errors[reason] ?? 0) + 1;
      },
      left() {
        if (++left === job.connections) finish();
      },
    };
    const begin = () => {
      measuring = true;
      started_us = now_us();
      cpu = process.cpuUsage();
      process.send({ started: true });
      setTimeout(stop, job.duration_ms);
    };
    let ended_us = 0;
    const stop = () => {
      if (run.stopping) return;
      run.stopping = true;
      measuring = false;
      ended_us = now_us();
      cpu = process.cpuUsage(cpu);
      process.send({ stopped: true });
      setTimeout(finish, 3000);
    };
    let finished = false;
    const finish = () => {
      if (finished) return;
      finished = true;
      for (const connection of connections) connection.socket.destroy();
      const seconds = (ended_us - started_us) / 1e6;
      resolve({
        count,
        served,
        failed,
        errors,
        seconds,
        per_second: count / seconds,
        total_us: summary(total_us.subarray(0, count)),
        first_us: summary(first_us.subarray(0, count)),
        delay_us: summary(Float64Array.from(delays_us)),
        first_delay_us: summary(Float64Array.from(first_delays_us)),
        generator_cpu: (cpu.user + cpu.system) / 1e6 / seconds,
      });
    };
    const connections = Array.from({ length: job.connections }, () => new Connection(job, run));
    setTimeout(begin, job.warmup_ms);
  });
}

function summary(values) {
  if (values.length === 0) return null;
  values.sort();
  const at = (part) => values[Math.min(values.length - 1, Math.floor(values.length * part))];
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return { n: values.length, mean, min: values[0], p50: at(0.5), p95: at(0.95), p99: at(0.99), max: values[values.length - 1] };
}

/** The bytes of one request, built once for each set of headers, and where each call has its own number. */
function render_request(job, headers) {
  const body = Buffer.from(job.body);
  const lines = [`POST ${job.path} HTTP/1.1`, `host: ${job.host}:${job.port}`, "content-type: application/json", `content-length: ${body.length}`];
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
  const bytes = Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`), body]);
  return { bytes, nonces: job.nonce ? places_of(bytes, job.nonce) : [] };
}

function places_of(bytes, nonce) {
  const places = [];
  for (let at = bytes.indexOf(nonce); at !== -1; at = bytes.indexOf(nonce, at + 1)) places.push(at);
  return places;
}

/** Ten digits that no job of this run has used. */
let last_nonce = 1_000_000_000;

process.on("message", async (job) => {
  const requests = job.headers.map((headers) => render_request(job, headers));
  last_nonce += MAX_SAMPLES;
  process.send({ result: await run_job({ ...job, requests, first_nonce: last_nonce }) });
});
process.on("disconnect", () => process.exit(0));
