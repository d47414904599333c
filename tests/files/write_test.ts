import assert from "node:assert/strict";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import process from "node:process";
import { systemCode } from "../../src/core/host/system_code.ts";
import { writeWhole } from "../../src/files/write.ts";
import { inDir } from "../helpers/sqlite.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

async function* chunks(...texts: string[]) {
  for (const it of texts) yield bytes(it);
}

Deno.test("writeWhole() writes text, bytes and what comes in pieces, readable by its owner only", () =>
  inDir(async (dir) => {
    const path = `${dir}/a`;
    for (const it of ["ab", bytes("ab"), chunks("a", "b")]) {
      await writeWhole(path, it, { replace: true });
      assert.equal(await readFile(path, "utf8"), "ab");
    }
    await writeWhole(`${dir}/run`, "", { mode: 0o700 });
    if (process.platform !== "win32") {
      assert.equal((await stat(path)).mode & 0o777, 0o600);
      assert.equal((await stat(`${dir}/run`)).mode & 0o777, 0o700);
    }
    assert.deepEqual(await readdir(dir), ["a", "run"]);
  }));

Deno.test("writeWhole() replaces no file unless it is told to, also when many write at once", () =>
  inDir(async (dir) => {
    const path = `${dir}/a`;
    const tries = await Promise.allSettled(
      Array.from({ length: 8 }, (_, i) => writeWhole(path, `${i}`)),
    );
    const won = tries.flatMap(({ status }, i) => status === "fulfilled" ? [`${i}`] : []);
    assert.deepEqual(won, [await readFile(path, "utf8")]);
    for (const it of tries) {
      if (it.status === "rejected") assert.equal(systemCode(it.reason), "EEXIST");
    }
    assert.deepEqual(await readdir(dir), ["a"]);
  }));

Deno.test("writeWhole() that fails or is aborted leaves what was there, and nothing else", () =>
  inDir(async (dir) => {
    const path = `${dir}/a`;
    await writeFile(path, "before");
    async function* broken() {
      yield bytes("half");
      await Promise.reject(new Error("broken"));
    }
    await assert.rejects(writeWhole(path, broken(), { replace: true }), /^Error: broken$/);
    const signal = AbortSignal.abort(new Error("enough"));
    await assert.rejects(writeWhole(path, chunks("a"), { replace: true, signal }), /enough/);
    await assert.rejects(writeWhole(`${dir}/none/a`, ""), { code: "ENOENT" });
    assert.equal(await readFile(path, "utf8"), "before");
    assert.deepEqual(await readdir(dir), ["a"]);
  }));

Deno.test("systemCode() finds the code of what caused an error", () => {
  const missing = Object.assign(new Error("no"), { code: "ENOENT" });
  assert.equal(systemCode(missing), "ENOENT");
  assert.equal(systemCode(new Error("outer", { cause: missing })), "ENOENT");
  assert.equal(systemCode(Object.assign(new Error("number"), { code: 7 })), "");
  assert.equal(systemCode(null), "");
});
