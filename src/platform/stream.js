// A stream on its way from an upstream through the tap (response.rs) to the client.

import { cancelReader, join, respondWith } from "./glue.js";

// Answers with `first`, then with what the tap makes of the upstream's stream; with `first` alone where that is all of it.
export function relay(context, signal, status, headers, first, stream, tap, stallMs, isWhole) {
  const { readable, writable } = new IdentityTransformStream();
  const Kind = stream.reader instanceof Collector ? BatchPump : FramePump;
  context.waitUntil(new Promise((resolve) => {
    const pump = new Kind(signal, stream, writable.getWriter(), tap, stallMs, resolve);
    pump.start(first);
    if (isWhole) pump.end(DONE);
  }));
  return respondWith(readable, status, headers);
}

// How a stream ended; the numbers of `StreamEnd` in response.rs, and two of our own: the tap has said the last words; the answer
// is whole before the upstream has closed its stream.
const EOF = 0, BROKEN = 1, STALLED = 2, CLIENT_GONE = 3, STOPPED = 4, DONE = 5;
// What the tap's `push` says.
const IS_DONE = 1, IS_STOPPED = 2;

// A write costs twice a read, and workerd hands over one frame per read even when twenty have arrived. So a frame that
// comes after a moment of quiet goes out at once, and those that come within one are written together (FramePump). The
// moment is a millisecond: real models leave more between two tokens. An isolate that relays floods has the runtime do the
// reading, and takes what has come eight milliseconds later (Collector, BatchPump).
const GATHER_MS = 1, BATCH_MS = 8;
const WINDOW_MS = 16, FLOOD_BYTES = 24 << 10, FLOOD_MS = 100;
let windowAt = 0, windowBytes = 0, floodedUntil = 0;

const isFlooded = (now) => now < floodedUntil;

function countBytes(now, bytes) {
  windowBytes += bytes;
  if (now - windowAt < WINDOW_MS) return;
  if (windowBytes > FLOOD_BYTES) floodedUntil = now + FLOOD_MS;
  windowAt = now;
  windowBytes = 0;
}

// A slow client stops the reading of the upstream here.
const GATHERED_MAX_BYTES = 1 << 20;
const KEEP_ALIVE_MS = 10000;
const KEEP_ALIVE = new TextEncoder().encode(": keep-alive\n\n");
const COLLECT_BYTES = 8192;

// Buffers that no stream reads into any more; a new one is filled with zeros first.
const BUFFER_BYTES = 32768, BUFFERS_MAX = 64;
const buffers = [];

const takeBuffer = () => buffers.pop() ?? new Uint8Array(BUFFER_BYTES);

// `view` is what a read gave: its buffer is nobody's now.
function giveBack(view) {
  if (view?.buffer.byteLength === BUFFER_BYTES && buffers.length < BUFFERS_MAX) buffers.push(new Uint8Array(view.buffer));
}

// Reads a stream frame by frame without JavaScript: the runtime pumps one branch of a tee into a reader that wants far more
// than a frame, and the other branch keeps what has come until `read` takes all of it at once.
class Collector {
  constructor(body) {
    const [kept, pumped] = body.tee();
    const { readable, writable } = new IdentityTransformStream();
    this.kept = kept.getReader({ mode: "byob" });
    this.drain = readable.getReader({ mode: "byob" });
    this.isOver = this.isBroken = false;
    this.onOver = null;
    this.unreadBytes = 0;
    this.onBroken = () => { this.isBroken = true; this.over(); };
    this.onDrained = ({ done, value }) => {
      if (!done) this.unreadBytes += value.byteLength;
      // It gives less than was wanted only at the end.
      if (done || value.byteLength < COLLECT_BYTES) {
        giveBack(value);
        return this.over();
      }
      this.spare = new Uint8Array(value.buffer);
      this.pull();
    };
    this.spare = takeBuffer();
    this.buffer = takeBuffer();
    pumped.pipeTo(writable).catch(this.onBroken);
    this.pull();
  }

