import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  busAccounts,
  type NatsServerOptions,
  superviseNatsServer,
  type SupervisorEvent,
} from "../../../src/nats/mod.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { openJetStream } from "../../../src/jetstream/mod.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";
import { newUser } from "../../conformance/kit/kit.ts";
import { failsWith } from "../../helpers/sqlite.ts";
import { freePorts, natsBinary, testServer } from "../../helpers/nats.ts";
import { enforce, enrol, eventually, newServiceKeys, type Peer } from "../callout/bus.ts";

/** A client of the bus that counts how often it was dropped, and for how long. */
async function counting(servers: string, peer: Peer) {
  const nkeySeed = new TextDecoder().decode(peer.pair.getSeed());
  const connection = await connectNats({ servers, nkeySeed, retryRefused: true });
  const seen = { drops: 0, back: 0, longest: 0, isLost: false };
  (async () => {
    let since = 0;
    for await (const { type } of connection.status()) {
      if (type === "disconnect" && !seen.isLost) {
        seen.drops++;
        seen.isLost = true;
        since = performance.now();
      } else if (type === "reconnect" && seen.isLost) {
        seen.back++;
        seen.isLost = false;
        seen.longest = Math.max(seen.longest, performance.now() - since);
      }
    }
  })();
  return { seen, connection };
}

Deno.test("a nats-server changes into a cluster and out of it on its port; each client is dropped once", async () => {
  const dir = await mkdtemp(join(tmpdir(), "unibus-change-"));
  const keys = newServiceKeys();
  const accounts = busAccounts({ mode: "enforce", keys });
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(dir, { recursive: true, force: true }));
  const [port, ...routePorts] = await freePorts(4);
  const routes = routePorts.map((it) => `127.0.0.1:${it}`);
  const node = (i: number): Partial<NatsServerOptions> => ({
    ...accounts,
    serverName: `n${i + 1}`,
    cluster: { name: "bus", port: routePorts[i]!, routes: routes.filter((_, j) => j !== i) },
  });
  const alone: NatsServerOptions = {
    ...accounts,
    binary: (await natsBinary()).path,
    port: port!,
    serverName: "n1",
    startTimeout: 30_000,
    jetstream: { storeDir: `${dir}/jetstream` },
  };
  const clustered = { ...alone, ...node(0), jetstream: { storeDir: `${dir}/jetstream.cluster` } };
  const events: SupervisorEvent[] = [];
  const nats = stack.use(await superviseNatsServer(alone, { onEvent: (it) => events.push(it) }));
  const { url } = nats;
  const kept = { servers: url, nkeySeed: keys.service.seed, bootstrapTimeout: 60_000 };
  const user = newUser();
  {
    await using store = await openJetStream({ ...kept, bucket: "LONE" });
    await store.addUser(user);
  }
  const store = stack.use(openSqlite(":memory:"));
  const { callout } = stack.use(await enforce(url, keys, store));
  const peer = await enrol(store);
  const clients = await Promise.all(Array.from({ length: 20 }, () => counting(url, peer)));
  for (const { connection } of clients) stack.adopt(connection, (it) => it.close());
  for (const i of [1, 2]) stack.use(await testServer(node(i) as object));

  const changed = async (options: NatsServerOptions, round: number) => {
    await nats.change(options);
    await eventually(() => clients.every(({ seen }) => seen.back === round));
    assert.ok(clients.every(({ seen }) => seen.drops === round), "dropped once");
    const longest = Math.max(...clients.map(({ seen }) => seen.longest));
    // On a quiet machine less than the 2 s that the server waits for the callout, which is back first.
    assert.ok(longest < 15_000, `clients were away for ${longest} ms`);
    await eventually(() => callout.status().ok);
    assert.equal(nats.url, url);
    assert.equal(nats.status().restarts, round);
  };
  await changed(clustered, 1);
  {
    await using replicated = await openJetStream({ ...kept, bucket: "SHARED", replicas: 3 });
    await replicated.addUser(user);
    const lone = { ...kept, bucket: "LONE", create: false };
    await failsWith("not_found", () => openJetStream(lone));
  }
  // What it is changed to does not start: it goes on as it was, on the same ports.
  const { clusterPort } = nats.server;
  await failsWith("unavailable", () => nats.change({ ...clustered, extra: "nonsense { }" }));
  await eventually(() => nats.status().ok);
  assert.equal(nats.server.clusterPort, clusterPort);
  await eventually(() => clients.every(({ seen }) => seen.back === 2));
  await changed(alone, 3);
  {
    await using lone = await openJetStream({ ...kept, bucket: "LONE", create: false });
    assert.equal((await lone.getUser(user.signPub)).handle, user.handle);
  }
  assert.deepEqual(
    events.map((it) => it.kind),
    ["started", "started", "start_failed", "started", "started"],
  );
});

Deno.test("a nats-server that is down can be changed; after stop() it cannot", async () => {
  const [port, other] = await freePorts(2);
  const options = { binary: (await natsBinary()).path, port: port!, startTimeout: 30_000 };
  const events: SupervisorEvent[] = [];
  await using nats = await superviseNatsServer(options, {
    onEvent: (it) => events.push(it),
    backoff: { min: 60_000 },
  });
  nats.server.kill();
  await eventually(() => events.some((it) => it.kind === "ended"));
  const changing = nats.change({ ...options, port: other!, serverName: "again" });
  await failsWith("conflict", () => nats.change(options));
  await changing;
  assert.equal(nats.server.port, port);
  assert.equal(nats.status().detail, "running, restarts: 1");
  const ended = nats.server.exited;
  const refused = failsWith("closed", () => nats.change(options));
  await ended;
  await nats.stop();
  await refused;
  await failsWith("closed", () => nats.change(options));
});
