/** Lists that are searched, filtered, sorted and counted, the same from both backends. */

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import {
  openJetStream,
  openSqlite,
  type Store,
  type StoreRecord,
  type User,
} from "../../../mod.ts";
import { compareText } from "../../../src/core/order.ts";
import { backends } from "../../helpers/backends.ts";
import { testServer } from "../../helpers/nats.ts";
import { failsWith, hex, inDir, newRoom, person } from "../../helpers/sqlite.ts";
import { until } from "../../cli/serve/kit.ts";
import { isProblem, type Someone, type TestPlane, testPlane } from "../kit.ts";

const HANDLES = [
  "ada",
  "Ada",
  "bob",
  "Zoë",
  "zoe\u0308",
  "ﬁona",
  "100% sure",
  "under_score",
  "a\\b",
];

/** Users of every role and status. */
function users(n: number): StoreRecord[] {
  const records = Array.from({ length: n }, (_, i): StoreRecord => {
    const status = i % 5 === 2 ? "revoked" : "active";
    const createdAt = new Date(Date.UTC(2026, 0, 1 + (i * 7) % 50)).toISOString();
    return {
      kind: "users",
      record: {
        signPub: hex(`user ${i}`),
        kexPub: hex(`kex ${i}`),
        handle: HANDLES[i] ?? `host ${i % 40}`,
        role: i % 11 === 1 ? "admin" : "user",
        status,
        createdAt,
        revokedAt: status === "revoked" ? createdAt : null,
      },
    };
  });
  const keyOf = (it: StoreRecord) => (it.record as User).signPub;
  return records.sort((a, b) => compareText(keyOf(a), keyOf(b)));
}

/** All that a query finds, over its pages, and the answers. */
async function all(it: TestPlane, as: Someone, path: string) {
  // deno-lint-ignore no-explicit-any
  const pages: any[] = [];
  for (let after = ""; pages.length < 500;) {
    const { status, json, text } = await it.ask(`GET ${path}${after}`, { as });
    assert.equal(status, 200, text);
    pages.push(json);
    if (json.next === null) break;
    after = `&after=${encodeURIComponent(json.next)}`;
  }
  return { pages, items: pages.flatMap(({ items }) => items) };
}

const lower = (text: string) => text.replace(/[A-Z]/g, (it) => it.toLowerCase());

