// A request to the outside, until its answer is here or the first chunk of its stream; see fetch.rs.

import { cancelReader, NOTHING, OPEN, readAll, REJECTED, RESOLVED, resume } from "./glue.js";
import { openReader } from "./stream.js";

// Sends a request outside. Gives [status, contentType, retryAfter, bytes, stream | null, location]; throws a word.
// The client's own signal is handed on as it is: an AbortController per call would cost more than the call's headers.
// One that may be given up (see abandon), or goes on for `outliveMs` when its client has left, has a controller of its own.
export function send(id, client, outliveMs, method, url, headers, body, stream, maxBytes, firstByteMs, tickMs, mayBeGivenUp) {
  const signal = outliveMs ? null : client;
  const giveUp = mayBeGivenUp || outliveMs ? new AbortController() : null;
  if (giveUp) held.set(id, giveUp);
  const due = Date.now() + firstByteMs;
  let isOpen = true;
  let isAlone = false;
  // A stream takes the timer over (see Pump); one that nobody relays, because its first chunk was a fault, is let go.
  const watch = { timer: 0, tickMs, onTick: null, reader: null };
  watch.timer = setInterval(() => {
    if (watch.onTick) return watch.onTick();
    if (!isOpen) {
      clearInterval(watch.timer);
      cancelReader(watch.reader);
      return;
    }
    resume(id, OPEN);
    lookAtClock(due, tickMs, timeOut);
    if (outliveMs && !isAlone && client?.aborted) {
      isAlone = true;
      setTimeout(stop, outliveMs, "client_gone");
    }
  }, Math.min(tickMs, firstByteMs));
  const stop = (word) => {
    if (isOpen) giveUp?.abort();
    end(REJECTED, word);
  };
  const timeOut = () => stop("timed_out");
  const end = (how, value) => {
    if (!isOpen) return;
    isOpen = false;
    if (giveUp) held.delete(id);
    if (how === REJECTED || !value[4]) clearInterval(watch.timer);
    resume(id, how, value);
  };
  const either = giveUp && signal ? AbortSignal.any([signal, giveUp.signal]) : (giveUp?.signal ?? signal);
  exchange(client, either, method, url, headers, body, stream, maxBytes, watch).then(
    // A stream that begins too late is nobody's.
    (answer) => (isOpen ? end(RESOLVED, answer) : cancelReader(answer[4]?.reader)),
    (error) => end(REJECTED, OWN_ERRORS.has(error) ? error : signal?.aborted ? "client_gone" : "broken: " + error),
  );
}

// Ends what is due; what is due before the next tick has a timer of its own.
function lookAtClock(due, tickMs, timeOut) {
  const leftMs = due - Date.now();
  if (leftMs <= 0) timeOut();
  else if (leftMs < tickMs) setTimeout(timeOut, leftMs);
}

const OWN_ERRORS = new Set(["too_large", "not_asked"]);

// The requests that may be given up, and how each is.
const held = new Map();

// Gives up a request that nobody waits for any more; one that is over stays as it is. Of an event that the runtime has ended
// the request is given up already, and the runtime may say so.
export function abandon(id) {
  try {
    held.get(id)?.abort();
  } catch {}
  held.delete(id);
}

// What is relayed as it comes, when that is wanted.
const EVENTS = /^text\/event-stream/i;
const STREAMS = /^(text\/event-stream|audio\/|video\/|application\/mp4|(application|binary)\/octet-stream)/i;

async function exchange(client, signal, method, url, headers, body, stream, maxBytes, watch) {
  if (client?.aborted) throw "not_asked";
  const response = await fetch(url, { method, headers: toHeaders(headers), body, redirect: "manual", signal });
  const type = response.headers.get("content-type") ?? "";
  const retryAfter = response.ok ? "" : (response.headers.get("retry-after") ?? "");
  const location = response.ok ? "" : response.headers.get("location");
  if (!stream || !response.ok || !STREAMS.test(type) || !response.body) {
    const bytes = readAll(response, statedBytesOf(response.headers), maxBytes);
    return [response.status, type, retryAfter, await (response.ok ? bytes : bytes.catch(leaveOut)), null, location];
  }
  const isEvents = EVENTS.test(type);
  const reader = (watch.reader = openReader(response.body, isEvents));
  const { done, value } = await reader.read();
  return [response.status, type, retryAfter, done ? NOTHING : value, done ? null : { reader, watch, isEvents }];
}

// A refusal that is too large still has its status.
function leaveOut(error) {
  if (error === "too_large") return NOTHING;
  throw error;
}

// Reads on in a stream that nobody relays yet; gives null at its end.
export function read_more(id, signal, { reader, watch }, waitMs) {
  const due = Date.now() + waitMs;
  let isOpen = true;
  const end = (how, value) => {
    if (!isOpen) return;
    isOpen = false;
    watch.onTick = null;
    resume(id, how, value);
  };
  const look = () => lookAtClock(due, watch.tickMs, () => end(REJECTED, "timed_out"));
  watch.onTick = () => {
    resume(id, OPEN);
    look();
  };
  if (waitMs < watch.tickMs) look();
  reader.read().then(
    ({ done, value }) => end(RESOLVED, done ? null : value),
    (error) => end(REJECTED, signal?.aborted ? "client_gone" : "broken: " + error),
  );
}

function toHeaders(text) {
  const parts = text.split("\n");
  const headers = {};
  for (let i = 0; i + 1 < parts.length; i += 2) headers[parts[i]] = parts[i + 1];
  return headers;
}

// The runtime unpacks what is packed: its length says nothing then.
function statedBytesOf(headers) {
  const stated = headers.get("content-length");
  return stated === null || headers.has("content-encoding") ? -1 : Number(stated);
}
