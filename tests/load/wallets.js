// Stands in front of the built Worker while wallets are measured; never deployed.

import worker from "./worker.js";

export * from "./worker.js";

export default {
  fetch: (request, env, context) =>
    new URL(request.url).pathname === "/bench/wallets" ? measure(request, env) : worker.fetch(request, env, context),
  queue: (batch, env, context) => worker.queue(batch, env, context),
  scheduled: (event, env, context) => worker.scheduled(event, env, context),
};

const HELD = 1_000;
const CHARGED = 1;

async function measure(request, env) {
  const { name, wallets, at_once, ms } = await request.json();
  const names = Array.from({ length: wallets }, (_, at) => `bench_${name}_${wallets}_${at}`);
  for (const wallet of names) await ask(env, wallet, { command: "credit", id: "money", amount: 1_000_000_000, reason: "bench" });
  const latencies_ms = [];
  const started = Date.now();
  let turn = 0;
  const work = async () => {
    while (Date.now() - started < ms) {
      const pair = turn++;
      const wallet = names[pair % wallets];
      const began = Date.now();
      await ask(env, wallet, { command: "hold", id: `h${pair}`, amount: HELD, expires_at_ms: began + 60_000 });
      const capture = { id: `c${pair}`, amount: CHARGED, record: null };
      await ask(env, wallet, { command: "capture", hold_id: `h${pair}`, capture, close: true });
      latencies_ms.push(Date.now() - began);
    }
  };
  await Promise.all(Array.from({ length: at_once }, work));
  const took_ms = Date.now() - started;
  const audits = [];
  for (const wallet of names) audits.push(await ask(env, wallet, { command: "audit" }));
  latencies_ms.sort((a, b) => a - b);
  return Response.json({
    pairs: latencies_ms.length,
    took_ms,
    latencies_ms,
    charged: audits.reduce((sum, audit) => sum + audit.charged, 0) / CHARGED,
    consistent: audits.every((audit) => audit.consistent && audit.held === 0),
  });
}

async function ask(env, wallet, command) {
  const response = await env.WALLET.getByName(wallet).fetch("https://object/", { method: "POST", body: JSON.stringify(command) });
  const reply = await response.json();
  if (!response.ok || reply.reply === "refused") throw new Error(`${command.command}: ${JSON.stringify(reply)}`);
  return reply;
}
