/**
 * One file becomes three nodes and one file again while it serves, by five commands and two copied files;
 * with the first node killed on the way.
 *
 * @module
 */

import assert from "node:assert/strict";
import { openSqlite } from "../../../mod.ts";
import { isStoreError } from "../../../src/core/errors.ts";
import { newUser } from "../../conformance/kit/kit.ts";
import { documentOf } from "../../cli/kit.ts";
import { readyz, until } from "../../cli/serve/kit.ts";
import { ended, firstServer, joining } from "../../cli/cluster/kit.ts";
import { createClient } from "../../../src/client/mod.ts";
import { freePorts } from "../../helpers/nats.ts";
import { inDir } from "../../helpers/sqlite.ts";
import { admits } from "../../helpers/websocket.ts";
import { busClients, hears, populate, requireWritten, work } from "./kit.ts";
import { CLUSTER } from "../kit.ts";

Deno.test("one file becomes three nodes and one file again, while it serves, by five commands", {
  ignore: !CLUSTER,
}, () =>
  inDir(async (dir) => {
    await using stack = new AsyncDisposableStack();
    const [wsPort] = await freePorts(1);
    const n1 = stack.use(await firstServer(dir, `wsPort = ${wsPort}`));
    const people = await populate(n1.db, 300);
    const { port } = new URL(n1.http);
    const urls = [1, 2, 3].map((i) => `http://127.0.0.${i}:${port}`);
    const clients = stack.use(await busClients([n1.nats], people, 10));
    const load = stack.use(work(urls[0]!, people));
    const run = async (...args: string[]) => {
      const result = await n1.call(...args);
      assert.equal(result.code, 0, `${args.join(" ")}\n${result.stdout}${result.stderr}`);
      return result;
    };
    // A process that has the file open writes too, until it is told that the file has moved.
    const beside = writeBeside(n1.db, load.written.users);

    assert.equal((await n1.plan()).code, 0);
    for (const name of ["n2", "n3"]) {
      const node = await joining(`${dir}/${name}.join`, `${dir}/${name}`);
      stack.defer(() => ended(node));
      await node.seen(/"event":"waiting"/);
    }
    const grown = documentOf(await run("grow", "--json"));
    assert.deepEqual([grown.state, grown.serves, grown.error], ["done", "bucket", null]);
    assert.match(await beside.ended, /moved/);
    for (const [i, url] of urls.entries()) {
      await until(
        async () => (await readyz(url))?.status === 200,
        `readiness of n${i + 1}`,
        60_000,
      );
    }
    assert.deepEqual(clients.seen.drops, Array(10).fill(1));
    await clients.work();
    // The page of a node may use the others' WebSockets, which it learns.
    const wsUrls = [1, 2, 3].map((i) => `ws://127.0.0.${i}:${wsPort}`);
    using client = createClient({ url: urls[1]!, identity: people.admin });
    const learned = async () => (await client.nodes()).nodes.flatMap((it) => it.wsUrls);
    await until(async () => (await learned()).length === 3, "the URLs of all nodes", 60_000);
    assert.deepEqual(await learned(), wsUrls);
    for (const url of wsUrls) for (const origin of urls) assert.ok(await admits(url, origin));
    assert.ok(!await admits(wsUrls[1]!, "http://127.0.0.4"));
    const third = n1.nats.replace("127.0.0.1", "127.0.0.3");
    const others = stack.use(await busClients([third, n1.nats], people, 3));
    await others.work();
    const here = load.calls();
    await until(() => load.calls() > here + 20, "writes after it has grown");
    // n1 has its name in the cluster, which its nats-server did not have alone.
    using first = createClient({ url: urls[0]!, identity: people.admin });
    const names = async () => (await first.nodes()).nodes.map((it) => it.name).join();
    await until(async () => await names() === "n1,n2,n3", "the names of all nodes", 60_000);
    await run("cluster", "restart", "--node", "n2");
    // The same again has nothing to do, and changes nothing.
    const again = await run("grow");
    assert.equal(
      again.stdout,
      "nothing to do: n1 serves from the cluster, with copies on n1, n2, n3\n",
    );
    const { state, unchanged } = documentOf(await run("grow", "--json"));
    assert.deepEqual([state, unchanged], ["done", true]);
    const shrunk = documentOf(await run("shrink", "--keep", "n1", "--json"));
    assert.deepEqual([shrunk.state, shrunk.serves, shrunk.error], ["done", "file", null]);
    assert.match(
      (await run("shrink", "--keep", "n1")).stdout,
      /^nothing to do: n1 serves from its file/,
    );
    await until(() => load.calls() > here + 200, "writes after it has shrunk", 60_000);
    const { longest, failures } = await load.end();
    console.log(
      `slowest call ${Math.round(longest)} ms, pauses ${grown.pause}, ${shrunk.pause} ms`,
    );
    console.log(`clients away ${Math.round(clients.seen.longest)} ms, ${load.calls()} calls`);
    assert.deepEqual(failures, []);
    assert.deepEqual(clients.seen.drops, Array(10).fill(2));
    await clients.work();
    // Those of n3 were sent to n1, where they meet the others.
    await until(
      () =>
        others.connections.every((it) => it.getServer() === clients.connections[0]!.getServer()),
      "the clients of n3",
      60_000,
    );
    await others.work();
    await hears(clients.connections[0]!, others.connections[0]!);
    console.log(
      `clients of n3 dropped ${others.seen.drops}, away ${Math.round(others.seen.longest)} ms`,
    );
    assert.ok(await admits(wsUrls[0]!, urls[0]!));
    await requireWritten(urls[0]!, people, load.written);
    assert.equal((await readyz(urls[1]!))?.status, 503);
  }));

/** Adds users to a file until it is refused; `ended` gives the reason. */
function writeBeside(db: string, users: Map<string, boolean>): { ended: Promise<string> } {
  const ended = (async () => {
    await using store = openSqlite(db);
    for (;;) {
      const user = newUser();
      try {
        await store.addUser(user);
        users.set(user.signPub, true);
      } catch (error) {
        if (!isStoreError(error) || error.code !== "unavailable") return (error as Error).message;
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  })();
  return { ended };
}
