// Many calls at once over kept-alive connections, without the limits of a fetch pool.

import { Agent, request as httpRequest } from "node:http";

export function makeAgent(sockets = 1_000) {
  return new Agent({ keepAlive: true, maxSockets: sockets });
}

/** One POST: `{ status, headers, text, tookMs }`; rejects when the connection breaks or nothing comes for `timeoutMs`. */
export function post(url, { key, body, agent, headers = {}, timeoutMs = 130_000 }) {
  const started = performance.now();
  const bytes = Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
  return new Promise((resolve, reject) => {
    const request = httpRequest(url, {
      method: "POST",
      agent,
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json", "content-length": bytes.length, ...headers },
    });
    request.setTimeout(timeoutMs, () => request.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    request.once("error", reject);
    request.once("response", (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.once("error", reject);
      response.once("end", () => {
        const text = Buffer.concat(chunks).toString();
        resolve({ status: response.statusCode, headers: response.headers, text, tookMs: performance.now() - started });
      });
    });
    request.end(bytes);
  });
}

/** How often each value occurs. */
export function tally(values) {
  const counts = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}
