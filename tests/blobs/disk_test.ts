/** Blobs on disk: the promises of every store of blobs, and those of files. */

import assert from "node:assert/strict";
import { openDiskBlobs } from "../../src/blobs/mod.ts";
import { DiskHolders } from "../../src/blobs/disk/holders.ts";
import { type BlobBed, bodyOf, bytesOf, chunks, idOf, spawn } from "./kit.ts";
import { owner, putBy, testHolders } from "./holders.ts";
import { testPromises } from "./promises.ts";
import { failsWith, inDir } from "../helpers/sqlite.ts";

const MB = 1024 * 1024;

async function diskBed(): Promise<BlobBed> {
  const directory = await Deno.makeTempDir({ prefix: "unibus-blobs-" });
  const path = (id: string) => `${directory}/${id.slice(0, 2)}/${id.slice(2, 4)}/${id}`;
  return {
    open: () => openDiskBlobs(directory),
    address: ["disk", directory],
    async flip(id) {
      const bytes = await Deno.readFile(path(id));
      bytes[bytes.length - 3]! ^= 1;
      await Deno.writeFile(path(id), bytes);
    },
    truncate: async (id) => await Deno.truncate(path(id), (await Deno.stat(path(id))).size - 1),
    leftovers: () => Promise.resolve([...Deno.readDirSync(`${directory}/tmp`)].length),
    [Symbol.asyncDispose]: () => Deno.remove(directory, { recursive: true }),
  };
}

testPromises("disk", diskBed);
testHolders("disk", diskBed);

Deno.test("disk: a blob of 0.1, with nobody noted beside it, is never taken by its later owners", async () => {
  await using bed = await diskBed();
  await using blobs = await bed.open();
  const bytes = bytesOf(100);
  const id = idOf(bytes);
  const path = `${bed.address[1]}/${id.slice(0, 2)}/${id.slice(2, 4)}`;
  await Deno.mkdir(path, { recursive: true });
  await Deno.writeFile(`${path}/${id}`, bytes);
  assert.deepEqual(await blobs.holders(id), { owners: [], unowned: true });
  const by = owner();
  await failsWith("forbidden", () => blobs.delete(id, by));
  assert.equal((await putBy(blobs, bytes, by)).created, false);
  assert.deepEqual(await blobs.holders(id), { owners: [by], unowned: true });
  assert.equal(await blobs.delete(id, by), false);
  await (await bed.open()).close();
  assert.equal(idOf(await bodyOf(await blobs.get(id))), id);
  assert.equal(await blobs.delete(id), true);
  assert.deepEqual([...Deno.readDirSync(path)], []);
});

Deno.test("disk: bytes stay where somebody is noted while they are being removed", () =>
  inDir(async (dir) => {
    await Deno.mkdir(`${dir}/tmp`);
    const holders = new DiskHolders(dir, `${dir}/tmp`);
    const [id, by] = ["0".repeat(64), owner()];
    const target = `${dir}/${id}`;
    const mine = { owners: [by], unowned: false };
    assert.deepEqual(await holders.add(target, id, 10, mine), mine);
    assert.equal(await holders.end(target), false);
    assert.deepEqual(await holders.read(target), mine);
    await holders.remove(target, id, 10, mine);
    assert.equal(await holders.end(target), true);
    assert.equal(await holders.read(target), null);
    assert.equal(await holders.usage(by), 0);
  }));

Deno.test("disk: blobs leave the bytes free that are reserved", () =>
  inDir(async (dir) => {
    await using disk = await smallDisk(dir);
    if (disk === null) return console.warn("skipped: only root may make a small disk");
    await using blobs = await openDiskBlobs(dir, { reserve: 4 * MB });
    const kept = bytesOf(2 * MB);
    await blobs.put(chunks(kept), { maxBytes: 2 * MB });
    const large = bytesOf(3 * MB);
    await failsWith(
      "unavailable",
      () => blobs.put(chunks(large), { maxBytes: 3 * MB }),
      /4194304 are reserved for the control plane/,
    );
    assert.equal([...Deno.readDirSync(`${dir}/tmp`)].length, 0);
    // What is reserved is there for others.
    await Deno.writeFile(`${dir}/store.db`, new Uint8Array(4 * MB));
    assert.equal(Deno.statSync(`${dir}/store.db`).size, 4 * MB);
    await failsWith("unavailable", () => blobs.put(chunks(bytesOf(1)), { maxBytes: 1 }));
    assert.equal(idOf(await bodyOf(await blobs.get(idOf(kept)))), idOf(kept));
    assert.match((await blobs.health()).detail, /MiB free, 4 reserved/);
  }));

/** How many files of a directory this process holds open. */
function openFiles(directory: string): number {
  let found = 0;
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    try {
      if (Deno.readLinkSync(`/proc/self/fd/${name}`).startsWith(directory)) found++;
    } catch { /* The one we read the directory through. */ }
  }
  return found;
}

Deno.test("disk: files are their owner's alone, in directories by the first digits", () =>
  inDir(async (dir) => {
    await using blobs = await openDiskBlobs(`${dir}/some/where`);
    const { id } = await blobs.put(chunks(bytesOf(10)), { maxBytes: 10 });
    const modes = ["", "/tmp", `/${id.slice(0, 2)}`, `/${id.slice(0, 2)}/${id.slice(2, 4)}`].map(
      (it) => Deno.statSync(`${dir}/some/where${it}`).mode! & 0o777,
    );
    assert.deepEqual(modes, [0o700, 0o700, 0o700, 0o700]);
    const file = `${dir}/some/where/${id.slice(0, 2)}/${id.slice(2, 4)}/${id}`;
    assert.equal(Deno.statSync(file).mode! & 0o777, 0o600);
  }));

