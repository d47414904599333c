/**
 * The index of active admins: kept with the users, built where version 0.1 left none, and never a proof:
 * whatever it says, the last active admin stays.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { NatsConnection } from "@nats-io/transport-node";
import {
  importSnapshot,
  migrateKvToSqlite,
  migrateSqliteToKv,
  openJetStream,
  openSqlite,
} from "../../mod.ts";
import type { Store } from "../../src/core/store.ts";
import { BulkWriter } from "../../src/jetstream/log/bulk.ts";
import { openBucket } from "../../src/jetstream/mod.ts";
import { ADMINS_KEY, MARKER_KEY } from "../../src/jetstream/records/keys.ts";
import { diagnose } from "../../src/jetstream/repair/doctor.ts";
import { fails, outcomes } from "../conformance/kit/kit.ts";
import { rawBucket, userValue } from "../helpers/bad_records.ts";
import { interposed } from "../helpers/interposed.ts";
import { person } from "../helpers/sqlite.ts";
import {
  kvSnapshot,
  kvState,
  type Place,
  placeTests,
  populated,
  sqliteSnapshot,
} from "../move/kit.ts";

const test = placeTests();

type Nats = Place["nats"];
const [ada, bob, cy] = ["ada", "bob", "cy"].map((it) => person(it).signPub) as [
  string,
  string,
  string,
];
const admin = (name: string) => ({ ...person(name), role: "admin" as const });

/** Whom the index names. */
async function named(nats: Nats): Promise<string[]> {
  const entries = (await kvState(nats)).map((it) => it.split(" ")[0]!.split("."));
  const values = new Map((await kvState(nats)).map((it) => [it.split(" ")[0]!, it.split(" ")[2]]));
  return entries.filter(([space, name]) => space === "admins" && values.get(`admins.${name}`))
    .map(([, name]) => name!).sort();
}

/** Removes what version 0.1 does not know. */
async function forget(nats: Nats): Promise<void> {
  await using bucket = await rawBucket(nats);
  for (const name of await named(nats)) await bucket.put(`admins.${name}`, "");
  await bucket.put(ADMINS_KEY, "");
}

/** Writes a user as version 0.1 does: without the index. */
async function putUser(nats: Nats, signPub: string, values: object): Promise<void> {
  await using bucket = await rawBucket(nats);
  await bucket.put(`users.${signPub}`, userValue({ ...values }));
}

async function found(nats: Nats, repair = false) {
  const findings = await diagnose({ ...nats, repair });
  const { level, message, repaired } = findings.find((it) => it.check === "admins")!;
  return { level, message, repaired };
}

async function withStore(nats: Nats, work: (store: Store) => Promise<unknown>): Promise<void> {
  await using store = await openJetStream(nats);
  await work(store);
}

test("the index names the active admins, whatever makes one or takes it away", async ({ nats }) => {
  await using store = await openJetStream(nats);
  const now = async (...wanted: string[]) => assert.deepEqual(await named(nats), wanted.sort());
  await store.addUser(person("ada"));
  await now();
  await store.setUserRole(ada, "admin");
  await now(ada);
  await store.addUser(admin("bob"));
  await now(ada, bob);
  const { token } = await store.createInvite({ createdBy: "cli", role: "admin" });
  await store.consumeInvite(token, person("cy"));
  await now(ada, bob, cy);
  await store.revokeUser(bob);
  await now(ada, cy);
  await store.restoreUser(bob);
  await now(ada, bob, cy);
  await store.setUserRole(ada, "user");
  await now(bob, cy);
  await store.deleteUser(bob);
  await now(cy);
  await store.deleteUser(cy, { force: true });
  await now();
  assert.equal((await found(nats)).level, "ok");
});

test("without a cache an admin is revoked while another one is named, and the last one stays", async ({ nats }) => {
  await using store = await openJetStream(nats);
  await store.addUser(admin("ada"));
  await store.addUser(admin("bob"));
  await store.revokeUser(bob);
  for (
    const call of [store.revokeUser(ada), store.deleteUser(ada), store.setUserRole(ada, "user")]
  ) {
    await fails("last_admin", call);
  }
  await store.restoreUser(bob);
  await store.deleteUser(ada);
  await fails("last_admin", store.deleteUser(bob));
});

