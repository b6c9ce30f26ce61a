// Talking to the platform that we started.

import { createServer } from "node:net";

const ANSWER_MS = 30_000;

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

/** Why a port of this machine cannot be listened at: an error's code, or nothing when it can. */
export function portError(port) {
  return new Promise((resolve) => {
    const server = createServer().once("error", ({ code }) => resolve(code));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(undefined)));
  });
}
