/**
 * The server on this machine, which is to become the first node: its settings as it runs.
 *
 * @module
 */

import { resolve as absolute } from "node:path";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { orAbort } from "../../../src/core/async/wait.ts";
import type { Context } from "../../terminal/context.ts";
import type { Values } from "../../settings/node.ts";
import { isClustered } from "../../settings/guards.ts";
import { resolve } from "../../settings/resolve.ts";
import type { Settings } from "../../settings/settings.ts";
import { natsFlagsOf } from "../../store/chosen.ts";
import { natsTarget } from "../../store/open.ts";
import { askPresence } from "../presence.ts";

/** How long the server may take to answer, in seconds. */
const PATIENCE_S = 3;

/** A running server. */
export interface RunningServer {
  /** What it was given. */
  values: Values;
  /** Its settings. */
  settings: Settings;
  /** Version of its nats-server. */
  nats: string;
  /** Fingerprint of its service keys. */
  keys: string;
}

/**
 * Asks the server that has these settings; returns a text with what is wrong if it cannot become a
 * node.
 */
export async function askServer(
  context: Context,
  settings: Settings,
): Promise<RunningServer | string> {
  if (settings.natsUrl.length > 0) return EXTERNAL;
  const { natsUrl = [], ...flags } = natsFlagsOf(settings, { connectTimeout: PATIENCE_S });
  let connection;
  try {
    const target = await natsTarget(context, { connectTimeout: PATIENCE_S, ...flags, natsUrl });
    const connecting = connectNats(target);
    connection = await orAbort(connecting, context.io.signal, (late) => void late.close());
  } catch (error) {
    context.io.signal.throwIfAborted();
    return `membershipd does not answer at ${natsUrl.join(", ")} (${(error as Error).message}); ` +
      "start it first: a plan is made from the settings of the running server. If it was started " +
      "with flags, put them into a file: commands read that, by --config or UNIBUS_CONFIG, and no flags";
  }
  try {
    const [answer] = await askPresence(connection, [connection.info!.server_name], {
      withSettings: true,
    });
    if (answer?.settings === undefined) {
      return `membershipd at ${
        natsUrl.join(", ")
      } does not say its settings; is it of an earlier ` +
        "version? Restart it with this one";
    }
    const values = answer.settings;
    const running = resolve({ flags: {}, env: {}, file: { path: "the running server", values } });
    return wrongIn(running.settings, settings) ?? {
      values,
      settings: running.settings,
      nats: answer.nats ?? "",
      keys: answer.keys ?? "",
    };
  } finally {
    await connection.close();
  }
}

const EXTERNAL =
  "This server uses a NATS server that membershipd does not start (--nats-url): it " +
  "cannot be made a node of a cluster; cluster that NATS server by its own means (docs/nats.md)";

function wrongIn(running: Settings, { db }: Settings): string | null {
  if (running.store === "jetstream") {
    return "This server keeps its store in NATS already (--store jetstream); a plan starts from a " +
      "server with --store sqlite. docs/migration.md says how such a server becomes a cluster";
  }
  if (isClustered(running)) {
    return "The nats-server of this server is in a cluster already (--routes); remove the cluster " +
      "flags and restart it";
  }
  if (running.db !== absolute(db)) {
    return `The running server serves ${running.db}, but the settings of this command say ${db}; ` +
      "run it in the server's directory, or set UNIBUS_DB or --config as for the server";
  }
  const open = (["httpPort", "natsPort", "wsPort"] as const).filter((it) => running[it] === 0);
  if (open.length === 0) return null;
  return `The server's ${open.join(" and ")} is 0, any free port; set a fixed one, because all ` +
    "nodes use the same";
}