for (const [name, withStores] of Object.entries(backends(true))) {
  Deno.test(`${name}: users come sorted, filtered and counted, on pages of any size`, () =>
    withStores(async (store) => {
      await store.restore(users(200));
      await using it = await testPlane({ store });
      const admin = await it.user("admin");
      const everybody = (await store.listUsers()).items;
      const filters: [string, (it: User) => boolean][] = [
        ["", () => true],
        ["&role=admin", (it) => it.role === "admin"],
        ["&status=revoked", (it) => it.status === "revoked"],
        ["&role=user&status=active&search=HOST+1", (it) => {
          return it.role === "user" && it.status === "active" && it.handle.startsWith("host 1");
        }],
      ];
      const sorts = {
        key: (_: User) => "",
        handle: (it: User) => lower(it.handle),
        created: (it: User) => it.createdAt,
      };
      for (const [filter, fits] of filters) {
        for (const [sort, valueOf] of Object.entries(sorts)) {
          const wanted = everybody.filter(fits).sort((a, b) =>
            compareText(valueOf(a), valueOf(b)) || compareText(a.signPub, b.signPub)
          );
          for (const [order, limit] of [["asc", 7], ["desc", 50]] as const) {
            const query = `sort=${sort}&order=${order}&limit=${limit}&total=true${filter}`;
            const { pages, items } = await all(it, admin, `/v1/users?${query}`);
            assert.deepEqual(items, order === "asc" ? wanted : [...wanted].reverse(), query);
            const { pages: whole } = await all(
              it,
              admin,
              `/v1/users?sort=${sort}&limit=${wanted.length}${filter}`,
            );
            assert.equal(whole.length, 1, "no empty page comes last");
            for (const page of pages) {
              assert.equal(page.total, wanted.length, query);
              assert.equal(page.exact, name === "sqlite" ? undefined : true);
              assert.equal(typeof page.position, name === "sqlite" ? "undefined" : "number");
            }
          }
        }
      }
    }));

  Deno.test(`${name}: a search takes a text as it is written`, () =>
    withStores(async (store) => {
      await store.restore(users(60));
      await using it = await testPlane({ store });
      const admin = await it.user("admin");
      const find = async (text: string) => {
        const path = `/v1/users?sort=handle&search=${encodeURIComponent(text)}`;
        return (await all(it, admin, path)).items.map(({ handle }) => handle);
      };
      assert.deepEqual(await find("%"), ["100% sure"]);
      assert.deepEqual(await find("_"), ["under_score"]);
      assert.deepEqual(await find("\\"), ["a\\b"]);
      assert.deepEqual(await find("R_S"), ["under_score"]);
      assert.deepEqual((await find("ADA")).sort(), ["Ada", "ada"]);
      assert.deepEqual((await find("ZOË")).sort(), ["Zoë", "zoe\u0308"]);
      assert.deepEqual(await find("fiona"), ["ﬁona"]);
      for (const text of ["'", "' OR 1=1 --", '"', "*", "[a-z]", "?1", "a\u0001", "💩", "\ufdfa"]) {
        assert.deepEqual(await find(text), [], text);
      }
      for (
        const query of [
          "search=%00",
          "search=ada%00",
          `search=${"x".repeat(65)}`,
          "sort=sign_pub",
          "sort=handle;drop",
          "order=up",
          "total=yes",
          "sort=handle&after=zz",
          `sort=handle&after=${hex("user 1")}`,
          `sort=created&after=${Buffer.from('["2026",1]').toString("base64url")}`,
          `sort=created&after=${Buffer.from('["2026","x"]').toString("base64url")}`,
          `sort=handle&after=${
            Buffer.from(JSON.stringify(["x".repeat(2000), hex(1)])).toString("base64url")
          }`,
          "sort=key&after=x",
          "sort=handle&limit=0",
          "sort=handle&limit=10001",
          "member=1",
        ]
      ) isProblem(await it.ask(`GET /v1/users?${query}`, { as: admin }), 400, "invalid");
      assert.equal((await store.listUsers()).items.length, 61);
    }));

  Deno.test(`${name}: who lacks the current key of a room is found, and the rooms of these`, () =>
    withStores(async (store) => {
      await using it = await testPlane({ store });
      const admin = await it.user("admin");
      const [owner, bob, eve] = [await it.user(), await it.user(), await it.user()];
      const endpointOf = ({ signPub, kexPub }: Someone) => ({ endpoint: signPub, kexPub });
      const keys = (...of: Someone[]) =>
        of.map(({ signPub }) => ({ endpoint: signPub, sealedKey: new Uint8Array(80) }));
      const make = (id: string, encrypted = true) =>
        store.createRoom({
          id,
          subject: `room.${id}`,
          encrypted,
          owner: endpointOf(owner),
          members: [endpointOf(bob)],
          ...encrypted && { sealedKeys: keys(owner, bob) },
        });
      await make("ops");
      await make("lounge");
      await make("clear", false);
      const found = async (path: string) => {
        const { items } = await all(it, admin, path);
        return items.map((it) => it.id ?? it.signPub).sort();
      };
      const users = (lacking: boolean) => found(`/v1/users?lacking=${lacking}`);
      const rooms = (lacking: boolean) => found(`/v1/rooms?all=true&lacking=${lacking}`);
      const everybody = [admin, owner, bob, eve].map((it) => it.signPub).sort();
      assert.deepEqual([await users(true), await rooms(true)], [[], []]);
      assert.deepEqual(await users(false), everybody);
      // Without a key in two rooms, one of which has no keys at all.
      await store.addMember("ops", endpointOf(eve));
      await store.addMember("clear", endpointOf(eve));
      assert.deepEqual([await users(true), await rooms(true)], [[eve.signPub], ["ops"]]);
      assert.deepEqual(await rooms(false), ["clear", "lounge"]);
      assert.deepEqual(await users(false), everybody.filter((it) => it !== eve.signPub));
      // A key of an earlier epoch does not count.
      await store.rekeyRoom("ops", { epoch: 2, sealedKeys: keys(owner, bob, eve) });
      assert.deepEqual([await users(true), await rooms(true)], [[], []]);
      const path = "GET /v1/users?role=user&lacking=false&total=true";
      assert.equal((await it.ask(path, { as: admin })).json.total, 3);
      isProblem(await it.ask("GET /v1/users?lacking=1", { as: admin }), 400, "invalid");
      isProblem(await it.ask("GET /v1/rooms?lacking=true", { as: admin }), 400, "invalid");
    }));

  Deno.test(`${name}: pages go on where they were while users come and go`, () =>
    withStores(async (store) => {
      await store.restore(users(120));
      await using it = await testPlane({ store });
      const admin = await it.user("admin");
      const before = (await store.listUsers()).items.map(({ signPub }) => signPub);
      for (const sort of ["key", "handle", "created"]) {
        const seen: string[] = [];
        let after = "";
        for (let i = 0;; i++) {
          const query = `sort=${sort}&limit=10${after}`;
          const { json } = await it.ask(`GET /v1/users?${query}`, { as: admin });
          seen.push(...json.items.map(({ signPub }: User) => signPub));
          if (json.next === null) break;
          after = `&after=${json.next}`;
          // Also the one that the cursor names.
          const { signPub, kexPub, handle } = json.items.at(-1);
          if (signPub !== admin.signPub) {
            await store.deleteUser(signPub, { force: true });
            await store.addUser({ ...person(`${sort} ${i}`), handle: `host ${i}` });
            await store.addUser({ signPub, kexPub, handle });
          }
        }
        for (const signPub of before) assert.ok(seen.includes(signPub), `${sort} ${signPub}`);
      }
    }));

  Deno.test(`${name}: rooms are found by part of their id and by member, for admins only`, () =>
    withStores(async (store) => {
      await using it = await testPlane({ store });
      const [admin, user] = [await it.user("admin"), await it.user()];
      for (let i = 0; i < 30; i++) {
        const { owner, ...room } = newRoom(
          `${i % 2 ? "Ops" : "büro"}-${String(i).padStart(2, "0")}`,
        );
        await store.createRoom({
          ...room,
          owner,
          members: i % 3 === 0
            ? [...room.members, {
              endpoint: user.signPub,
              kexPub: user.kexPub,
              accepted: i % 2 === 0,
            }]
            : room.members,
          encrypted: false,
          sealedKeys: [],
        });
      }
      const ids = async (query: string) => {
        const { pages, items } = await all(
          it,
          admin,
          `/v1/rooms?all=true&total=true&limit=4${query}`,
        );
        assert.equal(pages[0].total, items.length, query);
        return items.map(({ id }) => id as string);
      };
      const every = (await store.listRooms()).items.map(({ id }) => id);
      const created = (await store.listRooms()).items.sort((a, b) =>
        compareText(a.createdAt, b.createdAt) || compareText(a.id, b.id)
      ).map(({ id }) => id);
      assert.deepEqual(await ids(""), every);
      assert.deepEqual(await ids("&order=desc"), [...every].reverse());
      assert.deepEqual(await ids("&sort=created"), created);
      assert.deepEqual(await ids("&sort=created&order=desc"), [...created].reverse());
      assert.deepEqual(await ids("&search=ops-0"), every.filter((it) => it.startsWith("Ops-0")));
      assert.deepEqual(await ids("&search=B%C3%9CRO"), every.filter((it) => it.startsWith("b")));
      assert.deepEqual(await ids("&search=%25"), []);
      const own = (await store.listRoomsForEndpoint(user.signPub)).items.map(({ id }) => id);
      const offers = (await store.listRoomsForEndpoint(user.signPub, { accepted: false })).items;
      assert.equal(own.length, 10);
      assert.deepEqual(await ids(`&member=${user.signPub}`), own);
      assert.deepEqual(
        await ids(`&member=${user.signPub.toUpperCase()}&accepted=false`),
        offers.map(({ id }) => id),
      );
      assert.deepEqual(
        await ids(`&member=${user.signPub}&search=ops`),
        own.filter((it) => it.startsWith("O")),
      );
      assert.deepEqual(await ids(`&member=${hex("nobody")}`), []);
      for (const query of ["search=a", "sort=created", "total=true", `member=${user.signPub}`]) {
        isProblem(await it.ask(`GET /v1/rooms?all=true&${query}`, { as: user }), 403, "forbidden");
        isProblem(await it.ask(`GET /v1/rooms?${query}`, { as: user }), 400, "invalid");
        isProblem(await it.ask(`GET /v1/rooms?all=true&${query}`), 401, "unauthenticated");
      }
      isProblem(await it.ask("GET /v1/users?sort=handle", { as: user }), 403, "forbidden");
      isProblem(
        await it.ask("GET /v1/rooms?all=true&accepted=true", { as: admin }),
        400,
        "invalid",
        "accepted",
      );
    }));

  Deno.test(`${name}: a search sees what was written before it, beside writers`, () =>
    withStores(async (store) => {
      await using it = await testPlane({ store });
      const admin = await it.user("admin");
      await Promise.all(Array.from({ length: 8 }, async (_, writer) => {
        for (let i = 0; i < 10; i++) {
          const body = person(`${writer} of ${i}`);
          assert.equal((await it.ask("POST /v1/users", { as: admin, body })).status, 201);
          const path = `/v1/users?search=${encodeURIComponent(body.handle)}&total=true`;
          const { json } = await it.ask(`GET ${path}`, { as: admin });
          assert.deepEqual([json.total, json.items[0]?.signPub], [1, body.signPub]);
        }
      }));
      const { json } = await it.ask("GET /v1/users?total=true&limit=1", { as: admin });
      assert.equal(json.total, 81);
    }));
}

