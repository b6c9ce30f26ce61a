// Money that moves between wallets while processes die: claims that merge accounts, and an agent's withdrawals.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

import { sleep, until } from "./processes.mjs";

/** What a provisioned account starts with: more than all else that a test pays into one account at unknown times. */
export const PURSE = 50_000_003;
export const SETTINGS = { FREE_BALANCE_USD: `${PURSE / 1e6}`, PROVISIONS_PER_HOUR: "1000000" };
const PURSES_A_ROUND = 8;
const DEPOSIT_CENTS = 1_000_000;
const AMOUNT_CENTS = 100;
const ABORT_MS = 30_000;

/** Claims `account` by its link, as a newcomer does; gives the session of the person whose it is then. */
async function own(platform, account) {
  const email = "collector@example.com";
  const body = new URLSearchParams({ token: account.claimToken, email }).toString();
  const shown = await platform.call("POST", "/claim", { body, headers: { "content-type": "application/x-www-form-urlencoded" } });
  assert.equal(shown.status, 200, shown.text);
  const { mails } = await platform.ask("GET", "/sandbox/outbox.json");
  const token = new URL(mails.find(({ to }) => to === email).links[0]).searchParams.get("token");
  const { session_token: session, claim } = await platform.ask("POST", "/v1/auth/verify", { body: { token } });
  assert.deepEqual(claim, { status: "attached", account_id: account.id });
  return session;
}

/** Purses, which are accounts of nobody, whose money and keys `account` takes over. */
export class Claims {
  /** By the claim's token: the purse, and whether an answer said that it is merged. */
  #purses = new Map();
  #waiting = [];

  static async open(platform, account) {
    const claims = new Claims();
    Object.assign(claims, { platform, account, session: await own(platform, account) });
    return claims;
  }

  /** Fills the purses of a round. */
  async prepare() {
    for (let n = 0; n < PURSES_A_ROUND; n++) {
      const purse = await this.platform.provision({ limits: undefined });
      assert.equal(purse.depositedMicros, PURSE);
      this.#waiting.push(purse);
    }
  }

  async #claim(token) {
    const { status } = await this.platform.call("POST", "/v1/auth/claim", { token: this.session, body: { token }, signal: AbortSignal.timeout(ABORT_MS) });
    return status;
  }

  async keepMoving(isOver) {
    while (!isOver() && this.#waiting.length) {
      const purse = this.#waiting.pop();
      this.#purses.set(purse.claimToken, { ...purse, isMerged: false });
      const status = await this.#claim(purse.claimToken).catch(() => undefined);
      if (status === 200) this.#purses.get(purse.claimToken).isMerged = true;
      await sleep(60);
    }
  }

  get started() {
    return this.#purses.size;
  }

  /** Every acknowledged claim holds: the purse is the person's. */
  async assertAcknowledged() {
    const { accounts } = await this.platform.ask("GET", "/v1/auth/me", { token: this.session });
    const merged = new Set(accounts.filter(({ merged_into: into }) => into === this.account.id).map(({ id }) => id));
    for (const { id, isMerged } of this.#purses.values()) if (isMerged) assert.ok(merged.has(id), `${id} was merged, and is not`);
  }

  /** Claims again what had no answer. Gives how many purses there were. */
  async finish() {
    for (const [token, purse] of this.#purses) {
      if (purse.isMerged) continue;
      await until(`${purse.id} is merged`, async () => [200, 404, 409].includes(await this.#claim(token).catch(() => undefined)), 60_000, 250);
      purse.isMerged = true;
    }
    await this.assertAcknowledged();
    return this.#purses.size;
  }
}

/** An agent that withdraws a little all the time. */
export class Withdrawals {
  /** By Idempotency-Key: the transfer that an answer named. */
  #sent = new Map();

  static async open(platform) {
    const { body } = await platform.call("POST", "/api/agents/register", { body: { name: "Collector", description: "withdraws" } });
    const withdrawals = new Withdrawals();
    Object.assign(withdrawals, { platform, key: body.agent.apiKey });
    await platform.ask("POST", "/api/agents/wallet/deposit", { token: body.agent.apiKey, body: { amountCents: DEPOSIT_CENTS } });
    const { onboardingUrl } = await platform.ask("POST", "/api/agents/connect", { token: body.agent.apiKey, body: {} });
    const onboarded = await fetch(onboardingUrl, { method: "POST", headers: { "content-type": "application/x-www-form-urlencoded" }, body: "", redirect: "manual" });
    assert.equal(onboarded.status, 200, await onboarded.text());
    return withdrawals;
  }

  async #withdraw(id) {
    const answer = await this.platform.call("POST", "/api/agents/wallet/withdraw", {
      token: this.key,
      body: { amountCents: AMOUNT_CENTS },
      headers: { "idempotency-key": id },
      signal: AbortSignal.timeout(ABORT_MS),
    });
    if (answer.status === 200) {
      const { transferId } = answer.body.withdrawal;
      assert.equal(this.#sent.get(id) ?? transferId, transferId, "a repetition is told of the same transfer");
      this.#sent.set(id, transferId);
    }
    return answer.status;
  }

  async keepMoving(isOver) {
    while (!isOver()) {
      const id = randomUUID();
      this.#sent.set(id, undefined);
      await this.#withdraw(id).catch(() => {});
      await sleep(50);
    }
  }

  /**
   * Sends again what had no answer. One that died half-way is somebody's for four minutes more, so it may have taken its
   * money or not; every other was made once, and the rest of the money is there. Gives how many were acknowledged.
   */
  async finish() {
    for (const [id, transfer] of this.#sent) if (!transfer) await this.#withdraw(id).catch(() => {});
    const made = [...this.#sent.values()].filter(Boolean);
    assert.equal(new Set(made).size, made.length, "each withdrawal is a transfer of its own");
    const { balanceCents } = await this.platform.ask("GET", "/api/agents/wallet", { token: this.key });
    const taken = (DEPOSIT_CENTS - balanceCents) / AMOUNT_CENTS;
    assert.ok(Number.isInteger(taken) && taken >= made.length && taken <= this.#sent.size, `${taken} taken, ${made.length} acknowledged, ${this.#sent.size} sent`);
    return made.length;
  }
}
