/**
 * Finds a supported nats-server program, or installs one.
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

/** The oldest supported nats-server version: the first with atomic batches. */
export const MIN_NATS_SERVER = "2.12";

/** A supported nats-server program. */
export interface NatsBinary {
  /** Its path. */
  path: string;
  /** Its version, such as `2.15.1`. */
  version: string;
  /**
   * Where it was found: in `UNIBUS_NATS_SERVER`, the PATH, our cache, or bundled with the program.
   */
  source: "env" | "path" | "cache" | "shipped";
}

/** Options of {@link findNatsServer}. */
export interface FindOptions {
  /** The environment variables to use. Default `process.env`. */
  env?: Env;
  /** Aborts the search, which then rejects with `aborted`. */
  signal?: AbortSignal;
}

export type { Env } from "./exec.ts";
export type { InstallOptions, InstallSource } from "./install.ts";

/**
 * Finds a nats-server of version 2.12 or later: the one that `UNIBUS_NATS_SERVER` names, else the
 * first supported one on the PATH, else the newest in our cache.
 *
 * A server named in `UNIBUS_NATS_SERVER` is never skipped: if it cannot be used, the search fails.
 *
 * @throws {StoreError} unavailable: no server was found, or the one in `UNIBUS_NATS_SERVER` cannot
 * be run
 * @throws {StoreError} unsupported: the one in `UNIBUS_NATS_SERVER` is too old
 * @throws {StoreError} aborted: `signal` was aborted
 */
export async function findNatsServer(options: FindOptions = {}): Promise<NatsBinary> {
  const { binary, tried } = await search(options);
  if (binary !== undefined) return binary;
  throw notFound(`No nats-server ${MIN_NATS_SERVER} or later was found`, tried, {
    field: "natsServer",
    hint: "call installNatsServer() to install one",
  });
}

/**
 * Installs a nats-server into our cache, from the project's official release for this platform or,
 * if that is not available, from Debian's package.
 *
 * The release is verified against its checksum; if it does not match, no other source is tried.
 * Several processes can install concurrently. `UNIBUS_NATS_RELEASES` sets the URL of a mirror of
 * the release downloads.
 *
 * @throws {StoreError} mismatch: the checksum of the release does not match
 * @throws {StoreError} unavailable: no source works; the message lists why each one failed
 * @throws {StoreError} aborted: `signal` was aborted
 */
export async function installNatsServer(options: InstallOptions = {}): Promise<NatsBinary> {
  const result = await installed(options);
  if ("binary" in result) return result.binary;
  throw notFound("No nats-server could be installed", result.tried);
}

/** Finds a nats-server like {@link findNatsServer}, and installs one if none is found. */
export async function ensureNatsServer(options: InstallOptions = {}): Promise<NatsBinary> {
  const { binary, tried } = await search(options);
  if (binary !== undefined) return binary;
  const result = await installed(options);
  if ("binary" in result) return result.binary;
  const summary =
    `No nats-server ${MIN_NATS_SERVER} or later was found and none could be installed`;
  throw notFound(summary, [...tried, ...result.tried]);
}

/**
 * Returns the version of the nats-server at `path`, such as `2.15.1`.
 *
 * @throws {StoreError} unavailable: the program is not a nats-server or cannot be run
 */
export async function natsServerVersion(
  path: string,
  options: { signal?: AbortSignal } = {},
): Promise<string> {
  let output: string;
  try {
    output = await run(path, ["--version"], { ...options, timeout: 10_000 });
  } catch (error) {
    throw failure(`Running ${path} --version failed`, error, options.signal);
  }
  const version = /^nats-server: v(\d+\.\d+\.\d+\S*)$/m.exec(output.trim())?.[1];
  if (version !== undefined) return version;
  throw new StoreError("unavailable", `${path} is not a nats-server: --version printed no version`);
}

/** Reports whether a nats-server version is supported. */
export function isSupportedNatsServer(version: string): boolean {
  return compareVersions(version, MIN_NATS_SERVER) >= 0;
}

/** Returns the cache directory of installed nats-servers, with a subdirectory per version. */
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
  if (env.UNIBUS_NATS_SERVER) {
    const path = env.UNIBUS_NATS_SERVER;
    const version = await natsServerVersion(path, { signal }).catch((error) => {
      throw failure(
        "The nats-server in UNIBUS_NATS_SERVER cannot be used",
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
      `UNIBUS_NATS_SERVER names ${path}, version ${version}; ${MIN_NATS_SERVER} or later is required`,
      { hint: SET_ANOTHER },
    );
  }
  const tried = ["UNIBUS_NATS_SERVER: not set"];
  const places = [
    { name: "PATH", source: "path" as const, candidates: await onPath(env) },
    { name: "cache", source: "cache" as const, candidates: await inCache(env) },
  ];
  for (const { name, source, candidates } of places) {
    if (candidates.length === 0) tried.push(`${name}: not found`);
    for (const path of candidates) {
      try {
        const version = await natsServerVersion(path, { signal });
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

/** Compares two versions by their numbers and ignores a suffix (`-RC.1`). */
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
      // The unpacked program is accepted only if it runs and its version is supported.
      async check(path) {
        const version = await natsServerVersion(path, options);
        if (isSupportedNatsServer(version)) return version;
        throw new Error(
          `It contains nats-server ${version}; ${MIN_NATS_SERVER} or later is required`,
        );
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
    return new StoreError("aborted", "The search for a nats-server was aborted", {
      cause: signal.reason,
    });
  }
  if (error instanceof StoreError && error.code !== "unavailable") return error;
  return new StoreError("unavailable", `${attempted}: ${messageOf(error)}`, {
    cause: error,
    ...hint === undefined ? fileHint((error as { code?: string }).code) : { hint },
  });
}

/** Hint for an unusable server in `UNIBUS_NATS_SERVER`. */
const SET_ANOTHER =
  `set it to a nats-server ${MIN_NATS_SERVER} or later, or unset it to search for one`;

function notFound(
  summary: string,
  tried: readonly string[],
  more: StoreErrorOptions = {},
): StoreError {
  const advice = `Put nats-server ${MIN_NATS_SERVER} or later on the PATH, ` +
    "or set UNIBUS_NATS_SERVER to its path";
  return new StoreError("unavailable", [`${summary}:`, ...tried, advice].join("\n  "), more);
}
