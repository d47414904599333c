/**
 * What the tests of blobs share: bytes to store, sources that misbehave, a store of their own.
 *
 * @module
 */

import { createHash, randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import type { BlobStore, OpenedBlob } from "../../src/blobs/mod.ts";
import { TextLineStream } from "../helpers/lines.ts";

/** A store of blobs that can be opened, damaged and looked into. */
export interface BlobBed extends AsyncDisposable {
  /** Opens it, once more each time. */
  open(): Promise<BlobStore>;
  /** What tells another process where it is. */
  address: string[];
  /** Changes one byte of what is stored, far from its beginning. */
  flip(id: string): Promise<void>;
  /** Takes away the end of what is stored. */
  truncate(id: string): Promise<void>;
  /** How many unfinished blobs there are. */
  leftovers(): Promise<number>;
}

/** Bytes no other test stores. */
export function bytesOf(size: number): Uint8Array {
  return randomBytes(size);
}

/** The SHA-256 of bytes, in hex. */
export function idOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Yields bytes in chunks of a size. */
export async function* chunks(bytes: Uint8Array, size = 65_536): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) {
    await Promise.resolve();
    yield bytes.subarray(at, at + size);
  }
}

/** All bytes of a blob that was opened. */
export async function bodyOf(blob: OpenedBlob | null): Promise<Uint8Array> {
  if (blob === null) throw new Error("There is no such blob");
  return new Uint8Array(await new Response(blob.body).arrayBuffer());
}

/** Waits until something is so. */
export async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`Not within 60 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const CHILD = fileURLToPath(new URL("./child.ts", import.meta.url));

/** Another process that uses the store; see child.ts for what it can do. */
export function spawn(
  bed: Pick<BlobBed, "address">,
  ...args: string[]
): { child: Deno.ChildProcess; lines: AsyncIterator<string> } {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--v8-flags=--expose-gc", CHILD, ...bed.address, ...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(
    new TextLineStream(),
  );
  return { child, lines: lines[Symbol.asyncIterator]() };
}
