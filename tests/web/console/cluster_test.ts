/**
 * The console of a server whose store is in NATS: one node, and three of which one goes.
 */

import assert from "node:assert/strict";
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
import { assertAccessible, assertFits, browserTest, LOOKS, shoot, visit } from "../browser.ts";
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
      await page.getByRole("img", { name: /leader.*control plane.*second copy exact/ }).waitFor();
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
      // One that leads nothing, so that what is asked goes on.
      const status = await fullStatus(connection, system, "UNIBUS", signal);
      const leaders = new Set(status.buckets.map(({ leader }) => leader));
      const lost = cluster.servers.findIndex((_, i) => !leaders.has(`n${i + 1}`));
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
