import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import {
  type AuthCallout,
  busAccounts,
  superviseNatsServer,
  type SupervisorEvent,
} from "../../../src/nats/mod.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";
import {
  admitted,
  enforce,
  enrol,
  enter,
  eventually,
  newServiceKeys,
  openRoom,
} from "../callout/bus.ts";
import { freePorts, natsBinary } from "../../helpers/nats.ts";
import { failsWith } from "../../helpers/sqlite.ts";

const unix = Deno.build.os !== "windows";

/** Starts a supervised server on a port of its own. */
async function supervised(
  more: Parameters<typeof superviseNatsServer>[0] = {},
  backoff = { min: 50, max: 400, reset: 600_000 },
) {
  const events: SupervisorEvent[] = [];
  const [port] = await freePorts(1);
  const nats = await superviseNatsServer(
    { binary: (await natsBinary()).path, port: port!, startTimeout: 30_000, ...more },
    { onEvent: (it) => events.push(it), backoff },
  );
  return { nats, events, port: port! };
}

Deno.test({
  name: "a nats-server that is killed is started again, on the same address",
  ignore: !unix,
  async fn() {
    const { nats, events } = await supervised();
    await using _ = nats;
    const { url } = nats;
    assert.deepEqual(nats.status(), {
      ok: true,
      running: true,
      restarts: 0,
      lastError: null,
      detail: "running",
    });
    for (const restarts of [1, 2, 3]) {
      const { pid } = nats.server;
      process.kill(pid, "SIGKILL");
      await eventually(() => nats.status().restarts === restarts && nats.status().running);
      assert.notEqual(nats.server.pid, pid);
      assert.equal(nats.url, url);
      const connection = await connectNats({ servers: url });
      await connection.flush();
      await connection.close();
    }
    assert.match(nats.status().lastError!, /^SIGKILL ended it: /);
    const waits = events.flatMap((it) => it.kind === "ended" ? [it.wait] : []);
    assert.deepEqual(waits, [50, 100, 200]);
    assert.deepEqual(events.map((it) => it.kind), [
      "started",
      ...["ended", "started"],
      ...["ended", "started"],
      ...["ended", "started"],
    ]);
  },
});

Deno.test({
  name: "a server that ran long enough begins with the first wait again",
  ignore: !unix,
  async fn() {
    const { nats, events } = await supervised({}, { min: 50, max: 400, reset: 0 });
    await using _ = nats;
    for (const restarts of [1, 2, 3]) {
      process.kill(nats.server.pid, "SIGKILL");
      await eventually(() => nats.status().restarts === restarts);
    }
    const waits = events.flatMap((it) => it.kind === "ended" ? [it.wait] : []);
    assert.deepEqual(waits, [50, 50, 50]);
  },
});

Deno.test({
  name: "a server that cannot come up is tried until it can, and its own words are told",
  ignore: !unix,
  async fn() {
    const { nats, events, port } = await supervised();
    await using _ = nats;
    // Somebody takes its port in the moment it is gone.
    const ended = nats.server.exited;
    process.kill(nats.server.pid, "SIGKILL");
    await ended;
    const squatter = createServer().listen({ port, host: "127.0.0.1", exclusive: true });
    await once(squatter, "listening");
    await eventually(() => events.filter((it) => it.kind === "start_failed").length >= 4);
    const { ok, running, detail, lastError } = nats.status();
    assert.deepEqual([ok, running], [false, false]);
    assert.match(lastError!, /address already in use/);
    assert.match(detail, /^down: .*address already in use/);
    const waits = events.flatMap((it) => it.kind === "start_failed" ? [it.wait] : []);
    assert.deepEqual(waits.slice(0, 4), [100, 200, 400, 400]);
    squatter.close();
    await eventually(() => nats.status().ok);
  },
});

Deno.test("a first start that fails is not tried again, and names the server's last words", async () => {
  const { path } = await natsBinary();
  await failsWith(
    "unavailable",
    () => superviseNatsServer({ binary: path, extra: "nonsense { }" }),
    /unknown field "nonsense"/,
  );
});

Deno.test("stop() ends it for good, also between two starts and in the middle of one", async () => {
  for (const moment of ["running", "waiting", "starting"]) {
    const { nats, events } = await supervised({}, {
      min: moment === "waiting" ? 60_000 : 1,
      max: 60_000,
      reset: 0,
    });
    const { server } = nats;
    const { pid } = server;
    if (moment !== "running") {
      process.kill(pid, "SIGKILL");
      await eventually(() => events.some((it) => it.kind === "ended"));
      if (moment === "starting") await eventually(() => server.running && server.pid !== pid);
    }
    await Promise.all([nats.stop(), nats.stop()]);
    assert.equal(server.running, false);
    assert.ok(!existsSync(dirname(server.configPath)));
    assert.deepEqual([nats.status().ok, nats.status().detail], [false, "stopped"]);
    const { length } = events;
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(events.length, length);
    assert.equal(server.running, false);
  }
});

Deno.test({
  name:
    "after SIGKILL of the nats-server all goes on by itself: connections, callout, clients, changes",
  ignore: !unix,
  async fn() {
    const directory = await mkdtemp(join(tmpdir(), "unibus-supervise-"));
    const keys = newServiceKeys();
    let callout: AuthCallout | undefined;
    try {
      await using store = openSqlite(":memory:");
      const { nats, port } = await supervised({
        ...busAccounts({ mode: "enforce", keys }),
        jetstream: { storeDir: directory },
      });
      await using _ = nats;
      await using on = await enforce(nats.url, keys, store);
      const running = callout = on.callout;
      const peer = await enrol(store);
      await using first = await admitted(port, peer);
      process.kill(nats.server.pid, "SIGKILL");
      await first.until(() => first.ended);
      // What changes meanwhile counts afterwards.
      await openRoom(store, "r", peer);
      let client = null as Awaited<ReturnType<typeof enter>>;
      await eventually(async () => (client = await enter(port, peer).catch(() => null)) !== null);
      await using second = client!;
      assert.ok(await second.mayPublish("room.r"));
      await eventually(() => running.status().ok);
      await store.revokeUser(peer.signPub);
      await second.until(() => second.ended);
    } finally {
      await callout?.stop();
      await rm(directory, { recursive: true, force: true });
    }
  },
});
