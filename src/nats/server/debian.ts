/**
 * Downloads Debian's nats-server package and unpacks it, without installing it and without changing
 * the machine's package sources.
 *
 * @module
 */

import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { messageOf, run, type UnpackOptions } from "./exec.ts";

/** Debian releases with a supported nats-server, the most stable first. */
const SUITES = ["forky", "testing", "sid"];

const KEYRINGS = ["pgp", "gpg"].map((ending) =>
  `/usr/share/keyrings/debian-archive-keyring.${ending}`
);

const TIMEOUT = 180_000;

/**
 * Downloads Debian's package with apt, which verifies the archive's signature, and unpacks it.
 * Returns the program's path.
 */
export async function unpackDebianPackage(options: UnpackOptions): Promise<string> {
  const { directory, log, signal } = options;
  const limits = { timeout: TIMEOUT, signal };
  const arch = (await run("dpkg", ["--print-architecture"], limits)).trim();
  const keyring = KEYRINGS.find((path) => existsSync(path));
  if (keyring === undefined) throw new Error("Debian's archive keyring is not on this machine");
  const mirrors = await debianMirrors(limits);
  if (mirrors.length === 0) throw new Error("apt has no Debian mirror configured");

  const failures: string[] = [];
  for (const mirror of mirrors) {
    for (const suite of SUITES) {
      log(`Downloading Debian's nats-server from ${suite}`);
      const source = `deb [arch=${arch} signed-by=${keyring}] ${mirror} ${suite} main\n`;
      try {
        return await fetchAndUnpack(source, suite, directory, limits);
      } catch (error) {
        if (signal?.aborted) throw error;
        failures.push(`${suite}: ${messageOf(error)}`);
      }
    }
  }
  throw new Error(failures.join("; "));
}

interface Limits {
  timeout: number;
  signal?: AbortSignal;
}

async function fetchAndUnpack(
  source: string,
  suite: string,
  directory: string,
  limits: Limits,
): Promise<string> {
  // Not inside our cache: run by root, apt downloads as a separate user, who cannot read home
  // directories.
  const own = await mkdtemp(join(tmpdir(), "unibus-apt-"));
  try {
    await chmod(own, 0o755);
    const [list, lists, cache] = [join(own, "list"), join(own, "lists"), join(own, "cache")];
    await writeFile(list, source);
    await mkdir(join(lists, "partial"), { recursive: true });
    await mkdir(join(cache, "archives", "partial"), { recursive: true });
    const settings = {
      "Dir::Etc::sourcelist": list,
      "Dir::Etc::sourceparts": "-",
      "Dir::State::lists": lists,
      "Dir::Cache": cache,
      "Acquire::Languages": "none",
      "Acquire::Retries": "1",
      "Acquire::http::Timeout": "10",
      "Acquire::https::Timeout": "10",
      // Without this, apt reports a failed download only as a warning.
      "APT::Update::Error-Mode": "any",
    };
    const apt = [...Object.entries(settings).flatMap(([k, v]) => ["-o", `${k}=${v}`]), "-q"];
    const english = { ...limits, cwd: own, env: { LC_ALL: "C" } };
    await run("apt-get", [...apt, "update"], english);
    await run("apt-get", [...apt, "download", `nats-server/${suite}`], english);
    const deb = (await readdir(own)).find((name) => name.endsWith(".deb"));
    if (deb === undefined) throw new Error("apt-get downloaded nothing");
    const tree = join(directory, suite);
    await run("dpkg", ["-x", join(own, deb), tree], limits);
    for (const bin of ["usr/sbin", "usr/bin"]) {
      const path = join(tree, bin, "nats-server");
      if (existsSync(path)) return path;
    }
    throw new Error("The package contains no nats-server program");
  } finally {
    await rm(own, { recursive: true, force: true });
  }
}

/** Lists the Debian mirrors in this machine's apt configuration. */
async function debianMirrors(limits: Limits): Promise<string[]> {
  const list = async (...args: string[]) => {
    const output = await run("apt-get", ["indextargets", ...args], limits);
    return [...new Set(output.split("\n").filter((line) => line !== ""))];
  };
  const packages = "Created-By: Packages";
  const known = await list("--format", "$(REPO_URI)", packages, "Label: Debian");
  if (known.length > 0) return known;
  // Before the first `apt-get update`, apt does not know the labels of the repositories. Debian's
  // is the one whose `main` serves this machine's release.
  const release = await readFile("/etc/os-release", "utf8");
  const codename = /^VERSION_CODENAME="?([\w-]+)"?$/m.exec(release)?.[1];
  const names = [codename, "stable", "testing", "unstable", "sid"];
  const format = "$(REPO_URI) $(RELEASE) $(COMPONENT)";
  const lines = await list("--no-release-info", "--format", format, packages);
  const uris = lines.map((line) => line.split(" "))
    .filter(([, suite, component]) => names.includes(suite) && component === "main")
    .map(([uri]) => uri!);
  return [...new Set(uris)];
}
