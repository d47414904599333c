/**
 * Checks before a start creates anything: a failed start must not leave files that look like a
 * store.
 *
 * @module
 */

import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { listenError } from "../../../src/http/serve/serve.ts";
import { misuseOf } from "../../cluster/directory.ts";
import type { Restart } from "../../cluster/restarts.ts";
import { UsageError } from "../../terminal/failure.ts";
import { natsServer } from "../../nats_server.ts";
import { demandAll } from "../../terminal/permissions.ts";
import { besides, refuseEmpty } from "./beside.ts";
import { isManaged, wsPortOf } from "../../settings/guards.ts";
import type { BusOptions } from "../managed.ts";

/** Options of a start besides the settings. */
export interface StartOptions {
  /** Run only the nats-server. */
  natsOnly: boolean;
  /** Create an empty store even if another one exists next to it. */
  isNew: boolean;
  /** Ends this run to begin another one, when a command asks for it. */
  restart: Restart;
}

/**
 * Checks that the server can start, before it creates anything.
 *
 * @throws {UsageError} The directory of streams is of another kind, or an empty store would be created
 * @throws {StoreError} unavailable: a port is in use, or {@link natsServer} finds no nats-server
 */
export async function preflight(
  { settings, env, signal }: Pick<BusOptions, "settings" | "env" | "signal">,
  { natsOnly, isNew }: Pick<StartOptions, "natsOnly" | "isNew">,
  missing: readonly string[],
): Promise<void> {
  const { store, db, bind, httpPort, natsPort, natsStore, routes } = settings;
  if (isManaged(settings)) {
    demandAll(`Using the streams in ${natsStore}`);
    const misuse = await misuseOf(natsStore, routes.length > 0);
    if (misuse !== null) throw new UsageError(misuse);
  }
  if (!natsOnly && !isNew && store === "sqlite" && !existsSync(db)) {
    refuseEmpty(settings, await besides(settings));
  }
  if (missing.length === 0) return;
  if (isManaged(settings)) {
    await natsServer({ env, signal });
    // With existing streams, the nats-server of a killed membershipd may still have to exit.
    const wsPort = wsPortOf(settings);
    if (missing.includes(natsStore)) {
      await demandFree(bind, natsPort);
      if (wsPort !== null) await demandFree(bind, wsPort);
    }
  }
  if (!natsOnly) await demandFree(bind, httpPort);
}

async function demandFree(host: string, port: number): Promise<void> {
  const server = createServer();
  try {
    server.listen({ host, port, exclusive: true });
    await once(server, "listening");
  } catch (error) {
    throw listenError(error, host, port);
  } finally {
    server.close();
  }
}
