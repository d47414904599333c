/**
 * What becomes of the blobs of a node whose cluster is lost.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { blobLines, bringBlobs } from "../../../../cli/commands/journey/lost_blobs.ts";
import type { Settings } from "../../../../cli/settings/settings.ts";
import { openDiskBlobs, openObjectBlobs } from "../../../../src/blobs/mod.ts";
import { ObjectSubjects } from "../../../../src/blobs/objects/format.ts";
import { owner, putBy } from "../../../blobs/holders.ts";
import { bodyOf, bytesOf, idOf } from "../../../blobs/kit.ts";
import { testServer } from "../../../helpers/nats.ts";
import { inDir } from "../../../helpers/sqlite.ts";

const signal = new AbortController().signal;

/** Changes a byte of a message in the files of a stream. */
async function damage(stream: string, bytes: Uint8Array): Promise<void> {
  const [block] = (await readdir(join(stream, "msgs"))).filter((it) => it.endsWith(".blk"));
  const path = join(stream, "msgs", block!);
  const all = await readFile(path);
  all[all.indexOf(bytes)]! ^= 1;
  await writeFile(path, all);
}

/** Removes the bytes of a blob from an object store. */
async function cut(connection: NatsConnection, bucket: string, id: string): Promise<void> {
  const subjects = new ObjectSubjects(bucket);
  const { streams } = await jetstreamManager(connection);
  const found = await streams.getMessage(subjects.stream, { last_by_subj: subjects.metaOf(id) });
  const { nuid } = found!.json<{ nuid: string }>();
  await streams.purge(subjects.stream, { filter: subjects.chunksOf(nuid) });
}

Deno.test("blobs of the disk and of the copy are kept with all their holders, damaged ones are named", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const storeDir = `${dir}/blobs`;
    const settings = { bucket: "LOST", storeDir, diskReserve: 0 } as unknown as Settings;
    const [a, b] = [owner(), owner()].sort() as [string, string];
    const [here, both, gone, there, bad, part] = [1, 2, 3, 4, 5, 6].map((it) =>
      bytesOf(100 * it)
    ) as [
      Uint8Array,
      Uint8Array,
      Uint8Array,
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ];
    const connection = await connect({ servers: server.url });
    {
      await using objects = await openObjectBlobs({ connection, bucket: "LOST_BLOBS" });
      for (const it of [both, gone, there, bad, part]) await putBy(objects, it, b);
      await objects.delete(idOf(gone));
      await cut(connection, "LOST_BLOBS", idOf(part));
    }
    await connection.close();
    await server.stop();
    const streams = join(server.directory, "store");
    await damage(join(streams, "jetstream", "$G", "streams", "OBJ_LOST_BLOBS"), bad);
    const bring = (dryRun: boolean) => bringBlobs(settings, streams, { dryRun, signal });

    // Without a disk yet, and without making one. Only reading shows that one is damaged.
    const lost = [idOf(part)];
    assert.deepEqual(await bring(true), { kept: 3, copied: 3, lost, undeleted: 0 });
    assert.equal(existsSync(storeDir), false);
    {
      await using disk = await openDiskBlobs(storeDir);
      for (const it of [here, both, gone]) await putBy(disk, it, a);
    }
    assert.deepEqual(await bring(true), { kept: 5, copied: 2, lost, undeleted: 1 });
    {
      await using disk = await openDiskBlobs(storeDir);
      assert.deepEqual((await disk.holders(idOf(both)))!.owners, [a]);
      assert.equal(await disk.stat(idOf(there)), null);
    }
    const expected = { kept: 4, lost: [idOf(bad), idOf(part)], undeleted: 1 };
    assert.deepEqual(await bring(false), { ...expected, copied: 1 });
    {
      await using disk = await openDiskBlobs(storeDir);
      assert.deepEqual((await disk.holders(idOf(there)))!.owners, [b]);
    }
    // As after a kill.
    assert.deepEqual(await bring(false), { ...expected, copied: 0 });
    await using disk = await openDiskBlobs(storeDir);
    for (const it of [here, both, gone, there]) {
      assert.equal(idOf(await bodyOf(await disk.get(idOf(it)))), idOf(it));
    }
    assert.deepEqual((await disk.holders(idOf(both)))!.owners, [a, b]);
    assert.equal(await disk.stat(idOf(bad)), null);
  }));

Deno.test("a machine without a copy of the object store keeps what is on its disk, and says so", () =>
  inDir(async (dir) => {
    const settings = { bucket: null, storeDir: `${dir}/blobs` } as unknown as Settings;
    {
      await using disk = await openDiskBlobs(settings.storeDir);
      await putBy(disk, bytesOf(10), owner());
    }
    const found = await bringBlobs(settings, `${dir}/none`, { dryRun: false, signal });
    assert.deepEqual(found, { kept: 1, copied: null, lost: [], undeleted: 0 });
    assert.match(blobLines(found, false).join("\n"), /^blobs: 1 on the disk; no copy of [^\n]+$/);
  }));

Deno.test("what becomes of blobs is told with numbers, and five of those that are lost", () => {
  const lost = ["1", "2", "3", "4", "5"];
  assert.deepEqual(blobLines({ kept: 2, copied: 1, lost, undeleted: 3 }, true).slice(1), [
    "lost, because that copy does not have all of them: 5 blobs (1, 2, 3, 4, 5)",
    "blobs that were deleted in the cluster and are back: 3",
  ]);
  const [first, second] = blobLines(
    { kept: 2, copied: 1, lost: [...lost, "6"], undeleted: 0 },
    false,
  );
  assert.match(first!, /^blobs: 2 on the disk, 1 of them copied from this node's copy/);
  assert.match(second!, /: 6 blobs \(1, 2, 3, 4, 5, \.\.\.\)$/);
});
