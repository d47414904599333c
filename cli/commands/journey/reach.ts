/**
 * Connects to the server on this machine, as its settings say: `grow` and `shrink` have no flags for it.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { orAbort } from "../../../src/core/async/wait.ts";
import { isStoreError, StoreError } from "../../../src/core/errors.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { startLine } from "../../cluster/start.ts";
import type { Context } from "../../command.ts";
import type { NodeFile } from "../../settings/node.ts";
import type { Settings } from "../../settings/settings.ts";
import { natsFlagsOf, serverSettings } from "../../store/chosen.ts";
import { natsTarget } from "../../store/open.ts";
import { UsageError } from "../../terminal/failure.ts";

/** How long to try to reach it, seconds. */
const CONNECT_S = 10;

/** The server on this machine. */
export interface Server extends AsyncDisposable {
  connection: NatsConnection;
  /** The name of its node. */
  node: string;
  /** Its settings, as this machine knows them. */
  settings: Settings;
}

/**
 * Connects to it.
 *
 * @throws {StoreError} unavailable: it does not answer; the hint says how to start it
 */
export async function reach(
  context: Context,
  { config = context.io.env.UNIBUS_CONFIG || undefined }: { config?: string | undefined },
): Promise<Server> {
  const { env, signal } = context.io;
  const { settings, node } = await serverSettings({ ...env, UNIBUS_CONFIG: config });
  if (node === null) {
    throw new UsageError(
      `There is no plan of a cluster beside ${settings.db}; make one with membershipd cluster plan, ` +
        "or name the server's settings with --config or UNIBUS_DB",
    );
  }
  const { natsUrl = [], ...flags } = natsFlagsOf(settings, { connectTimeout: CONNECT_S });
  const target = await natsTarget(context, { connectTimeout: CONNECT_S, ...flags, natsUrl });
  const connecting = connectNats({ ...target, retryRefused: true });
  try {
    const connection = await orAbort(connecting, signal, (late) => void late.close());
    return {
      connection,
      node: node.name,
      settings,
      [Symbol.asyncDispose]: () => connection.close(),
    };
  } catch (error) {
    throw unreached(error, node, startLine(settings.db, config));
  }
}

/** Says where the server was looked for and how it is started. */
function unreached(error: unknown, { name, path }: NodeFile, start: string): unknown {
  if (!isStoreError(error, "unavailable")) return error;
  const other = error.field === "credentials"
    ? "another server uses this address, or its service keys are others"
    : `start it with ${start}, or as a service with systemctl start membershipd`;
  return new StoreError(
    "unavailable",
    `Asking the server of node ${name} (${path}): ${error.message}`,
    {
      cause: error,
      hint:
        `${other}. If it runs with other settings, name their file with --config or UNIBUS_CONFIG`,
    },
  );
}