  // Whether all has come and been read.
  get isRead() {
    return this.isOver && !this.isBroken && this.unreadBytes === 0;
  }

  pull() {
    if (!this.spare || this.unreadBytes >= GATHERED_MAX_BYTES) return;
    this.drain.readAtLeast(COLLECT_BYTES, this.spare).then(this.onDrained, this.onBroken);
    this.spare = null;
  }

  over() {
    if (this.isOver) return;
    this.isOver = true;
    this.onOver?.();
  }

  // What the last call gave is overwritten by the next.
  async read() {
    const { buffer } = this;
    this.buffer = null;
    const answer = await this.kept.read(buffer);
    if (answer.done) {
      giveBack(answer.value);
      return answer;
    }
    this.buffer = new Uint8Array(answer.value.buffer);
    this.unreadBytes -= answer.value.byteLength;
    this.pull();
    return answer;
  }

  // Gives back the buffers that nothing is being read into.
  release() {
    giveBack(this.buffer);
    giveBack(this.spare);
    this.buffer = this.spare = null;
  }

  async cancel() {
    this.release();
    await Promise.all([this.kept.cancel(), this.drain.cancel()]);
  }
}

// What reads an upstream's stream: a reader lent to the first that asks, with its lock, would cost 40 µs to take back.
export const openReader = (body, isEvents) => (isEvents && isFlooded(Date.now()) ? new Collector(body) : body.getReader());

// Writes what the tap makes of a stream, until either side ends. The tap calls `write` with a view of its own memory: the
// runtime copies what it is given to write at once.
class Pump {
  constructor(signal, { reader, watch, isEvents }, writer, tap, stallMs, resolve) {
    Object.assign(this, { source: reader, watch, isEvents, writer, tap, stallMs, resolve });
    this.timer = 0;
    this.heardAt = this.wroteAt = Date.now();
    this.writes = 0;
    this.isReading = this.isEnded = false;
    this.onGone = () => this.end(CLIENT_GONE);
    this.onRead = (answer) => this.heard(answer);
    // The client's signal was handed to the fetch: when the client leaves, the read breaks.
    this.onBroken = () => (this.isEnded ? this.rested() : this.end(signal?.aborted ? CLIENT_GONE : BROKEN));
    this.onWritten = () => {
      this.writes--;
      if (!this.isEnded && !this.isWriting) this.written();
    };
    this.onTimer = () => {
      this.timer = 0;
      this.timedOut();
    };
    watch.onTick = () => this.tick();
  }

  get isWriting() {
    return this.writes > 0;
  }

  read() {
    this.isReading = true;
    this.heardAt = Date.now();
    this.source.read().then(this.onRead, this.onBroken);
  }

  heard({ done, value }) {
    this.isReading = false;
    if (this.isEnded) return done ? this.rested() : this.rest();
    if (!done) {
      this.heardAt = Date.now();
      countBytes(this.heardAt, value.byteLength);
      return this.take(value);
    }
    this.flush();
    this.end(EOF);
  }

  write(bytes) {
    this.writes++;
    this.wroteAt = Date.now();
    this.writer.write(bytes).then(this.onWritten, this.onGone);
  }

  push(chunk) {
    let flow;
    try {
      flow = this.tap.push(chunk, this);
    } catch (trap) {
      this.drop();
      throw trap;
    }
    if (flow === IS_DONE) this.end(DONE);
    else if (flow === IS_STOPPED) this.end(STOPPED);
  }

  tick() {
    if (this.isEnded) {
      cancelReader(this.source);
      return this.rested();
    }
    const now = Date.now();
    if (this.isWriting && now - this.wroteAt >= this.stallMs) this.end(CLIENT_GONE);
    else if (this.isReading && now - this.heardAt >= this.stallMs) this.end(STALLED);
    // A client that left while nothing is sent is noticed only by a write; nothing can be put into sound.
    else if (this.isEvents && !this.isWriting && now - this.wroteAt >= KEEP_ALIVE_MS) this.write(KEEP_ALIVE);
    if (!this.isEnded) this.tap.tick();
  }

