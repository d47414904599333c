/** The file that unpacks itself: where to, and whose code it then runs. With a program of three lines. */

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmod, chown, mkdir, readdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import process from "node:process";
import { inDir } from "../helpers/sqlite.ts";

const ID = "0.0.0-test";
const isWindows = Deno.build.os === "windows";

/** Makes it as `deno task dist` does, with a runtime that says its arguments. */
async function made(dir: string): Promise<string> {
  const staged = `${dir}/stage`;
  await mkdir(staged);
  await chmod(staged, 0o777);
  await writeFile(`${staged}/deno`, '#!/bin/sh\necho "ours $(umask)"\n', { mode: 0o755 });
  execFileSync("tar", ["-czf", `${dir}/it.tgz`, "-C", staged, "."]);
  const payload = await readFile(`${dir}/it.tgz`);
  const template = await readFile(new URL("../../cli/release/dist.sh", import.meta.url), "utf8");
  const platform = execFileSync("uname", ["-sm"], { encoding: "utf8" }).trim().replace(" ", "-");
  const fill = (offset: string) =>
    template.replaceAll("@VERSION@", "0.0.0").replaceAll("@PLATFORM@", platform)
      .replaceAll("@ID@", ID)
      .replaceAll("@SHA256@", createHash("sha256").update(payload).digest("hex"))
      .replaceAll("@OFFSET@", offset);
  const header = fill(String(fill("00000").length + 1).padStart(5, "0"));
  await writeFile(`${dir}/it`, Buffer.concat([Buffer.from(header), payload]), { mode: 0o755 });
  return `${dir}/it`;
}

function run(file: string, cache: string) {
  const env = { PATH: "/usr/bin:/bin", UNIBUS_CACHE_DIR: cache };
  const { status, stdout, stderr } = spawnSync("/bin/sh", ["-c", `umask 027; exec "${file}"`], {
    env,
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}

Deno.test(
  "it unpacks into a directory of its user's, also through a link to one, and runs with its umask",
  {
    ignore: isWindows,
  },
  () =>
    inDir(async (dir) => {
      const file = await made(dir);
      await mkdir(`${dir}/disk`, { mode: 0o755 });
      await symlink(`${dir}/disk`, `${dir}/link`);
      for (const cache of ["new/cache", "link", "link"]) {
        const { status, stdout, stderr } = run(file, `${dir}/${cache}`);
        assert.deepEqual([status, stdout.trim(), stderr], [0, "ours 0027", ""], cache);
      }
      assert.deepEqual(await readdir(`${dir}/disk`), [ID]);
      assert.equal((await stat(`${dir}/disk/${ID}`)).mode & 0o777, 0o700);
    }),
);

Deno.test("it runs nothing from where others write, and unpacks nothing there", {
  ignore: isWindows,
}, () =>
  inDir(async (dir) => {
    const file = await made(dir);
    for (const mode of [0o777, 0o775, 0o757, 0o1777]) {
      const cache = `${dir}/${mode.toString(8)}`;
      await mkdir(cache);
      await chmod(cache, mode);
      const { status, stdout, stderr } = run(file, cache);
      assert.deepEqual([status, stdout], [1, ""]);
      assert.match(stderr, /Other users may write to .*: set UNIBUS_CACHE_DIR/);
      assert.deepEqual(await readdir(cache), []);
    }
    // After it was unpacked too.
    assert.equal(run(file, `${dir}/mine`).status, 0);
    await chmod(`${dir}/mine/${ID}`, 0o720);
    const { status, stdout, stderr } = run(file, `${dir}/mine`);
    assert.deepEqual([status, stdout], [1, ""]);
    assert.match(stderr, /not a directory of yours alone: remove it/);
  }));

Deno.test(
  "it follows no link in place of what it unpacked",
  { ignore: isWindows },
  () =>
    inDir(async (dir) => {
      const file = await made(dir);
      await mkdir(`${dir}/theirs`, { mode: 0o755 });
      await writeFile(`${dir}/theirs/deno`, "#!/bin/sh\necho theirs\n", { mode: 0o755 });
      for (const target of [`${dir}/theirs`, `${dir}/nowhere`]) {
        const cache = `${target}-cache`;
        await mkdir(cache, { mode: 0o755 });
        await symlink(target, `${cache}/${ID}`);
        const { status, stdout, stderr } = run(file, cache);
        assert.deepEqual([status, stdout], [1, ""]);
        assert.match(stderr, /not a directory of yours alone/);
      }
    }),
);

Deno.test("it uses no directory of another user, whatever leads there", {
  // Only root can make one.
  ignore: isWindows || process.getuid?.() !== 0,
}, () =>
  inDir(async (dir) => {
    const file = await made(dir);
    await mkdir(`${dir}/theirs`, { mode: 0o755 });
    await chown(`${dir}/theirs`, 12345, 12345);
    await symlink(`${dir}/theirs`, `${dir}/link`);
    for (const cache of ["theirs", "link"]) {
      const { status, stdout, stderr } = run(file, `${dir}/${cache}`);
      assert.deepEqual([status, stdout], [1, ""]);
      assert.match(stderr, /Other users may write to/);
    }
    assert.deepEqual(await readdir(`${dir}/theirs`), []);
    assert.equal(run(file, `${dir}/mine`).status, 0);
    await chown(`${dir}/mine/${ID}`, 12345, 12345);
    assert.match(run(file, `${dir}/mine`).stderr, /not a directory of yours alone/);
  }));