Deno.test("without a follower a store in JetStream lists, and says that it cannot search", async () => {
  await using server = await testServer();
  await using store = await openJetStream({ servers: server.url });
  await using it = await testPlane({ store });
  const admin = await it.user("admin");
  for (const query of ["search=a", "role=admin", "sort=handle", "total=true", "order=desc"]) {
    const answer = await it.ask(`GET /v1/users?${query}`, { as: admin });
    isProblem(answer, 400, "unsupported");
    assert.match(answer.json.hint, /--follower/);
  }
  isProblem(await it.ask("GET /v1/rooms?all=true&search=a", { as: admin }), 400, "unsupported");
  assert.equal((await it.ask("GET /v1/users?limit=1", { as: admin })).json.items.length, 1);
  assert.equal((await it.ask("GET /v1/rooms?all=true", { as: admin })).status, 200);
  assert.equal((await it.ask("GET /v1/status", { as: admin })).json.search, false);
});

/** A store with a follower, and its file as another program writes it. */
async function withFile(
  work: (it: TestPlane, admin: Someone, write: (sql: string) => void) => Promise<void>,
): Promise<void> {
  await inDir(async (dir) => {
    await using server = await testServer();
    await using store: Store = await openJetStream({
      servers: server.url,
      follower: `${dir}/f.db`,
    });
    await using it = await testPlane({ store });
    const admin = await it.user("admin");
    await until(async () => (await store.search!.users()).items.length === 1, "the follower");
    await work(it, admin, (sql) => {
      const db = new DatabaseSync(`${dir}/f.db`, { timeout: 60_000 });
      db.exec(sql);
      db.close();
    });
  });
}

