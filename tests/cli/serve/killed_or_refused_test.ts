import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createConnection, createServer, type Socket } from "node:net";
import process from "node:process";
import { DatabaseSync } from "node:sqlite";
import { createNkey, loadServiceKeys } from "../../../src/nats/mod.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";
import { enrol, enter, newPeer } from "../../nats/callout/bus.ts";
import { cliProcess } from "../kit.ts";
import { natsBinary, testServer } from "../../helpers/nats.ts";
import { daemon, isAlive, isReady, launch, readyz, until } from "./kit.ts";
import { RawClient } from "../../nats/callout/raw_nats.ts";
import { inDir } from "../../helpers/sqlite.ts";

const LONG = Deno.env.get("UNIBUS_LONG") === "1";

/** Passes connections on to a port. While it is deaf, the server's words come through, ours do not. */
async function hearing(port: number) {
  const sockets = new Set<Socket>();
  let deaf = false;
  let refused = 0;
  const proxy = createServer((near) => {
    const far = createConnection(port, "127.0.0.1");
    for (const it of [near, far]) {
      sockets.add(it);
      it.on("error", () => {});
      it.on("close", () => {
        sockets.delete(it);
        near.destroy();
        far.destroy();
      });
    }
    if (!deaf) near.pipe(far);
    else near.resume() && far.on("data", (it) => refused += /-ERR 'Auth/.test(String(it)) ? 1 : 0);
    far.pipe(near);
  });
  const listening = once(proxy, "listening");
  proxy.listen(0, "127.0.0.1");
  await listening;
  const cut = () => sockets.forEach((it) => it.destroy());
  return {
    url: `nats://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    /** How often the server has lost its patience with who was not heard. */
    refusals: () => refused,
    /** Ends all connections, and does not hear new ones until {@link hear}. */
    deafen() {
      deaf = true;
      cut();
    },
    hear: () => void (deaf = false),
    async [Symbol.asyncDispose]() {
      const closed = once(proxy, "close");
      proxy.close();
      cut();
      await closed;
    },
  };
}

Deno.test("refusals of the NATS server end no connection for good, and are told once", () =>
  inDir(async (dir) => {
    const path = `${dir}/keys.json`;
    const { stdout: extra } = await cliProcess(["nats", "accounts", path]).ended;
    await using nats = await testServer({
      extra: extra.replace(/^( *timeout:) .*$/m, "$1 1"),
    });
    await using proxy = await hearing(nats.port);
    const args = ["--nats-url", proxy.url, "--service-keys", path, "--bus-auth", "enforce"];
    await using server = await daemon(dir, args);
    const ready = () => isReady(server.http);
    await ready();
    const told = (name: string) => server.events().filter((it) => it.event === name).length;
    for (const round of [1, 2]) {
      // As of a machine that is too busy to say in time who it is.
      const before = proxy.refusals();
      proxy.deafen();
      await until(() => proxy.refusals() >= before + 4, "refusals");
      assert.equal((await readyz(server.http))?.status, 503);
      proxy.hear();
      await ready();
      await until(() => told("nats.reconnected") === 2 * round, "the return of both");
      assert.equal(told("nats.refused"), 2 * round);
      assert.equal(told("nats.disconnected"), 2 * round);
    }
    // And keys that the server does not take for a while, as after a mistake in its configuration.
    const config = await readFile(nats.configPath, "utf8");
    const { system } = await loadServiceKeys(path);
    const other = createNkey("user").publicKey;
    await writeFile(nats.configPath, config.replace(system.publicKey, other));
    nats.kill("SIGHUP");
    await until(() => told("nats.refused") >= 5, "refusal");
    await until(async () => {
      const callout = (await readyz(server.http))?.checks.find((it) => it.name === "callout");
      return callout?.detail === "the system connection is down";
    }, "the loss in /readyz");
    await writeFile(nats.configPath, config);
    nats.kill("SIGHUP");
    await ready();
    assert.equal((await server.stop()).code, 0);
  }));

Deno.test({
  name:
    "a nats-server that has the number of one's own former, as after a reboot, is not waited for",
  ignore: process.platform !== "linux",
  fn: () =>
    inDir(async (dir) => {
      await using other = await daemon(`${dir}/other`);
      const first = await daemon(`${dir}/first`);
      const former = first.natsPid();
      await first.stop("SIGKILL");
      await until(() => !isAlive(former), "end of the nats-server");
      const lock = new DatabaseSync(`${dir}/first/jetstream/membershipd.lock`);
      assert.equal(lock.prepare("PRAGMA user_version").get()?.user_version, former);
      lock.exec(`PRAGMA user_version = ${other.natsPid()}`);
      lock.close();
      await using again = await daemon(`${dir}/first`);
      assert.equal(again.events().some((it) => it.event === "nats.waiting_for_former"), false);
    }),
});

Deno.test({
  name: "killed while its nats-server starts: the next one waits for that too",
  ignore: process.platform !== "linux",
  fn: () =>
    inDir(async (dir) => {
      // It takes its time, as one does that has a large store to read.
      const { path } = await natsBinary();
      const slow = `${dir}/nats-server`;
      const text = `#!/bin/sh
[ "$1" = --version ] || { echo $$ > ${dir}/pid; kill -STOP $$; }
exec ${path} "$@"
`;
      await writeFile(slow, text, { mode: 0o755 });
      const killed = await launch(dir, [], { UNIBUS_NATS_SERVER: slow });
      const pidOf = async () => Number(await readFile(`${dir}/pid`, "utf8").catch(() => ""));
      await until(async () => await pidOf() > 0, "nats-server");
      const former = await pidOf();
      await until(
        async () => /^State:\tT/m.test(await readFile(`/proc/${former}/status`, "utf8")),
        "stop",
      );
      // Where SQLite keeps the number: `PRAGMA user_version`. The file is empty until it is noted.
      const lock = `${dir}/jetstream/membershipd.lock`;
      await until(async () => {
        const bytes = await readFile(lock);
        return bytes.length > 64 && bytes.readUInt32BE(60) === former;
      }, "note of it");
      // And where its journal begins while the write is not yet committed.
      await until(
        async () =>
          !/[^\0]/.test(
            await readFile(`${lock}-journal`, "latin1").then((it) => it.slice(0, 8), () => ""),
          ),
        "its commit",
      );
      // The watchdog would kill it after 5 s, before a busy machine has started the next one.
      const watchdog = await childOf(former);
      process.kill(watchdog, "SIGSTOP");
      killed.kill("SIGKILL");
      await killed.ended;
      const next = await launch(dir);
      await next.seen(/"nats\.(waiting_for_former|started)"/).finally(() => {
        process.kill(former, "SIGKILL");
        process.kill(watchdog, "SIGCONT");
      });
      assert.match(next.stderr(), /"nats\.waiting_for_former","pid":/);
      await next.seen(/"ready"/);
      next.kill("SIGTERM");
      assert.equal((await next.ended).code, 0);
    }),
});

/** The process that another one has started. */
async function childOf(parent: number): Promise<number> {
  for (const pid of await readdir("/proc")) {
    const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
    if (status.includes(`\nPPid:\t${parent}\n`)) return Number(pid);
  }
  throw new Error(`Process ${parent} has no child`);
}

/** Processes whose command line holds a text. */
async function processesWith(text: string): Promise<number[]> {
  const found: number[] = [];
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    const line = await readFile(`/proc/${pid}/cmdline`, "latin1").catch(() => "");
    if (line.includes(text)) found.push(Number(pid));
  }
  return found;
}

for (const store of ["sqlite", "jetstream"]) {
  Deno.test({
    name: `stopped or killed at any moment, it leaves nobody and nothing behind: --store ${store}`,
    ignore: process.platform !== "linux",
    fn: () =>
      inDir(async (dir) => {
        const temporary = `${dir}/temporary`;
        await mkdir(temporary);
        const args = ["--store", store, "--bus-auth", "enforce"];
        for (let i = 0; i < (LONG ? 60 : 2); i++) {
          const signal = i % 2 === 0 ? "SIGTERM" : "SIGKILL";
          const child = await launch(dir, args, { TMPDIR: temporary });
          await new Promise((resolve) => setTimeout(resolve, 150 + Math.random() * 700));
          child.kill(signal);
          const { code, stderr } = await child.ended;
          // Before it listens for signals, a signal ends it.
          if (signal === "SIGTERM" && stderr !== "") assert.equal(code, 0, stderr);
          await until(
            async () => (await processesWith(temporary)).length === 0,
            `end of its processes after ${signal}`,
            signal === "SIGTERM" ? 10_000 : 60_000,
          );
          for (const line of stderr.split("\n").slice(0, -1)) JSON.parse(line);
          // Killed between making its directory and starting what removes it, it leaves that.
          if (signal === "SIGTERM" || stderr.includes('"nats.connecting"')) {
            assert.deepEqual(await readdir(temporary), []);
          } else {for (const it of await readdir(temporary)) {
              await rm(`${temporary}/${it}`, { recursive: true });
            }}
        }
        await using server = await daemon(dir, args, { TMPDIR: temporary });
        await isReady(server.http);
        assert.equal((await server.stop()).code, 0);
      }),
  });
}

Deno.test({
  name: "clients that come and go, let in or not, leave no handles and cannot forge the log",
  ignore: process.platform !== "linux",
  fn: () =>
    inDir(async (dir) => {
      await using server = await daemon(dir, ["--bus-auth", "enforce"]);
      const peer = newPeer();
      const store = openSqlite(`${dir}/a.db`);
      await enrol(store, peer);
      await store.close();
      const port = Number(new URL(server.nats.replace("nats:", "http:")).port);
      const handles = async () =>
        (await readdir(`/proc/${server.process.pid}/fd`)).length +
        (await readdir(`/proc/${server.natsPid()}/fd`)).length;
      const odd = 'x"}\r\n{"event":"forged"}\u2028\u0000\u001b[2J';
      const rounds = LONG ? 125 : 10;
      const visit = async () => {
        for (let i = 0; i < rounds; i++) {
          await using client = await RawClient.open(port);
          assert.ok(
            !await client.login({ name: odd, user: odd, lang: odd, version: odd, nkey: odd }),
          );
          // A server that is too busy to judge a client in time refuses it.
          await until(async () => {
            const it = await enter(port, peer);
            await it?.[Symbol.asyncDispose]();
            return it !== null;
          }, "admission");
        }
      };
      await visit();
      const before = await handles();
      await Promise.all(Array.from({ length: 8 }, visit));
      await until(async () => await handles() <= before + 2, "handles as before");
      await isReady(server.http);
      const { code, stderr } = await server.stop();
      assert.equal(code, 0);
      const lines = stderr.split("\n").slice(0, -1).map((it) => JSON.parse(it));
      // 90 and more refusals for one reason are a few lines, and one that counts the rest.
      const refused = lines.filter((it) => it.event === "bus.refused");
      const windows = refused.filter((it) => it.left_out > 0).length;
      assert.ok(refused.length >= 5 && refused.length <= 6 * (windows + 1), `${refused.length}`);
      assert.ok(!lines.some((it) => it.event === "forged"));
      // deno-lint-ignore no-control-regex
      assert.doesNotMatch(stderr, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028]/);
    }),
});
