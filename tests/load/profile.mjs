// Where the time goes while Guildhall is under load: V8's sampling profiler through workerd's inspector (JavaScript and
// wasm by function, everything native as one entry) and, if `perf` is there, the native part by symbol.

import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Failure } from "../../scripts/lib/progress.mjs";

const SECONDS = 8;
const SAMPLE_EVERY_US = 200;
const TOP = 40;
const PERF_HZ = 997;

/** What a native symbol belongs to; the first that matches counts. */
const AREAS = [
  ["kernel: sockets, scheduling", /\[k\]/],
  ["compiled JavaScript and wasm", /\[JIT\]|\[\.\] (0x|\[unknown)/],
  ["garbage collection", /Scaveng|cppgc|MarkCompact|Sweep|Marking|Heap::|GlobalHandles|ExternalEntityTable|Evacuat|TracedHandles/],
  ["memory: malloc, free, copies", /tcmalloc|TCMalloc|operator (new|delete)|mem(move|cpy|set)|Dispos|disposeImpl|::destroy/],
  ["V8: wasm support", /[Ww]asm/],
  ["SQLite (D1 and objects)", /sqlite|workerd::.*Sqlite|json(Translate|B|Parse|Each|Append)|pcache|btree|pager|vdbe/i],
  ["HTTP: hyper, tokio, kj's headers", /hyper|tokio|http|httparse|Headers?\b/i],
  ["V8: builtins and runtime", /Builtins_|v8::/],
  ["workerd: bindings of JavaScript to native", /workerd::jsg|jsg::/],
  ["workerd: the rest", /workerd[:_]/],
  ["kj: promises and events", /kj::/],
];

/** Loads the target twice, once for each profiler, and gives the report as text. */
export async function profile(target, generator, scenario, model) {
  const load = () => generator.run(target, { ...scenario, warmup_ms: 500, duration_ms: SECONDS * 1000 }, model);
  const session = await Inspector.open(await target.mf.getInspectorURL(), target.name);
  await session.send("Profiler.enable");
  await session.send("Profiler.setSamplingInterval", { interval: SAMPLE_EVERY_US });
  await session.send("Profiler.start");
  const profiled = await load();
  const { profile: recorded } = await session.send("Profiler.stop");
  session.close();
  const native = hasPerf() ? await recordNative(target.pid, load) : "perf is not installed: no native part";
  return [...renderProfile(recorded, profiled), "", native].join("\n");
}

/** A DevTools session over WebSocket. */
class Inspector {
  static async open(base, name) {
    const list = await (await fetch(new URL("/json", base.href.replace(/^ws/, "http")))).json();
    const entry = list.find(({ id, title }) => `${id} ${title}`.includes(name)) ?? list[0];
    if (!entry) throw new Failure("workerd's inspector lists no Worker");
    const socket = new WebSocket(entry.webSocketDebuggerUrl);
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = () => reject(new Failure(`no inspector at ${entry.webSocketDebuggerUrl}`));
    });
    return new Inspector(socket);
  }

  constructor(socket) {
    this.socket = socket;
    this.waiting = new Map();
    this.last = 0;
    socket.onmessage = ({ data }) => {
      const { id, result, error } = JSON.parse(data);
      const call = this.waiting.get(id);
      this.waiting.delete(id);
      if (error) call?.reject(new Failure(`inspector: ${error.message}`));
      else call?.resolve(result);
    };
  }

  send(method, params = {}) {
    const id = ++this.last;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.socket.send(JSON.stringify({ id, method, params }));
    });
  }

  close() {
    this.socket.close();
  }
}

function renderProfile({ nodes, samples, timeDeltas }, { count, per_second, cpu_us }) {
  const self = new Map(nodes.map(({ id }) => [id, 0]));
  samples.forEach((id, index) => self.set(id, self.get(id) + timeDeltas[index]));
  const [functions, kinds] = [new Map(), new Map()];
  let busy = 0;
  for (const { id, callFrame } of nodes) {
    const kind = kindOf(callFrame);
    if (kind === "idle") continue;
    busy += self.get(id);
    add(kinds, kind, self.get(id));
    add(functions, `${kind.padEnd(8)}${nameOf(callFrame)}`, self.get(id));
  }
  const row = ([name, us]) => `  ${(us / count).toFixed(1).padStart(7)} µs ${((100 * us) / busy).toFixed(1).padStart(5)} %  ${name}`;
  return [
    "",
    `under the profiler: ${Math.round(per_second)} requests/s, ${Math.round(cpu_us)} µs CPU a request; self time a request, by kind:`,
    ...sorted(kinds).map(row),
    `by function, the first ${TOP}:`,
    ...sorted(functions).slice(0, TOP).map(row),
  ];
}

const sorted = (map) => [...map].sort(([, a], [, b]) => b - a);
const add = (map, key, value) => map.set(key, (map.get(key) ?? 0) + value);

function kindOf({ functionName, url }) {
  if (functionName === "(idle)") return "idle";
  if (functionName === "(garbage collector)") return "gc";
  if (functionName.startsWith("(")) return "native";
  return url.startsWith("wasm://") || functionName.startsWith("wasm-") ? "wasm" : "js";
}

function nameOf({ functionName, url, lineNumber }) {
  const place = url === "" || url.startsWith("wasm://") ? "" : ` ${url.split("/").at(-1)}:${lineNumber + 1}`;
  return `${functionName || "(anonymous)"}${place}`.slice(0, 120);
}

const hasPerf = () => spawnSync("perf", ["--version"]).status === 0;

/** perf sees threads, the kernel and workerd's C++ and Rust, but nothing that V8 has compiled. */
async function recordNative(pid, load) {
  const directory = mkdtempSync(join(tmpdir(), "guildhall-perf-"));
  const data = join(directory, "perf.data");
  try {
    const record = spawn("perf", ["record", "-e", "cpu-clock", "-F", `${PERF_HZ}`, "-p", `${pid}`, "-o", data, "--", "sleep", `${SECONDS - 1}`], {
      stdio: "ignore",
    });
    const ended = new Promise((resolve) => record.once("exit", resolve));
    const result = await load();
    if ((await ended) !== 0) return "perf could not record: no native part";
    const symbols = reportOf(data);
    return [
      `under perf (all of workerd, Miniflare's D1 and queues too): ${Math.round(result.per_second)} requests/s, ` +
        `${Math.round(result.cpu_us)} µs CPU a request; self time by area:`,
      ...renderAreas(symbols, result),
      `by symbol, the first ${TOP}:`,
      ...symbols.slice(0, TOP),
    ].join("\n");
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function renderAreas(symbols, { cpu_us }) {
  const areas = new Map();
  for (const line of symbols) {
    const area = AREAS.find(([, pattern]) => pattern.test(line))?.[0] ?? "other";
    add(areas, area, Number.parseFloat(line));
  }
  const row = ([area, percent]) => `  ${((cpu_us * percent) / 100).toFixed(0).padStart(7)} µs ${percent.toFixed(1).padStart(5)} %  ${area}`;
  return sorted(areas).map(row);
}

/** Lines of percentage, object and symbol, the most expensive first. */
function reportOf(data) {
  const args = ["report", "-i", data, "--no-children", "--sort", "dso,symbol"];
  const { stdout } = spawnSync("perf", args, { encoding: "utf8", maxBuffer: 1 << 28 });
  return (stdout ?? "")
    .split("\n")
    .filter((line) => line.trim() && !line.startsWith("#"))
    .map((line) => `  ${line.trim().slice(0, 150)}`);
}
