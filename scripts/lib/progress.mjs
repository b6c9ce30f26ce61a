// What a person sees: everything on stderr, so that stdout belongs to the results.

const HEARTBEAT_MS = 10_000;

/** An error whose message says all that its reader needs: shown without a stack. */
export class Failure extends Error {}

// Where the terminal has gone we still tidy up.
process.stderr.on("error", () => {});

export function say(text) {
  process.stderr.write(`${text}\n`);
}

export function seconds(since) {
  return `${((Date.now() - since) / 1000).toFixed(1)} s`;
}

/** The steps that are under way, one within the other or at one time; the newest tells how long it takes. */
const underWay = new Set();

/** Runs one step, and says so before, after, and every ten seconds in between. */
export async function step(title, run) {
  const started = Date.now();
  say(`• ${title} …`);
  const tell = () => [...underWay].at(-1) === tell && say(`  … ${seconds(started)}`);
  underWay.add(tell);
  const heartbeat = setInterval(tell, HEARTBEAT_MS);
  try {
    const result = await run();
    say(underWay.size > 1 ? `  ${title}: done in ${seconds(started)}` : `  done in ${seconds(started)}`);
    return result;
  } finally {
    underWay.delete(tell);
    clearInterval(heartbeat);
  }
}

/** Runs a script's body; a failure becomes one clear message and exit code 1. */
export async function main(run) {
  try {
    await run();
  } catch (error) {
    // What `parseArgs` says of an option that does not exist is all that is to be said.
    const isClear = error instanceof Failure || error?.code?.startsWith("ERR_PARSE_ARGS");
    say(isClear ? `\n✗ ${error.message}` : `\n${error?.stack ?? error}`);
    process.exitCode = 1;
  }
}
