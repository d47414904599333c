/**
 * Histories to verify.
 *
 * @module
 */

import { DatabaseSync } from "node:sqlite";
import { openSqlite, type SignedHead, type Store } from "../../mod.ts";
import { sourceOf } from "../../src/core/history/source.ts";
import { switchOf } from "../../src/core/store/switching.ts";
import { signHead } from "../../src/history/heads.ts";
import { createNkey, type NkeyPair, signPubOf } from "../../src/keys/nkey.ts";
import { newRoom, person } from "../helpers/sqlite.ts";

/** Makes about four entries for each number, of several authors. */
export async function change(store: Store, from: number, count: number): Promise<void> {
  for (let i = from; i < from + count; i++) {
    const { signPub, ...rest } = person(`h${i}`);
    const acting = store.as(i % 2 === 0 ? "cli:ada@host" : person("h0").signPub);
    await acting.addUser({ signPub, ...rest, role: i % 3 === 0 ? "admin" : "user" });
    await acting.createInvite({ createdBy: "ada", role: "user" });
    if (i % 2 === 0) await acting.createRoom(newRoom(`r${i}`));
    if (i % 3 === 1) await acting.revokeUser(signPub);
    if (i % 4 === 1) await acting.setUserRole(signPub, "admin");
  }
}

/** Signs the end of the history as a node; returns the head. */
export async function signAs(store: Store, node: string, key: NkeyPair): Promise<SignedHead> {
  const source = sourceOf(switchOf(store).current);
  const at = new Date().toISOString();
  const head = signHead(await source.head(), { node, at, key });
  await source.sign(head);
  return head;
}

/** A file with a history whose heads were signed by two nodes and kept. */
export interface Kept {
  path: string;
  /** The key of the nodes. */
  key: NkeyPair;
  /** The same as public key. */
  signer: string;
  /** The head at the end, kept elsewhere. */
  kept: SignedHead;
  /** The revisions, in order. */
  revisions: string[];
}

/** Makes such a file; the history was pruned once, and node n2 signed in the middle of it. */
export async function keptFile(path: string): Promise<Kept> {
  const key = createNkey("user");
  await using store = openSqlite(path);
  await change(store, 0, 6);
  await store.as("server").pruneHistory({ keep: 12 });
  await change(store, 6, 8);
  await signAs(store, "n2", key);
  await change(store, 14, 8);
  const kept = await signAs(store, "n1", key);
  const { items } = await store.history({ limit: 1000 });
  return {
    path,
    key,
    signer: signPubOf(key.publicKey)!,
    kept,
    revisions: items.map((it) => it.revision),
  };
}

/** Works on a file by raw SQL. */
export function raw<T>(path: string, work: (db: DatabaseSync) => T): T {
  const db = new DatabaseSync(path);
  try {
    return work(db);
  } finally {
    db.close();
  }
}
