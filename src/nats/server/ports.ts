/**
 * Reads the ports file, which a nats-server writes when all its listeners are ready.
 *
 * @module
 */

import { once } from "node:events";
import { type FSWatcher, watch } from "node:fs";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";

/** The ports that a server listens on. */
export interface Ports {
  client: number;
  monitoring?: number;
  cluster?: number;
  websocket?: number;
}

/**
 * Waits until the server with process id `pid` has written its ports; rejects when `stopped` does.
 */
export async function waitForPorts(
  directory: string,
  pid: number,
  stopped: Promise<never>,
): Promise<Ports> {
  let changed = Promise.withResolvers<void>();
  const wake = () => changed.resolve();
  // The system may have no file watches left; then only the timer is used.
  let watcher: FSWatcher | undefined;
  try {
    watcher = watch(directory, wake);
    watcher.on("error", () => {});
  } catch { /* The timer remains. */ }
  const timer = setInterval(wake, 100);
  try {
    for (;;) {
      const ports = await readPorts(directory, pid);
      if (ports !== undefined) return ports;
      await Promise.race([changed.promise, stopped]);
      changed = Promise.withResolvers();
    }
  } finally {
    clearInterval(timer);
    if (watcher !== undefined) {
      const closed = once(watcher, "close");
      watcher.close();
      await closed;
    }
  }
}

/** Removes the ports files of earlier servers, which remain when a server is killed. */
export async function removePorts(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (name.endsWith(".ports")) await rm(join(directory, name), { force: true });
  }
}

async function readPorts(directory: string, pid: number): Promise<Ports | undefined> {
  // The file is named after the program and its process.
  const name = (await readdir(directory)).find((name) => name.endsWith(`_${pid}.ports`));
  if (name === undefined) return undefined;
  let lists: Record<string, string[] | undefined>;
  try {
    lists = JSON.parse(await readFile(join(directory, name), "utf8"));
  } catch {
    return undefined; // Partially written.
  }
  const port = (kind: string) => {
    const url = lists[kind]?.[0];
    return url === undefined ? undefined : Number(/:(\d+)$/.exec(url)?.[1]);
  };
  const client = port("nats");
  if (client === undefined) return undefined;
  return {
    client,
    monitoring: port("monitoring"),
    cluster: port("cluster"),
    websocket: port("websocket"),
  };
}