  end(how) {
    // What has come before the break is the client's.
    if (how === BROKEN || how === STALLED) this.flush();
    if (this.isEnded) return;
    this.isEnded = true;
    clearTimeout(this.timer);
    if (how !== STOPPED) this.tap.end(how === DONE ? EOF : how, this);
    this.tap.free();
    if (how === DONE) {
      this.closed = this.writer.close();
      return this.rest();
    }
    clearInterval(this.watch.timer);
    if (how !== EOF) cancelReader(this.source);
    if (how === CLIENT_GONE) {
      this.writer.abort().catch(() => {});
      return this.resolve();
    }
    this.writer.close().then(this.resolve, this.resolve);
  }

  // After a trap nothing can be said any more.
  drop() {
    this.isEnded = true;
    clearInterval(this.watch.timer);
    clearTimeout(this.timer);
    cancelReader(this.source);
    this.writer.abort().catch(() => {});
    this.resolve();
  }

  // The client has its answer. The upstream's end is waited for until the next tick: read to its end, its connection serves
  // again.
  rest() {
    if (!this.isReading) this.read();
  }

  rested() {
    clearInterval(this.watch.timer);
    this.closed?.then(this.resolve, this.resolve);
  }
}

// Reads frame by frame, and writes at once or after a moment.
class FramePump extends Pump {
  gathered = [];
  gatheredBytes = 0;

  start(first) {
    if (first.byteLength) this.write(first);
    this.read();
  }

  take(frame) {
    this.gathered.push(frame);
    this.gatheredBytes += frame.byteLength;
    this.schedule();
    if (!this.isEnded && this.gatheredBytes < GATHERED_MAX_BYTES) this.read();
  }

  schedule() {
    if (this.isWriting || this.timer || !this.gatheredBytes) return;
    if (Date.now() - this.wroteAt >= GATHER_MS) this.flush();
    else this.timer = setTimeout(this.onTimer, GATHER_MS);
  }

  timedOut() {
    if (!this.isWriting) this.flush();
  }

  written() {
    this.schedule();
    if (!this.isEnded && !this.isReading) this.read();
  }

  // Passes what has been gathered through the tap.
  flush() {
    if (!this.gatheredBytes || this.isEnded) return;
    const chunk = this.gathered.length === 1 ? this.gathered[0] : join(this.gathered, this.gatheredBytes);
    this.gathered = [];
    this.gatheredBytes = 0;
    this.push(chunk);
  }
}

// Takes what has been collected, in turn with the writing of it.
class BatchPump extends Pump {
  start(first) {
    if (first.byteLength) this.write(first);
    this.source.onOver = () => this.hurry();
    if (!this.isWriting) this.wait();
  }

  // All has come: what is collected need not wait.
  hurry() {
    if (this.isEnded) return this.rested();
    if (!this.timer) return;
    clearTimeout(this.timer);
    this.onTimer();
  }

  wait() {
    if (this.source.isRead) {
      this.source.release();
      return this.heard({ done: true });
    }
    if (this.source.isOver || this.source.unreadBytes >= BUFFER_BYTES) this.read();
    else this.timer = setTimeout(this.onTimer, isFlooded(this.heardAt) ? BATCH_MS : GATHER_MS);
  }

  timedOut() {
    this.read();
  }

  take(batch) {
    this.push(batch);
    if (this.isEnded) return;
    // What is written waits on; what came to nothing for the client is not written.
    if (!this.isWriting || this.source.isRead) this.wait();
  }

  // A keep-alive is written while a read waits.
  written() {
    if (!this.isReading && !this.timer) this.wait();
  }

  rest() {
    if (this.source.isOver) this.rested();
  }

  rested() {
    this.source.release();
    super.rested();
  }

  // Nothing is gathered here: what is collected has not been read.
  flush() {}
}
