/**
 * Installs a nats-server into the cache: tries each source in turn, unpacks next to the cache entry
 * and moves the program into place after a test run.
 *
 * @module
 */

import { chmod, mkdir, mkdtemp, open, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { StoreError } from "../../core/errors.ts";
import { unpackDebianPackage } from "./debian.ts";
import { type Env, messageOf } from "./exec.ts";
import { NATS_SERVER_RELEASE, unpackRelease } from "./release.ts";

/** A source of nats-server programs. */
export type InstallSource = "release" | "debian";

/** Options of `installNatsServer`. */
export interface InstallOptions {
  /** The environment variables to use. Default `process.env`. */
  env?: Env;
  /** Aborts the installation, which then rejects with `aborted` and leaves no files behind. */
  signal?: AbortSignal;
  /** Called with a human-readable line about each step. */
  log?: (line: string) => void;
  /** The sources to try, in order. Default: the official release, then Debian's package. */
  sources?: readonly InstallSource[];
  /** The official release to install, such as `2.15.1`. */
  version?: string;
  /** Expected SHA-256 of the archive for this platform in hex, from a trusted source. */
  sha256?: string;
}

interface Internal extends InstallOptions {
  env: Env;
  /** Returns the version of the program at `path`; rejects if it is not usable. */
  check: (path: string) => Promise<string>;
}

const SOURCES = {
  release: { name: "official release", unpack: unpackRelease },
  debian: { name: "Debian package", unpack: unpackDebianPackage },
} as const;

/** Installs into `cache`, or returns why each source failed. Throws on a checksum mismatch. */
export async function install(
  cache: string,
  options: Internal,
): Promise<{ path: string; version: string } | { tried: string[] }> {
  const { sources = ["release", "debian"], signal, log = () => {} } = options;
  await mkdir(cache, { recursive: true });
  await removeStale(cache);
  const tried: string[] = [];
  for (const source of sources) {
    const { name, unpack } = SOURCES[source];
    const directory = await mkdtemp(join(cache, ".tmp-"));
    try {
      const unpacked = await unpack({
        directory,
        env: options.env,
        version: options.version ?? NATS_SERVER_RELEASE,
        log,
        sha256: options.sha256,
        signal,
      });
      const result = await adopt(unpacked, cache, options.check);
      log(`Installed nats-server ${result.version} in ${result.path}`);
      return result;
    } catch (error) {
      if (signal?.aborted) throw error;
      if (error instanceof StoreError && error.code === "mismatch") throw error;
      tried.push(`${name}: ${messageOf(error)}`);
      log(`${name}: ${messageOf(error)}`);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }
  return { tried };
}

async function adopt(
  unpacked: string,
  cache: string,
  check: (path: string) => Promise<string>,
): Promise<{ path: string; version: string }> {
  await chmod(unpacked, 0o755);
  const version = await check(unpacked);
  const path = join(cache, version, basename(unpacked));
  // Synced before the rename, so that the path never names a partial file after a crash. Opened for
  // reading: a program that is open for writing cannot be run.
  const file = await open(unpacked, "r");
  await file.sync().finally(() => file.close());
  await mkdir(join(cache, version), { recursive: true });
  try {
    // Atomically replaces another installer's program or a damaged entry.
    await rename(unpacked, path);
  } catch (error) {
    // Windows cannot replace a running program; then another installer has put a good one there.
    await check(path).catch(() => {
      throw error;
    });
  }
  return { path, version };
}

/** Removes the temporary files of installers that were killed. */
async function removeStale(cache: string): Promise<void> {
  const hour = 3_600_000;
  for (const name of await readdir(cache)) {
    if (!name.startsWith(".tmp-")) continue;
    const path = join(cache, name);
    const age = Date.now() -
      (await stat(path).catch(() => undefined) ?? { mtimeMs: Date.now() }).mtimeMs;
    if (age > hour) await rm(path, { recursive: true, force: true });
  }
}
