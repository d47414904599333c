/**
 * Finding a nats-server program that is new enough, or getting one.
 *
 * @module
 */

import { constants } from "node:fs";
import { access, readdir } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, isAbsolute, join } from "node:path";
import process from "node:process";
import { StoreError, type StoreErrorOptions } from "../../core/errors.ts";
import { fileHint } from "../../core/hints.ts";
import { type Env, messageOf, run } from "./exec.ts";
import { install, type InstallOptions } from "./install.ts";

/** The oldest nats-server we can use: atomic batches came with it. */
export const MIN_NATS_SERVER = "2.12";

/** A nats-server program that is new enough. */
export interface NatsBinary {
  /** Its path. */
  path: string;
  /** Its version, such as `2.15.1`. */
  version: string;
  /** Where it was found: `UNIBUS_NATS_SERVER`, the PATH, our cache, or in the program itself. */
  source: "env" | "path" | "cache" | "shipped";
}

/** How {@link findNatsServer} looks. */
export interface FindOptions {
  /** The environment to read; `process.env` by default. */
  env?: Env;
  /** Ends the search; it then rejects with `aborted`. */
  signal?: AbortSignal;
}

export type { Env } from "./exec.ts";
export type { InstallOptions, InstallSource } from "./install.ts";

/**
 * Finds a nats-server of version 2.12 or later: the one `UNIBUS_NATS_SERVER` names, else the first
 * on the PATH that is new enough, else the newest in our cache.
 *
 * A server named in `UNIBUS_NATS_SERVER` is used or refused, never skipped: `unavailable` when it
 * cannot be run, `unsupported` when it is too old. Nothing found is `unavailable`.
 */
export async function findNatsServer(options: FindOptions = {}): Promise<NatsBinary> {
  const { binary, tried } = await search(options);
  if (binary !== undefined) return binary;
  throw nowhere(`No nats-server ${MIN_NATS_SERVER} or later was found`, tried, {
    field: "natsServer",
    hint: "installNatsServer() gets one",
  });
}

/**
 * Installs a nats-server into our cache, from the project's official release for this platform or,
 * where that cannot be had, from Debian's package.
 *
 * The release is checked against its published checksums; one that does not match is refused
 * (`mismatch`) and nothing else is tried. `unavailable` when no source works, naming why each one
 * failed. Several processes may install at once. `UNIBUS_NATS_RELEASES` names a mirror of the
 * release downloads.
 */
export async function installNatsServer(options: InstallOptions = {}): Promise<NatsBinary> {
  const result = await installed(options);
  if ("binary" in result) return result.binary;
  throw nowhere("No nats-server could be installed", result.tried);
}

/** Finds a nats-server as {@link findNatsServer} does and installs one where there is none. */
export async function ensureNatsServer(options: InstallOptions = {}): Promise<NatsBinary> {
  const { binary, tried } = await search(options);
  if (binary !== undefined) return binary;
  const result = await installed(options);
  if ("binary" in result) return result.binary;
  const summary =
    `No nats-server ${MIN_NATS_SERVER} or later was found and none could be installed`;
  throw nowhere(summary, [...tried, ...result.tried]);
}

/** The version of the nats-server at `path`, such as `2.15.1`. `unavailable` when it is not one. */
export async function natsServerVersion(
  path: string,
  options: { signal?: AbortSignal } = {},
): Promise<string> {
  let output: string;
  try {
    output = await run(path, ["--version"], { ...options, timeout: 10_000 });
  } catch (error) {
    throw failure(`Asking ${path} for its version failed`, error, options.signal);
  }
  const version = /^nats-server: v(\d+\.\d+\.\d+\S*)$/m.exec(output.trim())?.[1];
  if (version !== undefined) return version;
  throw new StoreError("unavailable", `${path} is not a nats-server: it gives no version`);
}

/** Whether a nats-server of this version is new enough for us. */
export function isSupportedNatsServer(version: string): boolean {
  return compareVersions(version, MIN_NATS_SERVER) >= 0;
}

/** The directory our downloaded nats-servers live in, one directory a version. */
export function natsServerCacheDir(env: Env = process.env): string {
  return join(userCacheDir(env), "unibus", "nats-server");
}

function userCacheDir(env: Env): string {
  const home = env.HOME || homedir();
  if (env.XDG_CACHE_HOME && isAbsolute(env.XDG_CACHE_HOME)) return env.XDG_CACHE_HOME;
  if (process.platform === "darwin") return join(home, "Library", "Caches");
  if (process.platform === "win32") return env.LOCALAPPDATA || join(home, "AppData", "Local");
  return join(home, ".cache");
}

