/** What a server does with the history: signs its head, keeps it for a time, and alarms. */

import assert from "node:assert/strict";
import { hostname } from "node:os";
import { openSqlite, verifyHistory } from "../../../mod.ts";
import { startSigning } from "../../../cli/serve/history/sign.ts";
import { Undo } from "../../../cli/serve/undo.ts";
import type { Settings } from "../../../cli/settings/settings.ts";
import { sourceOf } from "../../../src/core/history/source.ts";
import { switchOf } from "../../../src/core/store/switching.ts";
import { isSigned, nodeName } from "../../../src/history/heads.ts";
import { createNkey, signPubOf } from "../../../src/keys/nkey.ts";
import { loadServiceKeys } from "../../../src/nats/connection/service_keys.ts";
import { change, raw } from "../../history/kit.ts";
import { inDir, person } from "../../helpers/sqlite.ts";
import { cli } from "../kit.ts";
import { daemon, until } from "../serve/kit.ts";

const DAY_MS = 24 * 3600 * 1000;
const user = (name: string) => ({ ...person(name), role: "user" as const });

Deno.test("a server signs the head when it starts and when it stops, and alarms if an entry is gone", () =>
  inDir(async (dir) => {
    const path = `${dir}/a.db`;
    const signed = async () => {
      await using store = openSqlite(path, { readOnly: true });
      const source = sourceOf(switchOf(store).current);
      return { heads: await source.heads(), end: await source.head() };
    };
    {
      await using server = await daemon(dir);
      const { signPub, kexPub } = person("ada");
      const keys = ["--sign-pub", signPub, "--kex-pub", kexPub];
      const added = await cli(["user", "add", "--handle", "ada", ...keys, "--db", path]);
      assert.equal(added.code, 0, added.stderr);
      assert.equal((await server.stop()).code, 0);
    }
    const { heads, end } = await signed();
    const { service } = await loadServiceKeys(`${dir}/service-keys.json`);
    assert.equal(heads.length, 1);
    const [head] = heads;
    assert.ok(isSigned(head!));
    assert.deepEqual(
      [head!.node, head!.revision, head!.head, head!.key],
      [nodeName(hostname()), end.revision, end.head, signPubOf(service.publicKey)],
    );
    const verified = await cli(["log", "verify", "--db", path]);
    assert.equal(verified.code, 0, verified.stderr);
    assert.match(verified.stdout, /^head of \S+ at \S+, revision 0\.1: equal\n/);
    // Changed while no server ran.
    {
      await using store = openSqlite(path);
      await store.addUser(user("bob"));
    }
    {
      await using server = await daemon(dir);
      await until(async () => (await signed()).heads[0]!.revision === "0.2", "head");
      await server.stop("SIGKILL");
    }
    raw(path, (db) => db.exec("DELETE FROM history WHERE number = 2"));
    await using server = await daemon(dir);
    const { level, reason, hint } = await server.event("history.changed");
    assert.equal(level, "error");
    assert.match(String(reason.message ?? reason), /revision 0\.2 is missing/);
    assert.match(hint, /log verify/);
  }));

Deno.test("the head is signed again only after a change, and by nobody without a key or a history", () =>
  inDir(async (dir) => {
    await using store = openSqlite(`${dir}/a.db`);
    const source = sourceOf(switchOf(store).current);
    const key = createNkey("user");
    const settings = { history: true, serverName: null } as Settings;
    const log = () => {};
    const begin = (
      parts: { history?: boolean; serviceKey?: typeof key | null; node?: string | null } = {},
    ) => {
      const { history = true, serviceKey = key, node = "n1" } = parts;
      const undo = new Undo();
      const around = { settings: { ...settings, history }, log, undo };
      startSigning(around, { serviceKey, node }, store, 20);
      return { end: () => undo.end(log) };
    };
    const signer = begin();
    await change(store, 0, 1);
    const at = async () => (await source.heads())[0]?.revision ?? null;
    const isNew = async () => await at() === (await source.head()).revision;
    await until(isNew, "head");
    const [first] = await source.heads();
    await change(store, 1, 1);
    await until(isNew, "second head");
    assert.notEqual((await source.heads())[0]!.revision, first!.revision);
    await signer.end();
    await begin().end();
    const before = await source.heads();
    await begin().end();
    assert.deepEqual(await source.heads(), before);
    await change(store, 2, 1);
    await begin({ serviceKey: null }).end();
    await begin({ history: false }).end();
    assert.deepEqual(await source.heads(), before);
    // A name that the nats-server made for itself is another one after each start.
    await begin({ node: `N${"A".repeat(55)}` }).end();
    const names = (await source.heads()).map((it) => it.node);
    assert.deepEqual(names, ["n1", nodeName(hostname())].sort());
    assert.deepEqual((await verifyHistory(store)).problems, []);
  }));

