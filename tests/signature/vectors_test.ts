import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash, createPrivateKey, sign, verify } from "node:crypto";
import { signatureBase, targetOf } from "../../src/signature/base.ts";
import { parseInput, parseSignature } from "../../src/signature/fields.ts";
import { publicKey } from "../../src/keys/ed25519.ts";
import { digestField, digestOf, parseDigest } from "../../src/signature/mod.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

/** RFC 9421, B.1.4: `test-key-ed25519`. */
const PRIVATE_KEY = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF
-----END PRIVATE KEY-----
`;
const PUBLIC_KEY = "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=";

/** RFC 9421, B.2: `test-request`. */
const REQUEST = new Request("http://example.com/foo?param=Value&Pet=dog", {
  method: "POST",
  headers: {
    "Host": "example.com",
    "Date": "Tue, 20 Apr 2021 02:07:55 GMT",
    "Content-Type": "application/json",
    "Content-Digest":
      "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:",
    "Content-Length": "18",
  },
});

/** RFC 9421, B.2.6. */
const INPUT =
  'sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"';
const SIGNATURE =
  "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:";
const BASE = `"date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@authority": example.com
"content-type": application/json
"content-length": 18
"@signature-params": ${INPUT.slice("sig-b26=".length)}`;

Deno.test("RFC 9421 B.2.6: the signature base, and the signature over it, are the RFC's", () => {
  const [input] = parseInput(INPUT, 1)!;
  assert.equal(input!.label, "sig-b26");
  assert.deepEqual([...input!.params], [["created", 1618884473], ["keyid", "test-key-ed25519"]]);
  const target = targetOf(REQUEST.method, REQUEST.url, REQUEST.headers.get("host"))!;
  const base = signatureBase(input!.components, input!.text, target, REQUEST.headers);
  assert.equal(base, BASE);

  const signature = parseSignature(SIGNATURE, "sig-b26")!;
  const key = publicKey(Buffer.from(PUBLIC_KEY, "base64").toString("hex"));
  assert.ok(verify(null, bytes(base), key, signature));
  assert.ok(!verify(null, bytes(base.replace("POST", "GET")), key, signature));
  // Ed25519 is deterministic.
  assert.deepEqual(
    new Uint8Array(sign(null, bytes(base), createPrivateKey(PRIVATE_KEY))),
    new Uint8Array(signature),
  );
});

Deno.test("RFC 9421 2.2: derived components have the RFC's example values", () => {
  const value = (component: string, url: string, host?: string) => {
    const base = signatureBase([component], "", targetOf("POST", url, host)!, new Headers());
    return base.split("\n")[0]!.slice(component.length + 2);
  };
  const url = "https://www.example.com/path?param=value";
  assert.equal(value('"@method"', url), "POST");
  assert.equal(value('"@target-uri"', url), url);
  assert.equal(value('"@authority"', url), "www.example.com");
  assert.equal(value('"@scheme"', url), "https");
  assert.equal(value('"@scheme"', "http://www.example.com/"), "http");
  assert.equal(value('"@request-target"', url), "/path?param=value");
  assert.equal(value('"@path"', url), "/path");
  assert.equal(
    value('"@query"', "http://x/path?param=value&foo=bar&baz=bat%2Dman").slice(0, 12),
    "?param=value",
  );
  assert.equal(value('"@query"', "http://x/path?queryString"), "?queryString");
  assert.equal(value('"@query"', "http://x/path"), "?");
  assert.equal(value('"@query"', "http://x/path?"), "?");
  assert.equal(value('"@path"', "http://x"), "/");
  assert.equal(value('"@path"', "http://x?a=/b"), "/");
  // Host names in lower case, the scheme's own port left out, any other kept.
  assert.equal(value('"@authority"', "http://x/", "WWW.Example.COM:80"), "www.example.com");
  assert.equal(value('"@authority"', "https://x/", "example.com:443"), "example.com");
  assert.equal(value('"@authority"', "https://x/", "example.com:80"), "example.com:80");
  assert.equal(value('"@authority"', "http://[::1]:8470/"), "[::1]:8470");
});

Deno.test("RFC 9530: its example digests are made and read", () => {
  // B.1 and D: the same JSON, with and without line feeds.
  const hello = '{"hello": "world"}';
  const lf = `${hello}\n`;
  const field = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";
  assert.equal(digestOf(bytes(lf)), field);
  const sha256 = createHash("sha256").update(lf).digest();
  assert.equal(digestField(sha256), field);
  assert.deepEqual(parseDigest(field), new Uint8Array(sha256));
  assert.equal(
    digestOf(bytes(hello)),
    "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
  );
});

Deno.test("parseDigest() finds sha-256 among others, and nothing in what is not a digest", () => {
  const field = digestOf(bytes("x"));
  const digest = parseDigest(field);
  assert.equal(digest?.length, 32);
  assert.deepEqual(parseDigest(`sha-512=:${"A".repeat(86)}==:, ${field}`), digest);
  assert.deepEqual(parseDigest(`${field}, unixsum=:AAAA:`), digest);
  for (
    const wrong of [
      "",
      "sha-256",
      "sha-256=?1",
      "sha-256=:AAAA:",
      "sha-256=(:AAAA:)",
      'sha-256="x"',
      `${field},`,
      `${field}x`,
      field.replace("sha-256", "sha-512"),
      field.slice(0, -1),
      field.replace("=:", "=:é"),
      "x".repeat(100_000),
    ]
  ) assert.equal(parseDigest(wrong), null, wrong.slice(0, 60));
});
