/**
 * Writes the fixtures of today's file formats, once a version: what is there is not replaced, because
 * the files of yesterday are the point.
 *
 * `deno run -A tests/tools/formats.ts`
 *
 * @module
 */

import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { connectNats } from "../../src/nats/connection/connect.ts";
import { createIdentity, exportIdentity } from "../../src/keys/identity.ts";
import { lockIdentity } from "../../src/keys/passphrase.ts";
import { openBucket, openJetStream } from "../../src/jetstream/mod.ts";
import { LAYOUT_VERSION } from "../../src/jetstream/log/stream.ts";
import { loadServiceKeys } from "../../src/nats/connection/service_keys.ts";
import { SNAPSHOT_VERSION } from "../../src/snapshot/format.ts";
import { exportSnapshot, importSnapshot } from "../../src/snapshot/mod.ts";
import { openSqlite } from "../../src/sqlite/mod.ts";
import { SCHEMA_VERSION } from "../../src/sqlite/file/schema.ts";
import { testServer } from "../helpers/nats.ts";

const FORMATS = fileURLToPath(new URL("../fixtures/formats/", import.meta.url));
const snapshotOf = (version: number) =>
  fileURLToPath(new URL(`../fixtures/snapshot-v${version}.ndjson`, import.meta.url));
/** What all fixtures hold. */
const SNAPSHOT = snapshotOf(1);

/** Of the identity that is under one. */
const FIXTURE_PASSPHRASE = "correct horse battery staple";

/** One message of a bucket: the text of its value. */
export interface RecordedMessage {
  key: string;
  value: string;
}

/** Makes the directory of a version, where there is none. */
async function once(name: string, make: (directory: string) => Promise<void>): Promise<void> {
  const directory = join(FORMATS, name);
  if (existsSync(directory)) return console.log(`${name} is there`);
  const work = await mkdtemp(join(tmpdir(), "unibus-formats-"));
  try {
    await mkdir(directory, { recursive: true });
    await make(work);
    console.log(`${name} made`);
  } finally {
    await rm(work, { recursive: true });
  }
}

async function* snapshot(): AsyncGenerator<Uint8Array> {
  yield await readFile(SNAPSHOT);
}

if (!existsSync(snapshotOf(SNAPSHOT_VERSION))) {
  let now = Date.parse("2026-11-20T08:00:00.000Z");
  await using store = openSqlite(":memory:", { clock: () => new Date(now += 1000) });
  await importSnapshot(store.as("cli:ada@n1"), snapshot());
  const { items: [user] } = await store.listUsers();
  await store.as(user!.signPub).revokeUser(user!.signPub, { force: true });
  await store.as("cli:ada@n1").restoreUser(user!.signPub);
  await writeFile(snapshotOf(SNAPSHOT_VERSION), exportSnapshot(store));
}

await once(`schema-v${SCHEMA_VERSION}`, async (work) => {
  const path = join(work, "unibus.db");
  const store = openSqlite(path);
  await importSnapshot(store, snapshot());
  await store.close();
  const db = new DatabaseSync(path);
  // One file without its log, as small as it gets.
  db.exec("PRAGMA journal_mode = DELETE; VACUUM");
  db.close();
  const packed = gzipSync(await readFile(path), { level: 9 });
  await writeFile(join(FORMATS, `schema-v${SCHEMA_VERSION}`, "unibus.db.gz"), packed);
});

await once(`bucket-v${LAYOUT_VERSION}`, async () => {
  await using server = await testServer();
  const store = await openJetStream({ servers: server.url });
  await importSnapshot(store, snapshot());
  await store.close();
  const nc = await connectNats({ servers: server.url });
  try {
    const { bucket, info } = await openBucket({ connection: nc });
    const { metadata, ...config } = info.config;
    // The server's own remarks are not ours to keep.
    const own = Object.entries(metadata ?? {}).filter(([key]) => !key.startsWith("_nats"));
    const lines: string[] = [];
    const deadline = Date.now() + 10_000;
    for (let next = 1;;) {
      const entry = await bucket.next(">", next, deadline);
      if (entry === null) break;
      next = entry.revision + 1;
      const value = new TextDecoder().decode(entry.data);
      if (value !== "") lines.push(JSON.stringify({ key: entry.key, value }));
    }
    const place = join(FORMATS, `bucket-v${LAYOUT_VERSION}`);
    const stream = { ...config, metadata: Object.fromEntries(own) };
    await writeFile(join(place, "stream.json"), `${JSON.stringify(stream, null, 2)}\n`);
    await writeFile(join(place, "messages.ndjson"), `${lines.join("\n")}\n`);
  } finally {
    await nc.close();
  }
});

await once("identity-v1", async () => {
  await writeFile(join(FORMATS, "identity-v1", "ada.json"), exportIdentity(createIdentity()));
});

await once("identity-v2", async () => {
  const locked = await lockIdentity(createIdentity(), FIXTURE_PASSPHRASE);
  await writeFile(join(FORMATS, "identity-v2", "ada.json"), locked);
});

await once("service-keys-v1", async (work) => {
  const path = join(work, "keys.json");
  await loadServiceKeys(path, { create: true });
  await writeFile(join(FORMATS, "service-keys-v1", "service-keys.json"), await readFile(path));
});
