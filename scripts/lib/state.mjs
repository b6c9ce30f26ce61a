// A state directory: everything that a sandbox remembers between starts, readable by its owner only.

import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";

import { ROOT } from "./paths.mjs";
import { atEnd, commandOf, endGroup, isAlive, membersOf } from "./process.mjs";
import { Failure, say } from "./progress.mjs";

/** Marks a directory as ours; only such a one is ever emptied. */
const MARKER = ".guildhall-state";
const SECRETS = ["ADMIN_TOKEN", "KEY_PEPPER", "SEAL_KEY", "VAULT_PASSWORD"];

/** What the Worker asks of it (src/config.rs). */
const TOKEN_MIN_BYTES = 16;

/** What wrangler reads of a setting in a file of `NAME=value` lines that people edit too: quoted or not, the last one counts. */
function readSetting(text, name) {
  const lines = [...text.matchAll(new RegExp(`^[ \\t]*(?:export[ \\t]+)?${name}[ \\t]*=[ \\t]*(.*)$`, "gm"))];
  const value = lines.at(-1)?.[1];
  return value?.match(/^(["'`])(.*?)\1/)?.[2] ?? value?.replace(/#.*$/, "").trim();
}

export class State {
  constructor(directory) {
    this.directory = directory;
  }

  /** Opens a state directory for one run, which nothing else may share. */
  static async open(directory) {
    const state = new State(directory);
    const isOurs = existsSync(state.path(MARKER));
    if (!isOurs && existsSync(directory) && readdirSync(directory).length > 0) {
      throw new Failure(`${directory} is not empty and no state directory of Guildhall; choose another with --state`);
    }
    await state.#endLeftovers();
    state.#claim();
    atEnd(() => rmSync(state.path("run.json"), { force: true }));
    return state;
  }

  /** Forgets everything. */
  empty() {
    rmSync(this.directory, { recursive: true });
    this.#claim();
  }

  #claim() {
    mkdirSync(this.directory, { recursive: true, mode: 0o700 });
    this.write(MARKER, "State of a Guildhall sandbox. Delete the directory to forget it.\n");
    // It holds secrets, wherever it stands.
    this.write(".gitignore", "*\n");
    this.write("run.json", JSON.stringify({ pid: process.pid }));
  }

  path(name) {
    return join(this.directory, name);
  }

  /** As a person would type it. */
  get label() {
    const short = relative(ROOT, this.directory);
    return short.startsWith("..") ? this.directory : short;
  }

  read(name) {
    return existsSync(this.path(name)) ? readFileSync(this.path(name), "utf8") : undefined;
  }

  /** Whole or not at all. */
  write(name, text) {
    const path = this.path(name);
    writeFileSync(`${path}.new`, text, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  /** Remembers the group of wrangler's processes, so that a later start can end it if we cannot. */
  rememberGroup(group, url) {
    this.write("run.json", JSON.stringify({ pid: process.pid, group, url }));
  }

  /** Generates the secrets that are not there yet; gives the path of their file, and the admin token. */
  secrets() {
    const known = this.read("secrets.env") ?? "";
    const missing = SECRETS.filter((name) => readSetting(known, name) === undefined);
    if (missing.length > 0) {
      const lines = missing.map((name) => `${name}="${randomBytes(32).toString("hex")}"\n`);
      // A person may have left the last line without its end.
      this.write("secrets.env", known + (/[^\n]$/.test(known) ? "\n" : "") + lines.join(""));
    }
    const adminToken = readSetting(this.read("secrets.env"), "ADMIN_TOKEN");
    if (Buffer.byteLength(adminToken) < TOKEN_MIN_BYTES) {
      throw new Failure(`the ADMIN_TOKEN in ${this.label}/secrets.env is shorter than ${TOKEN_MIN_BYTES} bytes: put a longer one there`);
    }
    return { file: this.path("secrets.env"), adminToken };
  }

  /** Refuses a directory in use; ends what a start that was killed has left running. */
  async #endLeftovers() {
    const text = this.read("run.json");
    if (!text) return;
    const { pid, group, url } = JSON.parse(text);
    if (isAlive(pid) && pid !== process.pid && commandOf(pid).includes("start.mjs")) {
      const use = `process ${pid} ${url ? `serves ${url}` : "is about to serve"} from it`;
      throw new Failure(`${this.label} is in use: ${use}. Stop it, or give another --state and --port.`);
    }
    // A number may be another's by now, after a restart of the machine.
    const isOurs = () => [group, ...membersOf(group, "")].some((pid) => /wrangler|workerd/.test(commandOf(pid)));
    if (group && isAlive(-group) && isOurs()) {
      say("• ending what an earlier start has left running …");
      await endGroup(group);
    }
  }
}
