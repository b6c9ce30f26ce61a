// From samples to tables: medians of the rounds, what Guildhall adds to the floor, and the verdict.

/** What the project has promised (issue 2). `must` fails the run's verdict, `goal` is where it wants to be. */
const PROMISES = [
  { name: "requests/s at c=16", must: "≥ 2,600", value: (r) => at(r, "json c=16", "guildhall", "per_second"), ok: (v) => v >= 2600 },
  { name: "CPU a request at c=16, µs", must: "≤ 400", value: (r) => at(r, "json c=16", "guildhall", "cpu_us"), ok: (v) => v <= 400 },
  { name: "first token after the floor's, c=1, ms", must: "≤ 0.5", value: (r) => over(r, "streams c=1", "first_p50_us") / 1000, ok: (v) => v <= 0.5 },
  { name: "24-frame streams/s at c=16", must: "≥ 1,200", value: (r) => at(r, "streams c=16", "guildhall", "per_second"), ok: (v) => v >= 1200 },
  // "No delay": what a pump costs itself is a quarter of a millisecond; buffering or a stalled socket shows far above.
  { name: "delay added per chunk, c=1, p50 ms", must: "≤ 0.5", value: (r) => over(r, "spaced frames c=1", "delay_p50_us") / 1000, ok: (v) => v <= 0.5 },
  { name: "delay added per chunk, c=1, p99 ms", must: "≤ 4", value: (r) => over(r, "spaced frames c=1", "delay_p99_us") / 1000, ok: (v) => v <= 4 },
  { name: "errors", must: "0", value: (r) => failures(r), ok: (v) => v === 0 },
  { name: "charged, served × price, micro-dollars off", must: "0", value: (r) => r.books.charged_usd_micros - r.books.owed_usd_micros, ok: (v) => Math.abs(v) < 1 },
  { name: "share of the floor at c=16, %", goal: "≥ 85", value: (r) => 100 * share(r, "json c=16"), ok: (v) => v >= 85 },
  { name: "p50 over the floor's at c=1, µs", goal: "≤ 80", value: (r) => over(r, "json c=1", "p50_us"), ok: (v) => v <= 80 },
];

/** The columns of the table: what a sample is asked for, and how it is shown. */
const FIGURES = {
  per_second: (sample) => sample.per_second,
  p50_us: (sample) => sample.total_us?.p50,
  p95_us: (sample) => sample.total_us?.p95,
  p99_us: (sample) => sample.total_us?.p99,
  first_p50_us: (sample) => sample.first_us?.p50,
  first_p99_us: (sample) => sample.first_us?.p99,
  delay_p50_us: (sample) => sample.delay_us?.p50,
  delay_p99_us: (sample) => sample.delay_us?.p99,
  delay_max_us: (sample) => sample.delay_us?.max,
  cpu_us: (sample) => sample.cpu_us,
  generator_cpu: (sample) => sample.generator_cpu,
};

export const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
const at = (report, scenario, target, figure) => report.scenarios[scenario]?.[target]?.[figure];
const over = (report, scenario, figure) => at(report, scenario, "guildhall", figure) - at(report, scenario, "floor", figure);
const share = (report, scenario) => at(report, scenario, "guildhall", "of_floor");

function failures(report) {
  const targets = Object.values(report.scenarios).flatMap((scenario) => Object.values(scenario));
  return targets.reduce((sum, { failed }) => sum + failed, 0);
}

/** All figures of a run. Ratios to the floor are taken round by round, where both saw the same machine. */
export function summarize({ samples, memory, books, first_ms }) {
  const scenarios = {};
  for (const [name, targets] of Object.entries(samples)) {
    scenarios[name] = {};
    for (const [target, rounds] of Object.entries(targets)) {
      scenarios[name][target] = {
        ...summarizeRounds(rounds),
        of_floor: median(rounds.map((sample, round) => sample.per_second / targets.floor[round].per_second)),
      };
    }
  }
  const report = { scenarios, memory, books, first_request_ms: first_ms };
  return { ...report, verdict: PROMISES.map(judge.bind(undefined, report)) };
}

