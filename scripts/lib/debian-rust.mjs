// Debian's matched rustc-web, cargo-web and rust-web-src: the wasm toolchain where rustup cannot download. Debian ships
// no standard library for wasm32, so it is built once from the packaged source, and again when the packages change.

import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { atEnd, capture, run } from "./process.mjs";
import { Failure, step } from "./progress.mjs";
import { WASM, describe, isOlder, wasmLibraryDirectory } from "./toolchain.mjs";

const NEEDED = ["rustc-web", "cargo-web", "rust-web-src"];
/** clippy, rustfmt, and a linker for wasm. */
const WANTED = ["rust-web-clippy", "rustfmt-web", "lld"];
/** The name that rustup knows the toolchain by. */
const LINKED = "system";
/** Beside the library: the packages that it was built from. */
const STAMP = "guildhall-built-from.txt";

/** The toolchain, if it is installed and its library fits; changes nothing. */
export async function preparedDebianToolchain() {
  const [packages, linker] = [await installedPackages(), await findLinker()];
  if (!packages || !linker) return undefined;
  const env = await environment();
  const stamp = join(await wasmLibraryDirectory(env), STAMP);
  if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== packages) return undefined;
  return describe({ ...env, CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER: linker });
}

/** The toolchain, installed and built if need be; a version that is older than the wanted one is not installed. */
export async function debianToolchain(wanted) {
  if (!(await installedPackages()) || !(await findLinker())) await installPackages(wanted);
  const prepared = await preparedDebianToolchain();
  if (prepared) return prepared;
  await step("building the standard library for wasm32 (once, about a minute)", buildLibrary);
  return preparedDebianToolchain();
}

/** `name=version` of the needed packages, one a line; nothing unless all are installed. */
async function installedPackages() {
  const format = "--showformat=${db:Status-Status} ${Package}=${Version}\n";
  const { code, stdout } = await capture("dpkg-query", ["--show", format, ...NEEDED]);
  const lines = stdout.split("\n");
  if (code !== 0 || !lines.every((line) => line.startsWith("installed "))) return undefined;
  return lines.map((line) => line.slice("installed ".length)).join("\n");
}

/** The version that apt would install; nothing where it knows of none. */
export async function packagedVersion() {
  const { stdout } = await capture("apt-cache", ["policy", NEEDED[0]], { env: { ...process.env, LC_ALL: "C" } });
  return stdout.match(/^ *Candidate: (\d+\.\d+)/m)?.[1];
}

async function installPackages(wanted) {
  const install = ["apt-get", "install", "-y", "--no-install-recommends", ...NEEDED, ...WANTED];
  const missing = "Rust's wasm32 target is missing. Where rustup can download: `rustup target add wasm32-unknown-unknown`.";
  const byHand = `${missing} On Debian, as root:\n    apt-get update && ${install.join(" ")}`;
  if ((await capture("apt-get", ["--version"])).code !== 0) throw new Failure(byHand);
  const asRoot = (title, words) =>
    step(title, () => runAsRoot(words)).catch((error) => {
      throw new Failure(`${error.message}\n\n${byHand}`);
    });
  await asRoot("asking Debian for its Rust", ["apt-get", "update", "-q"]);
  const packaged = await packagedVersion();
  if (!packaged) throw new Failure(`${missing} apt knows no package ${NEEDED[0]}.`);
  if (isOlder(packaged, wanted)) throw new Failure(`${missing} Debian's Rust is ${packaged}, and ${wanted} is needed.`);
  await asRoot(`installing Debian's ${NEEDED.join(", ")}`, install);
}

/** In the foreground, so that sudo can ask for a password. */
async function runAsRoot(words) {
  const [command, ...args] = process.getuid() === 0 ? words : ["sudo", ...words];
  await run(command, args, { foreground: true, env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } });
}

/** An environment in which `rustc` and `cargo` are Debian's: by rustup's proxies where there are some. */
async function environment() {
  const toolchains = await capture("rustup", ["toolchain", "list"]);
  if (toolchains.code !== 0) return { ...process.env, PATH: `/usr/bin:${process.env.PATH}` };
  if (!toolchains.stdout.split("\n").some((line) => line.split(" ")[0] === LINKED)) {
    await run("rustup", ["toolchain", "link", LINKED, "/usr"]);
  }
  return { ...process.env, RUSTUP_TOOLCHAIN: LINKED };
}

/** rustup's own linker, else Debian's; Debian's rustc brings none. */
async function findLinker() {
  const hosts = join((await capture("rustc", ["--print", "sysroot"])).stdout, "lib/rustlib");
  const bundled = existsSync(hosts) ? readdirSync(hosts).map((host) => join(hosts, host, "bin/rust-lld")) : [];
  return [...bundled, "/usr/bin/wasm-ld"].find(existsSync);
}

/** Builds the library in a scratch crate, and puts it where rustc looks. */
async function buildLibrary() {
  const env = await environment();
  const scratch = mkdtempSync(join(tmpdir(), "guildhall-std-"));
  const tidyUp = atEnd(() => rmSync(scratch, { recursive: true, force: true }));
  try {
    mkdirSync(join(scratch, "src"));
    writeFileSync(join(scratch, "src/lib.rs"), "#![no_std]\n");
    writeFileSync(
      join(scratch, "Cargo.toml"),
      '[package]\nname = "scratch"\nedition = "2021"\n[profile.release]\npanic = "abort"\n[workspace]\n',
    );
    await run(
      "cargo",
      ["build", "--release", "--target", WASM, "-Zbuild-std=core,alloc,std,panic_abort,proc_macro,test"],
      // The flag lets a stable compiler build its own library.
      { cwd: scratch, env: { ...env, RUSTC_BOOTSTRAP: "1", CARGO_TARGET_DIR: join(scratch, "target") } },
    );
    const library = join(scratch, "lib");
    collect(join(scratch, "target", WASM, "release/deps"), library);
    writeFileSync(join(library, STAMP), await installedPackages());
    const directory = await wasmLibraryDirectory(env);
    // Replaced as a whole: rustc refuses two builds of one library side by side.
    await runAsRoot(["rm", "-rf", directory]);
    await runAsRoot(["mkdir", "-p", directory]);
    await runAsRoot(["cp", "-r", `${library}/.`, directory]);
  } finally {
    tidyUp();
  }
}

function collect(from, to) {
  mkdirSync(to);
  for (const name of readdirSync(from)) {
    if (name.endsWith(".rlib") && !name.startsWith("libscratch")) copyFileSync(join(from, name), join(to, name));
  }
}
