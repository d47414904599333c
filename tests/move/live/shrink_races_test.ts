/**
 * A live move to a file beside others: writers elsewhere, a second move, a server that stands still, and
 * what is refused.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as pause } from "node:timers/promises";
import { DatabaseSync } from "node:sqlite";
import { Kvm } from "@nats-io/kv";
import {
  callOffShrink,
  finishShrink,
  migrateKvToSqlite,
  openJetStream,
  openSqlite,
  type ShrinkOptions,
  shrinkStore,
  type StoreError,
} from "../../../mod.ts";
import { openFollowed } from "../../../src/follower/open.ts";
import { updateStream } from "../../../src/jetstream/log/wire.ts";
import { isWrittenSince } from "../../../src/jetstream/log/fence.ts";
import { readMarker, writeMarker } from "../../../src/jetstream/log/marker.ts";
import { interposed } from "../../helpers/interposed.ts";
import { type TestServer, testServer } from "../../helpers/nats.ts";
import { person } from "../../helpers/sqlite.ts";
import { rawBucket } from "../../follower/kit.ts";
import {
  bucketOf,
  failure,
  open,
  type Opened,
  type Place,
  roleIn,
  toN1,
  usersIn,
  whoServes,
  withPlace,
} from "./shrink_kit.ts";

let server: TestServer;
Deno.test.beforeAll(async () => void (server = await testServer()));
Deno.test.afterAll(async () => await server[Symbol.asyncDispose]());

const ada = person("ada");
const soon = () => Date.now() + 60_000;

function test(name: string, work: (at: Place, it: Opened) => Promise<void>): void {
  Deno.test(name, () =>
    withPlace(server.url, async (at) => {
      await using it = await open(at);
      await it.store.addUser({ ...ada, role: "admin" });
      await work(at, it);
    }));
}

/** The move is refused before anything has begun, and the bucket goes on. */
async function refused(
  at: Place,
  it: Opened,
  code: string,
  field: string | undefined,
  more: Partial<ShrinkOptions> = {},
) {
  const before = roleIn(more.db ?? at.db);
  const move = shrinkStore(it.store, { ...toN1(at), ...more });
  await assert.rejects(move, failure(code, field));
  const { mark, takesWrites } = await bucketOf(at);
  assert.equal(mark, null);
  assert.equal(takesWrites, true);
  assert.deepEqual(roleIn(more.db ?? at.db), before);
}

test("what other processes write is in the file or was not acknowledged", async (at, { store }) => {
  await using other = await openJetStream(at.nats);
  await using cold = await openJetStream(at.nats);
  await using raw = await rawBucket(server.url, at.nats.bucket);
  const kv = await new Kvm(raw.bucket.nc).open(at.nats.bucket);
  const acknowledged: string[] = [];
  const refusals = new Set<string>();
  let stopped = false;
  const write = async (
    name: string,
    add: (user: ReturnType<typeof person>) => Promise<unknown>,
  ) => {
    for (let n = 0; !stopped; n++) {
      const user = person(`${name}${n}`);
      await add(user).then(
        () => acknowledged.push(user.signPub),
        (error) => refusals.add(String(error)),
      );
      await pause(1);
    }
  };
  const valueOf = ({ kexPub, handle }: ReturnType<typeof person>) =>
    JSON.stringify({
      v: 1,
      kexPub,
      handle,
      role: "user",
      status: "active",
      createdAt: new Date().toISOString(),
      revokedAt: null,
    });
  const writing = [
    write("own", (it) => store.addUser(it)),
    write("a", (it) => other.addUser(it)),
    write("b", (it) => other.addUser(it)),
    // Knows nothing of marks.
    write("kv", (it) => kv.put(`users.${it.signPub}`, valueOf(it))),
    write("raw", (it) => raw.put(`users.${it.signPub}`, valueOf(it))),
  ];
  await pause(100);
  const { position } = await shrinkStore(store, toN1(at));
  assert.equal(await other.isAuthorized(ada.signPub), false);
  assert.equal(await cold.isAuthorized(ada.signPub), false);
  await assert.rejects(cold.getUser(ada.signPub), failure("refused", "moved"));
  await pause(100);
  stopped = true;
  await Promise.all(writing);
  const except = (key: string) => key.startsWith("meta.");
  assert.equal(await isWrittenSince(raw.bucket, { sequence: position, except }, soon()), false);
  assert.equal(await whoServes(at, acknowledged), "file");
  assert.ok([...refusals].some((it) => /control plane moved to .* on node n1/.test(it)));
  assert.equal(usersIn(at.db).length, acknowledged.length + 1);
  // An old copy of the way back, and an older program, are refused too.
  await assert.rejects(
    migrateKvToSqlite({ nats: at.nats, db: join(at.dir, "x.db") }),
    failure("refused"),
  );
});

