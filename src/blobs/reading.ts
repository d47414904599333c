/**
 * Reads blobs, whole or in part, verified and at the reader's pace.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { streamOf } from "../core/async/stream.ts";
import { checkRange } from "./checks.ts";
import type { Lifetime } from "./lifetime.ts";
import { type Blocks, damaged, digestOf, type Proofs, WholeCheck } from "./proofs.ts";
import type { BlobRange, OpenedBlob } from "./types.ts";

/** A blob of up to this many bytes is verified before its first byte is returned. */
const SMALL = 1024 * 1024;

type Bytes = Uint8Array<ArrayBuffer>;

/** Opens a stored blob for a reader. */
export async function handOut(
  blocks: Blocks,
  range: BlobRange | undefined,
  proofs: Proofs,
  lifetime: Lifetime,
): Promise<OpenedBlob> {
  const { id, size } = blocks;
  const part = range === undefined ? undefined : checkRange(range, size);
  const check = () => lifetime.check();
  const watch = lifetime.onClose.bind(lifetime);
  if (size <= SMALL) {
    const bytes = await readWhole(blocks, check);
    const { start, end } = part ?? { start: 0, end: size - 1 };
    const wanted = bytes.subarray(start, end + 1);
    return { id, size, body: streamOf(() => once(wanted), watch) };
  }
  if (part === undefined) return { id, size, body: streamOf(() => whole(blocks), watch) };
  const proof = await proofs.of(blocks, check);
  return { id, size, body: streamOf(ranged, watch) };

  async function* ranged(): AsyncGenerator<Bytes, void> {
    const { start, end } = part!;
    let number = Math.floor(start / blocks.blockSize);
    const last = Math.floor(end / blocks.blockSize);
    for await (const { bytes } of blocks.read(number, proof.positions[number])) {
      if (digestOf(bytes) !== proof.digests[number]) {
        throw damaged(id, `block ${number} has changed since it was verified`);
      }
      const at = number * blocks.blockSize;
      yield bytes.subarray(Math.max(0, start - at), end + 1 - at);
      if (number++ === last) return;
    }
    throw damaged(id, `block ${number} is missing`);
  }
}

/** Reads and verifies all bytes of a small blob. */
async function readWhole(blocks: Blocks, check: () => void): Promise<Bytes> {
  const whole = new WholeCheck(blocks);
  const parts: Bytes[] = [];
  for await (const { bytes } of blocks.read(0)) {
    check();
    whole.add(bytes);
    parts.push(bytes);
  }
  whole.end();
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}

/** Yields all bytes, but the last block only after the whole blob is verified. */
async function* whole(blocks: Blocks): AsyncGenerator<Bytes, void> {
  const check = new WholeCheck(blocks);
  let held: Bytes | null = null;
  for await (const { bytes } of blocks.read(0)) {
    check.add(bytes);
    if (held !== null) yield held;
    held = bytes;
  }
  check.end();
  if (held !== null) yield held;
}

async function* once(bytes: Bytes): AsyncGenerator<Bytes, void> {
  if (bytes.length > 0) yield bytes;
}
