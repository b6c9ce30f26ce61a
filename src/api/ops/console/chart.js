// Lines over time, drawn in SVG.

import { el, svg } from "./dom.js";

const LINES_MAX = 6;
const WIDTH = 600, HEIGHT = 160;

/**
 * The server's series as lines with one value for each step: the largest first, the rest of sums together. A step of which
 * nothing is told is 0 in a sum, and a gap in an average.
 */
export function toLines(series, { start, step, steps, isSum }) {
  const lines = series.map(({ model_id, provider_id, points }) => {
    const values = Array(steps).fill(isSum ? 0 : null);
    for (const { t, v } of points) {
      const i = Math.floor((Date.parse(t) - start) / step);
      if (i >= 0 && i < steps) values[i] = v;
    }
    return { name: [model_id, provider_id].filter(Boolean).join(" · ") || "none", values };
  });
  const weigh = ({ values }) => values.reduce((sum, value) => sum + (isSum ? value : value === null ? 0 : 1), 0);
  lines.sort((a, b) => weigh(b) - weigh(a));
  const shown = lines.slice(0, LINES_MAX), rest = lines.slice(LINES_MAX);
  if (!isSum || rest.length === 0) return shown;
  const values = Array.from({ length: steps }, (_, i) => rest.reduce((sum, line) => sum + line.values[i], 0));
  return [...shown, { name: `${rest.length} others`, values }];
}

/** A round number that is not less. */
export function roundUp(value) {
  if (!(value > 0)) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((factor) => factor * unit).find((round) => round >= value * (1 - 1e-9));
}

/** The path of a line; `null` breaks it, and a value that stands alone is a dot. */
export function toPath(values, max) {
  const x = (i) => ((i / Math.max(1, values.length - 1)) * WIDTH).toFixed(1);
  const y = (value) => (HEIGHT - (value / max) * HEIGHT).toFixed(1);
  let path = "";
  values.forEach((value, i) => {
    if (value === null) return;
    const begins = i === 0 || values[i - 1] === null;
    const isAlone = begins && (values[i + 1] ?? null) === null;
    path += `${begins ? "M" : "L"}${x(i)},${y(value)}${isAlone ? "h0" : ""}`;
  });
  return path;
}

/** A chart with its legend. Pointer and arrow keys walk over its steps, and the legend tells their values. */
export function drawChart({ title, lines, start, step, steps, format, summarise }) {
  const max = roundUp(Math.max(0, ...lines.flatMap(({ values }) => values)));
  const cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT, visibility: "hidden" });
  const told = lines.map(() => el("strong"));
  const moment = el("span", { "aria-live": "polite" });
  let at;

  /** Tells the values of a step, or of all. */
  function show(wanted) {
    at = wanted === undefined ? undefined : Math.min(steps - 1, Math.max(0, wanted));
    lines.forEach(({ values }, n) => (told[n].textContent = format(at === undefined ? summarise(values) : values[at])));
    moment.textContent = at === undefined ? "" : clock(start + at * step);
    cursor.setAttribute("visibility", at === undefined ? "hidden" : "visible");
    for (const end of ["x1", "x2"]) cursor.setAttribute(end, ((at ?? 0) / (steps - 1)) * WIDTH);
  }

  function point({ clientX, currentTarget }) {
    const { left, width } = currentTarget.getBoundingClientRect();
    show(Math.round(((clientX - left) / width) * (steps - 1)));
  }

  function walk(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    show((at ?? steps) + by);
  }

  const shape = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none" };
  const reading = { tabindex: 0, role: "img", "aria-label": `${title}; arrow keys tell the values` };
  const listeners = { onpointermove: point, onpointerleave: () => show(), onkeydown: walk };
  const paths = lines.map(({ values }, n) => svg("path", { class: `line-${n}`, d: toPath(values, max) }));
  const plot = svg("svg", { ...shape, ...reading, ...listeners }, paths, cursor);
  const ends = el("div", { class: "ends" }, el("span", {}, clock(start)), el("span", {}, clock(start + steps * step)));
  const legend = lines.map(({ name }, n) => el("li", { class: `line-${n}` }, name, " ", told[n]));
  const caption = el("figcaption", {}, el("strong", {}, title), lines.length ? ` up to ${format(max)} ` : " nothing in this time", moment);
  show();
  return el("figure", {}, caption, plot, ends, el("ul", {}, legend));
}

const clock = (ms) => new Date(ms).toLocaleString([], { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
