/**
 * What a caller notices when a node goes: with time enough, nothing but a pause.
 *
 * @module
 */

import assert from "node:assert/strict";
import { connect } from "@nats-io/transport-node";
import { openJetStream } from "../../src/jetstream/mod.ts";
import type { StreamInfo } from "@nats-io/jetstream";
import { hexKey } from "../conformance/kit/kit.ts";
import { testCluster, type TestServer } from "../helpers/nats.ts";
import { until } from "../cli/serve/kit.ts";
import { CLUSTER } from "./kit.ts";

const BUCKET = "HANDOVER";

/** The name of the stream's leader, asked through `servers`. */
async function leaderOf(servers: readonly TestServer[]): Promise<string> {
  const nc = await connect({ servers: servers.map((it) => it.url) });
  try {
    let name = "";
    await until(
      async () => {
        try {
          const answer = await nc.request(`$JS.API.STREAM.INFO.KV_${BUCKET}`, "", { timeout: 500 });
          name = answer.json<StreamInfo>().cluster?.leader ?? "";
        } catch { /* No leader yet. */ }
        return name !== "";
      },
      "leader",
      60_000,
    );
    return name;
  } finally {
    await nc.close();
  }
}

/** Takes a node away in the middle of writes; every one must be acknowledged. */
async function notNoticed(goes: "leader" | "follower", signal: "SIGTERM" | "SIGKILL") {
  await using cluster = await testCluster(3);
  const { servers } = cluster;
  const options = { bucket: BUCKET, replicas: 3, opTimeout: 60_000 };
  await using all = await openJetStream({ servers: cluster.urls, ...options });
  await all.hasAdmin();
  const leader = await leaderOf(servers);
  const victim = servers.find((_, i) => (`n${i + 1}` === leader) === (goes === "leader"))!;
  const others = servers.filter((it) => it !== victim);
  await using store = await openJetStream({ servers: others.map((it) => it.url), ...options });

  let gone = false;
  let after = 0;
  const written = new Set<string>();
  const writers = Array.from({ length: 8 }, async () => {
    while (after < 200) {
      const signPub = hexKey();
      await store.addUser({ signPub, kexPub: hexKey(), handle: "written" });
      written.add(signPub);
      if (gone) after++;
    }
  });
  await until(() => written.size > 50, "writes", 60_000);
  victim.kill(signal);
  await victim.exited;
  gone = true;
  await Promise.all(writers);

  assert.equal(servers.filter((it) => it.running).length, 2);
  for await (const { kind, record } of store.records()) {
    if (kind === "users") written.delete(record.signPub);
  }
  assert.equal(written.size, 0, "written, acknowledged, and not there");
  await using fresh = await openJetStream({ servers: others.map((it) => it.url), ...options });
  const signPub = hexKey();
  await fresh.addUser({ signPub, kexPub: hexKey(), handle: "later" });
  assert.equal((await store.getUser(signPub)).signPub, signPub);
}

Deno.test("the leader stopped in order in the middle of writes: none of them fails, none is lost", () =>
  notNoticed("leader", "SIGTERM"));

Deno.test({
  name: "a follower killed in the middle of writes: none of them fails, none is lost",
  ignore: !CLUSTER,
  fn: () => notNoticed("follower", "SIGKILL"),
});

Deno.test({
  name: "the leader killed in the middle of writes: none of them fails, none is lost",
  ignore: !CLUSTER,
  fn: () => notNoticed("leader", "SIGKILL"),
});
