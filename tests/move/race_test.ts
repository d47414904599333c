/** Two at once: a mover that was stopped and goes on later, and writers between check and mark. */

import assert from "node:assert/strict";
import { copyFile, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { headers } from "@nats-io/transport-node";
import {
  migrateSqliteToKv,
  openJetStream,
  openSqlite,
  type StoreError,
  type StoreRecord,
} from "../../mod.ts";
import { JetStreamBackend } from "../../src/jetstream/backend.ts";
import { BulkWriter } from "../../src/jetstream/log/bulk.ts";
import { Bucket } from "../../src/jetstream/log/bucket.ts";
import { FENCE_KEY, MARKER_KEY } from "../../src/jetstream/records/keys.ts";
import { claimBucket, guardOf, readMarker, writeMarker } from "../../src/jetstream/log/marker.ts";
import { openBucket } from "../../src/jetstream/mod.ts";
import { WrongRevision } from "../../src/jetstream/log/wire.ts";
import { TextLineStream } from "../helpers/lines.ts";
import {
  addUserElsewhere,
  childArgs,
  code,
  isStopped,
  kvSnapshot,
  kvState,
  type Place,
  placeTests,
  populated,
  sqliteSnapshot,
  withPlace,
} from "./kit.ts";
import { interposed } from "../helpers/interposed.ts";
import { testCluster } from "../helpers/nats.ts";
import { person } from "../helpers/sqlite.ts";
import { writeDataset } from "../tools/dataset.ts";

const test = placeTests();

/** A mover in a process of its own, and the lines that it prints. */
function mover(args: string[]) {
  const child = new Deno.Command(Deno.execPath(), { args, stdout: "piped", stderr: "null" })
    .spawn();
  const lines = child.stdout.pipeThrough(new TextDecoderStream())
    .pipeThrough(new TextLineStream()).getReader();
  return {
    child,
    async until(wanted: RegExp): Promise<string> {
      for (;;) {
        const { done, value } = await lines.read();
        if (done) throw new Error(`The mover ended without ${wanted}`);
        if (wanted.test(value)) return value;
      }
    },
  };
}

/** Moves, and adds a user to the target when all checks are done and nothing is marked. */
function moveWhileWritten({ db, nats }: Place, replace = false) {
  return migrateSqliteToKv({
    db,
    nats,
    replace,
    onProgress: ({ phase, done }) => {
      if (phase === "backup" && done === 0) addUserElsewhere(nats, "late");
    },
  });
}

test("a mover that was stopped in its copy and goes on when others serve changes nothing", async ({ db, dir, nats }) => {
  writeDataset(db, { records: 40_000 });
  // The one that is stopped holds its file; whoever goes on has a copy of it.
  const copy = join(dir, "copy.db");
  await copyFile(db, copy);
  const { child, until } = mover(childArgs(db, nats, { stops: true }));
  await until(/^copy [1-9]/);
  await isStopped(child);
  assert.equal((await migrateSqliteToKv({ db: copy, nats, backup: false })).target, "resumed");
  {
    await using store = await openJetStream(nats);
    const { items } = await store.listUsers({ limit: 1000 });
    const active = items.filter((it) => it.status === "active" && it.role === "user");
    for (const { signPub } of active.slice(-50)) await store.revokeUser(signPub);
  }
  const served = await kvState(nats);
  child.kill("SIGCONT");
  assert.match(await until(/^failed/), /^failed conflict: Another move or import is using this/);
  assert.equal((await child.status).code, 1);
  assert.deepEqual(await kvState(nats), served);
});

test("a target written between check and mark is a conflict: whoever wrote keeps it", async (place) => {
  const { db, nats } = place;
  await populated(db);
  await assert.rejects(moveWhileWritten(place), code("conflict"));
  const late = await kvSnapshot(nats);
  assert.match(late, new RegExp(person("late").signPub));
  assert.deepEqual((await kvState(nats)).length, 1, "no mark, and nothing moved");
});

/** Changes a file that was moved: otherwise there is nothing left to move. */
async function changeFile(db: string): Promise<void> {
  await using store = openSqlite(db, { allowMoved: true });
  await store.addUser(person("since"));
}

test("the same for a target that was moved to before, and for one that is to be replaced", async (place) => {
  const { db, nats } = place;
  await populated(db);
  await migrateSqliteToKv({ db, nats, backup: false });
  await changeFile(db);
  await assert.rejects(moveWhileWritten(place), code("conflict"));
  const late = new RegExp(person("late").signPub);
  assert.match(await kvSnapshot(nats), late);
  {
    await using store = await openJetStream(nats);
    await store.deleteUser(person("late").signPub);
  }
  await assert.rejects(moveWhileWritten(place, true), code("conflict"));
  assert.match(await kvSnapshot(nats), late);
  assert.equal((await readdir(place.dir)).find((it) => it.includes("replaced")), undefined);
});

Deno.test("on three servers: fences are no obstacle to the mark, a write is", async () => {
  await using cluster = await testCluster(3);
  await withPlace(cluster.urls[0]!, async (place) => {
    const { db, nats } = place;
    await populated(db);
    await migrateSqliteToKv({ db, nats, replicas: 3, backup: false });
    {
      // Leaves a fence behind the mark: the answer is confirmed.
      await using store = await openJetStream(nats);
      await store.getUser(person("ada").signPub);
    }
    assert.equal((await migrateSqliteToKv({ db, nats, backup: false })).target, "repeated");
    await changeFile(db);
    await assert.rejects(moveWhileWritten(place), code("conflict"));
    assert.match(await kvSnapshot(nats), new RegExp(person("late").signPub));
  });
});

test("what is replaced is saved behind the mark: a run killed at that is continued, and all is saved", async ({ db, dir, nats }) => {
  await populated(db);
  const other = join(dir, "other.db");
  writeDataset(other, { records: 40_000 });
  await migrateSqliteToKv({ db: other, nats, backup: false });
  const before = await kvSnapshot(nats);
  const watcher = Deno.watchFs(dir);
  const { child } = mover(childArgs(db, nats, { replace: true }));
  for await (const { paths } of watcher) {
    if (paths.some((it) => it.includes(".replaced-"))) break;
  }
  child.kill("SIGKILL");
  await child.status;
  await assert.rejects(openJetStream(nats), code("in_progress"));
  await assert.rejects(migrateSqliteToKv({ db, nats, dryRun: true }), code("refused"));
  await assert.rejects(openJetStream(nats), code("in_progress"));
  const report = await migrateSqliteToKv({ db, nats, backup: false, replace: true });
  assert.equal(report.target, "replaced");
  assert.equal(await readFile(report.saved!, "utf8"), before);
  assert.equal(await kvSnapshot(nats), await sqliteSnapshot(db));
});

test("a replacement that ended before it had saved anything is called off by a run without replace", async ({ db, nats }) => {
  await populated(db);
  await migrateSqliteToKv({ db, nats, backup: false });
  addUserElsewhere(nats, "late");
  const before = await kvSnapshot(nats);
  {
    const { bucket, info, end } = await openBucket(nats);
    const read = await readMarker(bucket, Date.now() + 60_000);
    const marker = {
      ...{ state: "in_progress", by: "migration" } as const,
      source: read.marker!.source,
      startedAt: new Date().toISOString(),
      replaces: read.marker,
    };
    const seen = { read, sequence: info.state.last_seq };
    await claimBucket(bucket, marker, seen, Date.now() + 60_000);
    await end();
  }
  await assert.rejects(openJetStream(nats), code("in_progress"));
  await assert.rejects(migrateSqliteToKv({ db, nats }), code("refused"));
  assert.equal(await kvSnapshot(nats), before);
  // The mark is back, and does not hide what was written before it was.
  await assert.rejects(migrateSqliteToKv({ db, nats }), code("refused"));
  assert.equal(await kvSnapshot(nats), before);
});

test("fences, which reads leave, are no change; anything else is", async ({ nats }) => {
  const { bucket, end } = await openBucket(nats);
  try {
    const soon = () => Date.now() + 60_000;
    const marker = { state: "in_progress", by: "import", source: null, startedAt: "" } as const;
    const empty = { read: await readMarker(bucket, soon()), sequence: 0 };
    for (let i = 0; i < 3; i++) await bucket.put(FENCE_KEY, `${i}`, soon());
    const revision = await claimBucket(bucket, marker, empty, soon());
    assert.deepEqual((await readMarker(bucket, soon())).marker, marker);
    await assert.rejects(claimBucket(bucket, marker, empty, soon()), code("conflict"));
    await writeMarker(bucket, null, revision, soon());
    await bucket.put("users.a", "{}", soon());
    const read = await readMarker(bucket, soon());
    const stale = { read, sequence: read.revision };
    await assert.rejects(claimBucket(bucket, marker, stale, soon()), code("conflict"));
    assert.equal((await readMarker(bucket, soon())).marker, null);
  } finally {
    await end();
  }
});

for (const stored of [false, true]) {
  const what = stored ? "but its successor stored" : "because it had not stored a fence yet";
  test(`a mark that a leader rejected, ${what}, is written`, async ({ nats }) => {
    const { bucket, info, end } = await openBucket(nats);
    try {
      const soon = () => Date.now() + 60_000;
      const marker = { state: "in_progress", by: "import", source: null, startedAt: "" } as const;
      const seen = { read: await readMarker(bucket, soon()), sequence: info.state.last_seq };
      let rejections = 0;
      const connection = interposed(bucket.nc, (it) => it.includes('"in_progress"'), {
        instead: async (subject, payload, options) => {
          rejections++;
          if (stored) await bucket.nc.request(subject, payload, options);
          // The answer of a leader that counts one message more than it tells.
          const lines = headers();
          lines.set("Nats-Expected-Last-Sequence", "999");
          return await bucket.nc.request(subject, payload, { timeout: 60_000, headers: lines });
        },
      });
      const revision = await claimBucket(new Bucket(connection, bucket.name), marker, seen, soon());
      assert.equal(rejections, 1);
      const now = await readMarker(bucket, soon());
      assert.deepEqual([now.marker, now.revision], [marker, revision]);
      assert.equal(revision, seen.sequence + 1);
      const again = { read: now, sequence: revision };
      await bucket.put("users.a", "{}", soon());
      const records = (error: unknown) =>
        code("conflict")(error) && (error as StoreError).field === "records";
      await assert.rejects(claimBucket(bucket, marker, again, soon()), records);
    } finally {
      await end();
    }
  });
}

/** A bucket in which readers write a fence before each look at what was written, for two tries of a mark. */
class Busy extends Bucket {
  tries = 0;

  override commit(...args: Parameters<Bucket["commit"]>): Promise<number> {
    this.tries++;
    return super.commit(...args);
  }

  override async next(...args: Parameters<Bucket["next"]>): ReturnType<Bucket["next"]> {
    if (this.tries < 3) await new Bucket(this.nc, this.name).put(FENCE_KEY, "", args[2]);
    return await super.next(...args);
  }
}

test("a mark does not wait for readers that write fences without a pause", async ({ nats }) => {
  const { bucket, info, end } = await openBucket(nats);
  try {
    const marker = { state: "in_progress", by: "import", source: null, startedAt: "" } as const;
    const soon = () => Date.now() + 60_000;
    const seen = { read: await readMarker(bucket, soon()), sequence: info.state.last_seq };
    await bucket.put(FENCE_KEY, "", soon());
    const busy = new Busy(bucket.nc, bucket.name);
    assert.ok(await claimBucket(busy, marker, seen, soon()) > seen.sequence);
    // Two more failed by the fences of the looks before them.
    assert.equal(busy.tries, 4);
  } finally {
    await end();
  }
});

for (const state of ["empty", "repeated"] as const) {
  test(`a target (${state}) written between verification and mark is a conflict, fences are none`, async ({ db, nats }) => {
    await populated(db);
    if (state === "repeated") {
      await migrateSqliteToKv({ db, nats, backup: false });
      await changeFile(db);
    }
    const { bucket, end } = await openBucket(nats);
    const move = (key: string) =>
      migrateSqliteToKv({
        db,
        nats: {
          ...nats,
          connection: interposed(bucket.nc, (it) => /"state":"complete"|"store.moved"/.test(it), {
            before: () => bucket.put(key, "{}", Date.now() + 60_000),
          }),
        },
        backup: false,
      });
    try {
      await assert.rejects(
        move("users.late"),
        (error: unknown) =>
          code("conflict")(error) &&
          /was written by another program during/.test(`${(error as Error).message}`),
      );
      assert.notEqual(await bucket.get("users.late", Date.now() + 60_000), null);
      await assert.rejects(openJetStream(nats), code("in_progress"));
      assert.equal((await move(FENCE_KEY)).target, "resumed");
      assert.equal(await kvSnapshot(nats), await sqliteSnapshot(db));
    } finally {
      await end();
    }
  });
}

test("a target written between mark and verification is a mismatch, and stays marked", async ({ db, nats }) => {
  await populated(db);
  const { bucket, end } = await openBucket(nats);
  const connection = interposed(bucket.nc, (it) => it.includes('"state":"in_progress"'), {
    after: () => bucket.put(`users.${person("late").signPub}`, "{}", Date.now() + 60_000),
  });
  try {
    await assert.rejects(
      migrateSqliteToKv({ db, nats: { ...nats, connection }, backup: false }),
      code("mismatch"),
    );
    await assert.rejects(openJetStream(nats), code("in_progress"));
  } finally {
    await end();
  }
});

test("a target that is written while it is saved keeps its mark, and is not replaced", async ({ db, nats }) => {
  await populated(db);
  addUserElsewhere(nats, "late");
  const before = await kvSnapshot(nats);
  const { bucket, end } = await openBucket(nats);
  const connection = interposed(bucket.nc, (it) => it.includes('"replaces"'), {
    after: () => bucket.put("meta.other", "{}", Date.now() + 60_000),
  });
  try {
    await assert.rejects(
      migrateSqliteToKv({ db, nats: { ...nats, connection }, replace: true, backup: false }),
      /was written while it was saved/,
    );
    assert.equal(await kvSnapshot(nats), before);
  } finally {
    await end();
  }
});

test("an import is a conflict too when the target is written between check and mark", async ({ nats }) => {
  const { bucket, end } = await openBucket(nats);
  try {
    const connection = interposed(bucket.nc, (payload) => payload.includes(MARKER_KEY), {
      after: () => bucket.put("users.a", "{}", Date.now() + 60_000),
    });
    const backend = new JetStreamBackend(
      new Bucket(connection, nats.bucket),
      { opTimeout: 60_000, maxStaleness: 5000, maxMembers: 0 },
      { keepsHistory: false, end: () => Promise.resolve() },
    );
    const author = { by: "library", at: new Date().toISOString(), wrote() {} };
    await assert.rejects(backend.restore(none(), { replace: true }, author), code("conflict"));
    assert.notEqual(await bucket.get("users.a", Date.now() + 60_000), null);
    assert.equal((await readMarker(bucket, Date.now() + 60_000)).marker, null);
  } finally {
    await end();
  }
});

/** A bucket whose leader rejects each mark for a time, as one that is busy with the fences of readers. */
class Rejecting extends Bucket {
  readonly until = Date.now() + 6000;

  override commit(...args: Parameters<Bucket["commit"]>): Promise<number> {
    const isMark = args[0][0]!.key === MARKER_KEY;
    return isMark && Date.now() < this.until
      ? Promise.reject(new WrongRevision("wrong last sequence"))
      : super.commit(...args);
  }
}

test("an import waits longer for its mark than a request may take", async ({ nats }) => {
  const { bucket, end } = await openBucket(nats);
  try {
    const backend = new JetStreamBackend(
      new Rejecting(bucket.nc, nats.bucket),
      { opTimeout: 4000, maxStaleness: 5000, maxMembers: 0 },
      { keepsHistory: false, end: () => Promise.resolve() },
    );
    const author = { by: "library", at: new Date().toISOString(), wrote() {} };
    await backend.restore(none(), { replace: true }, author);
    assert.equal((await readMarker(bucket, Date.now() + 60_000)).marker?.state, "complete");
  } finally {
    await end();
  }
});

async function* none(): AsyncGenerator<StoreRecord> {}

test(
  "the last batch of a bulk write, of one message, is tried again; a server that pauses is not taken for one whose disk is full",
  async ({ nats }, server) => {
    const { bucket, end } = await openBucket(nats);
    try {
      const soon = () => Date.now() + 60_000;
      const marker = { state: "in_progress", by: "import", source: null, startedAt: "" } as const;
      const revision = await writeMarker(bucket, marker, 0, soon());
      const writer = new BulkWriter(bucket, guardOf(revision));
      writer.write("users.a", "{}");
      server.kill("SIGSTOP");
      const flushed = writer.flush();
      setTimeout(() => server.kill("SIGCONT"), 8000);
      await flushed;
      assert.notEqual(await bucket.get("users.a", soon()), null);
    } finally {
      await end();
    }
  },
);