test("of two moves at once to two nodes, at most one is made", async (at, one) => {
  const elsewhere = { ...at, db: join(at.dir, "2.db"), follower: join(at.dir, "f2.db") };
  await using two = await open(elsewhere);
  for (const node of ["n2", "n1"]) {
    const results = await Promise.allSettled([
      shrinkStore(one.store, toN1(at)),
      shrinkStore(two.store, { ...toN1(elsewhere), node }),
    ]);
    const made = results.filter((it) => it.status === "fulfilled").length;
    const primaries = [at.db, elsewhere.db].filter((it) => roleIn(it)?.role === "primary").length;
    assert.equal(made, primaries);
    assert.ok(made <= 1);
    if (made === 1) {
      const loser = one.store.backend === "sqlite" ? two.store : one.store;
      await assert.rejects(loser.getUser(ada.signPub), failure("refused", "moved"));
      return;
    }
    assert.equal((await bucketOf(at)).takesWrites, true);
  }
  assert.fail("neither of two tries made one");
});

test(
  "a switch that takes too long is called off, and the next one is made",
  async (at, { store }) => {
    await assert.rejects(
      shrinkStore(store, { db: at.db, node: "n1", patience: 1, attempts: 2 }),
      failure("unavailable"),
    );
    const { mark, takesWrites } = await bucketOf(at);
    assert.deepEqual([mark!.state, mark!.shrink, takesWrites], ["complete", undefined, true]);
    await store.addUser(person("bob"));
    assert.equal(store.backend, "jetstream");
    let attempts = 0;
    const hung = {
      copy: async () => {},
      freeze: () => attempts === 1 ? pause(3600) : Promise.resolve(),
      thaw: async () => {},
    };
    const report = await shrinkStore(store, {
      ...toN1(at),
      patience: 3000,
      blobs: hung,
      ready: () => Promise.resolve(void attempts++),
    });
    assert.equal(report.attempts, 2);
    assert.equal(await whoServes(at, [ada.signPub, person("bob").signPub]), "file");
  },
);

test(
  "what stops the writers of blobs does not do so after the switch was called off",
  async (at, { store }) => {
    await using raw = await rawBucket(server.url, at.nats.bucket);
    const steps: string[] = [];
    const slow = {
      copy: async () => {},
      freeze: async () => {
        const isBegun = async () => (await readMarker(raw.bucket, soon())).marker?.shrink;
        const end = Date.now() + 10_000;
        while (Date.now() < end && await isBegun() !== undefined) await pause(20);
        await pause(100);
        steps.push("frozen");
      },
      thaw: () => Promise.resolve(void steps.push("thawed")),
    };
    const options = { db: at.db, node: "n1", patience: 1, attempts: 1, blobs: slow };
    await assert.rejects(shrinkStore(store, options), failure("unavailable"));
    assert.deepEqual(steps, ["frozen", "thawed"]);
    await store.addUser(person("bob"));
  },
);

test(
  "a move that another run took over is not made, and leaves the writers to that run",
  async (at, { store }) => {
    await using raw = await rawBucket(server.url, at.nats.bucket);
    const other = { journey: "0".repeat(32), node: "n1", at: "later" };
    const takeOver = async () => {
      const { marker, revision } = await readMarker(raw.bucket, soon());
      await writeMarker(raw.bucket, { ...marker!, shrink: other }, revision, soon());
    };
    const blobs = { copy: async () => {}, freeze: takeOver, thaw: async () => {} };
    const move = shrinkStore(store, { ...toN1(at), blobs });
    await assert.rejects(move, failure("conflict"));
    assert.equal(store.backend, "jetstream");
    assert.equal(roleIn(at.db), null);
    const { mark, takesWrites } = await bucketOf(at);
    assert.deepEqual([mark!.shrink, takesWrites], [other, false]);
    assert.equal(await callOffShrink(at.nats), true);
    await store.addUser(person("bob"));
  },
);

