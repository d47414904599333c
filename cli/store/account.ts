/**
 * Checks which account of a nats-server a command would write to.
 *
 * @module
 */

import { StoreError } from "../../src/core/errors.ts";
import { ANYONE, CLIENT_ACCOUNT } from "../../src/nats/callout/accounts.ts";
import { connectNats, type NatsOptions } from "../../src/nats/connection/connect.ts";
import { showServers } from "../../src/nats/connection/servers.ts";
import { orAbort } from "../../src/core/async/wait.ts";

/** Timeout for a busy server; a server older than 2.10 answers immediately that nothing listens. */
const PATIENCE_MS = 2000;

/**
 * Refuses to create a store where no control plane would look for it. With `--bus-auth off`, a
 * nats-server managed by membershipd assigns connections without keys to the clients' account,
 * which has its own streams: a move into it would succeed, and the server would start with an empty
 * store.
 *
 * @throws {StoreError} refused: the connection is in the clients' account of a membershipd
 */
export async function refuseClientsAccount(
  target: NatsOptions,
  signal: AbortSignal,
): Promise<void> {
  if (target.nkeySeed !== undefined || target.credentials !== undefined) return;
  if (!await inClientsAccount(target, signal)) return;
  const where = showServers(target.servers);
  throw new StoreError(
    "refused",
    `Connect to ${where}: this server is managed by membershipd, and without its keys this is the ` +
      "account of its clients, which does not contain the control plane",
    {
      hint:
        "set --service-keys to the file that membershipd created, by default ./local_files/service-keys.json",
    },
  );
}

async function inClientsAccount(target: NatsOptions, signal: AbortSignal): Promise<boolean> {
  try {
    // One attempt: connection errors are reported by the command itself.
    const connection = await orAbort(
      connectNats({ ...target, bootstrapTimeout: 0 }),
      signal,
      (late) => void late.close(),
    );
    try {
      const asked = connection.request("$SYS.REQ.USER.INFO", "", { timeout: PATIENCE_MS });
      const answer = await orAbort(asked, signal);
      const { data } = answer.json<{ data?: { user?: string; account?: string } }>();
      return data?.account === CLIENT_ACCOUNT && data.user === ANYONE;
    } finally {
      await connection.close();
    }
  } catch {
    signal.throwIfAborted();
    return false;
  }
}