function summarizeRounds(rounds) {
  const summary = { failed: rounds.reduce((sum, { failed }) => sum + failed, 0) };
  if (summary.failed > 0) summary.errors = Object.assign({}, ...rounds.map(({ errors }) => errors));
  for (const [figure, read] of Object.entries(FIGURES)) {
    const values = rounds.map(read).filter((value) => value !== undefined);
    if (values.length > 0) summary[figure] = median(values);
  }
  return summary;
}

function judge(report, { name, must, goal, value, ok }) {
  const reached = value(report);
  return { name, wanted: must ?? goal, kind: must ? "must" : "goal", reached, ok: Number.isFinite(reached) ? ok(reached) : undefined };
}

export function renderMachine({ cpus, cpu, load, node, workerd, interceptor }) {
  const sockets = interceptor ? "with Miniflare's interceptor on outbound fetches" : "direct sockets in and out";
  return ["", `${cpus} × ${cpu}, load ${load}, Node ${node}, workerd ${workerd}`, sockets].join("\n");
}

export function renderReport({ scenarios, memory, books, first_request_ms }) {
  const lines = [];
  for (const [name, targets] of Object.entries(scenarios)) {
    lines.push("", name, `  ${"".padEnd(11)}${HEADINGS(name).map((heading) => heading.padStart(11)).join("")}`);
    for (const [target, figures] of Object.entries(targets)) lines.push(renderRow(name, target, figures));
  }
  lines.push("");
  for (const [target, value] of Object.entries(memory)) {
    if (value) lines.push(`memory of ${target}: ${value.rss_mb} MB resident, ${value.peak_mb} MB at the highest`);
  }
  lines.push(`load generator: ${Math.round(100 * busiest(scenarios))} % of a core at the most beside a Worker`);
  lines.push(`first request of a fresh isolate: ${first_request_ms.toFixed(0)} ms`);
  lines.push(`books: ${books.served} served, charged $${books.charged_usd_micros / 1e6}, owed $${books.owed_usd_micros / 1e6}`);
  return lines.join("\n");
}

/** How busy the generator was; near 100 % it would have measured itself. */
function busiest(scenarios) {
  const workers = Object.values(scenarios).flatMap(({ upstream: _, ...others }) => Object.values(others));
  return Math.max(...workers.map(({ generator_cpu }) => generator_cpu ?? 0));
}

const isSpaced = (name) => name.startsWith("spaced");
const HEADINGS = (name) =>
  isSpaced(name)
    ? ["delay p50", "p99", "max", "first byte", "p99", "CPU µs"]
    : ["req/s", "of floor", "p50 ms", "p95", "p99", "first byte", "CPU µs"];

function renderRow(name, target, figures) {
  const ms = (value) => (value === undefined ? "" : (value / 1000).toFixed(2));
  const delays = [figures.delay_p50_us, figures.delay_p99_us, figures.delay_max_us, figures.first_p50_us, figures.first_p99_us];
  const rates = [
    Math.round(figures.per_second).toLocaleString("en"),
    target === "upstream" ? "" : `${Math.round(100 * figures.of_floor)} %`,
    ...[figures.p50_us, figures.p95_us, figures.p99_us, figures.first_p50_us].map(ms),
  ];
  const cells = [...(isSpaced(name) ? delays.map(ms) : rates), figures.cpu_us === undefined ? "" : Math.round(figures.cpu_us)];
  const failed = figures.failed ? `   ${figures.failed} FAILED ${JSON.stringify(figures.errors)}` : "";
  return `  ${target.padEnd(11)}${cells.map((cell) => `${cell}`.padStart(11)).join("")}${failed}`;
}

export function renderVerdict({ verdict }) {
  const rows = verdict.map(({ name, wanted, kind, reached, ok }) => {
    const sign = ok === undefined ? "–" : ok ? "✓" : "✗";
    const value = Number.isFinite(reached) ? reached.toLocaleString("en", { maximumFractionDigits: Math.abs(reached) < 10 ? 2 : 0 }) : "not measured";
    return `  ${sign} ${kind}  ${name.padEnd(46)} ${wanted.padStart(8)}   ${value}`;
  });
  return ["", "verdict", ...rows, ""].join("\n");
}
