// Charts: requests, latency, cost, tokens and errors over time.

import { drawChart, toLines } from "./chart.js";
import { attempt, button, buttons, confirm, el, notify, put, section, select } from "./dom.js";
import { form, readFields } from "./form.js";
import { count, ms, usd } from "./format.js";

const MINUTE_MS = 60_000;
/** Range and step, in minutes. */
const RANGES = { "1 hour": [60, 1], "6 hours": [360, 5], "24 hours": [1_440, 15], "7 days": [10_080, 120] };
const METRICS = [
  { metric: "requests", title: "Requests", format: count },
  { metric: "latency", title: "Average latency", format: ms, isAverage: true },
  { metric: "cost", title: "Cost", format: usd },
  { metric: "tokens", title: "Tokens", format: count },
  { metric: "errors", title: "Errors", format: count },
];

export async function showCharts({ api }) {
  const { items } = await api.call("GET /admin/v1/models");
  const range = select("Range", Object.keys(RANGES), () => attempt(draw), "1 hour");
  const model = select("Model", ["", ...items.map(({ id }) => id)], () => attempt(draw));
  const place = el("div", { class: "charts" });

  async function draw() {
    const window = windowOf(RANGES[range.value]);
    put(place, await Promise.all(METRICS.map((metric) => readChart(api, metric, window, model.value))));
  }

  await draw();
  return [el("h1", {}, "Charts"), buttons(range, model, button("Refresh", draw)), place, section("Kept points", await retention(api))];
}

/** The steps up to now; like the server's, they begin at whole steps. */
export function windowOf([minutes, stepMinutes], now = Date.now()) {
  const step = stepMinutes * MINUTE_MS;
  const steps = minutes / stepMinutes;
  return { step, steps, start: (Math.floor(now / step) + 1 - steps) * step };
}

async function readChart(api, { metric, title, format, isAverage }, window, model) {
  const query = { metric, start: window.start, step_ms: window.step, model_id: model };
  const { series } = await api.call("GET /admin/v1/tsdb/query", { query });
  const lines = toLines(series, { ...window, isSum: !isAverage });
  return drawChart({ title, lines, format, ...window, summarise: isAverage ? average : sum });
}

const sum = (values) => values.reduce((total, value) => total + value, 0);
const average = (values) => {
  const told = values.filter((value) => value !== null);
  return told.length ? sum(told) / told.length : null;
};

async function retention(api) {
  const operation = "PUT /admin/v1/tsdb/retention";
  const send = async (body) => notify(`Points are kept for ${count((await api.call(operation, { body })).retention_days)} days.`);
  const prune = async () => {
    if (!(await confirm("Delete all points that are past their time?", "Delete"))) return;
    notify(`${count((await api.call("POST /admin/v1/tsdb/prune")).deleted)} points were deleted.`);
  };
  return [form({ fields: await readFields(operation, "retention_days!"), send }), buttons(button("Delete what is past its time", prune, "danger"))];
}