test(
  "a record that a server still took after all writers were stopped is in the file: the switch is tried again",
  async (at, it) => {
    await it.store.close();
    await using raw = await rawBucket(server.url, at.nats.bucket);
    const { nc, stream } = raw.bucket;
    const late = person("late");
    const connection = interposed(nc, (text) => text.includes('"moved":'), {
      before: async () => {
        await updateStream(nc, stream, { subjects: [raw.bucket.subject(">")] }, {
          deadline: soon(),
        });
        await using other = await openJetStream(at.nats);
        await other.addUser(late);
        await updateStream(nc, stream, { subjects: [raw.bucket.subject("meta.>")] }, {
          deadline: soon(),
        });
      },
    });
    const { servers: _, ...nats } = at.nats;
    const { store } = await openFollowed({ ...nats, connection, follower: at.follower });
    try {
      const once = { ...toN1(at), attempts: 1 };
      await assert.rejects(shrinkStore(store, once), (error: StoreError) => {
        assert.match(error.message, /called off: it waited for the answer to the mark/);
        assert.equal(error.hint, undefined);
        return failure("unavailable")(error);
      });
      // Others may have the second copy open again.
      assert.ok(usersIn(at.follower).length > 0);
      await shrinkStore(store, toN1(at));
      assert.equal(await whoServes(at, [ada.signPub, late.signPub]), "file");
    } finally {
      await store.close();
    }
  },
);

test("a move is called off by its signal, up to the mark", async (at, { store }) => {
  for (const phase of ["check", "begin", "freeze", "follow"]) {
    const ending = new AbortController();
    const move = shrinkStore(store, {
      ...toN1(at),
      signal: ending.signal,
      onProgress: (it) => it.phase === phase && ending.abort(),
    });
    await assert.rejects(move, failure("aborted"), phase);
    await store.addUser(person(phase));
  }
  const ending = new AbortController();
  await shrinkStore(store, {
    ...toN1(at),
    signal: ending.signal,
    onProgress: (it) => it.phase === "finish" && ending.abort(),
  });
  assert.equal(store.backend, "sqlite");
});

for (const [step, seconds] of [["mark", 2], ["mark", 13], ["begin", 13]] as const) {
  Deno.test(`a server that stands still for ${seconds} s before the step ${step}: one side has the control plane`, async () => {
    await using own = await testServer();
    await withPlace(own.url, async (at) => {
      await using it = await open(at);
      await it.store.addUser({ ...ada, role: "admin" });
      let stood = false;
      const report = await shrinkStore(it.store, {
        db: at.db,
        node: "n1",
        onProgress({ phase }) {
          if (phase !== step || stood) return;
          stood = true;
          process.kill(own.pid, "SIGSTOP");
          setTimeout(() => process.kill(own.pid, "SIGCONT"), seconds * 1000);
        },
      });
      assert.ok(report.attempts <= 3);
      assert.equal(await whoServes(at, [ada.signPub]), "file");
      assert.equal(await it.store.isAuthorized(ada.signPub), true);
    });
  });
}

test(
  "a follower that was changed after the mark is not made the control plane; nobody serves",
  async (at, { store }) => {
    const move = shrinkStore(store, {
      ...toN1(at),
      onProgress({ phase }) {
        if (phase !== "flip") return;
        const db = new DatabaseSync(at.follower);
        db.exec(`UPDATE follower SET digest = '${"0".repeat(32)}'`);
        db.close();
      },
    });
    await assert.rejects(move, failure("mismatch"));
    assert.equal(await store.isAuthorized(ada.signPub), false);
    await assert.rejects(store.getUser(ada.signPub), failure("refused", "moved"));
    await assert.rejects(store.addUser(person("bob")), failure("refused", "moved"));
    await assert.rejects(finishShrink({ ...at, node: "n1" }), failure("mismatch"));
    assert.equal(roleIn(at.db), null);
  },
);

