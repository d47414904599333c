/**
 * The nats-server of the first node stands still for ten seconds while it grows and while it shrinks: the
 * clients of the bus come back, and the moves arrive.
 *
 * @module
 */

import assert from "node:assert/strict";
import process from "node:process";
import { setTimeout as pause } from "node:timers/promises";
import { documentOf, type Result } from "../../cli/kit.ts";
import { eventsOf, readyz, until } from "../../cli/serve/kit.ts";
import { ended, firstServer, joining } from "../../cli/cluster/kit.ts";
import { inDir } from "../../helpers/sqlite.ts";
import { busClients, populate, requireWritten, work } from "./kit.ts";
import { CLUSTER } from "../kit.ts";

/** How long it stands still, milliseconds. */
const STILL_MS = 10_000;

Deno.test(
  "a nats-server that stands still for 10 s while it grows and shrinks: clients of the bus come back",
  { ignore: !CLUSTER },
  () =>
    inDir(async (dir) => {
      await using stack = new AsyncDisposableStack();
      const n1 = stack.use(await firstServer(dir));
      const people = await populate(n1.db, 2_000);
      const clients = stack.use(await busClients([n1.nats], people, 5));
      const load = stack.use(work(n1.http, people));
      assert.equal((await n1.plan()).code, 0);
      for (const name of ["n2", "n3"]) {
        const node = await joining(`${dir}/${name}.join`, `${dir}/${name}`);
        stack.defer(() => ended(node));
        await node.seen(/"event":"waiting"/);
      }
      const events = () => eventsOf(n1.process.stderr());
      const standStill = async () => {
        const { pid } = events().findLast((it) => it.event === "nats.started")!;
        process.kill(pid, "SIGSTOP");
        try {
          await pause(STILL_MS);
        } finally {
          process.kill(pid, "SIGCONT");
        }
      };
      /** Waits for a move, or runs it again if it was interrupted. */
      const arrives = async (moving: Promise<Result>, ...again: string[]) => {
        let result = await moving;
        await until(
          async () => {
            const { state } = documentOf(await n1.call(again[0]!, "--status", "--json"));
            if (state === "done") return true;
            if (state !== "running") result = await n1.call(...again);
            return false;
          },
          `end of ${again[0]}: ${result.stdout}${result.stderr}`,
          120_000,
        );
      };
      for (const [direction, at] of [["grow", "grow.copy"], ["shrink", "shrink.blobs"]] as const) {
        const args = direction === "grow" ? ["grow"] : ["shrink", "--keep", "n1"];
        const moving = n1.call(...args, ...direction === "grow" ? ["--pace", "0.1"] : []);
        await until(() => events().some((it) => it.event === at), at, 120_000);
        await standStill();
        await arrives(moving, ...args);
        await until(async () => (await readyz(n1.http))?.status === 200, "readiness", 60_000);
        await clients.work();
      }
      await load.end();
      await requireWritten(n1.http, people, load.written);
    }),
);
