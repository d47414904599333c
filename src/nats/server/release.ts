/**
 * Downloads the nats-server project's official release archives.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { endianness } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { StoreError } from "../../core/errors.ts";
import { isLoopbackUrl } from "../../core/host/loopback.ts";
import { GET_AGAIN } from "../../core/hints.ts";
import { messageOf, run, type UnpackOptions } from "./exec.ts";
import { RELEASE_DIGESTS } from "./release_digests.ts";

/** The official release that is installed by default. */
export const NATS_SERVER_RELEASE = "2.15.1";

const RELEASES = "https://github.com/nats-io/nats-server/releases/download";

/** Download timeouts in milliseconds: until the first byte, and between two chunks. */
const CONNECT_TIMEOUT = 5_000;
const STALL_TIMEOUT = 30_000;

const REDIRECTS = [301, 302, 303, 307, 308];
const MAX_REDIRECTS = 5;

/**
 * Downloads the release archive for this platform, verifies its SHA-256 and unpacks it. Returns the
 * program's path. The expected digest is the caller's, else the one in our source for the default
 * release, else the published one.
 *
 * @throws {StoreError} mismatch: the archive has another digest
 */
export async function unpackRelease(options: UnpackOptions): Promise<string> {
  const { directory, version, log, signal } = options;
  const base = (options.env.UNIBUS_NATS_RELEASES || RELEASES).replace(/\/+$/, "");
  const stem = `nats-server-v${version}-${platform()}`;
  const archive = `${stem}.tar.gz`;
  const url = `${base}/v${version}/${archive}`;
  const expected = options.sha256?.toLowerCase() ??
    (version === NATS_SERVER_RELEASE
      ? pinned(archive)
      : await published(`${base}/v${version}/SHA256SUMS`, archive, signal));
  log(`Downloading ${url}`);
  const path = join(directory, archive);
  const actual = await save(url, path, signal);
  if (actual !== expected) {
    throw new StoreError(
      "mismatch",
      `Refused ${url}: its SHA-256 is ${actual}, expected ${expected}`,
      { hint: GET_AGAIN },
    );
  }
  await run("tar", ["-xzf", path, "-C", directory], { timeout: 60_000 });
  return join(directory, stem, process.platform === "win32" ? "nats-server.exe" : "nats-server");
}

/** Returns the platform's name in release archives. */
function platform(): string {
  const system = { linux: "linux", darwin: "darwin", win32: "windows", freebsd: "freebsd" };
  const machine: Record<string, string> = {
    x64: "amd64",
    arm64: "arm64",
    arm: "arm7",
    ia32: "386",
    s390x: "s390x",
    ...(endianness() === "LE" ? { ppc64: "ppc64le" } : {}),
  };
  const [os, arch] = [system[process.platform as keyof typeof system], machine[process.arch]];
  if (os !== undefined && arch !== undefined) return `${os}-${arch}`;
  throw new Error(`No official release exists for ${process.platform} on ${process.arch}`);
}

/** Returns the digest in our source. */
function pinned(archive: string): string {
  const digest = RELEASE_DIGESTS[archive];
  if (digest !== undefined) return digest;
  throw new Error(
    `This program has no SHA-256 of ${archive} to verify it; set it with --digest`,
  );
}

/** Returns the digest in the release's own list. */
async function published(url: string, archive: string, signal?: AbortSignal): Promise<string> {
  const digest = checksum(await text(url, signal), archive);
  if (digest === undefined) throw new Error(`${url} does not list ${archive}`);
  return digest;
}

/** Finds a file's digest in the output of sha256sum. */
function checksum(sums: string, file: string): string | undefined {
  for (const line of sums.split("\n")) {
    const match = /^([0-9a-fA-F]{64}) [ *](.+?)\r?$/.exec(line);
    if (match?.[2] === file) return match[1]!.toLowerCase();
  }
  return undefined;
}

async function text(url: string, signal?: AbortSignal): Promise<string> {
  const decoder = new TextDecoder();
  let result = "";
  for await (const piece of download(url, signal)) {
    result += decoder.decode(piece, { stream: true });
    if (result.length > 1_000_000) throw new Error(`Downloading ${url} failed: it is too large`);
  }
  return result;
}

/** Downloads to a file and returns its SHA-256. */
async function save(url: string, path: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  const file = await open(path, "wx");
  try {
    for await (const piece of download(url, signal)) {
      hash.update(piece);
      await file.writeFile(piece);
    }
  } finally {
    await file.close();
  }
  return hash.digest("hex");
}

/** Fetches a URL and follows redirects; only over https, or http on loopback. */
async function follow(start: string, signal: AbortSignal): Promise<Response> {
  let url = new URL(start);
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    if (url.protocol !== "https:" && !(url.protocol === "http:" && isLoopbackUrl(url))) {
      throw new Error(`Downloads require https, found ${url.protocol}//${url.host}`);
    }
    const response = await fetch(url, { signal, redirect: "manual" });
    const location = response.headers.get("location");
    if (!REDIRECTS.includes(response.status) || location === null) return response;
    await response.body?.cancel();
    url = new URL(location, url);
  }
  throw new Error(`More than ${MAX_REDIRECTS} redirects`);
}

/** Downloads a URL in chunks; fails when the server does not answer or stalls. */
async function* download(url: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  const giveUp = new AbortController();
  const within = (ms: number) =>
    setTimeout(() => giveUp.abort(new Error(`No data received for ${ms / 1000} s`)), ms);
  let timer = within(CONNECT_TIMEOUT);
  try {
    const signals = signal === undefined ? [giveUp.signal] : [giveUp.signal, signal];
    const response = await follow(url, AbortSignal.any(signals));
    if (!response.ok || response.body === null) {
      await response.body?.cancel();
      throw new Error(`The server answered ${response.status}`);
    }
    for await (const piece of response.body) {
      clearTimeout(timer);
      yield piece;
      timer = within(STALL_TIMEOUT);
    }
  } catch (error) {
    throw new Error(`Downloading ${url} failed: ${messageOf(error)}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}