Deno.test("disk: a directory that cannot be one is unavailable, and the message names it", () =>
  inDir(async (dir) => {
    await Deno.writeTextFile(`${dir}/file`, "");
    await failsWith("unavailable", () => openDiskBlobs(`${dir}/file`), new RegExp(`${dir}/file`));
    await failsWith("unavailable", () => openDiskBlobs(`${dir}/file/below`));
  }));

Deno.test("disk: opening removes what dead writers left, and nothing else", async () => {
  await using bed = await diskBed();
  const directory = bed.address[1]!;
  await using first = await bed.open();
  const { child, lines } = spawn(bed, "hang", String(MB));
  assert.equal((await lines.next()).value, "hanging");
  // Ours, of a living process.
  let release = () => {};
  const put = first.put(
    (async function* () {
      yield bytesOf(MB);
      await new Promise<void>((resolve) => release = resolve);
    })(),
    { maxBytes: MB },
  );
  while ((await bed.leftovers()) < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  const names = () => [...Deno.readDirSync(`${directory}/tmp`)].map((it) => it.name).sort();
  const living = names();
  const elsewhere = `0123456789ab-${Deno.pid}-${"0".repeat(24)}.part`;
  const longAgo = `0123456789ab-${Deno.pid}-${"1".repeat(24)}.part`;
  // Our own process id, but from before we began.
  const reused = living[0]!.replace(/-\d+-\w+/, `-${Deno.pid}-${"2".repeat(24)}`);
  for (const name of [elsewhere, longAgo, reused, "notes.txt"]) {
    await Deno.writeTextFile(`${directory}/tmp/${name}`, "x");
  }
  const dayAgo = new Date(Date.now() - 25 * 3600 * 1000);
  await Deno.utime(`${directory}/tmp/${longAgo}`, dayAgo, dayAgo);
  const before = new Date(Date.now() - performance.now() - 3600 * 1000);
  await Deno.utime(`${directory}/tmp/${reused}`, before, before);
  await (await bed.open()).close();
  assert.deepEqual(names(), [...living, elsewhere, "notes.txt"].sort());
  child.kill("SIGKILL");
  await child.status;
  await child.stdin.close().catch(() => {});
  await (await bed.open()).close();
  assert.equal(names().length, 3, "the killed process's file is gone");
  release();
  assert.equal((await put).created, true);
});

Deno.test("disk: nothing is held open by streams that are unread, read, cancelled or broken", async () => {
  await using bed = await diskBed();
  await using blobs = await bed.open();
  const bytes = bytesOf(3 * MB);
  const { id } = await blobs.put(chunks(bytes), { maxBytes: 3 * MB });
  await blobs.get(id);
  await bodyOf(await blobs.get(id));
  const reader = (await blobs.get(id))!.body.getReader();
  await reader.read();
  assert.equal(openFiles(bed.address[1]!), 1, "the file that is being read");
  await reader.cancel();
  await bodyOf(await blobs.get(id, { start: 3, end: 2 * MB }));
  await bed.flip(id);
  await failsWith("corrupt", async () => await bodyOf(await blobs.get(id)));
  await blobs.put(chunks(bytes), { maxBytes: 10 }).catch(() => {});
  assert.equal(openFiles(bed.address[1]!), 0);
});

/** A file system of 8 MiB of its own, or none where this may not be made. */
async function smallDisk(directory: string): Promise<AsyncDisposable | null> {
  const args = ["-t", "tmpfs", "-o", "size=8m", "tmpfs", directory];
  const mount = await new Deno.Command("mount", { args, stderr: "null" }).output()
    .catch(() => ({ success: false }));
  if (!mount.success) return null;
  return {
    async [Symbol.asyncDispose]() {
      await new Deno.Command("umount", { args: ["--lazy", directory] }).output();
    },
  };
}

Deno.test("disk: a full disk is unavailable, leaves nothing, and is no damage to the rest", () =>
  inDir(async (dir) => {
    await using disk = await smallDisk(dir);
    if (disk === null) return console.warn("skipped: only root may make a small disk");
    await using blobs = await openDiskBlobs(dir);
    const kept = bytesOf(3 * MB);
    const { id } = await blobs.put(chunks(kept), { maxBytes: 3 * MB });
    const large = bytesOf(7 * MB);
    const put = () => blobs.put(chunks(large), { maxBytes: 7 * MB });
    await failsWith("unavailable", put, /disk is full/);
    assert.equal([...Deno.readDirSync(`${dir}/tmp`)].length, 0);
    assert.equal(await blobs.stat(idOf(large)), null);
    assert.equal(idOf(await bodyOf(await blobs.get(id))), id);
    assert.match((await blobs.health()).detail, /\d MiB free/);
    // A blob that fits goes in.
    const small = bytesOf(MB);
    assert.equal((await blobs.put(chunks(small), { maxBytes: MB })).created, true);
    await Deno.writeFile(`${dir}/filler`, new Uint8Array(8 * MB)).catch(() => {});
    const health = await blobs.health();
    assert.equal(health.ok, false);
    assert.match(health.detail, /disk is full/);
  }));
