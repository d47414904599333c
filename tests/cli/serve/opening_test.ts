/**
 * What a server answers before it serves: it listens while it waits for NATS and opens its store.
 *
 * @module
 */

import assert from "node:assert/strict";
import { freePorts, testCluster } from "../../helpers/nats.ts";
import { inDir } from "../../helpers/sqlite.ts";
import { isAlive, isReady, launch, readyz, until } from "./kit.ts";

Deno.test("a server says that it opens its store while the cluster has no majority, then serves", () =>
  inDir(async (dir) => {
    await using cluster = await testCluster(3);
    const [first, second, third] = cluster.servers;
    await Promise.all([second!.stop(), third!.stop()]);
    const [port] = await freePorts(1);
    const http = `http://127.0.0.1:${port}`;
    const more = ["--nats-url", first!.url, "--store", "jetstream", "--replicas", "3"];
    const server = await launch(dir, ["--http-port", `${port}`, ...more]);
    try {
      const says = async () => {
        const found = await readyz(http);
        return found?.status === 503 && found.checks[0]!.detail === "opening the store";
      };
      await until(says, "the page");
      const refused = await fetch(`${http}/v1/users`);
      assert.deepEqual([refused.status, refused.headers.get("retry-after")], [503, "1"]);
      await Promise.all([second!.restart(), third!.restart()]);
      await isReady(http);
    } finally {
      if (isAlive(server.pid)) server.kill("SIGTERM");
      await server.ended;
    }
  }));

Deno.test("a server without a nats-server to reach says so, and ends when it is told to", () =>
  inDir(async (dir) => {
    const [port, nats] = await freePorts(2);
    const server = await launch(dir, [
      ...["--http-port", `${port}`, "--nats-url", `nats://127.0.0.1:${nats}`],
      ...["--store", "jetstream"],
    ]);
    const says = async () => {
      const found = await readyz(`http://127.0.0.1:${port}`);
      return found?.status === 503 && found.checks[0]!.detail === "connecting to NATS";
    };
    await until(says, "the page");
    server.kill("SIGTERM");
    assert.equal((await server.ended).code, 0);
  }));
