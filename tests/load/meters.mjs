// What processes use, and what machine they run on.

import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";

import { fromRoot } from "../../scripts/lib/paths.mjs";

const require = createRequire(fromRoot("package.json"));

/** User and system time of a process since it started, in µs; undefined where there is no /proc. */
export function cpuOf(pid) {
  try {
    const tasks = readdirSync(`/proc/${pid}/task`);
    return tasks.reduce((sum, task) => sum + taskTime(pid, task), 0) / 1000;
  } catch {
    return undefined;
  }
}

/** The scheduler counts nanoseconds; /proc/<pid>/stat only hundredths of a second. A thread that has just ended counts none. */
function taskTime(pid, task) {
  try {
    return Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, "latin1").split(" ")[0]);
  } catch {
    return 0;
  }
}

/** Resident memory now and at its highest, in MB. */
export function memoryOf(pid) {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    const read = (name) => Math.round(Number(status.match(new RegExp(`^${name}:\\s+(\\d+)`, "m"))?.[1]) / 1024);
    return { rss_mb: read("VmRSS"), peak_mb: read("VmHWM") };
  } catch {
    return undefined;
  }
}

/** What the machine is, for the report: figures of different machines do not compare. */
export function describeMachine() {
  const read = (path) => {
    try {
      return readFileSync(path, "utf8");
    } catch {
      return "";
    }
  };
  return {
    cpus: availableParallelism(),
    cpu: read("/proc/cpuinfo").match(/^model name\s*:\s*(.*)$/m)?.[1] ?? process.arch,
    load: read("/proc/loadavg").split(" ")[0] || undefined,
    node: process.version,
    workerd: require("workerd/package.json").version,
  };
}
