/**
 * A disk that can be filled: a small file system in memory. Making one needs root.
 *
 * @module
 */

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { closeSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

const SIZE_MB = 32;
const NAME = "unibus-chaos-disk";

/** A disk. */
export class SmallDisk implements AsyncDisposable {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** Whether this process may make one. */
  static isPossible(): boolean {
    return process.platform === "linux" && process.getuid?.() === 0;
  }

  /** Makes one of so many MiB in `directory`. */
  static make(directory: string, size = SIZE_MB): Promise<SmallDisk> {
    removeLeft();
    const path = join(directory, `${NAME}-${process.pid}`);
    mkdirSync(path);
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}m`, NAME, path]);
    return Promise.resolve(new SmallDisk(path));
  }

  /** Fills it to the last byte. */
  fill(): void {
    const file = openSync(join(this.path, "filler"), "w");
    try {
      for (let size = 1 << 20; size >= 1; size >>= 1) {
        try {
          for (;;) if (writeSync(file, new Uint8Array(size)) < size) break;
        } catch { /* No space for that much. */ }
      }
    } finally {
      closeSync(file);
    }
  }

  /** Makes room again. */
  free(): void {
    rmSync(join(this.path, "filler"), { force: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    unmount(this.path);
    return Promise.resolve();
  }
}

function unmount(path: string): void {
  try {
    execFileSync("umount", ["-l", path], { stdio: "ignore" });
  } catch { /* Not mounted. */ }
}

/** Removes what runs that were killed have left. */
function removeLeft(): void {
  for (const line of readFileSync("/proc/mounts", "utf8").split("\n")) {
    const path = line.split(" ")[1] ?? "";
    const pid = Number(new RegExp(`/${NAME}-(\\d+)$`).exec(path)?.[1] ?? NaN);
    if (!Number.isNaN(pid) && !isAlive(pid)) unmount(path);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
