/**
 * A node of a cluster that waits until there is a control plane, and again when it has moved away.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/transport-node";
import { writeNode } from "../../../../cli/settings/node.ts";
import { askPresence } from "../../../../cli/cluster/presence.ts";
import { openJetStream } from "../../../../mod.ts";
import { connectNats } from "../../../../src/nats/connection/connect.ts";
import { loadServiceKeys } from "../../../../src/nats/mod.ts";
import { eventsOf, isReady, launch, type LogEvent, readyz, until } from "../kit.ts";
import { freePorts } from "../../../helpers/nats.ts";
import { inDir, person } from "../../../helpers/sqlite.ts";
import type { CliProcess } from "../../kit.ts";

/** A node of a cluster of two, whose nats-servers alone decide. */
interface Pair extends AsyncDisposable {
  connection: NatsConnection;
  http: string;
  events(): LogEvent[];
  /** Writes the mark of the bucket, as a move does. */
  mark(fields: Record<string, unknown>): Promise<void>;
}

/** Starts a node, and the nats-server of another. */
async function pair(dir: string): Promise<Pair> {
  const [http, nats, one, two] = await freePorts(4) as [number, number, number, number];
  const keysPath = `${dir}/n2/service-keys.json`;
  await mkdir(`${dir}/n2`);
  const keys = await loadServiceKeys(keysPath, { create: true });
  await writeNode(`${dir}/n2/a.db`, {
    name: "n2",
    cluster: "bus",
    plan: "feedfeedfeedfeed",
    state: "clustered",
    settings: {
      store: "jetstream",
      clusterName: "bus",
      serverName: "n2",
      clusterPort: two,
      routes: [`127.0.0.1:${one}`],
      natsStore: `${dir}/n2/jetstream.cluster`,
    },
    alone: { natsStore: `${dir}/n2/jetstream` },
  });
  const other = ["--cluster-name", "bus", "--server-name", "n1", "--cluster-port", `${one}`];
  const children: CliProcess[] = [
    await launch(`${dir}/n1`, [
      ...["--nats-only", "--service-keys", keysPath, "--routes", `127.0.0.1:${two}`],
      ...other,
    ]),
    // The flags of `launch` name the directory of a server that is alone.
    await launch(`${dir}/n2`, ["--http-port", `${http}`, "--nats-port", `${nats}`]),
  ];
  const stop = async () => {
    for (const it of children) it.kill("SIGTERM");
    await Promise.all(children.map((it) => it.ended));
  };
  try {
    await children[1]!.seen(/"event":"waiting"/);
    const connection = await connectNats({
      servers: `nats://127.0.0.1:${nats}`,
      nkeySeed: keys.service.seed,
    });
    return {
      connection,
      http: `http://127.0.0.1:${http}`,
      events: () => eventsOf(children[1]!.stderr()),
      async mark(fields) {
        const kv = await new Kvm(connection).open("UNIBUS");
        const at = "2026-01-01T00:00:00.000Z";
        const marker = { v: 1, by: "migration", source: "s", startedAt: at, ...fields };
        await kv.put("meta.migration", JSON.stringify(marker));
      },
      async [Symbol.asyncDispose]() {
        await connection.close();
        await stop();
      },
    };
  } catch (error) {
    await stop();
    throw new Error(children.map((it) => it.stderr()).join("\n"), { cause: error });
  }
}

const detailOf = async (http: string) => {
  const found = await readyz(http);
  return found === null ? null : `${found.status} ${found.checks[0]?.detail}`;
};

Deno.test("a joined node waits, serves what has arrived, and waits again when that has moved", () =>
  inDir(async (dir) => {
    await using node = await pair(dir);
    const { connection, http } = node;
    const says = (detail: string) =>
      until(async () => await detailOf(http) === detail, `the page ${detail}`);
    await says("503 joined, waiting for the control plane");
    assert.equal((await fetch(`${http}/healthz`)).status, 200);
    const refused = await fetch(`${http}/v1/users`);
    assert.deepEqual([refused.status, refused.headers.get("retry-after")], [503, "1"]);
    assert.match(await refused.text(), /cannot answer: joined, waiting for the control plane/);

    // It answers the other nodes, with what they check before they use it.
    // A node that is busy answers too late to be heard.
    const ask = async (withSettings = false) => {
      let found: Awaited<ReturnType<typeof askPresence>> = [];
      await until(async () => {
        found = await askPresence(connection, ["n1", "n2"], { withSettings });
        return found.length === 2;
      }, "two answers");
      return found;
    };
    const asked = await ask(true);
    const n2 = asked.find((it) => it.node === "n2")!;
    assert.deepEqual([n2.bucket, n2.plan, n2.waiting], [
      null,
      "feedfeedfeedfeed",
      "joined, waiting for the control plane",
    ]);
    assert.match(n2.nats!, /^2\./);
    assert.ok(n2.disk! > 0 && Math.abs(n2.skew!) < 5_000);
    assert.equal(n2.keys, asked.find((it) => it.node === "n1")!.keys);
    assert.equal(n2.settings!.natsStore, `${dir}/n2/jetstream.cluster`);
    assert.equal(asked.find((it) => it.node === "n1")!.plan, null);
    assert.ok(!existsSync(`${dir}/n2/jetstream`));

    // It made no bucket, and one that nobody moved there is not the control plane.
    const jsm = await jetstreamManager(connection);
    assert.deepEqual(await jsm.streams.names().next(), []);
    {
      await using store = await openJetStream({ connection });
      await store.addUser(person("ada"));
    }
    await node.mark({ state: "in_progress" });
    await says("503 joined, waiting for the control plane: it is being copied");
    await node.mark({ state: "complete" });
    await isReady(http);
    const again = await ask();
    assert.equal(again.find((it) => it.node === "n2")!.bucket, "UNIBUS");

    await node.mark({ state: "in_progress", moved: { node: "n1" } });
    await says("503 the control plane moved to n1");
    await until(() => node.events().some((it) => it.event === "store.gone"), "the line");
    await node.mark({ state: "complete", generation: 2 });
    await isReady(http);
    const served = () => node.events().filter((it) => it.event === "ready").length;
    await until(() => served() === 2, "the second announcement");
  }));

Deno.test("a node of a cluster begins no empty control plane", () =>
  inDir(async (dir) => {
    await writeNode(`${dir}/a.db`, {
      name: "n2",
      cluster: "bus",
      plan: "p",
      state: "clustered",
      settings: {
        store: "jetstream",
        clusterName: "bus",
        serverName: "n2",
        routes: ["127.0.0.1:1"],
      },
      alone: { natsStore: `${dir}/jetstream` },
    });
    for (
      const [flags, message] of [
        [["--new"], /--new begins an empty store, but this machine is node n2 of cluster bus/],
        [["--store", "sqlite"], /--store is "sqlite", but this machine is node n2 of cluster bus/],
      ] as const
    ) {
      const child = await launch(dir, [...flags]);
      const { code, stderr } = await child.ended;
      assert.equal(code, 2, stderr);
      assert.match(stderr, message);
    }
    assert.ok(!existsSync(`${dir}/a.db`));
  }));
