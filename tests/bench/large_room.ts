/**
 * A room of many members, by its owner's client and a real server: how long it takes to create it and to
 * remove a member, and for how long the client's event loop is blocked meanwhile.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { town } from "../client/rooms/kit.ts";
import { type Row, whole } from "./table.ts";

const MEMBERS = 10_000;

/** Runs `work`; returns its milliseconds, and the longest time for which nothing else had its turn. */
async function watched(work: () => Promise<unknown>): Promise<{ took: number; blocked: number }> {
  let blocked = 0;
  let last = performance.now();
  const look = () => {
    const now = performance.now();
    blocked = Math.max(blocked, now - last);
    last = now;
  };
  const timer = setInterval(look, 1);
  const began = performance.now();
  try {
    await work();
    look();
  } finally {
    clearInterval(timer);
  }
  return { took: performance.now() - began, blocked };
}

/** Measures. */
export async function largeRoom(): Promise<Row[]> {
  const dir = await mkdtemp(join(tmpdir(), "unibus-bench-"));
  try {
    await using it = await town(dir);
    const ada = await it.person();
    const rooms = await ada.rooms({ refreshInterval: 600_000 });
    const key = () => randomBytes(32).toString("hex");
    const members = Array.from({ length: MEMBERS - 1 }, () => ({ signPub: key(), kexPub: key() }));
    let room!: Awaited<ReturnType<typeof rooms.createRoom>>;
    const created = await watched(async () => {
      room = await rooms.createRoom({ id: "hall", members });
    });
    const removed = await watched(() => room.removeMember(members[7]!.signPub));
    const again = await watched(() => room.removeMember(members[8]!.signPub));
    const row = (what: string, { took, blocked }: typeof removed, most?: number): Row[] => [
      {
        what,
        found: `${whole(took)} ms`,
        ratio: took,
        ...(most === undefined ? {} : { goal: { most, unit: " ms" } }),
      },
      {
        what: "  its longest turn in the client",
        found: `${whole(blocked)} ms`,
        ratio: blocked,
        goal: { most: 50, unit: " ms" },
      },
    ];
    return [
      ...row(`create a room of ${whole(MEMBERS)} members`, created),
      ...row("remove one of its members", removed, 3000),
      ...row("remove another", again, 3000),
    ];
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
