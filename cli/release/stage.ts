/**
 * The program as it is shipped: one bundle of JavaScript, and a nats-server beside it.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { chmod, copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ensureNatsServer, natsServerVersion } from "../../src/nats/server/binary.ts";
import type { ShippedManifest } from "../nats_server.ts";
import { run } from "./run.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** What goes into it. */
export interface StageOptions {
  /** An empty directory. */
  directory: string;
  /** A nats-server for the platform it will run on; by default the one of this machine. */
  natsServer?: string | undefined;
  /** The version of that nats-server, where it does not run here. */
  natsVersion?: string | undefined;
  log: (line: string) => void;
}

/** Puts the program into a directory: `main.js`, its chunks, and `shipped/`. */
export async function stage(options: StageOptions): Promise<ShippedManifest> {
  const { directory, log } = options;
  log("Bundling the program");
  const bundle = ["bundle", "--quiet", "--platform", "deno", "--minify", "--code-splitting"];
  await run(Deno.execPath(), [...bundle, "--outdir", directory, "cli/main.ts"], ROOT);
  const server = options.natsServer ?? (await ensureNatsServer({ log })).path;
  const version = options.natsVersion ?? await natsServerVersion(server);
  const shipped = join(directory, "shipped");
  await mkdir(shipped);
  const program = join(shipped, server.endsWith(".exe") ? "nats-server.exe" : "nats-server");
  await copyFile(server, program);
  await chmod(program, 0o755);
  const sha256 = createHash("sha256").update(await readFile(program)).digest("hex");
  const manifest: ShippedManifest = { version, sha256 };
  await writeFile(join(shipped, "manifest.json"), JSON.stringify(manifest));
  log(`With nats-server ${version}, SHA-256 ${sha256}`);
  return manifest;
}
