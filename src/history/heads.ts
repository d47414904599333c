/**
 * Signed heads of the history: what a node says its history was at a time, signed with its service key.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";
import { parseRevision } from "../core/history/revision.ts";
import type { ChainEnd, SignedHead } from "../core/history/source.ts";
import { hex64, invalid, show, time } from "../core/validate.ts";
import { fromBase64url, toBase64url, utf8 } from "../keys/bytes.ts";
import { verifies } from "../keys/ed25519.ts";
import { FIRST_BYTES } from "../keys/forms.ts";
import { type NkeyPair, signPubOf } from "../keys/nkey.ts";

const SIGNATURE_BYTES = 64;

/** A head that was kept: signed by a key, or not. */
export type KeptHead =
  | SignedHead
  | Omit<SignedHead, "key" | "signature"> & { key: null; signature: null };

/** A head with a revision: the history has at least one entry. */
export type KnownHead = Pick<SignedHead, "node" | "head" | "at"> & { revision: string };

/** Returns what is signed. */
export function bytesOfHead(head: KnownHead): Uint8Array {
  return utf8(textOf(head));
}

function textOf({ node, revision, head, at }: KnownHead): string {
  return FIRST_BYTES["history head"] + JSON.stringify([node, revision, head, at]);
}

/**
 * Signs the end of a history.
 *
 * @param end The end; it must have an entry
 * @param by The name of the node, the time and the service key
 * @throws {StoreError} `refused`: the history is empty, or the name is not that of a node
 */
export function signHead(
  end: ChainEnd,
  { node, at, key }: { node: string; at: string; key: NkeyPair },
): SignedHead {
  const { revision, head } = known(end, "Signing");
  const signature = toBase64url(key.signHistoryHead(textOf({ node, revision, head, at })));
  return { node, revision, head, at, key: signPubOf(key.publicKey)!, signature };
}

/**
 * Returns the end of a history as a head that is only kept.
 *
 * @throws {StoreError} `refused`: the history is empty
 */
export function unsignedHead(
  end: ChainEnd,
  { node, at }: { node: string; at: string },
): KeptHead {
  return { node, ...known(end, "Showing"), at, key: null, signature: null };
}

function known({ revision, head }: ChainEnd, what: string): { revision: string; head: string } {
  if (revision !== null) return { revision, head };
  throw new StoreError("refused", `${what} the head of the history: it has no entry`);
}

/** Returns whether the signature is by the key that the head names. */
export function isSigned({ node, revision, head, at, key, signature }: SignedHead): boolean {
  const bytes = fromBase64url(signature, SIGNATURE_BYTES);
  return revision !== null && bytes !== null &&
    verifies(key, bytesOfHead({ node, revision, head, at }), bytes);
}

/**
 * Parses heads that were kept: a JSON document per line. One that is not signed has the key `null`.
 *
 * @throws {StoreError} `invalid`: it has none, or a line is not a head, or not signed by its key
 */
export function parseHeads(text: string): KeptHead[] {
  const lines = text.split("\n").filter((it) => it.trim() !== "");
  if (lines.length === 0) throw invalid("head", "Reading kept heads: there are none");
  return lines.map((line, i) => {
    const head = headOf(line, i + 1);
    if (head.key === null || isSigned(head)) return head;
    throw invalid("head", `Reading kept heads: the signature on line ${i + 1} is not by its key`);
  });
}

function headOf(line: string, number: number): KeptHead {
  let found: Partial<Record<keyof KeptHead, unknown>> | null;
  try {
    found = JSON.parse(line);
  } catch (cause) {
    throw new StoreError("invalid", `Reading kept heads: line ${number} is not JSON`, { cause });
  }
  const { node, revision, head, at, key, signature } = found ?? {};
  const signed = typeof signature === "string" && hex64(key) !== null
    ? { key: key as string, signature }
    : key === null && signature === null
    ? { key, signature }
    : null;
  if (signed === null || typeof node !== "string" || hex64(head) === null) {
    throw invalid("head", `Reading kept heads: line ${number} is not a head, found ${show(line)}`);
  }
  parseRevision("revision", revision);
  return {
    node,
    revision: revision as string,
    head: head as string,
    at: time("at", at),
    ...signed,
  };
}

/** Returns a name for a node from the name of its host. */
export function nodeName(host: string): string {
  return host.replace(/[^\w.-]/g, "-").slice(0, 64) || "node";
}
