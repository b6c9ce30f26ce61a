// A double of Cloudflare's API: one account, as much of it as wrangler asks about while scripts/deploy.mjs deploys. D1 is SQLite.

import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { DatabaseSync } from "node:sqlite";

const ACCOUNT_ID = "0123456789abcdef0123456789abcdef";
const TOKEN = "a-token-of-the-account";
const NOW = "2026-11-01T00:00:00Z";

/** An answer that is no success, as Cloudflare says it. */
class Refusal extends Error {
  constructor(status, code, message) {
    super(message);
    Object.assign(this, { status, code });
  }
}

/** Starts one, with an empty account. */
export async function startCloudflare() {
  const account = new Account();
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const send = (status, answer) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify({ success: status === 200, errors: [], messages: [], result: null, ...answer }));
    };
    try {
      const { method, url, headers } = request;
      if (headers.authorization !== `Bearer ${TOKEN}`) throw new Refusal(401, 10000, "Authentication error");
      const body = new Response(Buffer.concat(chunks), { headers: { "content-type": headers["content-type"] ?? "" } });
      send(200, { result: await account.answer(method, new URL(url, "http://cloudflare.test"), body) });
    } catch ({ status = 500, code = 0, message }) {
      send(status, { errors: [{ code, message }] });
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    account,
    /** What has wrangler take it for Cloudflare. */
    env: {
      CLOUDFLARE_API_BASE_URL: `http://127.0.0.1:${server.address().port}`,
      CLOUDFLARE_API_TOKEN: TOKEN,
      CLOUDFLARE_ACCOUNT_ID: ACCOUNT_ID,
    },
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

class Account {
  /** `{ uuid, name, sqlite }` */
  databases = [];
  /** `{ id, title }` */
  namespaces = [];
  /** `{ queue_id, queue_name, consumers }` */
  queues = [];
  /** `{ name, config }` of Vectorize. */
  indexes = [];
  /** By name: `{ id, modules, bindings, migrationTag, crons, isPublic }`. */
  workers = new Map();
  /** `METHOD path` of every request that changes something. */
  changes = [];
  /** Paths that answer with a failure. */
  broken = /^$/;
  /** What was uploaded and is not deployed. */
  #versions = new Map();

  answer(method, { pathname, searchParams: query }, body) {
    const path = pathname.replace(`/accounts/${ACCOUNT_ID}/`, "");
    if (this.broken.test(path)) throw new Refusal(403, 10023, "The token may not do this");
    for (const [route, answer] of Object.entries(this.#routes)) {
      const [wanted, pattern] = route.split(" ");
      const found = wanted === method && new RegExp(`^${pattern.replaceAll("*", "([^/]+)")}$`).exec(path);
      if (!found) continue;
      if (method !== "GET" && !path.endsWith("/query")) this.changes.push(`${method} ${path}`);
      return answer({ query, body, name: found[1], id: found[2] });
    }
    throw new Refusal(404, 7003, `the double knows no ${method} ${path}`);
  }

  #routes = {
    "GET d1/database": () => this.databases.map(({ uuid, name }) => ({ uuid, name })),
    "POST d1/database": async ({ body }) => {
      const database = { uuid: randomUUID(), name: (await body.json()).name, sqlite: new DatabaseSync(":memory:") };
      this.databases.push(database);
      return { uuid: database.uuid, name: database.name };
    },
    "POST d1/database/*/query": async ({ name, body }) => {
      const { sqlite } = this.databases.find(({ uuid }) => uuid === name);
      const { sql } = await body.json();
      const results = /^\s*SELECT\b/i.test(sql) ? sqlite.prepare(sql).all() : sqlite.exec(sql);
      return [{ success: true, results: results ?? [], meta: {} }];
    },

    // wrangler asks for pages until one is empty.
    "GET storage/kv/namespaces": ({ query }) => (query.get("page") > 1 ? [] : this.namespaces),
    "POST storage/kv/namespaces": async ({ body }) => push(this.namespaces, { id: newId(), title: (await body.json()).title }),

    "GET queues": ({ query }) => this.queues.filter(({ queue_name: name }) => !query.has("name") || name === query.get("name")),
    "POST queues": async ({ body }) => push(this.queues, { queue_id: newId(), queue_name: (await body.json()).queue_name, consumers: [] }),
    "POST queues/*/consumers": async ({ name, body }) => push(this.#consumersOf(name), await readConsumer(body, newId())),
    "PUT queues/*/consumers/*": async ({ name, body, id }) => {
      const consumers = this.#consumersOf(name);
      return (consumers[consumers.findIndex(({ consumer_id: other }) => other === id)] = await readConsumer(body, id));
    },

    "GET vectorize/v2/indexes/*": ({ name }) => {
      const index = this.indexes.find((one) => one.name === name);
      if (!index) throw new Refusal(404, 3000, "vectorize.index_not_found");
      return index;
    },
    "POST vectorize/v2/indexes": async ({ body }) => push(this.indexes, await body.json()),

    "GET workers/services/*": ({ name }) => {
      const script = { tag: name, migration_tag: this.#worker(name).migrationTag, last_deployed_from: "wrangler" };
      return { default_environment: { environment: "production", script } };
    },
    "GET workers/scripts/*/secrets": ({ name }) => this.#worker(name).bindings.filter(({ type }) => type === "secret_text"),
    "GET workers/scripts/*/settings": ({ name }) => ({ bindings: this.#worker(name).bindings }),
    "GET workers/scripts/*/deployments": ({ name }) => {
      const { id } = this.#worker(name);
      return { deployments: [{ id, created_on: NOW, versions: [{ version_id: id, percentage: 100 }] }] };
    },
    "GET workers/scripts/*/versions/*": ({ name, id }) => {
      const { bindings } = this.#worker(name);
      return { id, metadata: { created_on: NOW }, resources: { bindings, script: {}, script_runtime: {} } };
    },
    // The first upload of a Worker, and each that changes its objects' classes, is deployed at once.
    "PUT workers/scripts/*": async ({ name, body }) => this.#deploy(name, await this.#upload(name, body)),
    "POST workers/scripts/*/versions": ({ name, body }) => this.#worker(name) && this.#upload(name, body),
    "POST workers/scripts/*/deployments": async ({ name, body }) => this.#deploy(name, { id: (await body.json()).versions[0].version_id }),
    "PATCH workers/scripts/*/script-settings": ({ body }) => body.json(),
    "PUT workers/scripts/*/schedules": async ({ name, body }) => {
      this.#worker(name).crons = (await body.json()).map(({ cron }) => cron);
      return {};
    },

    "GET workers/subdomain": () => ({ subdomain: "guild" }),
    "GET workers/workers/*": ({ name }) => ({ subdomain: { enabled: Boolean(this.#worker(name).isPublic), previews_enabled: false } }),
    "POST workers/scripts/*/subdomain": async ({ name, body }) => {
      this.#worker(name).isPublic = (await body.json()).enabled;
      return { enabled: this.#worker(name).isPublic, previews_enabled: false };
    },
  };

  #consumersOf(queueId) {
    return this.queues.find(({ queue_id: id }) => id === queueId).consumers;
  }

  #worker(name) {
    const worker = this.workers.get(name);
    if (!worker) throw new Refusal(404, 10007, "This Worker does not exist on your account.");
    return worker;
  }

  async #upload(name, body) {
    const { metadata: text, ...modules } = Object.fromEntries(await body.formData());
    const { bindings, keep_bindings: kept, migrations } = JSON.parse(text);
    const before = this.workers.get(name);
    const stays = ({ type, name: binding }) => kept.includes(type) && !bindings.some((one) => one.name === binding);
    const id = randomUUID();
    this.#versions.set(id, {
      ...before,
      id,
      modules: Object.keys(modules),
      bindings: [...bindings, ...(before?.bindings ?? []).filter(stays)],
      migrationTag: migrations?.new_tag ?? before?.migrationTag,
    });
    return { id, resources: { script: { etag: id } }, startup_time_ms: 1 };
  }

  #deploy(name, { id }) {
    this.workers.set(name, this.#versions.get(id));
    return { id, deployment_id: id, startup_time_ms: 1 };
  }
}

const newId = () => randomUUID().replaceAll("-", "");

function push(list, one) {
  list.push(one);
  return one;
}

async function readConsumer(body, id) {
  const consumer = await body.json();
  return { ...consumer, consumer_id: id, script: consumer.script_name };
}
