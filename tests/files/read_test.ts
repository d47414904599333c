import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { readSmall } from "../../src/files/read.ts";
import { inDir } from "../helpers/sqlite.ts";

Deno.test("readSmall() reads a file up to its limit, and nothing that is no regular file", () =>
  inDir(async (dir) => {
    writeFileSync(`${dir}/a`, "12345678", { mode: 0o600 });
    const { text, mode } = await readSmall(`${dir}/a`, 8);
    assert.deepEqual([text, mode & 0o777], ["12345678", 0o600]);
    await assert.rejects(readSmall(`${dir}/a`, 7), /\/a: it is larger than 7 bytes/);
    await assert.rejects(readSmall(dir, 7), /it is not a regular file/);
    await assert.rejects(readSmall(`${dir}/none`, 7), { code: "ENOENT" });
  }));