/** The program's file name on this platform. */
export const PROGRAM: string = process.platform === "win32" ? "nats-server.exe" : "nats-server";

async function search(options: FindOptions): Promise<{ binary?: NatsBinary; tried: string[] }> {
  const { env = process.env, signal } = options;
  const probe = signal === undefined ? {} : { signal };
  if (env.UNIBUS_NATS_SERVER) {
    const path = env.UNIBUS_NATS_SERVER;
    const version = await natsServerVersion(path, probe).catch((error) => {
      throw failure(
        "UNIBUS_NATS_SERVER names a server that cannot be used",
        error,
        signal,
        SET_ANOTHER,
      );
    });
    if (isSupportedNatsServer(version)) {
      return { binary: { path, version, source: "env" }, tried: [] };
    }
    throw new StoreError(
      "unsupported",
      `UNIBUS_NATS_SERVER names ${path}, which is ${version}; ${MIN_NATS_SERVER} or later is needed`,
      { hint: SET_ANOTHER },
    );
  }
  const tried = ["UNIBUS_NATS_SERVER: not set"];
  const places = [
    { name: "PATH", source: "path" as const, candidates: await onPath(env) },
    { name: "cache", source: "cache" as const, candidates: await inCache(env) },
  ];
  for (const { name, source, candidates } of places) {
    if (candidates.length === 0) tried.push(`${name}: none there`);
    for (const path of candidates) {
      try {
        const version = await natsServerVersion(path, probe);
        if (isSupportedNatsServer(version)) return { binary: { path, version, source }, tried };
        tried.push(`${name}: ${path} is ${version}, too old`);
      } catch (error) {
        if (signal?.aborted) throw error;
        tried.push(`${name}: ${messageOf(error)}`);
      }
    }
  }
  return { tried };
}

async function onPath(env: Env): Promise<string[]> {
  const directories = (env.PATH ?? "").split(delimiter).filter((entry) => entry !== "");
  const found: string[] = [];
  for (const directory of new Set(directories)) {
    const path = join(directory, PROGRAM);
    if (await isExecutable(path)) found.push(path);
  }
  return found;
}

async function inCache(env: Env): Promise<string[]> {
  const directory = natsServerCacheDir(env);
  const names = await readdir(directory).catch(() => []);
  const versions = names.filter((name) => /^\d+\.\d+\.\d+/.test(name));
  versions.sort((a, b) => compareVersions(b, a));
  const found: string[] = [];
  for (const version of versions) {
    const path = join(directory, version, PROGRAM);
    if (await isExecutable(path)) found.push(path);
  }
  return found;
}

function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(() => true, () => false);
}

/** Compares the numbers of two versions; what follows them (`-RC.1`) does not count. */
function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((v) => v.split(/[^\d.]/)[0]!.split(".").map(Number));
  for (let i = 0; i < 3; i++) {
    const difference = (left![i] ?? 0) - (right![i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

async function installed(
  options: InstallOptions,
): Promise<{ binary: NatsBinary } | { tried: string[] }> {
  const env = options.env ?? process.env;
  try {
    const result = await install(natsServerCacheDir(env), {
      ...options,
      env,
      // What was unpacked is accepted only when it runs and is new enough.
      async check(path) {
        const version = await natsServerVersion(path, options);
        if (isSupportedNatsServer(version)) return version;
        throw new Error(`It holds nats-server ${version}; ${MIN_NATS_SERVER} or later is needed`);
      },
    });
    if ("tried" in result) return result;
    return { binary: { ...result, source: "cache" } };
  } catch (error) {
    throw failure("Installing a nats-server failed", error, options.signal);
  }
}

function failure(
  attempted: string,
  error: unknown,
  signal?: AbortSignal,
  hint?: string,
): StoreError {
  if (signal?.aborted) {
    return new StoreError("aborted", "Looking for a nats-server was aborted", {
      cause: signal.reason,
    });
  }
  if (error instanceof StoreError && error.code !== "unavailable") return error;
  return new StoreError("unavailable", `${attempted}: ${messageOf(error)}`, {
    cause: error,
    ...hint === undefined ? fileHint((error as { code?: string }).code) : { hint },
  });
}

/** What to do where the server that the environment names cannot be used. */
const SET_ANOTHER =
  `set it to a nats-server ${MIN_NATS_SERVER} or later, or to nothing: one is then looked for`;

function nowhere(
  summary: string,
  tried: readonly string[],
  more: StoreErrorOptions = {},
): StoreError {
  const advice = `Put nats-server ${MIN_NATS_SERVER} or later on the PATH, ` +
    "or set UNIBUS_NATS_SERVER to its path";
  return new StoreError("unavailable", [`${summary}:`, ...tried, advice].join("\n  "), more);
}