test("two admins who take each other's access at once: one stays, with an index and without", async ({ nats }) => {
  const at = Array.from({ length: 12 }, (_, i) => i);
  for (const round of at) {
    await withStore(
      nats,
      (store) => Promise.all(["a", "b"].map((it) => store.addUser(admin(`${it}${round}`)))),
    );
    if (round > 0) {
      await withStore(
        nats,
        (store) =>
          Promise.all(
            ["a", "b"].map((it) =>
              store.deleteUser(person(`${it}${round - 1}`).signPub, { force: true })
            ),
          ),
      );
    }
    if (round % 3 === 0) await forget(nats);
    const [a, b] = ["a", "b"].map((it) => person(`${it}${round}`).signPub) as [string, string];
    // No cache is loaded by these stores: both find the other in the bucket.
    await using here = await openJetStream(nats);
    await using there = await openJetStream(nats);
    const ends = await outcomes([here.revokeUser(a), there.setUserRole(b, "user")]);
    assert.deepEqual(ends.sort(), ["last_admin", "ok"], `round ${round}`);
  }
});

test("a bucket of version 0.1: the index is built once, when it is needed, by however many at once", async ({ nats }) => {
  await withStore(nats, async (store) => {
    for (const it of ["ada", "bob"]) await store.addUser(admin(it));
    for (const it of ["cy", "dee"]) await store.addUser(person(it));
  });
  await forget(nats);
  assert.deepEqual(await found(nats), {
    level: "ok",
    message: "The index of admins does not exist yet; it is built when needed",
    repaired: undefined,
  });
  await using one = await openJetStream(nats);
  await using two = await openJetStream(nats);
  const ends = await outcomes([one.revokeUser(ada), two.revokeUser(ada), two.revokeUser(cy)]);
  assert.deepEqual(ends, ["ok", "ok", "ok"]);
  assert.deepEqual(await named(nats), [bob]);
  assert.match((await found(nats)).message, /contains 1 active/);
  const marked = async () => {
    const { bucket, end } = await openBucket(nats);
    const entry = await bucket.get(ADMINS_KEY, Date.now() + 20_000);
    await end();
    return entry!.revision;
  };
  const before = await marked();
  await fails("last_admin", one.revokeUser(bob));
  await fails("last_admin", two.deleteUser(bob));
  assert.equal(await marked(), before, "built once");
});

test("a program of version 0.1 on the same bucket makes the rule refuse at worst; doctor says so and repairs", async ({ nats }) => {
  await withStore(nats, async (store) => {
    for (const it of ["ada", "bob"]) await store.addUser(admin(it));
    await store.revokeUser(bob);
    await fails("last_admin", store.revokeUser(ada));
    await store.restoreUser(bob);
  });
  // It revokes one whom the index goes on naming.
  await putUser(nats, bob, {
    role: "admin",
    status: "revoked",
    revokedAt: "2026-11-20T08:00:00.000Z",
  });
  assert.deepEqual(await named(nats), [ada, bob].sort());
  await withStore(nats, (store) => fails("last_admin", store.revokeUser(ada)));
  assert.match((await found(nats)).message, /has 0 missing and 1 extra entry/);
  // It promotes one whom the index does not name.
  await putUser(nats, cy, { role: "admin" });
  const { level, message } = await found(nats);
  assert.equal(level, "problem");
  assert.match(message, /has 1 missing and 1 extra entry/);
  await withStore(nats, (store) => fails("last_admin", store.revokeUser(ada)));
  // Whose cache is loaded knows better.
  assert.equal((await found(nats, true)).repaired, true);
  assert.deepEqual(await named(nats), [ada, cy].sort());
  assert.match((await found(nats)).message, /contains 2 active/);
  await withStore(nats, (store) => store.revokeUser(ada));
  await withStore(nats, (store) => fails("last_admin", store.revokeUser(cy)));
});

test("an admin whom version 0.1 made, alone: who is revoked without an entry has the index built", async ({ nats }) => {
  await withStore(nats, async (store) => {
    for (const it of ["ada", "bob"]) await store.addUser(admin(it));
    await store.revokeUser(bob);
    await fails("last_admin", store.revokeUser(ada));
  });
  await putUser(nats, bob, { role: "admin" });
  await putUser(nats, cy, { role: "admin" });
  await withStore(nats, (store) => store.deleteUser(ada, { force: true }));
  await using store = await openJetStream(nats);
  await store.revokeUser(bob);
  assert.deepEqual(await named(nats), [cy]);
});

