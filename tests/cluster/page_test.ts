/**
 * The commands of docs/migration.md, "Back to one by hand", as they stand there: run in that order, in one
 * directory, with nothing put in their place but the ports.
 *
 * @module
 */

import assert from "node:assert/strict";
import { copyFile, mkdir, readFile, rename } from "node:fs/promises";
import { openObjectBlobs } from "../../src/blobs/mod.ts";
import { connectNats } from "../../src/nats/connection/connect.ts";
import { type CliProcess, cliProcess } from "../cli/kit.ts";
import { populate } from "../move/kit.ts";
import { natsBinary } from "../helpers/nats.ts";
import { digestOf, ready, testNodes } from "./kit.ts";

/** The lines of the shaded blocks of a section. */
async function commandsOf(heading: string): Promise<string[]> {
  const page = await readFile(new URL("../../docs/migration.md", import.meta.url), "utf8");
  const section = page.split(/^## /m).find((it) => it.startsWith(`${heading}\n`));
  assert.ok(section !== undefined, `No section ${heading}`);
  return [...section.matchAll(/^```\n([^]*?)^```$/gm)].flatMap(([, block]) =>
    block!.trimEnd().split("\n")
  );
}

Deno.test("docs/migration.md, Back to one by hand: its commands, run as they stand there, keep everything", async () => {
  await using place = await testNodes(3);
  const [n1] = place.nodes;
  const here = n1!.dir;
  const files = `${here}/local_files`;
  const instead = {
    "--db": `${files}/unibus.db`,
    "--store-dir": `${files}/blobs`,
    "--nats-store": `${files}/jetstream`,
  };
  await mkdir(files, { recursive: true });
  await copyFile(place.keysPath, `${here}/keys.json`);
  await Promise.all(place.nodes.map((it) =>
    it.start({
      more: ["--store", "jetstream", "--replicas", "3"],
      ...it === n1 ? { instead } : {},
    })
  ));
  for (const it of place.nodes) await ready(it);
  let blob: string;
  {
    await using store = await place.open(place.nodes, { opTimeout: 20_000 });
    await populate(store);
    const servers = n1!.nats;
    const connection = await connectNats({ servers, nkeySeed: place.keys.service.seed });
    await using blobs = await openObjectBlobs({ connection });
    const bytes = new TextEncoder().encode("kept all along");
    blob = (await blobs.put(
      (async function* () {
        yield await Promise.resolve(bytes);
      })(),
      { maxBytes: 100 },
    )).id;
    await connection.close();
  }
  const all = place.flags(...place.nodes);
  const first = await digestOf(place.dir, ...all);

  const { path } = await natsBinary();
  const env = {
    UNIBUS_NATS_SERVER: path,
    UNIBUS_HTTP_PORT: new URL(n1!.http).port,
    UNIBUS_NATS_PORT: new URL(n1!.nats).port,
  };
  let server: CliProcess | null = null;
  const stop = async () => {
    server?.kill("SIGTERM");
    await server?.ended;
    server = null;
    for (const it of place.nodes) await it.stop();
  };
  let isStopped = false;
  try {
    for (const line of await commandsOf("Back to one by hand")) {
      const [program, ...words] = line
        .replace("$NATS", all.join(" ")).replaceAll("nats://127.0.0.1:4250", n1!.nats).split(" ");
      if (program === "#") {
        assert.match(line, /^# Stop all nodes\. On n1:$/);
        await stop();
        isStopped = true;
      } else if (program === "mv") {
        const [from, to] = words.map((it) => `${here}/${it}`);
        await rename(from!, to!);
      } else if (words[0] === "serve") {
        assert.ok(isStopped);
        await stop();
        server = cliProcess(words, { cwd: here, env });
        await server.seen(/ ready /);
      } else {
        assert.equal(program, "membershipd", line);
        const { code, stdout, stderr } = await cliProcess(words, { cwd: here, env }).ended;
        assert.equal(code, 0, `${line}\n${stdout}${stderr}`);
      }
    }
    const { checks, ok } = await (await fetch(`${n1!.http}/readyz`)).json();
    assert.ok(ok, JSON.stringify(checks));
    const back = await fetch(`${n1!.http}/v1/blobs/${blob}`);
    assert.equal(await back.text(), "kept all along");
    assert.equal(await digestOf(place.dir, "--db", `${files}/unibus.db`), first);
  } finally {
    await stop();
  }
});
