// What is measured, and for how long.

/** Frames of content in a streamed answer; upstream.mjs sends as many. */
export const FRAMES = 24;

export const PACE = {
  full: { rounds: 7, duration_ms: 1000, settle_ms: 250, warmup_ms: 2000 },
  quick: { rounds: 3, duration_ms: 500, settle_ms: 200, warmup_ms: 1000 },
};

/** `stretch` makes the window longer: spaced streams take time, and one connection gives few samples. */
const SCENARIOS = [
  { name: "json c=1", connections: 1 },
  { name: "json c=16", connections: 16, stretch: 1.5 },
  { name: "json c=64", connections: 64 },
  // A key with small limits asks its limiter each time; the others lease.
  { name: "json exact limits c=1", connections: 1, payers: "exact" },
  { name: "json exact limits c=16", connections: 16, payers: "exact" },
  // Every account has a wallet of its own; all other scenarios spend from one.
  { name: "json 100 wallets c=16", connections: 16, payers: "many" },
  { name: "streams c=1", connections: 1, stream: true },
  { name: "streams c=16", connections: 16, stream: true, stretch: 1.5 },
  // The client asks for usage, so that nothing has to be taken out of the stream.
  { name: "streams with usage c=16", connections: 16, stream: true, usage: true },
  { name: "spaced frames c=1", connections: 1, stream: true, gap_ms: 5 },
  { name: "spaced frames c=16", connections: 16, stream: true, gap_ms: 5 },
];

export function findScenarios(pattern) {
  return SCENARIOS.filter(({ name }) => pattern.test(name));
}

/** Where this stands in a request, each call has a number of its own (as many digits). */
export const NONCE = "0123456789";

/** The body that a client sends in a scenario: some 250 bytes, like a first question of a chat. */
export function renderBody({ stream = false, usage = false, gap_ms, question = "Which animals are in the sentence?" }, model) {
  return JSON.stringify({
    model,
    ...(stream && { stream }),
    ...(usage && { stream_options: { include_usage: true } }),
    messages: [
      { role: "system", content: "You are a helpful assistant. Answer briefly." },
      { role: "user", content: `${question}${gap_ms ? ` gap_ms=${gap_ms}` : ""}` },
    ],
    max_tokens: 64,
  });
}
