/** Encoding of bytes as text. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { fromBase64url, randomBytes, toBase64url } from "../../src/keys/bytes.ts";

Deno.test("base64url is that of the runtime, for bytes of any length", () => {
  for (let length = 0; length <= 300; length++) {
    const bytes = randomBytes(length);
    const text = Buffer.from(bytes).toString("base64url");
    assert.equal(toBase64url(bytes), text);
    assert.deepEqual(fromBase64url(text, length), bytes);
  }
});

Deno.test("base64url is decoded from its one canonical form and no other text", () => {
  assert.deepEqual(fromBase64url("-_8", 2), Uint8Array.of(0xfb, 0xff));
  const others = [
    "-_9",
    "-_-",
    "+/8",
    "-_8=",
    "-_",
    "-_8A",
    " -_8",
    "-_\n",
    "-_\u00e9",
    "-_\u2028",
  ];
  for (const text of [...others, "", undefined, null, 8, ["-_8"]]) {
    assert.equal(fromBase64url(text, 2), null, JSON.stringify(text));
  }
  assert.equal(fromBase64url("-A", 2), null);
  assert.equal(fromBase64url("-B", 1), null);
  assert.equal(fromBase64url(undefined, NaN), null);
});
