/**
 * What a server answers to the questions of other nodes and of commands.
 *
 * @module
 */

import { resolve } from "node:path";
import { freeIn } from "../../cluster/directory.ts";
import { answerPresence } from "../../cluster/presence.ts";
import type { Restart } from "../../cluster/restarts.ts";
import { isManaged } from "../../settings/guards.ts";
import { PATHS, readNode, type Values } from "../../settings/node.ts";
import type { Resolved } from "../../settings/resolve.ts";
import { KEYS } from "../../settings/settings.ts";
import type { Bus } from "../bus.ts";
import { presenceOf } from "../storage/follower.ts";
import { answerRequests, type Serving } from "./restarts.ts";

/** What changes while a server runs. */
export interface Shown extends Serving {
  /** The bucket that it serves; null with `--nats-only`, `--store sqlite`, and while it waits. */
  bucket: string | null;
  /** The URLs of its HTTP server for clients; missing while it serves none. */
  urls?: readonly string[];
  /** The URLs of its NATS server for clients. */
  busUrls?: readonly string[];
  /** The URLs of its NATS server over WebSocket. */
  wsUrls?: readonly string[];
  /** The authorities that certificates of sessions may name; missing if they are unknown. */
  sessions?: readonly string[];
}

/** Returns a function that says what to answer from now on; nothing is answered before its first call. */
export function presentOn(
  bus: Bus,
  resolved: Resolved,
  restart: Restart,
): (shown: Shown) => void {
  const { settings } = resolved;
  let current: Shown | null = null;
  const answer = async (withSettings: boolean) => {
    const { bucket, follower, waiting, urls, busUrls, wsUrls, sessions } = current!;
    return {
      node: bus.node,
      bucket,
      keys: bus.fingerprint,
      follower: presenceOf(follower),
      // A plan may be made while the server runs.
      plan: (await readNode(settings.db).catch(() => null))?.plan ?? null,
      waiting,
      ...urls && { urls },
      ...busUrls && { busUrls },
      ...wsUrls && { wsUrls },
      ...sessions && { sessions },
      nats: bus.connection.info?.version ?? "",
      disk: isManaged(settings) ? await freeIn(settings.natsStore) : null,
      ...withSettings ? { settings: settingsOf(resolved) } : {},
    };
  };
  return (shown) => {
    const isFirst = current === null;
    current = shown;
    if (!isFirst) return;
    answerPresence(bus.connection, answer);
    answerRequests(bus.connection, () => bus.node, () => current!, restart);
  };
}

/** Returns the settings that were set, with absolute paths and without the route secret. */
export function settingsOf({ settings, sources }: Pick<Resolved, "settings" | "sources">): Values {
  const set = KEYS.filter((key) => key === "db" || sources[key] !== "default")
    .filter((key) => key !== "clusterPass" && settings[key] !== null);
  return Object.fromEntries(set.map((key) => {
    const value = settings[key];
    const isPath = key === "db" || (PATHS.includes(key) && value !== "none");
    return [key, isPath ? resolve(String(value)) : value];
  }));
}