test("finishing or calling off a move out of a bucket that does not exist makes none", async (at) => {
  const nats = { ...at.nats, bucket: "NONE" };
  await assert.rejects(finishShrink({ ...at, nats, node: "n1" }), failure("not_found"));
  await assert.rejects(callOffShrink(nats), failure("not_found"));
});

test("a dry run changes nothing", async (at, { store, follower }) => {
  const report = await shrinkStore(store, { ...toN1(at), dryRun: true });
  assert.ok(report.dryRun && report.position > 0 && report.digest.length === 32);
  assert.equal((await bucketOf(at)).mark, null);
  // Writers go on, and others read the file.
  await store.addUser(person("bob"));
  await follower.whenExact();
  assert.equal(usersIn(at.follower).length, 2);
  assert.equal(store.backend, "jetstream");
});

test("a move is refused where another file is, and without a directory", async (at, it) => {
  await using primary = openSqlite(join(at.dir, "p.db"));
  await primary.addUser(ada);
  await refused(at, it, "refused", "db", { db: join(at.dir, "p.db") });
  await refused(at, it, "refused", "db", { db: join(at.dir, "none", "unibus.db") });
  await refused(at, it, "refused", "db", { db: at.follower });
  await refused(at, it, "refused", "db", { db: "/dev/shm/unibus-test.db" });
});

test("a move is refused when the follower lacks invalid records", async (at, it) => {
  await using raw = await rawBucket(server.url, at.nats.bucket);
  await raw.put(`users.${"0".repeat(64)}`, `{"v":1,"handle":7}`);
  await refused(at, it, "refused", "quarantined");
});

test("a move is refused when the follower's file was damaged", async (at, it) => {
  await it.store.addUser(person("bob"));
  await it.store.revokeUser(person("bob").signPub);
  await it.follower.whenExact();
  const db = new DatabaseSync(at.follower);
  db.exec("UPDATE users SET status = 'active', revoked_at = NULL");
  db.close();
  await refused(at, it, "corrupt", undefined);
});

test("a move is refused when the follower has an alarm", async (at, it) => {
  await it.store.addUser(person("bob"));
  await it.follower.whenExact();
  await using raw = await rawBucket(server.url, at.nats.bucket);
  await raw.api("PURGE", { filter: raw.bucket.subject(`users.${person("bob").signPub}`) });
  while (it.follower.alarm === null) await pause(20);
  await assert.rejects(shrinkStore(it.store, toN1(at)), failure("corrupt"));
  assert.equal((await bucketOf(at)).takesWrites, true);
});

test(
  "a move is refused for a store without a follower, one in a file, and one that moved",
  async (at, it) => {
    await using alone = await openJetStream(at.nats);
    await assert.rejects(
      shrinkStore(alone, toN1(at)),
      failure("invalid", "store"),
    );
    await shrinkStore(it.store, toN1(at));
    await assert.rejects(
      shrinkStore(it.store, toN1(at)),
      failure("invalid", "store"),
    );
  },
);

test("a move is refused while a move of another node has begun", async (at, { store }) => {
  await using raw = await rawBucket(server.url, at.nats.bucket);
  const shrink = { journey: "0".repeat(32), node: "n9", at: "now" };
  const { revision } = await readMarker(raw.bucket, soon());
  await writeMarker(
    raw.bucket,
    { state: "complete", by: "journey", source: null, startedAt: "now", shrink },
    revision,
    soon(),
  );
  await assert.rejects(shrinkStore(store, toN1(at)), failure("in_progress"));
  await shrinkStore(store, { ...toN1(at), node: "n9" });
});

test(
  "the file of a control plane that moved away becomes the backup, also with its log",
  async (at, { store }) => {
    const was = openSqlite(at.db);
    await was.close();
    const db = new DatabaseSync(at.db);
    db.prepare("UPDATE file_role SET role = 'moved', place = ?").run(
      JSON.stringify({ version: 1, bucket: at.nats.bucket, servers: [], at: "now" }),
    );
    db.close();
    const report = await shrinkStore(store, toN1(at));
    assert.equal(roleIn(report.backup!)!.role, "moved");
    assert.equal(roleIn(at.db)!.role, "primary");
  },
);
