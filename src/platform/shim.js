// The Worker's entry module: what workerd calls, forwarded to the Rust exports `fetch`, `queue` and `scheduled` and to the Durable
// Object classes. It does one thing more than forwarding: it keeps a trap (a Rust panic, a stack overflow) the matter
// of the one call that trapped.
//
// A trap leaves the call without an answer and the instance's memory in doubt. So the instance is retired: later calls
// get a new one, calls already under way finish on the old. That is why the build wraps the glue in `instantiate` (see
// scripts/lib/build.mjs): each instance has glue of its own. The call itself fails: an object's at once, a request's
// when workerd notices, within milliseconds, that nothing can answer it any more.

import { AsyncLocalStorage } from "node:async_hooks";
import { instantiate } from "guildhall:glue";
import wasm from "./guildhall_bg.wasm";

/** The object's call that the running code belongs to; follows it through promises and microtasks. */
const currentCall = new AsyncLocalStorage();

let live = start();

function start() {
  const app = instantiate(wasm);
  // The glue's exports are getters; a copy is plain to read. The worker crate's panic hook sets `criticalError`.
  return { ...app, state: app.__worker_init_state() };
}

function retire(app, error) {
  console.error("the wasm instance is retired:", error);
  app.state.criticalError = true;
}

// Rust code runs in microtasks and callbacks that no caller can catch: what escapes from them arrives here.
addEventListener("error", (event) => {
  if (isTrap(event.error)) fail(event.error);
});
addEventListener("unhandledrejection", (event) => {
  // Any other rejection is a promise that Rust did not care about.
  if (isTrap(event.reason)) fail(event.reason);
});

/** A stack overflow is a RangeError, also when it is the wasm stack's. */
function isTrap(error) {
  return error instanceof WebAssembly.RuntimeError || error instanceof RangeError;
}

function fail(error) {
  const call = currentCall.getStore();
  retire(call?.app ?? live, error);
  call?.abandon(error);
}

/** Runs `forward(app)` as a call of its own; `onTrap`, if given, runs before the call fails. */
function enter(forward, onTrap) {
  return new Promise((resolve, reject) => {
    const app = current();
    const abandon = (error) => {
      reject(error);
      onTrap?.(error);
    };
    currentCall.run({ app, abandon }, () => {
      try {
        forward(app).then(resolve, reject);
      } catch (error) {
        retire(app, error);
        abandon(error);
      }
    });
  });
}

function internalError(error) {
  const id = `req_${crypto.randomUUID().replaceAll("-", "")}`;
  console.error(`${id} failed:`, error);
  return Response.json({ error: "Internal server error", request_id: id }, {
    status: 500,
    headers: { "x-request-id": id, "access-control-allow-origin": "*" },
  });
}

/** The instance for a new call. */
function current() {
  if (live.state.criticalError) live = start();
  return live;
}

/**
 * Runs `forward(app)`, the first step of an event; a trap in it is told to `onTrap`. No `enter` here: the asynchronous
 * storage costs every request 20 µs. An event that traps later is ended by workerd, which notices that it can never be
 * answered.
 */
function begin(forward, onTrap) {
  const app = current();
  try {
    forward(app);
  } catch (error) {
    retire(app, error);
    onTrap(error);
  }
}

export default {
  fetch(request, env, ctx) {
    const answer = new Promise((resolve) =>
      begin((app) => app.fetch(request, env, ctx, resolve), (error) => resolve(internalError(error))),
    );
    // A client that leaves must not stop a call half-way: its signal aborts it, and it is settled.
    ctx.waitUntil(answer);
    return answer;
  },
  queue(batch, env, ctx) {
    return new Promise((resolve, reject) => {
      const done = (error) => (error === undefined ? resolve() : reject(new Error(error)));
      begin((app) => app.queue(batch, env, ctx, done), reject);
    });
  },
  scheduled(event, env, ctx) {
    return new Promise((resolve, reject) =>
      begin((app) => app.scheduled(event.cron ?? "", env, ctx, resolve), reject),
    );
  },
};

/** A Durable Object class around the Rust class of that name. */
function durableObject(name) {
  if (!live[name]) throw new Error(`the wasm exports no class ${name}`);

  return class {
    #state;
    #env;
    #app;
    #object;
    #underWay = 0;

    constructor(state, env) {
      this.#state = state;
      this.#env = env;
    }

    fetch(request) {
      return this.#call("fetch", request);
    }

    alarm() {
      return this.#call("alarm");
    }

    async #call(method, argument) {
      this.#underWay++;
      try {
        return await enter(
          (app) => {
            // One Rust object at a time: it moves to a new instance only when no other call is under way on the old.
            if (this.#app !== app && this.#underWay === 1) {
              this.#object = new app[name](this.#state, this.#env);
              this.#app = app;
            }
            return this.#object[method](argument);
          },
          // Throws this object away, with all that it wrote since its last commit; the next call builds it anew.
          (error) => this.#state.abort(`${name} trapped: ${error}`),
        );
      } finally {
        this.#underWay--;
      }
    }
  };
}

export const Events = durableObject("Events");
export const Idempotency = durableObject("Idempotency");
export const ProviderHealth = durableObject("ProviderHealth");
export const Job = durableObject("Job");
export const RateLimiter = durableObject("RateLimiter");
export const Vault = durableObject("Vault");
export const VectorIndex = durableObject("VectorIndex");
export const Wallet = durableObject("Wallet");
