/** The page on a cluster of three nodes, of which the one that it is connected to dies. */

import assert from "node:assert/strict";
import process from "node:process";
import type { Page, WebSocket } from "playwright-core";
import { cardOf } from "@unibus/membership/client";
import { until } from "../../cli/serve/kit.ts";
import { CLUSTER, ready, type TestNode, testNodes } from "../../cluster/kit.ts";
import { browserTest } from "../browser.ts";
import { person } from "../console.ts";
import { accept, add, createRoom, enter, guest, isConnected, line } from "./kit.ts";

/** Starts three nodes that browsers can connect to from the first one's page; gives the WebSocket of each. */
async function started(nodes: TestNode[]): Promise<Map<string, TestNode>> {
  const [n1] = nodes;
  const store = ["--store", "jetstream", "--replicas", "3"];
  const more = [...store, "--ws-port", "0", "--ws-origin", n1!.http];
  await Promise.all(nodes.map((it) => it.start({ more })));
  for (const it of nodes) await ready(it);
  const all = await Promise.all(nodes.map(async (it) => {
    const { ws } = await it.daemon!.event("ready");
    return [new URL(ws).host, it] as const;
  }));
  const policy = async () =>
    (await fetch(`${n1!.http}/rooms`)).headers.get("content-security-policy")!;
  await until(
    async () => {
      const allowed = await policy();
      return all.every(([host]) => allowed.includes(`ws://${host}`));
    },
    "page that may connect to all nodes",
    60_000,
  );
  return new Map(all);
}

/** Returns what gives the WebSocket that a page has open. */
function busOf(page: Page): () => WebSocket | undefined {
  const all: WebSocket[] = [];
  page.on("websocket", (it) => {
    all.push(it);
  });
  return () => all.findLast((it) => !it.isClosed());
}

/** Talks until the other reads it: what is said while that one has no connection is not repeated. */
async function reaches(from: Page, to: Page, text: string): Promise<void> {
  for (let i = 1;; i++) {
    const said = `${text} ${i}`;
    await from.getByLabel(/^Message to/).fill(said);
    await from.getByRole("button", { name: "Send" }).click();
    await line(from, said).getByText("Sent", { exact: true }).waitFor();
    const timeout = i < 4 ? 5000 : 30_000;
    const isRead = await line(to, said).waitFor({ timeout }).then(() => true, (error) => {
      if (i === 4) throw error;
      return false;
    });
    if (isRead) return;
  }
}

/** Under half a minute, most of it until three nodes are ready. */
async function nodeDies(): Promise<void> {
  await using place = await testNodes(3);
  const [n1] = place.nodes;
  const nodes = await started(place.nodes);
  const at = { url: n1!.http };
  await using store = await place.open(place.nodes, { opTimeout: 20_000 });
  const [ada, bob] = [await person(store, "Ada"), await person(store, "Bob")];
  await using owners = await guest();
  await using members = await guest();
  const [a, b] = [owners.page, members.page];
  const [busOfA, busOfB] = [busOf(a), busOf(b)];
  await enter(a, at, ada);
  await enter(b, at, bob);
  await createRoom(a, "kitchen");
  await add(a, cardOf(bob.identity));
  await accept(b, "kitchen");
  await reaches(a, b, "all three are there");

  const [bus, other] = [busOfA()!, busOfB()!];
  const { host } = new URL(bus.url());
  const lost = nodes.get(host)!;
  const died = performance.now();
  // The page's own server stays: of its node the NATS server dies.
  if (lost === n1) process.kill(n1.daemon!.natsPid(), "SIGKILL");
  else await lost.stop("SIGKILL");
  // It may be connected again before it has drawn that it is not.
  await until(() => bus.isClosed(), "end of the connection");
  if (new URL(other.url()).host === host) await until(() => other.isClosed(), "end of the other's");
  for (const page of [a, b]) await isConnected(page);
  await reaches(a, b, "one is gone");
  await reaches(b, a, "so I read");
  console.log(`${lost.name} died: read again after ${Math.round(performance.now() - died)} ms`);
  for (const { violations, errors } of [owners, members]) {
    assert.deepEqual([...violations, ...errors], []);
  }
}

if (CLUSTER) browserTest("a node of three dies, and messages go on after a reconnect", nodeDies);
