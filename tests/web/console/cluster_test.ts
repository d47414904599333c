/**
 * The console of a server whose store is in NATS: one node, and three of which one goes.
 */

import assert from "node:assert/strict";
import { setTimeout as wait } from "node:timers/promises";
import { fullStatus } from "../../../cli/cluster/status.ts";
import { openObjectBlobs } from "../../../src/blobs/mod.ts";
import { openJetStream } from "../../../src/jetstream/mod.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { busAccounts, loadServiceKeys } from "../../../src/nats/mod.ts";
import { createIdentity, exportIdentity } from "@unibus/membership/client";
import { cli } from "../../cli/kit.ts";
import { CLUSTER, present } from "../../cluster/kit.ts";
import { testCluster } from "../../helpers/nats.ts";
import { daemon } from "../../cli/serve/kit.ts";
import { inDir } from "../../helpers/sqlite.ts";
import type { ClusterStatus } from "@unibus/membership/client";
import {
  assertAccessible,
  assertFits,
  assertLooks,
  browserTest,
  LOOKS,
  shoot,
  visit,
} from "../browser.ts";
import { clientOf, go, person, signIn } from "../console.ts";
import { site } from "../site.ts";

/** Adds an admin to the store of a server on JetStream. */
async function firstAdmin(dir: string, { nats }: { nats: string }) {
  const identity = createIdentity();
  const { code, stderr } = await cli([
    ...["user", "add", "--handle", "ada", "--admin"],
    ...["--sign-pub", identity.signPub, "--kex-pub", identity.kexPub],
    ...["--nats-url", nats, "--service-keys", `${dir}/service-keys.json`],
  ]);
  assert.equal(code, 0, stderr);
  return { identity, handle: "ada", file: exportIdentity(identity) };
}

browserTest(
  "a server on JetStream shows its node, its buckets and its blobs",
  () =>
    inDir(async (dir) => {
      await using server = await daemon(dir, ["--store", "jetstream", "--bus-auth", "enforce"]);
      const url = server.http.replace(/\/$/, "");
      const ada = await firstAdmin(dir, server);
      const client = clientOf(url, ada);
      await client.putBlob(new Uint8Array(1_234_567));
      await client.close();
      await using it = await visit();
      const { page } = it;
      await signIn(page, url, ada);
      await page.getByText("All is well").waitFor();
      await page.getByRole("heading", { name: "Cluster" }).waitFor();
      await page.getByRole("img", { name: /: control plane .*blobs .*second copy exact/ })
        .waitFor();
      await page.getByText("Nodes and copies as tables").click();
      await page.getByRole("table", { name: "Nodes" }).getByText("before each acknowledgement")
        .waitFor();
      await page.getByRole("region", { name: "Bucket UNIBUS", exact: true }).getByText("1 copy")
        .waitFor();
      await page.getByText("1.23 MB").waitFor();
      await page.getByText("1 blob, counted").waitFor();
      await go(page, "#/users", "Users");
      await page.getByLabel("Search").fill("ADA");
      await page.getByText("1 user", { exact: true }).waitFor();
      await it.assertClean(url);
    }),
);

browserTest(
  "a server on JetStream without a follower shows lists without a search",
  () =>
    inDir(async (dir) => {
      const args = ["--store", "jetstream", "--follower", "none", "--bus-auth", "enforce"];
      await using server = await daemon(dir, args);
      const ada = await firstAdmin(dir, server);
      await using it = await visit();
      const { page } = it;
      await signIn(page, server.http.replace(/\/$/, ""), ada);
      await page.keyboard.press("Control+k");
      await page.getByRole("combobox").fill("ad");
      await page.getByPlaceholder("View, or a whole key").waitFor();
      await page.keyboard.press("Escape");
      for (
        const [place, title, text] of [["users", "Users", "1 user"], ["rooms", "Rooms", "no rooms"]]
      ) {
        await go(page, `#/${place}`, title!);
        await page.getByText(text!).first().waitFor();
        await page.getByLabel("Search").waitFor({ state: "detached" });
        assert.equal(await page.getByRole("alert").count(), 0);
      }
      await go(page, `#/users/${ada.identity.signPub}`, "ada");
      await page.getByRole("button", { name: "Revoke access" }).waitFor();
      assert.equal(await page.getByRole("alert").count(), 0);
    }),
);

