/**
 * The examples, run as the docs say. `quickstart.ts` is a step of the gate by itself, `curl.sh` has
 * `http_curl_test.ts`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Memory } from "../../examples/custom_backend.ts";
import { openSqlite, verifySnapshot } from "../../mod.ts";
import { cardOf, createIdentity, exportIdentity, lockIdentity } from "../../src/client/mod.ts";
import { runConformance } from "../conformance/mod.ts";
import { newUser } from "../conformance/kit/kit.ts";
import { testServer } from "../helpers/nats.ts";
import { daemon, until } from "../cli/serve/kit.ts";
import { inDir } from "../helpers/sqlite.ts";

interface Running {
  said(): string;
  /** Writes to its stdin; `null` is the end of it. */
  type(text: string | null): Promise<void>;
  ended: Promise<number>;
  stop(): void;
}

/** Starts an example as a process. */
function start(name: string, args: string[], cwd?: string): Running {
  const script = fileURLToPath(new URL(`../../examples/${name}.ts`, import.meta.url));
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "-A", script, ...args],
    ...cwd === undefined ? {} : { cwd },
    env: { NO_COLOR: "1" },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let text = "";
  const read = async (stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder();
    for await (const it of stream) text += decoder.decode(it, { stream: true });
  };
  const reading = Promise.all([read(child.stdout), read(child.stderr)]);
  const ended = child.status.then(async ({ code }) => {
    await reading;
    return code;
  });
  const input = child.stdin.getWriter();
  const type = (it: string | null) =>
    it === null ? input.close() : input.write(new TextEncoder().encode(it));
  return { said: () => text, type, ended, stop: () => child.kill("SIGINT") };
}

/** Runs one to its end. */
async function example(name: string, args: string[] = [], cwd?: string): Promise<string> {
  const running = start(name, args, cwd);
  assert.equal(await running.ended, 0, running.said());
  return running.said();
}

