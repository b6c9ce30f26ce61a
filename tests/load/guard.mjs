// Ends the processes that it was told of when the benchmark goes away, even by `kill -9`: workerd would go on for ever.

const pids = [];
process.on("message", (pid) => pids.push(pid));
process.on("disconnect", () => {
  for (const pid of pids) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // Gone already.
    }
  }
  process.exit(0);
});
// Ctrl-C reaches the whole group; the guard waits for the benchmark's own end.
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(name, () => {});
