/**
 * `deno task dist`: one file that unpacks itself, with the runtime, the program and a nats-server.
 *
 * Nothing is downloaded: the runtime is the one that runs this, or a given one. The archive is made of
 * the same bytes whenever the parts are the same.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { chmod, copyFile, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { VERSION } from "../version.ts";
import { inWorkspace, main, run } from "./run.ts";
import { stage } from "./stage.ts";

const HELP =
  `Usage: deno task dist [--out FILE] [--deno FILE --nats-server FILE --nats-version V --platform P]

Make one file that holds the Deno runtime, membershipd and a nats-server, and unpacks itself once.

  --out FILE          where it goes (default: ./local_files/membershipd)
  --deno FILE         the runtime, for another platform (default: the one that runs this)
  --nats-server FILE  the nats-server, for another platform (default: the one of this machine)
  --nats-version V    its version, where it does not run here
  --platform P        what uname -s and -m say there (default: ${platform()})`;

function platform(): string {
  const system: Record<string, string> = { linux: "Linux", darwin: "Darwin" };
  const machine: Record<string, string> = { x64: "x86_64", arm64: "aarch64" };
  const arch = process.platform === "darwin" && process.arch === "arm64" ? "arm64" : null;
  return `${system[process.platform] ?? process.platform}-${
    arch ?? machine[process.arch] ?? process.arch
  }`;
}

/** Puts the header before the archive. */
async function assemble(
  archive: string,
  target: string,
): Promise<{ sha256: string; size: number }> {
  const payload = await readFile(archive);
  const sha256 = createHash("sha256").update(payload).digest("hex");
  const template = await readFile(fileURLToPath(new URL("./dist.sh", import.meta.url)), "utf8");
  const fill = (offset: string) =>
    template.replaceAll("@VERSION@", VERSION).replaceAll("@PLATFORM@", target)
      .replaceAll("@ID@", `${VERSION}-${sha256.slice(0, 16)}`).replaceAll("@SHA256@", sha256)
      .replaceAll("@OFFSET@", offset);
  // `tail -c +N` counts from 1; the number has a fixed width, so the header's length is known first.
  const length = Buffer.byteLength(fill("00000"));
  const header = fill(String(length + 1).padStart(5, "0"));
  await writeFile(archive, Buffer.concat([Buffer.from(header), payload]));
  await chmod(archive, 0o755);
  return { sha256, size: length + payload.length };
}

async function make(args: string[]): Promise<void> {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    args,
    options: {
      out: text,
      deno: text,
      "nats-server": text,
      "nats-version": text,
      platform: text,
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help) return console.log(HELP);
  const out = resolve(values.out ?? "local_files/membershipd");
  await mkdir(dirname(out), { recursive: true });
  const log = (line: string) => console.error(line);
  await inWorkspace(async (work) => {
    const directory = join(work, "it");
    await mkdir(directory);
    await stage({
      directory,
      natsServer: values["nats-server"],
      natsVersion: values["nats-version"],
      log,
    });
    await copyFile(values.deno ?? Deno.execPath(), join(directory, "deno"));
    await chmod(join(directory, "deno"), 0o755);
    log("Packing");
    // Written to a temporary name first, so that a partial file is never used.
    const archive = `${out}.${process.pid}`;
    try {
      const same = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"];
      const gnu = process.platform === "linux" ? same : [];
      const packed = join(work, "it.tar");
      await run("tar", [...gnu, "-cf", packed, "-C", directory, "."], work);
      await run("gzip", ["-9n", packed], work);
      await copyFile(`${packed}.gz`, archive);
      const { sha256, size } = await assemble(archive, values.platform ?? platform());
      await rename(archive, out);
      log(`${out}: ${(size / 1e6).toFixed(1)} MB, SHA-256 of what it holds ${sha256}`);
    } finally {
      await rm(archive, { force: true });
    }
  });
}

await main("dist", make);
