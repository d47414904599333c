/** A machine in the place of a lost node of a planned cluster. */

import assert from "node:assert/strict";
import { readFile, rm } from "node:fs/promises";
import { Kvm } from "@nats-io/kv";
import { openJetStream } from "../../../mod.ts";
import { openObjectBlobs } from "../../../src/blobs/mod.ts";
import { behindWithout } from "../../../cli/cluster/copies.ts";
import { parseJoin } from "../../../cli/cluster/plan/join_file.ts";
import { movedIn } from "../../../cli/cluster/plan/replace.ts";
import type { Plan } from "../../../cli/cluster/plan/types.ts";
import type { Settings } from "../../../cli/settings/settings.ts";
import { readPlan } from "../../../cli/cluster/plan/plan_file.ts";
import { readNode, writeNode } from "../../../cli/settings/node.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { loadServiceKeys } from "../../../src/nats/mod.ts";
import { CLUSTER } from "../../cluster/kit.ts";
import { freePorts } from "../../helpers/nats.ts";
import { inDir, person } from "../../helpers/sqlite.ts";
import { type CliProcess, cliProcess, documentOf } from "../kit.ts";
import { readyz, until } from "../serve/kit.ts";
import { ended, type First, firstServer, joining } from "./kit.ts";

/** Makes n1 a node of the cluster, as `grow` does, with a control plane in it. */
async function grown(n1: First): Promise<CliProcess> {
  await ended(n1.process);
  await rm(n1.db);
  await writeNode(n1.db, { ...(await readNode(n1.db))!, state: "clustered" });
  const process = cliProcess(["serve"], { env: n1.env });
  await process.seen(/"event":"waiting"/);
  const { service } = await loadServiceKeys(`${n1.dir}/service-keys.json`);
  const servers = [1, 2, 3].map((i) => `nats://127.0.0.${i}:${n1.natsPort}`);
  const connection = await connectNats({
    servers,
    nkeySeed: service.seed,
    bootstrapTimeout: 30_000,
  });
  {
    await using store = await openJetStream({ connection, replicas: 3 });
    await store.addUser(person("grace"));
    await using _blobs = await openObjectBlobs({ connection, replicas: 3 });
  }
  const mark = { v: 1, by: "journey", source: "s", state: "complete", startedAt: "now" };
  await (await new Kvm(connection).open("UNIBUS")).put("meta.migration", JSON.stringify(mark));
  await connection.close();
  return process;
}

Deno.test("cluster replace runs only where the plan is, and for a node of it", () =>
  inDir(async (dir) => {
    await using n1 = await firstServer(dir);
    const none = await n1.call("cluster", "replace", "n3");
    assert.equal(none.code, 2);
    assert.match(
      none.stderr,
      /is not a node of a planned cluster .*; run the command on the machine/,
    );
    assert.equal((await n1.plan()).code, 0);
    await writeNode(n1.db, { ...(await readNode(n1.db))!, state: "clustered" });
    const wrong: [string, RegExp][] = [
      ["n9", /No node n9 in the plan; it has n2, n3/],
      ["n1", /n1 is this machine; it has the plan and cannot be replaced from here/],
      ["n3=127.0.0.2", /127.0.0.2 is the address of n2/],
      ["n3=", /the address or name must be an IP address or a host name/],
    ];
    for (const [text, message] of wrong) {
      const { code, stderr } = await n1.call("cluster", "replace", text);
      assert.equal(code, 2, stderr);
      assert.match(stderr, message);
    }
    await rm(`${n1.dir}/cluster/plan.json`);
    assert.match(
      (await n1.call("cluster", "replace", "n3")).stderr,
      /node n1 of cluster bus, but has no plan: only the machine on which/,
    );
  }));

Deno.test("a plan in which a node has moved differs only in that node's address", () => {
  const nodes = [1, 2, 3].map((i) => ({ name: `n${i}`, address: `10.0.0.${i}` }));
  const settings = { httpPort: 8470, clusterPort: 6222 } as Settings;
  const of = (i: number, address = "10.0.0.3") => ({
    // Others that listen on the same address of their own, such as 0.0.0.0, keep it.
    bind: i === 3 ? address : "10.0.0.3",
    ...i === 1 ? {} : { authority: ["bus.example", `${i === 3 ? address : "10.0.0.3"}:8470`] },
    routes: i === 3 ? ["10.0.0.1:6222", "10.0.0.2:6222"] : ["10.0.0.9:6222", `${address}:6222`],
    storeDir: "blobs",
  });
  const made = (address?: string) => ({
    n1: of(1, address),
    n2: of(2, address),
    n3: of(3, address),
  });
  const plan = { id: "p", nodes, settings: made() } as unknown as Plan;
  const moved = movedIn(plan, { name: "n3", address: "10.0.0.4" }, settings);
  assert.deepEqual(moved, {
    id: "p",
    nodes: [nodes[0], nodes[1], { name: "n3", address: "10.0.0.4" }],
    settings: made("10.0.0.4"),
  });
  assert.deepEqual(plan.settings, made());
});