test("a cache that is loaded finds an admin whom the index does not name", async ({ nats }) => {
  await withStore(nats, async (store) => {
    await store.addUser(admin("ada"));
    await fails("last_admin", store.revokeUser(ada));
  });
  await putUser(nats, cy, { role: "admin" });
  await using store = await openJetStream(nats);
  while (!(await store.health()).ok) await store.isAuthorized(cy);
  await store.revokeUser(ada);
});

test("hasAdmin() answers from the index before the cache is loaded, and knows whom it does not name", async ({ nats }) => {
  await withStore(nats, (store) => store.addUser(person("ada")));
  await withStore(nats, async (store) => assert.equal(await store.hasAdmin(), false));
  await putUser(nats, bob, { role: "admin" });
  await withStore(nats, async (store) => assert.equal(await store.hasAdmin(), true));
  await using bucket = await rawBucket(nats);
  await bucket.put(`admins.${ada}`, '{"v":1}');
  await putUser(nats, bob, {
    role: "admin",
    status: "revoked",
    revokedAt: "2026-11-20T08:00:00.000Z",
  });
  await withStore(nats, async (store) => assert.equal(await store.hasAdmin(), false));
});

test("more admins than one read of the server takes", async ({ nats }) => {
  const many = Array.from({ length: 1100 }, (_, i) => person(`admin ${i}`));
  const write = async (people: { signPub: string }[], values: Record<string, unknown>) => {
    const { bucket, end } = await openBucket(nats);
    const writer = new BulkWriter(bucket);
    for (const it of people) await writer.write(`users.${it.signPub}`, userValue(values));
    await writer.flush();
    await end();
  };
  await write([...many, person("ada")], { role: "admin" });
  await using store = await openJetStream(nats);
  await store.revokeUser(ada);
  assert.equal((await named(nats)).length, 1100);
  assert.match((await found(nats)).message, /contains 1100 active/);
  // All but one are gone, and the index goes on naming them.
  const [last, ...others] = many;
  await write(others, {});
  await fails("last_admin", store.revokeUser(last!.signPub));
  const other = others.at(-1)!.signPub;
  await putUser(nats, other, { role: "admin" });
  await store.revokeUser(last!.signPub);
});

test("a user's record that cannot be read makes nobody an admin, and hides no other", async ({ nats }) => {
  await withStore(nats, async (store) => {
    for (const it of ["ada", "bob", "cy"]) await store.addUser(admin(it));
  });
  await using bucket = await rawBucket(nats);
  await bucket.put(`users.${bob}`, "{");
  await withStore(nats, (store) => store.revokeUser(ada));
  await withStore(nats, (store) => fails("last_admin", store.revokeUser(cy)));
});

test("a move and a restore write the index; the file knows nothing of it", async ({ db, dir, nats }) => {
  await populated(db);
  await migrateSqliteToKv({ db, nats, backup: false });
  const admins = [person("ada").signPub, person("dee").signPub].sort();
  assert.deepEqual(await named(nats), admins);
  assert.match((await found(nats)).message, /contains 2 active/);
  const again = await migrateSqliteToKv({ db, nats, backup: false });
  assert.deepEqual([again.target, again.written, again.removed], ["repeated", 0, 0]);
  // A lost entry is a difference, and is written again.
  {
    await using bucket = await rawBucket(nats);
    await bucket.put(`admins.${admins[0]}`, "");
  }
  assert.equal((await migrateSqliteToKv({ db, nats, backup: false })).written, 1);
  const snapshot = await kvSnapshot(nats);
  const other = { ...nats, bucket: `${nats.bucket}_2` };
  await withStore(other, async (store) => {
    await importSnapshot(store, new Blob([snapshot]).stream());
  });
  assert.deepEqual(await named(other), admins);
  assert.match((await found(other)).message, /contains 2 active/);
  const back = `${dir}/back.db`;
  await migrateKvToSqlite({ db: back, nats: other });
  assert.equal(await sqliteSnapshot(back), snapshot);
});

test("a bucket that version 0.1 moved: the way back, a repeated move, and the rule, with no index", async ({ db, dir, nats }) => {
  await populated(db);
  await migrateSqliteToKv({ db, nats, backup: false });
  await forget(nats);
  const back = `${dir}/back.db`;
  await migrateKvToSqlite({ db: back, nats });
  assert.equal(await sqliteSnapshot(back), await kvSnapshot(nats));
  await withStore(nats, async (store) => {
    const dee = person("dee").signPub;
    await store.revokeUser(dee).then(() => store.restoreUser(dee));
  });
});

