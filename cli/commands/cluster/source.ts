/**
 * Runs a nats-server on a stopped server's directory while it is read.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { CONTROL_ACCOUNT, SYSTEM_ACCOUNT } from "../../../src/nats/callout/accounts.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { createNkey } from "../../../src/keys/nkey.ts";
import { startNatsServer } from "../../../src/nats/server/server.ts";
import { natsServer } from "../../nats_server.ts";
import { lockStore } from "../../serve/lock.ts";
import { demandAll } from "../../terminal/permissions.ts";

/** Timeout of the start in milliseconds, which includes recovering the streams. */
const START_MS = 120_000;

/** Serves the directory on loopback, accessible only to this process. */
export async function openDirectory(
  directory: string,
  { env, signal }: { env: Readonly<Record<string, string | undefined>>; signal: AbortSignal },
): Promise<AsyncDisposable & { connection: NatsConnection }> {
  await using stack = new AsyncDisposableStack();
  demandAll(`Reading the streams in ${directory}`);
  const { path: binary } = await natsServer({ env, signal });
  const lock = await lockStore(directory, { signal, log: () => {} });
  stack.defer(() => lock.release());
  const key = createNkey("user");
  const server = stack.use(
    await startNatsServer({
      binary,
      signal,
      startTimeout: START_MS,
      jetstream: { storeDir: directory },
      accounts: {
        [CONTROL_ACCOUNT]: { jetstream: true, users: [{ nkey: key.publicKey }] },
        [SYSTEM_ACCOUNT]: {},
      },
      systemAccount: SYSTEM_ACCOUNT,
    }),
  );
  lock.usedBy(server.pid);
  const connection = await connectNats({
    servers: server.url,
    nkeySeed: key.seed,
    name: "membershipd cluster import",
    bootstrapTimeout: START_MS,
    signal,
  });
  stack.defer(() => connection.close());
  const owned = stack.move();
  return { connection, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
