/**
 * What a program remembers about rooms and peers, in a file.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import { StoreError } from "../../core/errors.ts";
import { systemCode } from "../../core/host/system_code.ts";
import { writeWhole } from "../../files/write.ts";
import type { RoomMemory } from "../rooms/types.ts";

const FORMAT = "unibus-memory";
const VERSION = 1;

/**
 * Opens a file that remembers rooms and peers, for `openRooms({ memory })`, so that a program notices
 * a rolled-back epoch, another owner or a changed key of a peer after a restart too. Only one program
 * may use the file at a time. It contains no secrets, but anyone who can write to it decides which
 * owners and keys are trusted.
 *
 * @param path The file; created with mode 0600 at the first write
 * @throws {StoreError} `corrupt`: the file is not a room memory; `unsupported`: it has another version;
 * `unavailable`: it cannot be read
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
  /** Whether there are values that the file does not have. */
  let isBehind = false;
  let hasFailed = false;
  let last: Promise<void> = Promise.resolve();
  const save = () => {
    // One write covers all values set until it starts.
    const written = last.then(async () => {
      if (!isBehind) return;
      isBehind = false;
      try {
        await write(path, known);
        hasFailed = false;
      } catch (error) {
        isBehind = hasFailed = true;
        throw error;
      }
    });
    last = written.catch(() => {});
    return written;
  };
  return {
    // A value that could not be written counts only when the file has it.
    get: (key) => hasFailed ? save().then(() => known.get(key)) : known.get(key),
    set(key, value) {
      if (known.get(key) !== value) isBehind = true;
      known.set(key, value);
      return save();
    },
  };
}

function read(path: string): Map<string, string> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    if (systemCode(cause) === "ENOENT") return new Map();
    throw new StoreError("unavailable", `Cannot read ${path}`, { cause });
  }
  let file: { format?: unknown; version?: unknown; known?: unknown } | null = null;
  try {
    file = JSON.parse(text);
  } catch {
    // Reported below.
  }
  if (file?.format === FORMAT && file.version !== VERSION) {
    throw new StoreError("unsupported", `${path} has version ${file.version}, not ${VERSION}`);
  }
  const entries = Object.entries(file?.known ?? {});
  if (file?.format !== FORMAT || !entries.every(([, value]) => typeof value === "string")) {
    // Never replaced by an empty one: then every owner and key would be trusted on first use again.
    throw new StoreError("corrupt", `${path} is not a room memory`);
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
    throw new StoreError("unavailable", `Cannot write ${path}`, { cause });
  }
}