test("building the index is no change: a move that completed may be made again", async ({ db, nats }) => {
  {
    await using file = openSqlite(db);
    await file.addUser(admin("ada"));
  }
  await migrateSqliteToKv({ db, nats, backup: false });
  await forget(nats);
  await withStore(nats, (store) => fails("last_admin", store.revokeUser(ada)));
  assert.deepEqual(await named(nats), [ada]);
  const again = await migrateSqliteToKv({ db, nats, backup: false });
  assert.equal(again.target, "repeated");
});

test("an import by version 0.1, which brings users without entries, ends what the mark says", async ({ nats }) => {
  await withStore(nats, async (store) => {
    await store.addUser(admin("ada"));
    await fails("last_admin", store.revokeUser(ada));
  });
  await using bucket = await rawBucket(nats);
  await putUser(nats, bob, { role: "admin" });
  const marker = {
    v: 1,
    state: "complete",
    by: "import",
    source: null,
    startedAt: "2026-11-21T08:00:00.000Z",
  };
  await bucket.put(MARKER_KEY, JSON.stringify(marker));
  await withStore(nats, (store) => store.revokeUser(ada));
  assert.deepEqual(await named(nats), [bob]);
});

test("doctor names and removes entries that nobody stands for", async ({ nats }) => {
  await withStore(nats, (store) => store.addUser(admin("ada")));
  await using bucket = await rawBucket(nats);
  await bucket.put("admins.nobody", '{"v":1}');
  await bucket.put(`admins.${ada.toUpperCase()}`, '{"v":1}');
  assert.match((await found(nats)).message, /2 extra entries/);
  await diagnose({ ...nats, repair: true });
  assert.deepEqual(await named(nats), [ada]);
  assert.deepEqual((await diagnose(nats)).filter((it) => it.level === "problem"), []);
});

/** A store on a connection on which `then` happens right after `signPub` has been read. */
async function whenRead(
  nats: Nats,
  signPub: string,
  then: () => Promise<unknown>,
  work: (store: Store) => Promise<void>,
) {
  const { bucket, end } = await openBucket(nats);
  const when = (payload: string) =>
    payload.includes(`last_by_subj`) && payload.includes(`users.${signPub}`);
  const connection: NatsConnection = interposed(bucket.nc, when, { after: then });
  try {
    await using store = await openJetStream({ ...nats, connection });
    await work(store);
  } finally {
    await end();
  }
}

test("an admin who is revoked elsewhere in that moment is revoked already", async ({ nats }) => {
  await using other = await openJetStream(nats);
  await other.addUser(admin("ada"));
  const revoke = () => other.revokeUser(ada, { force: true });
  await whenRead(nats, ada, revoke, async (store) => {
    assert.equal((await store.revokeUser(ada)).status, "revoked");
  });
  assert.deepEqual(await named(nats), []);
});

test("consumeInvite() by a user who is deleted in that moment adds the user: the invite is not spent for nothing", async ({ nats }) => {
  await using other = await openJetStream(nats);
  await other.addUser(person("ada"));
  const { invite, token } = await other.createInvite({ createdBy: "cli" });
  let deleted = false;
  const remove = () => other.deleteUser(ada).then(() => void (deleted = true));
  await whenRead(nats, ada, remove, async (store) => {
    const user = await store.consumeInvite(token, { ...person("ada"), handle: "again" });
    assert.equal(user.handle, "again");
  });
  assert.ok(deleted);
  assert.equal((await other.getUser(ada)).handle, "again");
  assert.equal((await other.getInvite(invite.id)).usedBy, ada);
});

test("consumeInvite() of a registered key leaves the user as it is, and spends the invite", async ({ nats }) => {
  await using store = await openJetStream(nats);
  const before = await store.addUser(admin("ada"));
  const { invite, token } = await store.createInvite({ createdBy: "cli" });
  await fails("user_exists", store.consumeInvite(token, person("ada")));
  assert.deepEqual(await store.getUser(ada), before);
  assert.equal((await store.getInvite(invite.id)).usedBy, ada);
  assert.deepEqual(await named(nats), [ada]);
});