/** The status of three nodes of which some are away. */
function statusOf(away: readonly string[]): ClusterStatus {
  const reachable = 3 - away.length;
  const names = ["n1", "n2", "n3"];
  const leader = names.find((it) => !away.includes(it))!;
  const follower = { position: 1207, lag: 0, exact: true, alarm: null, degraded: null };
  const has = reachable >= 2;
  return {
    cluster: "bus",
    healthy: away.length === 0,
    quorum: { ok: has, size: 3, reachable, needed: 2 },
    nodes: names.map((name) => {
      const isThere = !away.includes(name);
      return {
        name,
        version: isThere ? "2.15.1" : null,
        program: isThere ? "0.1.0" : null,
        reachable: isThere,
        leads: has && name === leader,
        current: isThere,
        syncs: isThere ? true : null,
        follower: isThere ? { ...follower, lag: name === "n2" ? 31 : 0 } : null,
      };
    }),
    buckets: (["control plane", "history", "blobs"] as const).map((holds) => ({
      bucket: holds === "control plane" ? "UNIBUS" : `UNIBUS_${holds.toUpperCase()}`,
      holds,
      replicas: has ? 3 : null,
      leader: has ? leader : null,
      whole: reachable === 3,
      copies: has
        ? names.map((node) => ({
          node,
          leads: node === leader,
          current: !away.includes(node),
          reachable: !away.includes(node),
          lag: away.includes(node) ? 1204 : 0,
        }))
        : [],
      messages: 1207,
      bytes: 310_000,
    })),
    problems: [
      ...has ? [] : [`No quorum: ${reachable} of 3 nodes are reachable, 2 are required`],
      ...away.map((it) =>
        `${it} is not reachable; start it, or replace it by an empty node with the same name`
      ),
    ],
  };
}

const NOW = new Date().toISOString();
/** One interval of requests. */
const HISTORY = {
  seconds: 30,
  now: NOW,
  buckets: [{ at: NOW, requests: 9, denied: 0, failed: 0, p50: 1, p95: 20, p99: 300 }],
};

browserTest(
  "the picture of the cluster and the state follow what happens to its nodes",
  async () => {
    let away: string[] = [];
    let isGone = false;
    await using at = await site({
      cluster: () => Promise.resolve(statusOf(away)),
      // Longer than until it is asked again.
      before: async ({ url }) => {
        if (away.length > 0 && url.endsWith("/v1/status")) await wait(3_500);
        if (url.endsWith("/v1/history")) return Response.json(HISTORY);
        return isGone ? new Response("", { status: 502 }) : null;
      },
    });
    const ada = await person(at.store, "ada", "admin");
    await using it = await visit();
    const { page } = it;
    await signIn(page, at.url, ada);
    const picture = (name: RegExp) => page.getByRole("img", { name }).waitFor();
    await page.getByText("All is well").waitFor();
    await picture(/n1, leader: control plane leader.* n2: .*second copy 31 behind.* n3: /);
    await assertLooks(page, "cluster-well");
    const latency = page.locator(".chart").filter({ hasText: "Latency" });
    await latency.locator("li").first().waitFor();
    assert.deepEqual(await latency.locator("li").allTextContents(), [
      "p501 ms",
      "p9520 ms",
      "p99300 ms",
    ]);
    for (const look of ["accent", "warn", "soft"]) {
      assert.match(
        (await latency.locator(`path.points.${look}`).getAttribute("d"))!,
        /^M[\d. ]+h0$/,
      );
    }
    away = ["n3"];
    await page.getByText("Degraded: 1 problem").waitFor();
    await page.getByText("Requests are served.").waitFor();
    await page.getByText("Start it, or replace it by an empty node with the same name.").waitFor();
    await picture(/n1, leader.* n3: not reachable/);
    assert.deepEqual(await page.locator(".map-node.bad .map-name").allTextContents(), ["n3"]);
    await assertLooks(page, "cluster-degraded");
    away = ["n1", "n3"];
    await page.getByText("Down: 3 problems").waitFor();
    await page.getByText("Requests fail. Start 1 more node of n1, n3: 2 of 3 are needed.")
      .waitFor();
    await assertLooks(page, "cluster-down");
    isGone = true;
    await page.getByText("As the server last reported it.").waitFor();
    await page.getByText("Down: 1 problem").waitFor();
    await shoot(page, "cluster-old");
    await it.assertClean(at.url);
  },
);

