/**
 * The two connections of the cluster commands, and their flags: to the control plane's account and to the
 * system account.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { readFile } from "node:fs/promises";
import { StoreError } from "../../../src/core/errors.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { orAbort } from "../../../src/core/async/wait.ts";
import {
  adding,
  type Context,
  type JsonFlag,
  type NatsFlags,
  withJson,
  withNats,
} from "../../command.ts";
import { chosenServer } from "../../store/chosen.ts";
import { natsTarget } from "../../store/open.ts";
import { UsageError } from "../../terminal/failure.ts";

/** Flags of the cluster commands; without a URL they reach the server of this machine. */
export type ClusterFlags = NatsFlags & { systemSeedFile?: string };

/** The connections, closed together. */
export interface Reached extends AsyncDisposable {
  /** Connection to the control plane's account. */
  service: NatsConnection;
  /** Connection to the system account; null without its key. */
  system: NatsConnection | null;
  /** The bucket's name. */
  bucket: string;
}

/** Returns the connection to the system account, which a command needs. */
export function requireSystem({ system }: Reached, name: string): NatsConnection {
  if (system !== null) return system;
  throw new UsageError(
    `${name} requires the system account: use --service-keys or --system-seed-file`,
  );
}

/** Adds the flags for connecting to a cluster. */
export const withCluster = adding<ClusterFlags & JsonFlag>((parent) =>
  withJson(withNats(
    parent.option(
      "--system-seed-file <file>",
      "seed of a user in the system account, which is needed to list the nodes; also in --service-keys",
    ),
  ))
);

/** Opens the connections that the flags specify. */
export async function reach(context: Context, given: ClusterFlags): Promise<Reached> {
  const flags = await chosenServer(context, given);
  const { bucket = "UNIBUS", ...target } = await natsTarget(context, flags);
  const seed = await systemSeed(flags);
  const { credentials: _, ...anonymous } = target;
  const open: NatsConnection[] = [];
  const connect = async (options: Parameters<typeof connectNats>[0]) => {
    const { signal } = context.io;
    const made = await orAbort(connectNats(options), signal, (late) => void late.close());
    open.push(made);
    return made;
  };
  const close = async () => {
    await Promise.all(open.map((it) => it.isClosed() ? null : it.close()));
  };
  const [service, system] = await Promise.allSettled([
    connect(target),
    seed === null ? null : connect({ ...anonymous, nkeySeed: seed }),
  ]);
  if (service.status === "fulfilled" && system.status === "fulfilled") {
    return {
      service: service.value,
      system: system.value,
      bucket,
      [Symbol.asyncDispose]: close,
    };
  }
  await close();
  throw service.status === "rejected" ? service.reason : (system as { reason: unknown }).reason;
}

async function systemSeed(
  { systemSeedFile, serviceKeys }: ClusterFlags,
): Promise<string | null> {
  if (systemSeedFile !== undefined) {
    try {
      return (await readFile(systemSeedFile, "utf8")).trim();
    } catch (cause) {
      throw new StoreError("invalid", `--system-seed-file ${systemSeedFile}: cannot be read`, {
        field: "system-seed-file",
        cause,
      });
    }
  }
  if (serviceKeys === undefined) return null;
  const { loadServiceKeys } = await import("../../../src/nats/connection/service_keys.ts");
  return (await loadServiceKeys(serviceKeys)).system.seed;
}
