// Values as people read them. What a value is, the API's names say: `_usd`, `_ms`, `_at`, …

const NOTHING = "–";
const USD = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD", maximumFractionDigits: 9 });
const COUNT = new Intl.NumberFormat("en-US", { maximumFractionDigits: 2 });

const orNothing = (format) => (value) => (value === undefined || value === null || value === "" ? NOTHING : format(value));

export const usd = orNothing((value) => USD.format(value));
export const count = orNothing((value) => COUNT.format(value));
export const percent = orNothing((value) => `${COUNT.format(value * 100)} %`);
export const ms = orNothing((value) => (value < 1_000 ? `${Math.round(value)} ms` : `${COUNT.format(value / 1_000)} s`));
/** A moment; what never was comes as the year 1. */
export const time = orNothing((value) => (value.startsWith("0001-") ? NOTHING : new Date(value).toLocaleString()));

/** A value by its name. */
export function tell(name, value) {
  if (value === undefined || value === null || value === "") return NOTHING;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "object") return JSON.stringify(value);
  if (/_usd|_per_1k$/.test(name)) return usd(value);
  if (/_ms$/.test(name)) return ms(value);
  if (/_rate$/.test(name)) return percent(value);
  if (/^timestamp$|_at$|_time$|_until$/.test(name)) return time(value);
  return typeof value === "number" && name !== "status_code" ? count(value) : String(value);
}

/** The title of a column or field: `input_per_1k` is "Input per 1k". */
export function title(name) {
  const words = name.replace(/_(id|usd|ms)$/, "").replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
}

/** Names, one after the other. */
export const words = (text) => text.split(" ");

/** A time as an input of type datetime-local takes it. */
export function toLocalInput(value) {
  if (!value) return "";
  const at = new Date(value);
  return new Date(at - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
