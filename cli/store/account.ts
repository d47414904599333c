/**
 * Whose account of a nats-server a command would write to.
 *
 * @module
 */

import { StoreError } from "../../src/core/errors.ts";
import { ANYONE, CLIENT_ACCOUNT } from "../../src/nats/callout/accounts.ts";
import { connectNats, type NatsOptions, showServers } from "../../src/nats/connection/connect.ts";
import { orAbort } from "../../src/core/async/wait.ts";

/** Long enough for a busy server; one that is no nats-server 2.10 says at once that nobody listens. */
const PATIENCE_MS = 2000;

/**
 * Refuses to make a store where no control plane would look for it. With `--bus-auth off` a nats-server
 * of membershipd lets whoever has no keys into its clients' account, with streams of their own: a move
 * there would succeed, and the server would start on an empty store.
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
    `Connect to ${where}: it is a membershipd's, and without its keys this is the account of its ` +
      "clients, where the control plane is not",
    {
      hint:
        "--service-keys names the file membershipd made, ./local_files/service-keys.json by default",
    },
  );
}

async function inClientsAccount(target: NatsOptions, signal: AbortSignal): Promise<boolean> {
  try {
    // One try: what stands in the way is told by the command itself.
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
