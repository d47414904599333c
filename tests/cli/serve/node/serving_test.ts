/**
 * What a node does while it serves the store of its cluster: tries again what a missing majority ends, and
 * stops when the control plane has moved to another node.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Kvm } from "@nats-io/kv";
import type { Bus } from "../../../../cli/serve/bus.ts";
import { Page } from "../../../../cli/serve/node/page.ts";
import {
  COPYING,
  HOME,
  JOINED,
  LOST,
  nextStep,
  UNSERVED,
} from "../../../../cli/serve/node/mark.ts";
import { type Node, OPENING, serveAsNode } from "../../../../cli/serve/node/serving.ts";
import type { Shown } from "../../../../cli/serve/node/present.ts";
import type { Storage } from "../../../../cli/serve/storage/types.ts";
import { Undo } from "../../../../cli/serve/undo.ts";
import { resolveHere } from "../../../../cli/settings/resolve.ts";
import type { Fields } from "../../../../cli/terminal/log.ts";
import { openJetStream, StoreError } from "../../../../mod.ts";
import { connectNats } from "../../../../src/nats/connection/connect.ts";
import { freePorts, testServer } from "../../../helpers/nats.ts";
import { inDir } from "../../../helpers/sqlite.ts";
import { readyz, until } from "../kit.ts";

/** A node that runs in this process. */
interface Running {
  /** Its bus. */
  bus: Bus;
  /** URL of its HTTP. */
  http: string;
  /** What it logged: event and message. */
  logged: string[];
  /** What it told other nodes last. */
  shown: Shown | null;
  /** Writes the mark of the bucket. */
  mark(fields: Record<string, unknown>): Promise<void>;
  /** How the node ended. */
  ended: Promise<unknown>;
}

/** Runs a node over a bucket that has a control plane. */
async function running(
  dir: string,
  parts: Pick<Node, "open" | "serve">,
  work: (it: Running) => Promise<void>,
): Promise<void> {
  await using server = await testServer();
  const connection = await connectNats({ servers: server.url });
  const ending = new AbortController();
  try {
    await (await openJetStream({ connection })).close();
    const [port] = await freePorts(1);
    const flags = { db: `${dir}/a.db`, httpPort: `${port}` };
    const { settings } = await resolveHere({ flags, env: {}, file: null });
    const logged: string[] = [];
    const found = { problems: [], warnings: [], pair: null, names: null };
    const log = (_: string, event: string, { message = "" }: Fields = {}) =>
      void logged.push(`${event} ${message}`);
    const bus = { connection, system: null, url: server.url, node: "n1" } as Bus;
    const page = new Page({ settings, found });
    const kv = await new Kvm(connection).open("UNIBUS");
    const mark = async (fields: Record<string, unknown>) => {
      const startedAt = "2026-01-01T00:00:00.000Z";
      const marker = { v: 1, by: "journey", source: "s", startedAt, state: "complete", ...fields };
      await kv.put("meta.migration", JSON.stringify(marker));
    };
    await mark({});
    const it: Running = {
      bus,
      http: `http://127.0.0.1:${port}`,
      logged,
      shown: null,
      mark,
      ended: Promise.resolve(),
    };
    it.ended = serveAsNode({
      around: { settings, found, signal: ending.signal, log, undo: new Undo(), page },
      bus,
      present: (shown) => it.shown = shown,
      first: null,
      arrive: () => Promise.resolve("not here"),
      open: parts.open,
      // As the HTTP of the control plane does, which takes the port.
      serve: (around, storage) => page.close().then(() => parts.serve(around, storage)),
    }).catch((error) => error).finally(() => page.close());
    await work(it);
    ending.abort();
    await it.ended;
  } finally {
    ending.abort();
    await connection.close();
  }
}

const storage = { bucket: "UNIBUS", follower: null } as Storage;

Deno.test("a store that a missing majority keeps from being opened or served is tried again", () =>
  inDir(async (dir) => {
    const lacking = (what: string) =>
      new StoreError("unavailable", `${what}: JetStream system temporarily unavailable (10008)`);
    const tries: string[] = [];
    const ended: number[] = [];
    const parts: Pick<Node, "open" | "serve"> = {
      open({ undo }) {
        const n = tries.push("open");
        undo.add("store", () => Promise.resolve(ended.push(n)));
        return n === 1 ? Promise.reject(lacking("Create a consumer")) : Promise.resolve(storage);
      },
      serve() {
        const n = tries.push("serve");
        return n === 3 ? Promise.reject(lacking("Start the auth callout")) : Promise.resolve();
      },
    };
    await running(dir, parts, async ({ http, logged }) => {
      for (const what of ["Create a consumer", "Start the auth callout"]) {
        const why = `the store cannot be served now: ${lacking(what).message}`;
        const says = async () => {
          const found = await readyz(http);
          return found?.status === 503 && found.checks[0]!.detail === why;
        };
        await until(says, `the page ${why}`);
        assert.ok(logged.includes(`store.unavailable ${why}`));
      }
      await until(() => tries.length === 5, "the third try");
      assert.deepEqual(tries, ["open", "open", "serve", "open", "serve"]);
      // What was opened in vain is closed before the next try.
      assert.deepEqual(ended, [1, 2]);
      assert.equal(await readyz(http), null);
    });
  }));