Deno.test("examples/embed_hono.ts: an active user gets in, a revoked one does not", async () => {
  assert.match(await example("embed_hono"), /^200 \{[^]*"?handle"?: "ada"[^]*\n403 \{/);
});

Deno.test("examples/rotate_room_key.ts: who left has no key of the new epoch", async () => {
  assert.equal(await example("rotate_room_key"), "epoch 2\nbob has 2\neve has 1\n");
});

Deno.test("examples/migrate.ts: moves, shows how far it is, and may be run again", async () => {
  await using server = await testServer();
  await inDir(async (dir) => {
    const db = `${dir}/unibus.db`;
    {
      await using store = openSqlite(db);
      await store.addUser(newUser({ role: "admin" }));
    }
    const first = await example("migrate", [db, server.url]);
    assert.match(first, /copy 1 of 1\n[^]*empty: \d+ entries written[^]*an active admin: true\n$/);
    assert.match(await example("migrate", [db, server.url]), /repeated: 0 entries written/);
    const wrong = start("migrate", [`${dir}/none.db`, server.url]);
    assert.equal(await wrong.ended, 1);
    assert.match(wrong.said(), /^\w+: .*none\.db/m);
    assert.equal(await start("migrate", []).ended, 2);
  });
});

Deno.test("examples/watch.ts: tells what another process changes", async () => {
  await inDir(async (dir) => {
    const db = `${dir}/unibus.db`;
    await using store = openSqlite(db);
    const watching = start("watch", [db]);
    await until(() => watching.said().includes("Watching"), "a beginning", 60_000);
    await store.addUser(newUser());
    await until(() => watching.said().includes("users: 1"), "the change", 60_000);
    watching.stop();
    assert.equal(await watching.ended, 0, watching.said());
  });
});

Deno.test("examples/backup.ts: leaves whole snapshots, and the newest only", async () => {
  const { backup } = await import("../../examples/backup.ts");
  await inDir(async (dir) => {
    const db = `${dir}/unibus.db`;
    const to = `${dir}/backups`;
    await using store = openSqlite(db);
    await store.addUser(newUser());
    for (let i = 0; i < 3; i++) await backup(store, to, 2);
    const kept = await readdir(to);
    assert.equal(kept.length, 2, kept.join());
    const running = start("backup", [db, to]);
    await until(() => running.said().includes(".ndjson"), "a backup", 60_000);
    running.stop();
    assert.equal(await running.ended, 0, running.said());
    const path = running.said().trim();
    const { counts } = await verifySnapshot(await readFile(path));
    assert.equal(counts.users, 1);
  });
});

Deno.test("examples/invite_and_register.ts: a new user is registered, and its keys are in a file", async () => {
  await inDir(async (dir) => {
    await mkdir(`${dir}/server`);
    await using server = await daemon(`${dir}/server`, ["--bus-auth", "enforce"]);
    const ada = createIdentity();
    {
      await using store = openSqlite(`${dir}/server/a.db`);
      const { signPub, kexPub } = ada;
      await store.addUser({ signPub, kexPub, handle: "ada", role: "admin" });
    }
    await writeFile(`${dir}/ada.json`, exportIdentity(ada), { mode: 0o600 });
    const said = await example("invite_and_register", [server.http, "ada.json"], dir);
    assert.match(said, /^the token is good until .*\ngrace is [0-9a-f]{64}\nher keys are in/);
    const { mode } = await Deno.stat(`${dir}/grace.json`);
    if (process.platform !== "win32") assert.equal(mode! & 0o777, 0o600);
  });
});

Deno.test("examples/chat.ts: two users talk in an encrypted room", async () => {
  await inDir(async (dir) => {
    await mkdir(`${dir}/server`);
    await using server = await daemon(`${dir}/server`, ["--bus-auth", "enforce"]);
    const [ada, bob] = [createIdentity(), createIdentity()];
    {
      await using store = openSqlite(`${dir}/server/a.db`);
      for (const [handle, { signPub, kexPub }] of Object.entries({ ada, bob })) {
        await store.addUser({ signPub, kexPub, handle });
      }
    }
    await writeFile(`${dir}/ada.json`, exportIdentity(ada), { mode: 0o600 });
    // As /join recommends it.
    await writeFile(`${dir}/bob.json`, await lockIdentity(bob, "open sesame"), { mode: 0o600 });
    const where = ["--url", server.http, "--nats", server.nats, "--room", "lounge"];
    const chat = (...args: string[]) => {
      const running = start("chat", [...where, ...args], dir);
      return {
        ...running,
        in: () => until(() => /in lounge/.test(running.said()), "room", 60_000),
      };
    };
    const adas = chat("--identity", "ada.json", "--with", cardOf(bob));
    await adas.in();
    const bobs = chat("--identity", "bob.json", "--owner", ada.signPub);
    await until(() => /Passphrase of bob\.json: $/.test(bobs.said()), "question", 60_000);
    bobs.type("open sesame\n");
    await bobs.in();
    adas.type("hello bob\n");
    await until(() => bobs.said().includes("hello bob"), "her words", 60_000);
    bobs.type("hello ada\n");
    await until(() => adas.said().includes("hello ada"), "his words", 60_000);
    for (const it of [adas, bobs]) {
      await it.type(null);
      assert.equal(await it.ended, 0, it.said());
    }
    assert.match(bobs.said(), new RegExp(`^ada \\(${ada.signPub.slice(0, 8)}\\): hello bob$`, "m"));
  });
});

Deno.test("examples/custom_backend.ts runs", async () => {
  assert.equal(await example("custom_backend"), "true true\n");
});

runConformance({
  name: "examples/custom_backend.ts",
  test: Deno.test,
  capabilities: { history: false },
  factory: () => {
    const memory = new Memory();
    return Promise.resolve({
      open: (options) => Promise.resolve(memory.open(options)),
      dispose: () => Promise.resolve(),
    });
  },
});
