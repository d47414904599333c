import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { openSqlite } from "../../src/sqlite/mod.ts";
import { Child, failsWith, inDir, newRoom, person } from "../helpers/sqlite.ts";
import { canMount, toolTest } from "../helpers/tools.ts";

/** Starts processes, lets them go on all at once, and returns what each says. */
async function together(...tasks: string[][]): Promise<string[]> {
  await using stack = new AsyncDisposableStack();
  const children = tasks.map((task) => stack.use(new Child(task)));
  for (const child of children) assert.equal(await child.line(), "ready");
  await Promise.all(children.map((child) => child.go()));
  return await Promise.all(children.map((child) => child.line()));
}

Deno.test("processes that open a fresh file at once all get one and the same store", async () => {
  await inDir(async (dir) => {
    for (let round = 0; round < 3; round++) {
      const task = ["open", `${dir}/new ${round}.db`];
      const ids = await together(task, task, task, task);
      assert.match(ids[0]!, /^[0-9a-f-]{36}$/);
      assert.equal(new Set(ids).size, 1, ids.join(" "));
    }
  });
});

Deno.test("two processes that write at once lose nothing, and each sees the other's", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/it.db`;
    await using store = openSqlite(path);
    assert.deepEqual(
      await together(["add", path, "left", "100"], ["add", path, "right", "100"]),
      ["added", "added"],
    );
    assert.equal((await store.listUsers()).items.length, 200);
    assert.ok(await store.isAuthorized(person("left 99").signPub));
  });
});

Deno.test("a token claimed 64 times by two processes is claimed once", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/it.db`;
    await using store = openSqlite(path);
    const { invite, token } = await store.createInvite({ createdBy: "cli" });
    const results = await together(["claim", path, token, "a"], ["claim", path, token, "b"]);
    const codes = results.flatMap((it) => JSON.parse(it) as [string, number][]);
    const total = (code: string) => codes.reduce((sum, [c, n]) => c === code ? sum + n : sum, 0);
    assert.deepEqual([total("done"), total("invite_used")], [1, 63]);
    const users = (await store.listUsers()).items;
    assert.equal(users.length, 1);
    assert.equal((await store.getInvite(invite.id)).usedBy, users[0]!.signPub);
  });
});

Deno.test("two processes that revoke the last two admins leave one", async () => {
  await inDir(async (dir) => {
    for (let round = 0; round < 3; round++) {
      const path = `${dir}/${round}.db`;
      await using store = openSqlite(path);
      const admins = [person("a"), person("b")];
      for (const it of admins) await store.addUser({ ...it, role: "admin" });
      const results = await together(...admins.map((it) => ["revoke", path, it.signPub]));
      assert.deepEqual(results.sort(), ["done", "last_admin"]);
      assert.equal(await store.hasAdmin(), true);
    }
  });
});

Deno.test("a file locked for too long is unavailable for writing, still read, and then usable", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/it.db`;
    await using store = openSqlite(path, { busyTimeout: 50 });
    const ada = person("ada");
    await store.addUser(ada);
    await using child = new Child(["lock", path]);
    assert.equal(await child.line(), "ready");
    const began = performance.now();
    await failsWith("unavailable", () => store.addUser(person("bob")), /locked/);
    await failsWith("unavailable", () => store.createRoom(newRoom("r")), /locked/);
    assert.ok(performance.now() - began >= 90, "it waited for busyTimeout");
    assert.equal(await store.isAuthorized(ada.signPub), true);
    assert.equal((await store.getUser(ada.signPub)).handle, ada.handle);
    await child.go();
    assert.equal(await child.line(), "closed");
    await store.addUser(person("bob"));
    await store.createRoom(newRoom("r"));
  });
});

Deno.test("a write waits for another process's, up to busyTimeout", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/it.db`;
    await (openSqlite(path)).close();
    // The waiting one blocks its process, so it is not this one.
    await using holder = new Child(["lock", path]);
    await using waiter = new Child(["add", path, "late", "1"]);
    assert.equal(await holder.line(), "ready");
    assert.equal(await waiter.line(), "ready");
    await waiter.go();
    await holder.go();
    assert.equal(await holder.line(), "closed");
    assert.equal(await waiter.line(), "added");
  });
});

Deno.test("a process killed while it holds the lock leaves a usable file", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/it.db`;
    await using store = openSqlite(path);
    await using child = new Child(["lock", path]);
    assert.equal(await child.line(), "ready");
    await child.kill();
    await store.addUser(person("ada"));
  });
});

Deno.test("isAuthorized() and hasAdmin() say no when the file cannot be read", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/it.db`;
    const ada = person("ada");
    await using store = openSqlite(path, { busyTimeout: 20 });
    await store.addUser({ ...ada, role: "admin" });
    assert.equal(await store.isAuthorized(ada.signPub), true);
    const vandal = new DatabaseSync(path);
    vandal.exec("DROP TABLE users");
    vandal.close();
    assert.equal(await store.isAuthorized(ada.signPub), false);
    assert.equal(await store.hasAdmin(), false);
    await failsWith("unavailable", () => store.getUser(ada.signPub));
  });
});

/** Ways to run out of room: a file size limit, which needs no rights, and a full file system. */
const FULL = {
  "a file size limit": (script: string) => ["sh", "-c", `trap '' XFSZ; ulimit -f 2000; ${script}`],
  "a full file system": (script: string, dir: string) => [
    "unshare",
    "-Urm",
    "sh",
    "-c",
    `mount -t tmpfs -o size=1m tmpfs ${dir} && ${script}`,
  ],
};

for (const [name, wrap] of Object.entries(FULL)) {
  const mounts = name === "a full file system";
  toolTest({
    name: `${name} makes a write unavailable, and all of it undone`,
    tools: mounts ? ["unshare"] : [],
    why: mounts && !canMount() ? "no user namespace can be made" : null,
    fn: () =>
      inDir(async (dir) => {
        const [program, ...args] = wrap('exec "$0" "$@"', dir);
        await using child = new Child(["fill", `${dir}/it.db`], { wrap: [program!, ...args] });
        assert.equal(await child.line(), "ready");
        await child.go();
        assert.deepEqual(JSON.parse(await child.line()), { code: "unavailable", whole: true });
      }),
  });
}
