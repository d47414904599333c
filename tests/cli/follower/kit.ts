/**
 * A server on JetStream whose disk is put back to an earlier state, for tests of its follower.
 *
 * @module
 */

import assert from "node:assert/strict";
import { cp, rm } from "node:fs/promises";
import { createIdentity, type Identity } from "../../../src/keys/identity.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { rowsOf } from "../../follower/kit.ts";
import { cli, cliProcess, type Result } from "../kit.ts";
import { type Daemon, daemon, isAlive, until } from "../serve/kit.ts";

export const SERVED = ["--store", "jetstream", "--bus-auth", "enforce"];

/** Flags that reach the store of a server in `dir`. */
export function reach(dir: string, server: Daemon): string[] {
  return ["--nats-url", server.nats, "--service-keys", `${dir}/service-keys.json`];
}

/** Adds a user through the command line. */
export async function addUser(
  { signPub, kexPub }: Identity,
  flags: string[],
  ...more: string[]
): Promise<void> {
  const keys = ["--sign-pub", signPub, "--kex-pub", kexPub, "--handle", signPub.slice(0, 8)];
  await done(cli(["user", "add", ...keys, ...more, ...flags]));
}

/** The result of a command that must succeed. */
export async function done(work: Promise<Result>): Promise<Result> {
  const result = await work;
  assert.equal(result.code, 0, result.stderr + result.stdout);
  return result;
}

/** Stops a server and waits for its nats-server. */
export async function stopAll(server: Daemon): Promise<void> {
  assert.equal((await server.stop()).code, 0, server.process.stderr());
  await until(() => !isAlive(server.natsPid()), "end of the nats-server");
}

/** Whether NATS admits a user. */
export async function isAdmitted(identity: Identity, server: Daemon): Promise<boolean> {
  const nkeySeed = new TextDecoder().decode(identity.natsSeed());
  try {
    await (await connectNats({ servers: server.nats, nkeySeed, bootstrapTimeout: 1 })).close();
    return true;
  } catch {
    return false;
  }
}

/** The state of a user in a follower's file. */
export function statusIn(db: string, { signPub }: Identity): unknown {
  return rowsOf(db, "users").find((it) => it.sign_pub === signPub)?.status;
}

/**
 * Runs a server with the users ada, bob and eve, and puts its disk back to when eve was not yet revoked
 * and bob not yet there.
 */
export async function putBack(
  dir: string,
): Promise<{ ada: Identity; bob: Identity; eve: Identity }> {
  const [ada, bob, eve] = [createIdentity(), createIdentity(), createIdentity()];
  const db = `${dir}/follower.db`;
  {
    await using server = await daemon(dir, SERVED);
    await addUser(ada, reach(dir, server), "--admin");
    await addUser(eve, reach(dir, server));
    await until(() => isAdmitted(eve, server), "admission");
    await stopAll(server);
  }
  await cp(`${dir}/jetstream`, `${dir}/kept`, { recursive: true });
  {
    await using server = await daemon(dir, SERVED);
    await done(cliProcess(["user", "revoke", eve.signPub, ...reach(dir, server)]).ended);
    await addUser(bob, reach(dir, server));
    await until(() => statusIn(db, bob) === "active", "bob in the follower");
    assert.equal(statusIn(db, eve), "revoked");
    await stopAll(server);
  }
  await rm(`${dir}/jetstream`, { recursive: true });
  await cp(`${dir}/kept`, `${dir}/jetstream`, { recursive: true });
  await rm(`${dir}/kept`, { recursive: true });
  return { ada, bob, eve };
}