Deno.test("a node can be replaced only if all copies on the others are current", () => {
  const copy = (node: string, current = true, reachable = true) => ({
    node,
    leads: false,
    current,
    reachable,
    lag: 0,
  });
  const behind = (copies: ReturnType<typeof copy>[] | null) =>
    behindWithout([{ stream: "S", copies, bytes: 1 }], "n3");
  assert.deepEqual(behind([copy("n1"), copy("n2"), copy("n3", false, false)]), []);
  assert.deepEqual(behind([copy("n1"), copy("n2")]), []);
  assert.deepEqual(behind(null), ["S has no leader"]);
  assert.deepEqual(behind([copy("n3")]), ["S has no copy on another node"]);
  for (const lost of [copy("n2", false), copy("n2", true, false)]) {
    assert.deepEqual(behind([copy("n1"), lost]), ["the copy of S on n2 is not current"]);
  }
});

Deno.test({
  name: "a machine joins in the place of a lost node, and the cluster is whole again",
  ignore: !CLUSTER,
  fn: () =>
    inDir(async (dir) => {
      const [wsPort] = await freePorts(1);
      await using first = await firstServer(dir, `wsPort = ${wsPort}`);
      assert.equal((await first.plan()).code, 0);
      const n2 = await joining(`${dir}/n2.join`, `${dir}/n2`);
      const n3 = await joining(`${dir}/n3.join`, `${dir}/n3`);
      const n1 = await grown(first);
      let fourth: CliProcess | null = null;
      const { port } = new URL(first.http);
      const replace = (...more: string[]) =>
        first.call("cluster", "replace", "n3=127.0.0.4", "--out", dir, ...more);
      const healthy = async () => {
        let status = await first.call("cluster", "status");
        const isWell = async () =>
          status.code === 0 || (status = await first.call("cluster", "status")).code === 0;
        await until(isWell, "healthy cluster", 180_000).catch((error) => {
          throw new Error(status.stdout + status.stderr, { cause: error });
        });
      };
      try {
        await healthy();
        const running = await replace();
        assert.equal(running.code, 1);
        assert.match(running.stderr, /Replacing n3: it is running\n.*stop n3 first/);

        const before = await readFile(`${dir}/n3.join`, "utf8");
        await ended(n3);
        await rm(`${dir}/n3`, { recursive: true });
        let made = await replace("--json");
        // The leader of a stream may have been on it.
        await until(
          async () => made.code === 0 || (made = await replace("--json")).code === 0,
          "file",
          30_000,
        );
        const { name, address, join } = documentOf(made);
        assert.deepEqual([name, address, join], ["n3", "127.0.0.4", `${dir}/n3.join`]);

        const plan = (await readPlan(first.db))!;
        const { clusterPort } = plan.settings.n3 as { clusterPort: number };
        const file = parseJoin(await readFile(join, "utf8"));
        const content = await file.open();
        assert.deepEqual([file.plan, file.address], [plan.id, "127.0.0.4"]);
        assert.equal(content.settings.bind, "127.0.0.4");
        const formerly = await parseJoin(before).open();
        const [pem, secret] = ["cluster/route.pem", "cluster/route.secret"];
        assert.notEqual(content.files[pem!], formerly.files[pem!], "certificates of its own");
        assert.equal(content.files[secret!], formerly.files[secret!]);
        for (const settings of [plan.settings.n1!, (await readNode(first.db))!.settings]) {
          assert.deepEqual(settings.routes, [
            `127.0.0.2:${clusterPort}`,
            `127.0.0.4:${clusterPort}`,
          ]);
          assert.deepEqual(settings.wsOrigin, [2, 4].map((i) => `http://127.0.0.${i}:${port}`));
        }

        fourth = await joining(join, `${dir}/n4`);
        await fourth.seen(/"event":"ready"/);
        await healthy();
        const ready = await readyz(`http://127.0.0.4:${port}`);
        assert.equal(ready!.status, 200);
        const list = await first.call("user", "list", "--json");
        assert.match(list.stdout, /user grace/);

        // Without a majority nothing is known of the copies.
        await ended(fourth);
        await ended(n2);
        const lost = await replace();
        assert.equal(lost.code, 1);
        assert.match(lost.stderr, /Replacing n3: the cluster has no quorum/);
      } finally {
        await Promise.all([n1, n2, n3, ...fourth === null ? [] : [fourth]].map(ended));
      }
    }),
});
