// Talking to the platform that we started.

import { connect, createServer } from "node:net";

import { sleep } from "./process.mjs";

const ANSWER_MS = 30_000;
const PROBE_MS = 1_000;
const PROBES = 5;

/** One JSON request: `{ status, body }`; the body is undefined when it is no JSON. */
export async function call(url, method, path, { token, body } = {}) {
  const response = await fetch(new URL(path, url), {
    method,
    headers: {
      ...(token && { authorization: `Bearer ${token}` }),
      ...(body && { "content-type": "application/json" }),
    },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(ANSWER_MS),
  });
  const text = await response.text();
  try {
    return { status: response.status, body: JSON.parse(text) };
  } catch {
    return { status: response.status, text };
  }
}

/** Whether a port of this machine is free. */
export function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer().once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** Resolves when nothing has listened on a port for some seconds: wrangler can outlive the workerd that it serves from. */
export async function untilSilent(port) {
  for (let failures = 0; failures < PROBES; await sleep(PROBE_MS)) {
    failures = (await accepts(port)) ? 0 : failures + 1;
  }
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.destroy(resolve(true)));
    socket.once("error", () => resolve(false));
  });
}
