/**
 * Connecting through the auth callout, against the same users with the same permissions in the server's
 * own configuration, 64 at once.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { grantOf, permissionsOf } from "../../../src/nats/callout/grant.ts";
import {
  busAccounts,
  createNkey,
  loadServiceKeys,
  type NkeyPair,
  signPubOf,
} from "../../../src/nats/mod.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";
import { testServer } from "../../helpers/nats.ts";
import { RawClient } from "../../nats/callout/raw_nats.ts";
import { hex } from "../../helpers/sqlite.ts";
import { type TestTls, testTls } from "../../helpers/tls.ts";
import { alternate, median } from "../measure.ts";
import { type Row, whole } from "../table.ts";

const USERS = 256;
const ROOMS_EACH = 10;
const AT_ONCE = 64;
const CONNECTS = 512;
const ROUNDS = 10;

/** Connects `CONNECTS` times, `AT_ONCE` at a time. */
async function connects(port: number, pairs: readonly NkeyPair[], ca?: string): Promise<void> {
  let next = 0;
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    while (next < CONNECTS) {
      const pair = pairs[next++ % pairs.length]!;
      await using client = await RawClient.open(port, ca);
      const sig = Buffer.from(pair.signNonce(client.info!.nonce!)).toString("base64");
      if (!await client.login({ nkey: pair.publicKey, sig })) throw new Error("Not let in");
    }
  }));
}

const rooms = (i: number) =>
  Array.from({ length: ROOMS_EACH }, (_, room) => ({
    id: `${i}-${room}`,
    subject: `unibus.room.${i}.${room}`,
  }));

async function fill(db: string, pairs: readonly NkeyPair[]): Promise<void> {
  await using store = openSqlite(db);
  for (const [i, { publicKey }] of pairs.entries()) {
    const signPub = signPubOf(publicKey)!;
    const kexPub = hex(`kex ${i}`);
    await store.addUser({ signPub, kexPub, handle: `user ${i}` });
    const owner = { endpoint: signPub, kexPub };
    for (const it of rooms(i)) await store.createRoom({ ...it, encrypted: false, owner });
  }
}

/** Connects a second, by the server's own file and through a callout in a process of its own. */
async function measure(
  directory: string,
  pairs: readonly NkeyPair[],
  tls: TestTls | null,
): Promise<{ fixed: number; asked: number }> {
  const keysPath = join(directory, "service.keys");
  const keys = await loadServiceKeys(keysPath, { create: true });
  const secured = tls === null ? {} : { tls: tls.server };
  await using fixed = await testServer({
    ...secured,
    jetstream: false,
    authorization: {
      users: pairs.map(({ publicKey: nkey }, i) => {
        const { pub, sub } = permissionsOf(
          nkey,
          grantOf(nkey, rooms(i).map((it) => ({ ...it, owner: "", createdAt: "" }))),
        );
        return { nkey, permissions: { publish: { ...pub }, subscribe: { ...sub } } };
      }),
    },
  });
  await using asked = await testServer({ ...secured, ...busAccounts({ mode: "enforce", keys }) });
  const child = spawn(process.execPath, [
    "run",
    "-A",
    "--no-check",
    fileURLToPath(new URL("callout_child.ts", import.meta.url)),
    asked.url,
    keysPath,
    join(directory, "unibus.db"),
    JSON.stringify(tls === null ? {} : { tls: { caFile: tls.caFile } }),
  ], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "close");
  try {
    const line = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
    if (line.done) throw new Error("The process with the callout ended");
    const [own, through] = await alternate(ROUNDS, [
      () => connects(fixed.port, pairs, tls?.authority.cert),
      () => connects(asked.port, pairs, tls?.authority.cert),
    ]);
    const rate = (times: number[]) => CONNECTS / (median(times) / 1000);
    return { fixed: rate(own!), asked: rate(through!) };
  } finally {
    process.kill(child.pid!, "SIGKILL");
    await ended;
  }
}

/** Measures connecting: with TLS, as on every address that others reach, and without, on loopback. */
export async function callout(): Promise<Row[]> {
  const directory = await mkdtemp(join(tmpdir(), "unibus-bench-callout-"));
  const pairs = Array.from({ length: USERS }, () => createNkey("user"));
  try {
    await fill(join(directory, "unibus.db"), pairs);
    await using tls = await testTls();
    const rows: Row[] = [];
    for (const [what, secured] of [["TLS", tls], ["cleartext", null]] as const) {
      const { fixed, asked } = await measure(directory, pairs, secured);
      rows.push({
        what: `connecting through the callout, ${what}, ${AT_ONCE} at once`,
        found: `${whole(asked)}/s`,
        baseline: `nkeys in the server's own file ${whole(fixed)}/s`,
        ratio: asked / fixed,
        goal: { least: 0.5 },
      });
    }
    return rows;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const { table } = await import("../table.ts");
  console.log(table(await callout()));
}
