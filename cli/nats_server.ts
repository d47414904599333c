/**
 * Finds the nats-server program for commands, including the one bundled with this program.
 *
 * A program built by `deno task compile` or `deno task dist` has a directory `shipped` next to it,
 * with a nats-server and its digest. In a compiled program the directory is not on the disk, so the
 * nats-server is unpacked once to the cache.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { StoreError } from "../src/core/errors.ts";
import { systemCode } from "../src/core/host/system_code.ts";
import { writeWhole } from "../src/files/write.ts";
import { GET_AGAIN } from "../src/core/hints.ts";
import {
  findNatsServer,
  type FindOptions,
  type NatsBinary,
  natsServerCacheDir,
  PROGRAM,
} from "../src/nats/server/binary.ts";

/** Directory of the bundled nats-server; `null` if this program does not run from a file. */
const SHIPPED = import.meta.url.startsWith("file:")
  ? fileURLToPath(new URL("./shipped", import.meta.url))
  : null;

/** Contents of `shipped/manifest.json`. */
export interface ShippedManifest {
  /** The nats-server's version, such as `2.15.1`. */
  version: string;
  /** SHA-256 of the nats-server, hex. */
  sha256: string;
}

/** Finds a nats-server: the one in `UNIBUS_NATS_SERVER`, else the bundled one, else any other. */
export async function natsServer(options: Required<FindOptions>): Promise<NatsBinary> {
  const { env } = options;
  const path = env.UNIBUS_NATS_SERVER ? null : await shippedServer(env);
  if (path === null) return await findNatsServer(options);
  const found = await findNatsServer({ ...options, env: { ...env, UNIBUS_NATS_SERVER: path } });
  return { ...found, source: "shipped" };
}

/**
 * Returns the path of the bundled nats-server, or `null` if there is none.
 *
 * @param env Environment variables, which determine the cache directory
 * @param directory Its directory; by default next to this program
 * @param isPacked Whether that directory exists only inside the program
 */
export async function shippedServer(
  env: FindOptions["env"],
  directory: string | null = SHIPPED,
  isPacked: boolean = isStandalone(),
): Promise<string | null> {
  if (directory === null) return null;
  let manifest: ShippedManifest;
  try {
    manifest = JSON.parse(await readFile(join(directory, "manifest.json"), "utf8"));
  } catch (error) {
    if (systemCode(error) === "ENOENT") return null;
    throw error;
  }
  const shipped = join(directory, PROGRAM);
  if (!isPacked) return shipped;
  const { sha256 } = manifest;
  const place = join(natsServerCacheDir(env), `sha256-${sha256.slice(0, 16)}`);
  const path = join(place, PROGRAM);
  if (await digestOf(path) === sha256) return path;
  await mkdir(place, { recursive: true, mode: 0o700 });
  const bytes = await readFile(shipped);
  const found = createHash("sha256").update(bytes).digest("hex");
  if (found !== sha256) {
    throw new StoreError(
      "mismatch",
      `Refused the nats-server bundled with this program: its SHA-256 is ${found}, expected ${sha256}`,
      { hint: GET_AGAIN },
    );
  }
  await writeWhole(path, bytes, { replace: true, mode: 0o700 });
  return path;
}

async function digestOf(path: string): Promise<string | null> {
  const hash = createHash("sha256");
  try {
    await pipeline(createReadStream(path), hash);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return null;
    throw error;
  }
  return hash.digest("hex");
}

/** Reports whether this program was built by `deno compile`; always false in Node. */
function isStandalone(): boolean {
  const { Deno } = globalThis as { Deno?: { build: { standalone: boolean } } };
  return Deno?.build.standalone === true;
}
