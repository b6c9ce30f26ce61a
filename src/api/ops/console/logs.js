// What happened: requests, changes, rewards, workflows.

import { button, openDialog, select, table } from "./dom.js";
import { words } from "./format.js";
import { showLog } from "./list.js";

const STATUSES = ["", "RUNNING", "COMPLETED", "FAILED", "CANCELED", "TERMINATED", "CONTINUED_AS_NEW", "TIMED_OUT"];

export const showRequests = (cx) =>
  showLog(cx, {
    title: "Requests",
    list: "GET /admin/v1/logs",
    rows: "logs",
    columns: words("timestamp model_id provider_id api_key_name status_code error_class latency_ms input_tokens output_tokens estimated_cost_usd"),
    empty: "No request was made yet. Add an API key, and call POST /v1/chat/completions with it.",
  });

export const showAudit = (cx) =>
  showLog(cx, {
    title: "Audit",
    list: "GET /admin/v1/audit",
    rows: "logs",
    columns: words("timestamp action resource detail"),
    empty: "No administrator changed anything yet.",
  });

export const showRewards = (cx) =>
  showLog(cx, {
    title: "Rewards",
    list: "GET /admin/v1/rewards",
    rows: "rewards",
    columns: words("timestamp model_id provider_id mode token_bucket success error_class reward latency_ms cost_usd"),
    empty: "No model was tried yet: routing learns from attempts.",
  });

export function showWorkflows(cx) {
  const status = select("Status", STATUSES);
  return showLog(cx, {
    title: "Workflows",
    list: "GET /admin/v1/workflows",
    rows: "workflows",
    query: () => ({ status: status.value }),
    limit: 200,
    extra: status,
    columns: words("workflow_id type status start_time duration_ms"),
    empty: "There is none. Each POST /v1/plan is a workflow.",
    actions: ({ workflow_id: id }) => button("History", () => showHistory(cx, id)),
  });
}

async function showHistory({ api }, id) {
  const { events } = await api.call("GET /admin/v1/workflows/{id}/history", { id });
  openDialog(id, () => table(words("event_id event_type timestamp detail"), events, "Nothing happened yet."));
}
