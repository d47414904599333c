import assert from "node:assert/strict";
import process from "node:process";
import { followStore, openJetStream } from "../../mod.ts";
import { writeUsers } from "./fill.ts";
import { testServer } from "../helpers/nats.ts";
import { Child, inDir, person } from "../helpers/sqlite.ts";
import { digestOf, rowsOf } from "./kit.ts";

const CHILD = new URL("./child.ts", import.meta.url).pathname;

interface State {
  role: "apply" | "read";
  position: number;
  exact: boolean;
  failure: string | null;
}

/** The first state that a child prints of which something holds. */
async function when(child: Child, holds: (state: State) => boolean): Promise<State> {
  for (;;) {
    const state: State = JSON.parse(await child.line());
    if (holds(state)) return state;
  }
}

/** The digest of a file that is loaded now. */
async function freshDigest(servers: string, db: string): Promise<string> {
  await using follower = await followStore({ nats: { servers }, db });
  return (await follower.whenExact()).digest;
}

Deno.test({
  name: "a full disk stops only the follower; when there is room again it catches up",
  ignore: Deno.build.os !== "linux",
  fn: () =>
    inDir(async (dir) => {
      await using server = await testServer();
      await using store = await openJetStream({ servers: server.url });
      await store.addUser(person("ada"));
      const db = `${dir}/f.db`;
      // In blocks of 512 bytes.
      const wrap = ["sh", "-c", `trap '' XFSZ; ulimit -S -f 600; exec "$0" "$@"`];
      await using child = new Child([server.url, db], { script: CHILD, wrap });
      const { pid } = JSON.parse(await child.line());
      await when(child, ({ exact }) => exact);
      await writeUsers(server.url, 3000);
      const { failure, position } = await when(child, (it) => it.failure !== null);
      assert.match(failure!, /f\.db/);
      // What is in the file is one moment of the bucket.
      assert.equal(rowsOf(db, "follower")[0]!.digest, digestOf(db));
      assert.equal(await store.isAuthorized(person("ada").signPub), true);
      const lifted = await new Deno.Command("prlimit", {
        args: ["--pid", String(pid), "--fsize=unlimited"],
      }).output();
      assert.equal(lifted.code, 0);
      await when(child, (it) => it.failure === null && it.exact && it.position > position + 3000);
      assert.equal(digestOf(db), await freshDigest(server.url, `${dir}/g.db`));
    }),
});

Deno.test("an applier that stands still keeps its file, and continues without a loss", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const nats = { servers: server.url };
    await using store = await openJetStream(nats);
    for (let i = 0; i < 50; i++) await store.addUser(person(i));
    const db = `${dir}/f.db`;
    await using child = new Child([server.url, db], { script: CHILD });
    const { pid } = JSON.parse(await child.line());
    await when(child, ({ exact }) => exact);
    await using reader = await followStore({ nats, db });
    process.kill(pid, "SIGSTOP");
    // The server forgets its consumer meanwhile.
    const seconds = Number(Deno.env.get("UNIBUS_LONG") ?? 0) > 0 ? 60 : 3;
    const end = Date.now() + seconds * 1000;
    while (Date.now() < end) {
      for (let i = 0; i < 50; i++) await store.revokeUser(person(i).signPub);
      for (let i = 0; i < 50; i++) await store.restoreUser(person(i).signPub);
    }
    for (let i = 0; i < 25; i++) await store.deleteUser(person(i).signPub);
    assert.equal(reader.state().role, "read");
    process.kill(pid, "SIGCONT");
    const { role, entries, alarm } = await reader.whenExact();
    assert.deepEqual([role, entries, alarm], ["read", 25, null]);
    assert.equal(digestOf(db), await freshDigest(server.url, `${dir}/g.db`));
  }));