async function threeNodes(): Promise<void> {
  await inDir(async (dir) => {
    const keys = await loadServiceKeys(`${dir}/keys.json`, { create: true });
    await using cluster = await testCluster(3, {
      ...busAccounts({ mode: "enforce", keys }),
      waitReady: true,
    });
    const connect = (nkeySeed: string) =>
      connectNats({ servers: cluster.urls, nkeySeed, bootstrapTimeout: 30_000 });
    const connection = await connect(keys.service.seed);
    const system = await connect(keys.system.seed);
    const store = await openJetStream({ connection, replicas: 3, opTimeout: 20_000 });
    const blobs = await openObjectBlobs({ connection, replicas: 3 });
    const { signal } = new AbortController();
    try {
      // The site closes the store.
      await using at = await site({
        store,
        blobs,
        cluster: () => fullStatus(connection, system, "UNIBUS", signal),
      });
      await using beside = new AsyncDisposableStack();
      for (const url of cluster.urls) beside.use(await present(url, keys.service.seed));
      const ada = await person(store, "ada", "admin");
      const visits = [];
      for (const look of LOOKS) {
        const it = await visit(look);
        visits.push({ it, look });
        const { page } = it;
        await signIn(page, at.url, ada);
        await page.getByText("All is well").waitFor();
        await page.getByText("3 of 3 nodes reachable, 2 needed").waitFor();
        await page.getByRole("img", { name: /n1.*control plane.*n2.*n3.*control plane/ }).waitFor();
        await page.getByText("Nodes and copies as tables").click();
        await page.getByRole("region", { name: "Bucket UNIBUS", exact: true }).getByText("leader")
          .waitFor();
        await assertFits(page);
        await assertAccessible(page);
        await shoot(page, `cluster-${look.screen}-${look.scheme}`);
      }
      // One that does not lead the control plane, so that what is asked goes on; if possible nothing.
      const { buckets } = await fullStatus(connection, system, "UNIBUS", signal);
      const leaders = new Set(buckets.map(({ leader }) => leader));
      const others = [0, 1, 2].filter((i) => buckets[0]!.leader !== `n${i + 1}`);
      const lost = others.find((i) => !leaders.has(`n${i + 1}`)) ?? others[0]!;
      await cluster.servers[lost]!.kill();
      for (const { it: { page, ...it }, look } of visits) {
        await page.getByText(/^Degraded: \d+ problems?$/).waitFor({ timeout: 60_000 });
        await page.getByText("Requests are served.").waitFor();
        await page.getByRole("img", { name: new RegExp(`n${lost + 1}: not reachable`) }).waitFor();
        await page.getByRole("row", { name: new RegExp(`^n${lost + 1} .*\\bno\\b`) }).first()
          .waitFor({
            timeout: 60_000,
          });
        await page.getByText("2 of 3 nodes reachable").waitFor();
        await assertFits(page);
        await assertAccessible(page);
        await shoot(page, `cluster-lost-${look.screen}-${look.scheme}`);
        assert.deepEqual(it.violations, []);
      }
      for (const { it } of visits) await it[Symbol.asyncDispose]();
    } finally {
      await blobs.close();
      await connection.close();
      await system.close();
    }
  });
}

// A minute, most of it until the loss of a node is known everywhere.
if (CLUSTER) browserTest("three nodes are shown, and which of them is lost", threeNodes);