Deno.test("a node that opens its store says so, to clients and to other nodes", () =>
  inDir(async (dir) => {
    const opened = Promise.withResolvers<Storage>();
    let isServed = false;
    const parts = {
      open: () => opened.promise,
      serve: () => Promise.resolve(void (isServed = true)),
    };
    await running(dir, parts, async (it) => {
      const says = async () => {
        const found = await readyz(it.http);
        return found?.status === 503 && found.checks[0]!.detail === "opening the store";
      };
      await until(says, "the page");
      assert.equal(it.shown?.waiting, "opening the store");
      assert.equal((await fetch(`${it.http}/healthz`)).status, 200);
      const refused = await fetch(`${it.http}/v1/users`);
      assert.deepEqual([refused.status, refused.headers.get("retry-after")], [503, "1"]);
      assert.match(await refused.text(), /cannot answer: opening the store/);
      opened.resolve(storage);
      await until(() => isServed, "the control plane");
      assert.equal(await readyz(it.http), null);
    });
  }));

Deno.test("a failure that no time mends ends the node", () =>
  inDir((dir) => {
    const error = new StoreError("corrupt", "Record users.a is damaged");
    const parts = { open: () => Promise.reject(error), serve: () => Promise.resolve() };
    return running(dir, parts, async ({ ended }) => assert.equal(await ended, error));
  }));

Deno.test("a node goes on with a move to itself, by its present name, and stops for one to another", () =>
  inDir(async (dir) => {
    let served = 0;
    const parts = {
      open: () => Promise.resolve(storage),
      serve: () => Promise.resolve(void served++),
    };
    await running(dir, parts, async (it) => {
      await until(() => served === 1, "the start");
      // Its nats-server enters the cluster, where it has another name.
      it.bus.node = "n2";
      const asked = looksAt(it.bus);
      for (const move of [{ shrink: { node: "n2" } }, { moved: { node: "n2" } }]) {
        await it.mark(move);
        const before = asked();
        await until(() => asked() >= before + 2, "two looks at the mark");
        assert.deepEqual(it.logged.filter((line) => line.startsWith("store.gone")), []);
      }
      await it.mark({ state: "in_progress", moved: { node: "n3" } });
      const why = "the control plane moved to n3";
      await until(() => it.shown?.waiting === why, why);
      assert.ok(it.logged.includes(`store.gone This node stops serving: ${why}`));
      assert.equal(served, 1);
    });
  }));

Deno.test("what is being copied is loaded meanwhile, and served when it is complete", () =>
  inDir(async (dir) => {
    const opened: { early: boolean; storage: Storage }[] = [];
    const ended: number[] = [];
    const served: Storage[] = [];
    const parts: Pick<Node, "open" | "serve"> = {
      open({ undo }, early) {
        const follower = { alarm: null } as Storage["follower"];
        const store = { hasAdmin: () => Promise.reject(new Error("not loaded")) };
        const it = { ...storage, follower, store } as unknown as Storage;
        const n = opened.push({ early, storage: it });
        undo.add("store", () => Promise.resolve(ended.push(n)));
        const lacking = new StoreError("unavailable", "no majority answers");
        return n === 2 ? Promise.reject(lacking) : Promise.resolve(it);
      },
      serve: (_, it) =>
        served.push(it) === 2
          ? Promise.reject(new StoreError("unavailable", "no majority answers"))
          : Promise.resolve(),
    };
    await running(dir, parts, async (it) => {
      await until(() => served.length === 1, "the first control plane");
      await it.mark({ state: "in_progress", moved: { node: "n3" } });
      await until(() => it.shown?.waiting === "the control plane moved to n3", "its end");
      // The first try fails.
      await it.mark({ state: "in_progress" });
      await until(() => opened.length === 3, "the second try");
      const waiting = "joined, waiting for the control plane";
      assert.equal(it.shown?.waiting, `${waiting}: it is being copied`);
      // The bucket was made again.
      Object.assign(opened[2]!.storage.follower!, { alarm: new StoreError("corrupt", "deleted") });
      await until(() => opened.length === 4, "another one");
      await it.mark({ state: "in_progress", calledOff: "2026-01-01T00:00:00.000Z" });
      await until(() => it.shown?.waiting === waiting, "the end of the move");
      await until(() => ended.length === 4, "the end of the store");
      await it.mark({ state: "in_progress" });
      await until(() => opened.length === 5, "the next move");
      await it.mark({});
      await until(() => served.length === 3, "the next control plane");
      assert.equal(served[1], opened[4]!.storage);
      // What cannot be served is opened again as ever.
      assert.equal(served[2], opened[5]!.storage);
      assert.deepEqual(opened.map((it) => it.early), [false, true, true, true, true, false]);
      assert.deepEqual(ended, [1, 2, 3, 4, 5]);
    });
  }));

/** Counts the looks at the mark from now on. */
function looksAt(bus: Bus): () => number {
  let looks = 0;
  const { connection } = bus;
  bus.connection = new Proxy(connection, {
    get(target, name) {
      const found = Reflect.get(target, name);
      if (name !== "request") return typeof found === "function" ? found.bind(target) : found;
      return (subject: string, ...rest: [string]) => {
        if (subject.startsWith("$JS.API.STREAM.MSG.GET.")) looks++;
        return target.request(subject, ...rest);
      };
    },
  });
  return () => looks;
}

Deno.test("a request to move that a waiting node cannot answer: what to do depends on what it waits for", () => {
  for (
    const [why, expected] of [
      [JOINED, /^run the command on the node that serves$/],
      [COPYING, /^run the command on the node that serves$/],
      ["the control plane moved to n2", /^run the command on the node that serves$/],
      [`${LOST} (No leader)`, /shrink --keep n1 --force --dry-run/],
      [`${UNSERVED}: No leader`, /shrink --keep n1 --force --dry-run/],
      [OPENING, /^wait until n1 serves, and run the command again$/],
      [HOME, /^wait until n1 serves, and run the command again$/],
    ] as const
  ) assert.match(nextStep(why, "n1"), expected);
});
