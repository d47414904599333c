import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { cliProcess } from "../kit.ts";
import { freePorts } from "../../helpers/nats.ts";
import { daemon, isAlive, isReady, until } from "./kit.ts";
import { inDir } from "../../helpers/sqlite.ts";
import { testTls } from "../../helpers/tls.ts";

Deno.test("three nodes with one command each keep the store on all of them", async () => {
  await using tls = await testTls();
  await inDir(async (dir) => {
    const ports = await freePorts(3);
    await writeFile(`${dir}/pass`, "hunter2", { mode: 0o600 });
    // The nodes of a cluster share the keys of their services.
    const keys = ["--service-keys", `${dir}/keys.json`];
    assert.equal((await cliProcess(["nats", "accounts", keys[1]!]).ended).code, 0);
    const nodes = await Promise.all(ports.map((port, i) =>
      daemon(`${dir}/n${i}`, [
        ...["--store", "jetstream", "--replicas", "3", "--bus-auth", "enforce", ...keys],
        ...["--cluster-name", "c", "--server-name", `n${i}`, "--cluster-port", `${port}`],
        ...["--routes", ports.filter((it) => it !== port).map((it) => `127.0.0.1:${it}`).join(",")],
        ...["--cluster-user", "node", "--cluster-pass-file", `${dir}/pass`],
        ...["--route-tls-cert", tls.server.cert, "--route-tls-key", tls.server.key],
        ...["--route-tls-ca", tls.caFile],
      ])
    ));
    try {
      for (const node of nodes) {
        await isReady(node.http);
      }
      const add = ["user", "add", "--admin", "--handle", "ada", "--sign-pub", "a1".repeat(32)];
      const flags = [...keys, "--kex-pub", "b2".repeat(32), "--nats-url", nodes[0]!.nats];
      const added = await cliProcess([...add, ...flags]).ended;
      assert.equal(added.code, 0, added.stderr);
      // membershipd answers on each of them, with the same keys.
      const look = ["cluster", "status", "--nats-url", nodes[0]!.nats, ...keys, "--json"];
      await until(async () => (await cliProcess(look).ended).code === 0, "health", 120_000);
      // One dies; the others go on.
      await nodes[0]!.stop("SIGKILL");
      await until(() => !isAlive(nodes[0]!.natsPid()), "end of the nats-server");
      const list = ["user", "list", ...keys, "--nats-url", nodes[1]!.nats, "--json"];
      await until(async () => {
        const { code, stdout } = await cliProcess(list).ended;
        return code === 0 && stdout.includes("a1a1a1");
      }, "answer of the others");
    } finally {
      await Promise.all(nodes.map((it) => it.stop("SIGKILL")));
      for (const it of nodes) await until(() => !isAlive(it.natsPid()), "end of the nats-server");
    }
  });
});
