/**
 * File systems that are soon full.
 *
 * @module
 */

import { mkdir } from "node:fs/promises";

/** A file system of its own of so many MiB, or none where this may not be made. */
export async function smallDisk(directory: string, size: number) {
  await mkdir(directory, { recursive: true });
  const mount = (option: string) =>
    new Deno.Command("mount", {
      args: ["-t", "tmpfs", "-o", option, "tmpfs", directory],
      stderr: "null",
    }).output().catch(() => ({ success: false }));
  if (!(await mount(`size=${size}m`)).success) {
    console.warn("skipped: only root may make a small disk");
    return null;
  }
  return {
    grow: () => mount("remount,size=500m"),
    async [Symbol.asyncDispose]() {
      await new Deno.Command("umount", { args: ["--lazy", directory] }).output();
    },
  };
}