Deno.test("a server with --store jetstream signs too, and its history is read and verified over NATS", () =>
  inDir(async (dir) => {
    const add = async (http: string, name: string) => {
      const { signPub, kexPub } = person(name);
      const body = JSON.stringify({ signPub, kexPub, handle: name, role: "user" });
      const headers = { "content-type": "application/json" };
      const answer = await fetch(`${http}/v1/users`, { method: "POST", body, headers });
      assert.equal(answer.status, 201, await answer.text());
    };
    const args = ["--store", "jetstream"];
    {
      await using server = await daemon(dir, args);
      await add(server.http, "ada");
      assert.equal((await server.stop()).code, 0);
    }
    await using server = await daemon(dir, args);
    await add(server.http, "bob");
    const keys = `${dir}/service-keys.json`;
    const run = async (...command: string[]) => {
      const nats = ["--nats-url", server.nats, "--service-keys", keys];
      const { code, stdout, stderr } = await cli([...command, ...nats]);
      assert.equal(code, 0, stderr);
      return stdout;
    };
    const lines = (await run("log", "--json")).trimEnd().split("\n").map((it) => JSON.parse(it));
    assert.deepEqual(lines.map((it) => [it.action, it.by]), [
      ["user.added", "http"],
      ["user.added", "http"],
    ]);
    await Deno.writeTextFile(`${dir}/kept.json`, await run("log", "head"));
    const verified = await run("log", "verify", "--head", `${dir}/kept.json`);
    assert.match(verified, /^kept head of .*: equal\nhead of \S+ at .*: equal\nequal: 2 entries/);
    const beside = ["--follower", `${dir}/follower.db`];
    const compare = ["log", "verify", ...beside, "--nats-url", server.nats, "--service-keys", keys];
    // The follower may take the second entry a moment later.
    await until(async () => /^equal: 2 entries/m.test((await cli(compare)).stdout), "the follower");
    assert.equal(await run("log", "prune", "--keep-rows", "1"), "removed 1 entry\n");
    assert.match(
      await run("log", "verify", "--head", `${dir}/kept.json`),
      /^equal: 2 entries after/m,
    );
    assert.match(await run("doctor"), /^ok +history /m);
  }));

Deno.test("a server removes what is older than --history-days and more than --history-rows", () =>
  inDir(async (dir) => {
    const path = `${dir}/a.db`;
    {
      const clock = () => new Date(Date.now() - 12 * DAY_MS);
      await using store = openSqlite(path, { clock });
      for (const name of ["a", "b", "c"]) await store.addUser(user(name));
    }
    {
      await using store = openSqlite(path);
      for (const name of ["d", "e", "f"]) await store.addUser(user(name));
    }
    const revisions = async () => {
      await using store = openSqlite(path, { readOnly: true });
      return (await store.history()).items.map((it) => it.revision);
    };
    {
      await using server = await daemon(dir, ["--history-days", "10"]);
      assert.equal((await server.event("history.pruned")).removed, 3);
    }
    assert.deepEqual(await revisions(), ["0.4", "0.5", "0.6", "0.7"]);
    {
      await using server = await daemon(dir, ["--history-rows", "2"]);
      assert.equal((await server.event("history.pruned")).removed, 2);
    }
    assert.deepEqual(await revisions(), ["0.6", "0.7", "0.8"]);
    await using store = openSqlite(path, { readOnly: true });
    const [pruned] = (await store.history({ newest: true, limit: 1 })).items;
    assert.deepEqual([pruned!.action, pruned!.by], ["history.pruned", "server"]);
    assert.deepEqual((await verifyHistory(store)).problems, []);
  }));

Deno.test("serve --no-history records nothing", () =>
  inDir(async (dir) => {
    {
      await using server = await daemon(dir, ["--no-history"]);
      const { signPub, kexPub } = person("ada");
      const body = JSON.stringify({ signPub, kexPub, handle: "ada", role: "user" });
      const headers = { "content-type": "application/json" };
      const answer = await fetch(`${server.http}/v1/users`, { method: "POST", body, headers });
      assert.equal(answer.status, 201, await answer.text());
      assert.equal((await server.stop()).code, 0);
    }
    await using store = openSqlite(`${dir}/a.db`);
    assert.deepEqual((await store.history()).items, []);
  }));
