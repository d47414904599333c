/**
 * What the tests of the move share: one server a file, a directory and a bucket a test.
 *
 * @module
 */

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "@nats-io/transport-node";
import { exportSnapshot, type HistoryEntry, type Store, StoreError } from "../../mod.ts";
import { headAfter } from "../../src/core/history/chain.ts";
import { compareRevisionTexts } from "../../src/core/history/revision.ts";
import { switchOf } from "../../src/core/store/switching.ts";
import { openJetStream } from "../../src/jetstream/mod.ts";
import { openSqlite } from "../../src/sqlite/mod.ts";
import { type TestServer, testServer } from "../helpers/nats.ts";
import { person } from "../helpers/sqlite.ts";

/** A place for one test: a directory, a database path in it, and a bucket's options. */
export interface Place {
  /** The directory. */
  dir: string;
  /** Path for a SQLite file. */
  db: string;
  /** Options for `openJetStream` and the move. */
  nats: { servers: string; bucket: string; opTimeout: number; bootstrapTimeout: number };
}

let buckets = 0;

/** Gives a test its place, removed afterwards; the bucket goes with the test's server. */
export async function withPlace(
  servers: string,
  work: (place: Place) => Promise<void>,
): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "unibus-move-"));
  const bucket = `MOVE_${Deno.pid}_${++buckets}`;
  try {
    await work({
      dir,
      db: join(dir, "unibus.db"),
      nats: { servers, bucket, opTimeout: 60_000, bootstrapTimeout: 60_000 },
    });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Runs one server for the tests of a file; gives what makes a test, with a place of its own. */
export function placeTests(): (
  name: string,
  work: (place: Place, server: TestServer) => Promise<void>,
) => void {
  let server: TestServer;
  Deno.test.beforeAll(async () => void (server = await testServer()));
  Deno.test.afterAll(async () => await server[Symbol.asyncDispose]());
  return (name, work) =>
    Deno.test(name, () => withPlace(server.url, (place) => work(place, server)));
}

/** For `assert.rejects`: a `StoreError` of this code. */
export function code(expected: string): (error: unknown) => boolean {
  return (error) => error instanceof StoreError && error.code === expected;
}

/** Arguments of `deno` for a process that moves, see move_child.ts. */
export function childArgs(db: string, nats: Place["nats"], options: object = {}): string[] {
  return [
    "run",
    "-A",
    "--no-check",
    "--config",
    new URL("../../deno.json", import.meta.url).pathname,
    new URL("./kit_child.ts", import.meta.url).pathname,
    db,
    JSON.stringify(nats),
    JSON.stringify(options),
  ];
}

/** Waits until a process has stopped itself. */
export async function isStopped({ pid }: Deno.ChildProcess): Promise<void> {
  while (!/\) T /.test(await readFile(`/proc/${pid}/stat`, "utf8"))) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Kills a process, unless it has ended, and waits for its end. */
export async function kill(child: Deno.ChildProcess): Promise<void> {
  try {
    child.kill("SIGKILL");
  } catch {
    // It has ended.
  }
  await child.status;
}

/** A store's snapshot as text. */
export async function snapshot(store: Store): Promise<string> {
  return await new Response(exportSnapshot(store, { history: false })).text();
}

/** Snapshot of a SQLite file. */
export async function sqliteSnapshot(path: string): Promise<string> {
  await using store = openSqlite(path, { readOnly: true });
  return await snapshot(store);
}

/** Snapshot of a bucket. */
export async function kvSnapshot(nats: Place["nats"], allowInProgress = false): Promise<string> {
  await using store = await openJetStream({ ...nats, create: false, allowInProgress });
  return await snapshot(store);
}

/** Every message of a bucket but the mark: key, revision, value. */
export async function kvState(nats: Place["nats"]): Promise<string[]> {
  const nc = await connect({ servers: nats.servers });
  try {
    const { Kvm } = await import("@nats-io/kv");
    const kv = await new Kvm(nc).open(nats.bucket);
    const state: string[] = [];
    const watch = await kv.history({ key: ">" });
    for await (const it of watch) {
      if (!it.key.startsWith("meta.")) state.push(`${it.key} ${it.revision} ${it.string()}`);
    }
    return state.sort();
  } finally {
    await nc.close();
  }
}

/** Adds a user as another process does; ends before it returns, so that it happens right here. */
export function addUserElsewhere(nats: Place["nats"], name: string): void {
  const script = `
    import { openJetStream } from ${JSON.stringify(new URL("../../mod.ts", import.meta.url).href)};
    const store = await openJetStream(${JSON.stringify(nats)});
    await store.addUser(${JSON.stringify(person(name))});
    await store.close();`;
  const { success, stderr } = new Deno.Command(Deno.execPath(), { args: ["eval", script] })
    .outputSync();
  assert.ok(success, new TextDecoder().decode(stderr));
}

const key = (name: string, byte: number) => {
  const { signPub, kexPub } = person(name);
  return { member: { endpoint: signPub, kexPub }, sealedKey: new Uint8Array(80).fill(byte) };
};

/** The original's control plane: two rooms, one rekeyed, members, a revoked user, invites. */
export async function populate(store: Store): Promise<void> {
  const [a, b, c] = ["ada", "bob", "cy"].map((name, i) => key(name, i + 1)) as [
    ReturnType<typeof key>,
    ReturnType<typeof key>,
    ReturnType<typeof key>,
  ];
  const sealed = (it: ReturnType<typeof key>) => ({
    endpoint: it.member.endpoint,
    sealedKey: it.sealedKey,
  });
  await store.createRoom({
    id: "general",
    subject: "chat.general",
    owner: a.member,
    sealedKeys: [sealed(a)],
  });
  await store.addMember("general", b.member, { epoch: 1, sealedKey: b.sealedKey });
  await store.addMember("general", c.member);
  await store.removeMember("general", c.member.endpoint);
  await store.rekeyRoom("general", { epoch: 2, sealedKeys: [sealed(a), sealed(b)] });
  await store.createRoom({
    id: "città/öffentlich.1",
    subject: "chat.public",
    encrypted: false,
    owner: b.member,
  });
  await store.addUser({ ...person("ada"), role: "admin" });
  await store.addUser(person("bob"));
  await store.addUser(person("cy"));
  await store.revokeUser(person("cy").signPub);
  await store.createInvite({ createdBy: "cli", note: "open" });
  const used = await store.createInvite({ createdBy: person("ada").signPub, role: "admin" });
  await store.consumeInvite(used.token, person("dee"));
  const canceled = await store.createInvite({ createdBy: "cli", expiresIn: 1 });
  await store.cancelInvite(canceled.invite.id);
}

/** Makes a SQLite file with {@link populate}. */
export async function populated(path: string): Promise<void> {
  await using store = openSqlite(path);
  await populate(store);
}

/** All entries of a store; checks their order and the chain. */
export async function entriesOf(store: Store): Promise<HistoryEntry[]> {
  const history = switchOf(store).history!;
  let { head } = await history.start();
  const found: HistoryEntry[] = [];
  for await (const stored of history.walk(null)) {
    const before = found.at(-1)?.revision;
    const { entry } = stored;
    if (before !== undefined) assert.ok(compareRevisionTexts(before, entry.revision) < 0);
    head = headAfter(head, entry);
    if (stored.head !== null) assert.equal(stored.head, head);
    found.push(entry);
  }
  assert.deepEqual(await history.head(), { revision: found.at(-1)?.revision ?? null, head });
  return found;
}

/** Checks that each of these users was added once, by its history, and nobody else but users of the store. */
export async function checkAdded(
  store: Store,
  acknowledged: readonly string[],
): Promise<HistoryEntry[]> {
  const entries = await entriesOf(store);
  const added = entries.flatMap(({ action, user }) => action === "user.added" ? [user!] : []);
  assert.equal(new Set(added).size, added.length, "a change is in the history twice");
  const inHistory = new Set(added);
  const without = acknowledged.filter((it) => !inHistory.has(it));
  assert.deepEqual(without, [], "an acknowledged change is not in the history");
  const users = new Set<string>();
  for await (const it of store.records()) if (it.kind === "users") users.add(it.record.signPub);
  const unknown = added.filter((it) => !users.has(it));
  assert.deepEqual(unknown, [], "a change in the history was not made");
  return entries;
}
