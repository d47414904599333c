/**
 * A signed request against its parts: bare Ed25519 verification, and a bare route of the same
 * framework, their times added.
 *
 * @module
 */

import { generateKeyPairSync, type KeyObject, randomBytes, sign, verify } from "node:crypto";
import { Hono } from "hono";
import { createControlPlane } from "../../../src/http/control_plane.ts";
import { signRequest } from "../../../src/signature/mod.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";
import { median } from "../measure.ts";
import { type Row, whole } from "../table.ts";

const BATCH = 500;
const ROUNDS = 40;
const URL = "http://127.0.0.1:8470/v1/me";
const PEER = { address: "127.0.0.1" };

function hexOf(key: KeyObject): string {
  return key.export({ format: "der", type: "spki" }).subarray(-32).toString("hex");
}

/** Measures a signed `GET /v1/me` in this process. */
export async function http(): Promise<Row[]> {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const signPub = hexOf(publicKey);
  const kexPub = hexOf(generateKeyPairSync("x25519").publicKey);
  const signer = { signPub, signRequest: (base: Uint8Array) => sign(null, base, privateKey) };
  await using store = openSqlite(":memory:");
  await store.addUser({ signPub, kexPub, handle: "bench" });
  const plane = createControlPlane(store);
  const body = await (await plane.fetch(await signed(signer), PEER)).text();
  const bare = new Hono();
  bare.get("/v1/me", () => new Response(body, { headers: { "content-type": "application/json" } }));
  const data = randomBytes(250);
  const signature = sign(null, data, privateKey);

  const tasks = {
    verified: () => {
      for (let i = 0; i < BATCH; i++) {
        if (!verify(null, data, publicKey, signature)) throw new Error("A signature does not fit");
      }
    },
    bare: async (requests: Request[]) => {
      for (const it of requests) await (await bare.fetch(it)).text();
    },
    whole: async (requests: Request[]) => {
      for (const it of requests) {
        const answer = await plane.fetch(it, PEER);
        if (answer.status !== 200) throw new Error(await answer.text());
        await answer.text();
      }
    },
  };
  const times: Record<keyof typeof tasks, number[]> = { verified: [], bare: [], whole: [] };
  for (let round = -5; round < ROUNDS; round++) {
    for (const name of Object.keys(tasks) as (keyof typeof tasks)[]) {
      // Made outside the clock: that is the client's work.
      const requests: Request[] = [];
      for (let i = 0; i < BATCH; i++) requests.push(await signed(signer));
      const began = performance.now();
      await tasks[name](requests);
      if (round >= 0) times[name].push((performance.now() - began) / BATCH);
    }
  }
  const [verified, route, all] = [times.verified, times.bare, times.whole]
    .map((it) => median(it.sort((a, b) => a - b))) as [number, number, number];
  return [{
    what: "signed GET /v1/me",
    found: `${whole(1000 / all)}/s, ${whole(all * 1000)} µs`,
    baseline: `verify ${whole(verified * 1000)} µs + bare route ${whole(route * 1000)} µs`,
    ratio: (verified + route) / all,
    goal: { least: 0.6 },
  }];
}

async function signed(signer: Parameters<typeof signRequest>[1]): Promise<Request> {
  return new Request(URL, { headers: await signRequest({ method: "GET", url: URL }, signer) });
}
