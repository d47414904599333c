/**
 * Two of three nodes are lost for good: shrink says what to do, and the node that is left serves again.
 *
 * @module
 */

import assert from "node:assert/strict";
import { connect } from "node:net";
import { inDir } from "../../helpers/sqlite.ts";
import { cliProcess, documentOf } from "../../cli/kit.ts";
import { ended, firstServer, joining } from "../../cli/cluster/kit.ts";
import { readyz, until } from "../../cli/serve/kit.ts";
import { CLUSTER } from "../kit.ts";
import { populate, requireWritten, work } from "./kit.ts";

Deno.test(
  "the last of three nodes is told how to serve alone, and does",
  { ignore: !CLUSTER },
  () =>
    inDir(async (dir) => {
      await using stack = new AsyncDisposableStack();
      const n1 = stack.use(await firstServer(dir));
      const people = await populate(n1.db, 100);
      assert.equal((await n1.plan()).code, 0);
      const others = await Promise.all(["n2", "n3"].map(async (name) => {
        const node = await joining(`${dir}/${name}.join`, `${dir}/${name}`);
        stack.defer(() => ended(node));
        await node.seen(/"event":"waiting"/);
        return node;
      }));
      const grown = await n1.call("grow", "--json");
      assert.equal(grown.code, 0, grown.stderr);
      const load = work(n1.http, people);
      await until(() => load.calls() > 50, "writes in the cluster", 60_000);
      const { failures } = await load.end();
      assert.deepEqual(failures, []);
      const { users } = load.written;
      const requireIndeed = () => requireWritten(n1.http, people, { users, blobs: new Map() });
      await requireIndeed();
      // What the second copy holds is kept.
      await until(
        async () => {
          const { nodes } = documentOf(await n1.call("cluster", "status", "--json"));
          return nodes.some((it: { name: string; follower?: { lag: number } }) =>
            it.name === "n1" && it.follower?.lag === 0
          );
        },
        "the second copy",
        60_000,
      );

      for (const [i, it] of others.entries()) {
        it.kill("SIGKILL");
        await it.ended;
        await until(() => isClosed(`127.0.0.${i + 2}`, n1.natsPort), "end of the nats-server");
      }
      const refused = await n1.call("shrink", "--keep", "n1");
      assert.equal(refused.code, 1, refused.stdout);
      const hint = /stop this server and run membershipd shrink --keep n1 --force --dry-run/;
      assert.match(refused.stdout, hint);
      const running = await n1.call("shrink", "--keep", "n1", "--force");
      assert.equal(running.code, 1);
      assert.match(running.stderr, /hint: stop membershipd on this machine first/);
      await ended(n1.process);

      const alone = [["grow"], ["shrink", "--keep", "n1"], ["grow", "--status"], [
        "shrink",
        "--call-off",
      ]];
      for (const { code, stderr } of await Promise.all(alone.map((it) => n1.call(...it)))) {
        assert.equal(code, 1);
        assert.match(
          stderr,
          /^error: Asking the server of node n1 \(.*node\.json\): Connect to nats/,
        );
        assert.match(
          stderr,
          /^hint: start it with membershipd serve .* systemctl start membershipd/m,
        );
      }

      // Started again it waits, and says the same.
      const waiting = cliProcess(["serve"], { env: n1.env });
      stack.defer(() => ended(waiting));
      await waiting.seen(/"event":"waiting"/);
      await until(
        async () => {
          const { code, stderr } = await n1.call("shrink", "--keep", "n1");
          assert.equal(code, 1);
          return hint.test(stderr);
        },
        "the hint",
        60_000,
      );
      await ended(waiting);

      const shrunk = await n1.call("shrink", "--keep", "n1", "--force", "--json");
      assert.equal(shrunk.code, 0, shrunk.stderr);
      assert.equal(documentOf(shrunk).generation, 2);
      const last = cliProcess(["serve"], { env: n1.env });
      stack.defer(() => ended(last));
      await until(async () => (await readyz(n1.http))?.status === 200, "readiness of n1", 60_000);
      await requireIndeed();
      assert.deepEqual(documentOf(await n1.call("shrink", "--status", "--json")).serves, "file");
    }),
);

/** Whether nobody listens on a port. */
function isClosed(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    socket.once("connect", () => {
      socket.destroy();
      resolve(false);
    });
    socket.once("error", () => resolve(true));
  });
}
