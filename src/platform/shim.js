// The Worker's entry module: what workerd calls, forwarded to the Rust exports `fetch`, `queue` and `scheduled` and to
// the Durable Object classes. It is on the path of every request, so it does one thing more than forwarding: it keeps
// a trap (a Rust panic, a stack overflow) the matter of the one call that trapped.
//
// A trap leaves the call's promise pending for ever and the instance's memory in doubt. So the call fails at once, and
// the instance is retired: later calls get a new one, calls already under way finish on the old. That is why the
// build wraps the glue in `instantiate` (see scripts/lib/build.mjs): each instance has glue of its own.

import { AsyncLocalStorage } from "node:async_hooks";
import { instantiate } from "guildhall:glue";
import wasm from "./guildhall_bg.wasm";

/** The call that the running code belongs to; follows it through promises and microtasks. Costs 2 µs a call. */
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
addEventListener("error", (event) => fail(event.error));
addEventListener("unhandledrejection", (event) => {
  // Any other rejection is a promise that Rust did not care about.
  if (event.reason instanceof WebAssembly.RuntimeError) fail(event.reason);
});

function fail(error) {
  const call = currentCall.getStore();
  retire(call?.app ?? live, error);
  call?.abandon(error);
}

/** Runs `forward(app)` as a call of its own; `onTrap`, if given, runs before the call fails. */
function enter(forward, onTrap) {
  return new Promise((resolve, reject) => {
    if (live.state.criticalError) live = start();
    const app = live;
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
  console.error("request failed:", error);
  return Response.json({ error: "Internal server error" }, { status: 500 });
}

export default {
  fetch(request, env, ctx) {
    return enter((app) => app.fetch(request, env, ctx)).catch(internalError);
  },
  queue(batch, env, ctx) {
    return enter((app) => app.queue(batch, env, ctx));
  },
  scheduled(event, env, ctx) {
    return enter((app) => app.scheduled(event, env, ctx));
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

export const Idempotency = durableObject("Idempotency");
export const RateLimiter = durableObject("RateLimiter");
export const Wallet = durableObject("Wallet");
