/** `blobs show` and `blobs delete`, on a directory and on a bucket. */

import assert from "node:assert/strict";
import { connect } from "@nats-io/transport-node";
import { type BlobStore, openDiskBlobs, openObjectBlobs } from "../../../src/blobs/mod.ts";
import { bytesOf, chunks } from "../../blobs/kit.ts";
import { owner, putBy } from "../../blobs/holders.ts";
import { cli } from "../kit.ts";
import { testServer } from "../../helpers/nats.ts";
import { inDir } from "../../helpers/sqlite.ts";

async function check(blobs: BlobStore, flags: string[]): Promise<void> {
  const owners = [owner(), owner()].sort() as [string, string];
  const bytes = bytesOf(1000);
  for (const by of owners) await putBy(blobs, bytes, by);
  const { id } = await blobs.put(chunks(bytes), { maxBytes: 1000 });
  const run = async (...args: string[]) => {
    const { code, stdout, stderr } = await cli(["blobs", ...args, ...flags]);
    return { code, text: stdout + stderr };
  };
  const shown = await run("show", id.toUpperCase(), "--json");
  assert.deepEqual(JSON.parse(shown.text), { id, size: 1000, owners, unowned: true });
  const plain = await run("show", id);
  assert.match(plain.text, new RegExp(`${owners.join(", ")}, unknown user`));
  assert.match((await run("delete", id)).text, new RegExp(`^deleted blob ${id}\n$`));
  assert.equal(await blobs.stat(id), null);
  for (const what of ["show", "delete"]) {
    const { code, text } = await run(what, id);
    assert.deepEqual([code, /blob does not exist/i.test(text)], [1, true], text);
    assert.equal((await run(what, "../etc")).code, 2);
  }
}

Deno.test("blobs of a directory are shown and deleted", () =>
  inDir(async (dir) => {
    await using blobs = await openDiskBlobs(`${dir}/blobs`);
    await check(blobs, ["--store-dir", `${dir}/blobs`]);
    const { code, stderr } = await cli([
      "blobs",
      "delete",
      "0".repeat(64),
      "--store-dir",
      `${dir}/x`,
    ]);
    assert.deepEqual([code, /Directory .* does not exist/.test(stderr)], [1, true]);
    assert.deepEqual([...Deno.readDirSync(dir)].map((it) => it.name), ["blobs"]);
  }));

Deno.test("blobs of a bucket are shown and deleted", async () => {
  await using server = await testServer();
  const nats = ["--nats-url", server.url];
  const { code, stderr } = await cli(["blobs", "show", "0".repeat(64), ...nats]);
  assert.deepEqual([code, /No bucket UNIBUS_BLOBS/.test(stderr)], [1, true], stderr);
  const connection = await connect({ servers: server.url });
  await using blobs = await openObjectBlobs({ connection });
  await check(blobs, nats);
  await blobs.close();
  await connection.close();
});
