/** Parts of blobs over HTTP (RFC 9110, 14), and what a client has already. */

import assert from "node:assert/strict";
import { openDiskBlobs } from "../../../src/blobs/mod.ts";
import { isProblem, testPlane } from "../kit.ts";
import { inDir } from "../../helpers/sqlite.ts";

Deno.test("a range of a blob is that part, the whole where it is none we know, or 416", () =>
  inDir(async (dir) => {
    await using blobs = await openDiskBlobs(dir);
    await using it = await testPlane({ blobs });
    const as = await it.user();
    const put = async (body: string) =>
      (await it.ask("PUT /v1/blobs", { as, body: new TextEncoder().encode(body) })).json.id;
    const [id, empty] = [await put("0123456789"), await put("")];
    const parts: Record<string, string | null> = {
      "bytes=0-0": "0",
      "bytes=2-4": "234",
      "bytes=9-": "9",
      "bytes=8-99": "89",
      "bytes=-3": "789",
      "bytes=-99": "0123456789",
      "bytes=10-": null,
      "bytes=10-12": null,
      "bytes=-0": null,
    };
    for (const [range, expected] of Object.entries(parts)) {
      const answer = await it.ask(`GET /v1/blobs/${id}`, { as, headers: { range } });
      const said = answer.headers.get("content-range");
      if (expected === null) {
        isProblem(answer, 416, "invalid", "range");
        assert.equal(said, "bytes */10", range);
        continue;
      }
      const start = "0123456789".indexOf(expected);
      const end = start + expected.length - 1;
      assert.deepEqual([answer.status, answer.text, said], [
        206,
        expected,
        `bytes ${start}-${end}/10`,
      ]);
      assert.equal(answer.headers.get("content-length"), String(expected.length));
    }
    for (const range of ["bytes=-", "bytes=5-1", "bytes=0-1,3-4", "lines=1-2", "bytes 0-1"]) {
      const answer = await it.ask(`GET /v1/blobs/${id}`, { as, headers: { range } });
      assert.deepEqual([answer.status, answer.text], [200, "0123456789"], range);
    }
    const none = await it.ask(`GET /v1/blobs/${empty}`, { as, headers: { range: "bytes=0-" } });
    assert.equal(none.status, 416);
    assert.equal((await it.ask(`GET /v1/blobs/${empty}`, { as })).status, 200);
  }));

Deno.test("a blob that the client has is not sent again, nor a part of another one", () =>
  inDir(async (dir) => {
    await using blobs = await openDiskBlobs(dir);
    await using it = await testPlane({ blobs });
    const as = await it.user();
    const body = new TextEncoder().encode("0123456789");
    const { id } = (await it.ask("PUT /v1/blobs", { as, body })).json;
    const status = async (headers: Record<string, string>, method = "GET") =>
      (await it.ask(`${method} /v1/blobs/${id}`, { as, headers })).status;
    for (const known of [`"${id}"`, `W/"${id}"`, `"x", "${id}"`, "*"]) {
      assert.equal(await status({ "if-none-match": known }), 304, known);
    }
    assert.equal(await status({ "if-none-match": '"x"' }), 200);
    const range = "bytes=0-1";
    assert.equal(await status({ range, "if-range": `"${id}"` }), 206);
    assert.equal(await status({ range, "if-range": '"x"' }), 200);
    assert.equal(await status({ range }, "HEAD"), 200);
  }));
