/**
 * The first node killed on its way into the cluster: while it copies, at the switch, and after it. What was acknowledged is there, one side serves, and the move can be finished.
 *
 * @module
 */

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { loadServiceKeys } from "../../../src/nats/mod.ts";
import { cliProcess, documentOf } from "../../cli/kit.ts";
import { readyz, until } from "../../cli/serve/kit.ts";
import { ended, firstServer, joining } from "../../cli/cluster/kit.ts";
import { inDir } from "../../helpers/sqlite.ts";
import { noneWritten, populate, requireWritten, work } from "./kit.ts";
import { CLUSTER } from "../kit.ts";

/** What a file says of itself, without our code. */
function roleIn(db: string): { role: string; frozen_at: number | null } {
  const file = new DatabaseSync(db, { readOnly: true });
  try {
    return { ...file.prepare("SELECT role, frozen_at FROM file_role").get() } as ReturnType<
      typeof roleIn
    >;
  } finally {
    file.close();
  }
}

Deno.test(
  "n1 is killed while it copies, at the switch, and after it",
  { ignore: !CLUSTER },
  () =>
    inDir(async (dir) => {
      await using stack = new AsyncDisposableStack();
      const n1 = stack.use(await firstServer(dir));
      const people = await populate(n1.db, 3_000);
      const written = noneWritten();
      assert.equal((await n1.plan()).code, 0);
      for (const name of ["n2", "n3"]) {
        const node = await joining(`${dir}/${name}.join`, `${dir}/${name}`);
        stack.defer(() => ended(node));
        await node.seen(/"event":"waiting"/);
      }
      let server = n1.process;
      stack.defer(() => ended(server));
      const kill = async () => {
        server.kill("SIGKILL");
        await server.ended;
        server = cliProcess(["serve"], { env: n1.env });
      };
      const call = async (...args: string[]) => {
        const result = await n1.call(...args, "--json");
        return documentOf(result);
      };
      const load = () => work(n1.http, people, written);
      const isReady = () =>
        until(async () => (await readyz(n1.http))?.status === 200, "readiness of n1", 60_000);

      // While it copies.
      {
        await using _ = load();
        const growing = n1.call("grow", "--pace", "0.05");
        await server.seen(/"event":"grow.copy"/);
        await kill();
        await isReady();
        const { code, stdout, stderr } = await growing;
        assert.equal(code, 1, stdout + stderr);
        const { state, error, serves } = await call("grow", "--status");
        assert.deepEqual([state, error.code, serves], ["paused", "in_progress", "file"]);
        assert.deepEqual(roleIn(n1.db), { role: "primary", frozen_at: null });
      }
      await requireWritten(n1.http, people, written);

      // At the switch: its file is frozen, or the mark is sent.
      {
        await using _ = load();
        const growing = n1.call("grow");
        await server.seen(/"event":"grow.switch"/);
        await kill();
        await isReady();
        const { role, frozen_at } = roleIn(n1.db);
        assert.ok(role === "moved" || frozen_at === null, `${role} ${frozen_at}`);
        const { serves } = await call("grow", "--status");
        assert.equal(serves, role === "moved" ? "bucket" : "file");
        await growing;
      }
      await requireWritten(n1.http, people, written);

      // After the switch; where it was made before, there is nothing more to do.
      {
        await using _ = load();
        if (roleIn(n1.db).role === "primary") {
          const growing = n1.call("grow");
          await server.seen(/"event":"grow.finish"/);
          await kill();
          await growing;
        } else await kill();
        await isReady();
        const { serves } = await call("grow", "--status");
        assert.equal(serves, "bucket");
        assert.equal(roleIn(n1.db).role, "moved");
        const port = new URL(n1.http).port;
        await until(
          async () => {
            const all = await Promise.all([2, 3].map((i) => readyz(`http://127.0.0.${i}:${port}`)));
            return all.every((it) => it?.status === 200);
          },
          "readiness of the others",
          60_000,
        );
      }
      for (const i of [1, 2, 3]) {
        await requireWritten(`http://127.0.0.${i}:${new URL(n1.http).port}`, people, written);
      }
      await requireOneMark(n1.nats, `${n1.dir}/service-keys.json`);
    }),
);

/** The bucket's mark says that the control plane is there, without our code. */
async function requireOneMark(servers: string, keys: string): Promise<void> {
  const { service } = await loadServiceKeys(keys);
  const connection = await connectNats({ servers, nkeySeed: service.seed });
  try {
    const subject = "$JS.API.STREAM.MSG.GET.KV_UNIBUS";
    const query = JSON.stringify({ last_by_subj: "$KV.UNIBUS.meta.migration" });
    const { message } = (await connection.request(subject, query)).json<
      { message: { data: string } }
    >();
    assert.equal(JSON.parse(atob(message.data)).state, "complete");
  } finally {
    await connection.close();
  }
}
