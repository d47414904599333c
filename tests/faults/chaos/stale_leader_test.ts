/**
 * A leader that has been replaced and does not know it yet: whatever is asked of the node that it is
 * on, it does not give as an answer what is no longer so.
 *
 * @module
 */

import assert from "node:assert/strict";
import { connect } from "@nats-io/transport-node";
import { ChaosCluster, type ChaosNode } from "./arena/cluster.ts";
import type { Ending, Json } from "./judge/history.ts";
import { hexOf } from "./ops.ts";

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

const bucket = "STALE";
const added = { role: "user", handle: "ada" };

/** How often it is tried: on a busy machine a new leader may come after the old one has given up. */
const TRIES = 5;

/**
 * Asks until it is answered, or refused with `until`: while there is no leader that takes its time, and
 * what was tried before may have been done.
 */
async function insist(node: ChaosNode, op: string, args: Json, until?: string): Promise<Json> {
  for (const deadline = performance.now() + 60_000;;) {
    const ending: Ending = await node.call(op, args);
    if ("answer" in ending) return ending.answer;
    if (ending.error === until) return until;
    assert.ok(performance.now() < deadline, `${op} on ${node.name}: ${JSON.stringify(ending)}`);
    await pause(50);
  }
}

/** What the stream's leader says there, whether it still leads or not; `null` for no answer. */
async function leaderSays({ server }: ChaosNode, signPub: string): Promise<string | null> {
  const nc = await connect({ servers: server.url });
  try {
    const query = JSON.stringify({ last_by_subj: `$KV.${bucket}.users.${signPub}` });
    const msg = await nc.request(`$JS.API.STREAM.MSG.GET.KV_${bucket}`, query, { timeout: 1000 });
    const { message } = msg.json<Json>();
    return message === undefined ? "nothing" : JSON.parse(atob(message.data)).status;
  } catch {
    return null;
  } finally {
    await nc.close();
  }
}

Deno.test("a node whose leader was replaced tells, refuses and confirms nothing on old news", async () => {
  await using cluster = await ChaosCluster.start({ nodes: 3, smallDisk: false });
  const { nodes } = cluster;
  const store = { bucket, replicas: 3, opTimeout: 3000, maxStaleness: 3000 };
  await Promise.all(nodes.map((it) => it.open(store)));
  const root = { signPub: hexOf("root"), role: "admin", handle: "root" };
  await insist(nodes[0]!, "addUser", root, "user_exists");
  const found: string[] = [];
  while (found.length < TRIES) {
    const { shown, took } = await attempt(cluster, found.length);
    if (shown) return;
    found.push(took);
  }
  assert.fail(`No leader came before the old one had given up: ${found.join(", ")}`);
});

/**
 * Returns the leader, once it is also that of the servers: another one, when it is cut off, may answer
 * nothing after some seconds already, because no node leads the servers that it knows.
 */
async function leaderOf(cluster: ChaosCluster): Promise<ChaosNode> {
  for (const deadline = performance.now() + 60_000; performance.now() < deadline;) {
    const [found, wanted] = [await cluster.leader(bucket), await cluster.metaLeader()];
    if (found !== null && found === wanted) return found;
    if (found !== null && wanted !== null) await stepDown(found, wanted.name);
    await pause(200);
  }
  throw new Error("No node leads");
}

/** Has the stream's leader hand over to a node. */
async function stepDown({ server }: ChaosNode, preferred: string): Promise<void> {
  const nc = await connect({ servers: server.url });
  try {
    const request = JSON.stringify({ placement: { preferred } });
    await nc.request(`$JS.API.STREAM.LEADER.STEPDOWN.KV_${bucket}`, request, { timeout: 2000 });
  } catch {
    // It is asked again.
  } finally {
    await nc.close();
  }
}

/** One leader is cut off and replaced. Nothing is shown when it gave up before that. */
async function attempt(
  cluster: ChaosCluster,
  round: number,
): Promise<{ shown: boolean; took: string }> {
  const { nodes, links } = cluster;
  const old = await leaderOf(cluster);
  const other = nodes.find((it) => it !== old)!;
  const users = ["revoked", "deleted", "new", "admin"].map((it) => ({
    signPub: hexOf(`${it} ${round}`),
  }));
  const [revoked, deleted, later, admin] = users as [Json, Json, Json, Json];
  for (const it of [revoked, deleted]) {
    await insist(old, "addUser", { ...it, ...added }, "user_exists");
  }
  await insist(old, "revokeUser", revoked);
  const { id, token } = await insist(old, "createInvite", { role: "user", expiresIn: 600_000 });
  await insist(old, "cancelInvite", { id });

  // The leader goes on for ten seconds at least, the others elect a new one after four.
  const i = nodes.indexOf(old);
  for (const j of nodes.keys()) {
    if (j === i) continue;
    links.set(i, j, { cut: true });
    links.set(j, i, { cut: true });
  }
  const cut = performance.now();
  await insist(other, "restoreUser", revoked);
  // That it still answers at all is what makes this a test.
  const says = await leaderSays(old, revoked.signPub);
  const took = `${says} after ${Math.round(performance.now() - cut)} ms`;
  await insist(other, "deleteUser", deleted, "not_found");
  await insist(other, "addUser", { ...later, ...added }, "user_exists");
  await insist(other, "addUser", { ...admin, role: "admin", handle: "new" }, "user_exists");
  const made = await insist(other, "createInvite", { role: "user", expiresIn: 600_000 });
  const claim = { signPub: hexOf(`claimer ${round}`), handle: "bea" };
  const calls: [op: string, args: Json][] = [
    // It was restored: that it is revoked is no longer so, and nobody would revoke it.
    ["revokeUser", revoked],
    ["addUser", { ...deleted, ...added }],
    ["revokeUser", later],
    // No longer the last one.
    ["revokeUser", { signPub: hexOf("root") }],
    ["consumeInvite", { id: made.id, token: made.token, ...claim }],
    ["cancelInvite", { id: made.id }],
    ["getUser", revoked],
    ["getUser", deleted],
    ["getUser", later],
    ["getInvite", { id: made.id }],
  ];
  const endings = await Promise.all(calls.map(([op, args]) => old.call(op, args)));
  const codes = endings.map((it) => "error" in it ? it.error : "answered");
  assert.deepEqual(codes, calls.map(() => "unavailable"));
  links.heal();
  await insist(old, "revokeUser", revoked);
  assert.equal((await insist(other, "getUser", revoked)).status, "revoked");
  // What stays so is still said, and can be.
  const refused = await insist(old, "consumeInvite", { id, token, ...claim }, "invite_canceled");
  assert.equal(refused, "invite_canceled");
  await insist(old, "cancelInvite", { id });
  await insist(old, "deleteUser", admin, "not_found");
  return { shown: says === "revoked", took };
}
