// Starts Workers on workerd under Miniflare, reached by workerd's own socket, never through Miniflare's proxy.

import { createRequire } from "node:module";

import { fromRoot } from "../../scripts/lib/paths.mjs";
import { Failure } from "../../scripts/lib/progress.mjs";
import { guardProcess } from "./processes.mjs";

const require = createRequire(fromRoot("package.json"));
// The CommonJS module, which Miniflare calls `spawn` on: this is where we meet workerd's process and its config.
const child_process = require("node:child_process");

/**
 * Starts one Worker: `{ port, pid, mf, dispose }`. `worker` is a Worker's options as Miniflare 4 had them, which is what
 * wrangler still gives. `intercept` keeps the Worker that Miniflare puts in front of every outbound fetch.
 */
export async function startWorker(worker, { intercept = false, inspect = false, verbose = false } = {}) {
  const { Log, LogLevel, Miniflare, convertV4MiniflareOptions } = require("miniflare");
  const options = convertV4MiniflareOptions({
    host: "127.0.0.1",
    port: 0,
    ...(inspect && { inspectorPort: 0 }),
    log: new Log(verbose ? LogLevel.DEBUG : LogLevel.ERROR),
    logRequests: false,
    handleStructuredLogs: verbose ? undefined : () => {},
    workers: [{ ...worker, unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }] }],
  });
  const spawned = watchSpawn(intercept);
  let mf;
  try {
    mf = new Miniflare(options);
    await mf.ready;
  } finally {
    spawned.restore();
  }
  const url = await mf.unsafeGetDirectURL(worker.name);
  return { name: worker.name, mf, pid: spawned.pid(), host: "127.0.0.1", port: Number(url.port), dispose: () => mf.dispose() };
}

/** Notes workerd's process when Miniflare starts it and, unless told otherwise, straightens its outbound path. */
function watchSpawn(intercept) {
  const original = child_process.spawn;
  let pid;
  child_process.spawn = function (command, args, options) {
    const child = original.call(this, command, args, options);
    if (!args?.includes("serve")) return child;
    pid = child.pid;
    guardProcess(pid);
    if (!intercept) {
      const write = child.stdin.write.bind(child.stdin);
      child.stdin.write = (config, ...rest) => write(straightenOutbound(config), ...rest);
    }
    return child;
  };
  return { pid: () => pid, restore: () => (child_process.spawn = original) };
}

/**
 * Miniflare 5 sends every outbound fetch through a Worker of its own that copies the headers: 50 µs of CPU a request
 * that neither bare workerd nor Cloudflare has. There is no option against it, so the config on its way into workerd is
 * changed: the first text "outbound:0" is the user Worker's `globalOutbound` (the second is that Worker's name), and it
 * becomes "internet". A Cap'n Proto text is a list pointer (offset, then length and element size) and its bytes.
 */
function straightenOutbound(config) {
  const from = Buffer.from("outbound:0\0");
  const to = Buffer.from("internet\0");
  const at = config.indexOf(from);
  const pointerTo = (text) => ((text.length << 3) | 2) >>> 0;
  for (let word = 0; at !== -1 && word < at; word += 8) {
    const offset = config.readInt32LE(word);
    if ((offset & 3) !== 1 || config.readUInt32LE(word + 4) !== pointerTo(from)) continue;
    if (word + 8 + (offset >> 2) * 8 !== at) continue;
    config.writeUInt32LE(pointerTo(to), word + 4);
    config.fill(0, at, at + from.length);
    to.copy(config, at);
    return config;
  }
  throw new Failure("this Miniflare's config has no outbound:0; run with --interceptor, or teach runtime.mjs the new one");
}