Deno.test("an answer says where the follower was, and whether it was exact", () =>
  withFile(async (it, admin, write) => {
    const ask = async () => (await it.ask("GET /v1/users?total=true", { as: admin })).json;
    const { position, exact } = await ask();
    assert.ok(position > 0 && exact, `${position}`);
    write("UPDATE follower SET exact = 0, position = 1");
    assert.deepEqual([(await ask()).exact, (await ask()).position], [false, 1]);
    assert.equal((await it.ask("GET /v1/status", { as: admin })).json.search, true);
  }));

Deno.test("a follower with an alarm finds nothing", () =>
  withFile(async (it, admin, write) => {
    write("UPDATE follower SET alarm = '{}'");
    await failsWith("corrupt", () => it.store.search!.users());
    const { status } = await it.ask("GET /v1/users?total=true", { as: admin });
    assert.ok(status >= 500, `${status}`);
    write("DELETE FROM follower");
    await failsWith("unavailable", () => it.store.search!.rooms());
  }));

Deno.test("rooms in the middle of a large change are found when readers see them", () =>
  withFile(async (it, admin, write) => {
    for (const id of ["creating", "deleting", "rekeying", "quiet"]) {
      await it.store.createRoom(newRoom(id));
    }
    const path = "/v1/rooms?all=true&total=true";
    assert.equal((await it.ask(`GET ${path}`, { as: admin })).json.total, 4);
    write(`INSERT INTO follower_pending VALUES ('creating', 'create'), ('deleting', 'delete'),
      ('rekeying', 'rekey')`);
    const { json } = await it.ask(`GET ${path}`, { as: admin });
    assert.deepEqual(json.items.map(({ id }: { id: string }) => id), ["quiet", "rekeying"]);
    assert.equal(json.total, 2);
  }));

