/**
 * What a program knows of others, in a file.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import { StoreError } from "../../core/errors.ts";
import { systemCode } from "../../core/host/system_code.ts";
import { writeWhole } from "../../files/write.ts";
import type { RoomMemory } from "./types.ts";

const FORMAT = "unibus-memory";
const VERSION = 1;

/**
 * Keeps what is known of rooms and peers in a file, for `openRooms({ memory })`: so that who restarts
 * still notices an epoch that was taken back, another owner, another key of a peer. For one program at a
 * time. It holds no secrets, but whoever can write to it decides what is believed.
 *
 * @param path The file; made with mode 0600 when there is something to keep
 * @throws {StoreError} `corrupt` when it is no such file, `unsupported` when it is newer, `unavailable`
 * when it cannot be read
 *
 * @example
 * ```ts
 * import { fileMemory } from "@unibus/membership/client";
 * import { mkdtempSync } from "node:fs";
 * import { tmpdir } from "node:os";
 *
 * const path = `${mkdtempSync(`${tmpdir()}/unibus-`)}/known.json`;
 * await fileMemory(path).set("epoch kitchen", "7");
 * if (await fileMemory(path).get("epoch kitchen") !== "7") throw new Error("unreachable");
 * ```
 */
export function fileMemory(path: string): RoomMemory {
  const known = read(path);
  /** Whether there is something that the file does not have. */
  let isBehind = false;
  let last: Promise<void> = Promise.resolve();
  return {
    get: (key) => known.get(key),
    set(key, value) {
      if (known.get(key) !== value) isBehind = true;
      known.set(key, value);
      // Of many at once one writes for all.
      const written = last.then(async () => {
        if (!isBehind) return;
        isBehind = false;
        try {
          await write(path, known);
        } catch (error) {
          isBehind = true;
          throw error;
        }
      });
      last = written.catch(() => {});
      return written;
    },
  };
}

function read(path: string): Map<string, string> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    if (systemCode(cause) === "ENOENT") return new Map();
    throw new StoreError("unavailable", `${path}: it cannot be read`, { cause });
  }
  let it: { format?: unknown; version?: unknown; known?: unknown } | null = null;
  try {
    it = JSON.parse(text);
  } catch {
    // Judged below.
  }
  if (it?.format === FORMAT && it.version !== VERSION) {
    throw new StoreError("unsupported", `${path}: it has another version than ${VERSION}`);
  }
  const entries = Object.entries(it?.known ?? {});
  if (it?.format !== FORMAT || !entries.every(([, value]) => typeof value === "string")) {
    // Not begun anew in silence: then everything would be believed again.
    throw new StoreError("corrupt", `${path}: it is no memory of rooms`);
  }
  return new Map(entries as [string, string][]);
}

async function write(path: string, known: Map<string, string>): Promise<void> {
  const text = JSON.stringify(
    { format: FORMAT, version: VERSION, known: Object.fromEntries(known) },
    null,
    2,
  );
  try {
    await writeWhole(path, `${text}\n`, { replace: true });
  } catch (cause) {
    throw new StoreError("unavailable", `${path}: it cannot be written`, { cause });
  }
}
