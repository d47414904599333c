/**
 * The nats-server project's official release archives.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { endianness } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { StoreError } from "../errors.ts";
import { messageOf, run } from "./exec.ts";
import type { UnpackOptions } from "./install.ts";

/** The official release we install. */
export const NATS_SERVER_RELEASE = "2.15.1";

const RELEASES = "https://github.com/nats-io/nats-server/releases/download";

/** Milliseconds until the first byte, and between two pieces, before a download is given up. */
const CONNECT_TIMEOUT = 5_000;
const STALL_TIMEOUT = 30_000;

/**
 * Downloads the release archive for this platform, checks it against the published checksums and
 * unpacks it. Gives the program's path. Throws `mismatch` when the checksum is another.
 */
export async function unpackRelease(options: UnpackOptions): Promise<string> {
  const { directory, version, log, signal } = options;
  const base = (options.env.UNIBUS_NATS_RELEASES || RELEASES).replace(/\/+$/, "");
  const stem = `nats-server-v${version}-${platform()}`;
  const archive = `${stem}.tar.gz`;
  const url = `${base}/v${version}/${archive}`;
  log(`Downloading ${url}`);

  const sums = await text(`${base}/v${version}/SHA256SUMS`, signal);
  const expected = checksum(sums, archive);
  if (expected === undefined) throw new Error(`SHA256SUMS of v${version} does not list ${archive}`);

  const path = join(directory, archive);
  const actual = await save(url, path, signal);
  if (actual !== expected) {
    throw new StoreError(
      "mismatch",
      `Refusing ${url}: its SHA-256 is ${actual}, the published one is ${expected}`,
    );
  }
  await run("tar", ["-xzf", path, "-C", directory], {
    timeout: 60_000,
    ...(signal === undefined ? {} : { signal }),
  });
  return join(directory, stem, process.platform === "win32" ? "nats-server.exe" : "nats-server");
}

/** The platform as release archives name it. */
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
  throw new Error(`There is no release for ${process.platform} on ${process.arch}`);
}

/** Finds a file's line in the output of sha256sum. */
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

/** Saves a download and gives its SHA-256. */
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

/** A download's bytes; given up when the server does not answer or stalls. */
async function* download(url: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  const giveUp = new AbortController();
  const within = (ms: number) =>
    setTimeout(() => giveUp.abort(new Error(`Nothing came for ${ms / 1000} s`)), ms);
  let timer = within(CONNECT_TIMEOUT);
  try {
    const signals = signal === undefined ? [giveUp.signal] : [giveUp.signal, signal];
    const response = await fetch(url, { signal: AbortSignal.any(signals) });
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