Deno.test("a search goes over many users without holding up anything else", () =>
  inDir(async (dir) => {
    await using store = openSqlite(`${dir}/a.db`);
    await store.restore(Array.from({ length: 60_000 }, (_, i): StoreRecord => ({
      kind: "users",
      record: {
        signPub: `5${i.toString(16).padStart(63, "0")}`,
        kexPub: hex("kex"),
        // Each letter becomes eighteen when it is compared.
        handle: "\ufdfa".repeat(64),
        role: "user",
        status: "active",
        createdAt: "2026-11-20T08:00:00.000Z",
        revokedAt: null,
      },
    })));
    let turns = 0;
    const timer = setInterval(() => turns++, 5);
    assert.deepEqual((await store.search!.users({ search: "q" })).items, []);
    clearInterval(timer);
    assert.ok(turns >= 5, `${turns} turns`);
  }));

Deno.test("a store that is closed, in memory or locked by one process searches as others do", () =>
  inDir(async (dir) => {
    for (
      const [path, options] of [[":memory:", {}], [`${dir}/a.db`, { exclusive: true }]] as const
    ) {
      const store = openSqlite(path, options);
      await store.addUser(person("ada"));
      const query = { search: "ADA", sort: "handle", total: true } as const;
      const found = await store.search!.users(query);
      assert.deepEqual([found.total, found.items[0]?.handle], [1, "user ada"]);
      await store.addUser({ ...person("bob"), handle: "bob of ada" });
      assert.equal((await store.search!.users(query)).total, 2);
      await store.close();
      await failsWith("closed", () => store.search!.users());
    }
    const store = openSqlite(`${dir}/b.db`);
    await store.search!.users();
    await store.close();
    await failsWith("closed", () => store.search!.users());
    // The last to let go of the file puts the log away.
    assert.deepEqual([...Deno.readDirSync(dir)].map(({ name }) => name).sort(), ["a.db", "b.db"]);
  }));
