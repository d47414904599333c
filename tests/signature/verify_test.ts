import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import process from "node:process";
import { createSignature } from "http-message-sig";
import { httpbis } from "http-message-signatures";
import { isStoreError } from "../../src/core/errors.ts";
import {
  digestField,
  digestOf,
  type Proof,
  signRequest,
  type VerifyOptions,
  verifyRequest,
} from "../../src/signature/mod.ts";

const NOW = new Date("2026-11-20T08:00:00.400Z");
const SECONDS = Math.floor(NOW.getTime() / 1000);
const OPTIONS: VerifyOptions = { now: () => NOW, windowMs: 60_000 };
const BODY = new TextEncoder().encode('{"handle":"ada"}');
const NONCE = "a-nonce-of-its-own";

interface TestSigner {
  signPub: string;
  key: KeyObject;
  sign(data: Uint8Array): Uint8Array;
  signRequest(base: Uint8Array): Uint8Array;
}

function newSigner(): TestSigner {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  return {
    key: privateKey,
    signPub: publicKey.export({ format: "der", type: "spki" }).subarray(-32).toString("hex"),
    sign: (data) => sign(null, data, privateKey),
    signRequest: (base) => sign(null, base, privateKey),
  };
}

const ada = newSigner();

/** A request as a server gets it. */
interface Sent {
  method: string;
  url: string;
  headers: Record<string, string>;
}

const GET: Sent = {
  method: "GET",
  url: "http://bus.example:8470/v1/rooms/a%2Fb?limit=2&after=x",
  headers: { "host": "bus.example:8470" },
};
const POST: Sent = {
  method: "POST",
  url: "http://bus.example:8470/v1/register",
  headers: {
    "host": "bus.example:8470",
    "content-type": "application/json",
    "content-length": String(BODY.length),
    "content-digest": digestOf(BODY),
  },
};

async function signed(request: Sent, created = NOW): Promise<Sent> {
  const headers = await signRequest(
    { ...request, digest: request.headers["content-digest"] },
    ada,
    { created, nonce: NONCE },
  );
  return { ...request, headers: { ...request.headers, ...headers } };
}

function check(request: Sent, options: Partial<VerifyOptions> = {}): Proof {
  return verifyRequest({ ...request, headers: new Headers(request.headers) }, {
    ...OPTIONS,
    ...options,
  });
}

function refused(request: Sent, field: string, message: RegExp, options = {}): void {
  assert.throws(() => check(request, options), (error) => {
    assert.ok(isStoreError(error, "unauthenticated"), String(error));
    assert.match(error.message, message);
    assert.equal(error.field, field);
    assert.match(error.message, /^[A-Z].*[^.]$/s);
    const given = request.headers["signature"]?.split(":")[1];
    if (given) assert.ok(!error.message.includes(given), "shows the signature");
    return true;
  });
}

/** Signs anything: values of the components, and the text of Signature-Input, as the test says. */
function forge(request: Sent, values: [string, string][], params: string, signer = ada): Sent {
  const input = `(${values.map(([name]) => name).join(" ")})${params}`;
  const base = [...values, ['"@signature-params"', input]].map(([k, v]) => `${k}: ${v}`).join("\n");
  const signature = Buffer.from(signer.sign(Buffer.from(base))).toString("base64");
  const headers = { "signature-input": `sig=${input}`, "signature": `sig=:${signature}:` };
  return { ...request, headers: { ...request.headers, ...headers } };
}

const COVERED: [string, string][] = [
  ['"@method"', "GET"],
  ['"@authority"', "bus.example:8470"],
  ['"@request-target"', "/v1/rooms/a%2Fb?limit=2&after=x"],
];
const params = (it: Record<string, string> = {}) =>
  Object.entries({
    created: String(SECONDS),
    nonce: `"${NONCE}"`,
    keyid: `"${ada.signPub}"`,
    alg: '"ed25519"',
    ...it,
  }).filter(([, value]) => value !== "").map(([key, value]) => `;${key}=${value}`).join("");

Deno.test("a signed request proves who sent it, when, to whom, and the digest of its body", async () => {
  assert.deepEqual(check(await signed(GET)), {
    signPub: ada.signPub,
    created: new Date(SECONDS * 1000),
    nonce: NONCE,
    authority: "bus.example:8470",
    digest: null,
  });
  assert.equal(digestField(check(await signed(POST)).digest!), digestOf(BODY));
});

Deno.test("signRequest() makes a nonce of its own each time, and leaves fragments out", async () => {
  const signer = {
    signPub: ada.signPub,
    signRequest: (base: Uint8Array) => Promise.resolve(ada.sign(base)),
  };
  const request = { method: "GET", url: new URL(`${GET.url}#there`) };
  const nonces = new Set<string>();
  for (let i = 0; i < 100; i++) {
    const headers = await signRequest(request, signer);
    const proof = check({ ...GET, headers: { ...GET.headers, ...headers } }, {
      now: () => new Date(),
    });
    assert.match(proof.nonce, /^[\w-]{22,}$/);
    nonces.add(proof.nonce);
  }
  assert.equal(nonces.size, 100);
  await assert.rejects(signRequest({ method: "GET", url: "ftp://x/" }, signer), TypeError);
});

const OTHER_LIBRARIES: [string, (request: Sent, components: string[]) => Promise<Sent>][] = [
  ["http-message-sig", async (request, components) => {
    const { signature, signatureInput } = await createSignature({
      kind: "request",
      method: request.method,
      targetUri: request.url,
      requestTarget: request.url.slice(request.url.indexOf("/v1")),
      fields: Object.entries(request.headers).map(([name, value]) => ({ name, value })),
    }, {
      components,
      parameters: { nonce: NONCE, created: SECONDS, alg: "ed25519", keyid: ada.signPub },
      signer: { algorithm: "ed25519", sign: (data) => Promise.resolve(ada.sign(data)) },
    });
    const headers = { "signature": signature, "signature-input": signatureInput };
    return { ...request, headers: { ...request.headers, ...headers } };
  }],
  ["http-message-signatures", async (request, fields) => {
    const { headers } = await httpbis.signMessage({
      key: {
        id: ada.signPub,
        alg: "ed25519",
        sign: (it) => Promise.resolve(Buffer.from(ada.sign(it))),
      },
      fields,
      params: ["keyid", "created", "expires", "nonce"],
      paramValues: { created: NOW, nonce: NONCE },
    }, request);
    return { ...request, headers: headers as Record<string, string> };
  }],
];

for (const [library, signWith] of OTHER_LIBRARIES) {
  Deno.test(`requests signed by ${library} are accepted`, async () => {
    for (
      const target of [["@request-target"], ["@target-uri"], ["@query", "@path"], [
        "@path",
        "@scheme",
        "@target-uri",
      ]]
    ) {
      for (const request of [GET, POST]) {
        const fields = request === POST ? ["content-digest", "content-type"] : [];
        const sent = await signWith(request, ["@method", ...target, "@authority", ...fields]);
        const proof = check(sent);
        assert.equal(proof.signPub, ada.signPub);
        assert.equal(proof.nonce, NONCE);
        refused({ ...sent, method: "DELETE" }, "signature", /is not valid for/);
      }
    }
  });
}

Deno.test("what signRequest() signs, http-message-signatures verifies", async () => {
  const message = await signed({ ...POST, url: POST.url + "?a=b" });
  const verified = await httpbis.verifyMessage({
    notAfter: NOW,
    keyLookup: ({ keyid }) =>
      Promise.resolve({
        id: keyid!,
        verify: (data, signature) =>
          Promise.resolve(Buffer.from(ada.sign(data)).equals(Buffer.from(signature))),
      }),
  }, message);
  assert.equal(verified, true);
});

Deno.test("a change of any covered part is refused", async () => {
  const get = await signed(GET);
  const post = await signed(POST);
  const with_ = (it: Sent, headers: Record<string, string>) => ({
    ...it,
    headers: { ...it.headers, ...headers },
  });
  const changed: [Sent, string?][] = [
    [{ ...get, method: "DELETE" }],
    [{ ...get, method: "get" }],
    [{ ...get, url: get.url.replace("a%2Fb", "a/b") }],
    [{ ...get, url: get.url.replace("a%2Fb", "a%2fb") }],
    [{ ...get, url: get.url.replace("limit=2", "limit=3") }],
    [{ ...get, url: get.url + "&" }],
    [{ ...get, url: get.url.split("?")[0]! }],
    [with_(get, { host: "other.example:8470" })],
    [with_(get, { host: "bus.example" })],
    [with_(post, { "content-digest": digestOf(BODY.slice(1)) })],
    [with_(post, { "content-digest": `${digestOf(BODY)}, ${digestOf(BODY)}` })],
    ...["created", "nonce", "keyid", "alg"].map((key): [Sent, string] => [
      with_(get, {
        "signature-input": get.headers["signature-input"]!.replace(
          new RegExp(`;${key}="?\\w`),
          (it) => it.slice(0, -1) + (it.endsWith("1") ? "2" : "1"),
        ),
      }),
      key,
    ]),
    [with_(get, { "signature-input": get.headers["signature-input"] + ";tag=1" })],
    [with_(get, {
      "signature-input": get.headers["signature-input"]!.replace(
        /\((\S+) (\S+)/,
        "($2 $1",
      ),
    })],
  ];
  for (const [request, key] of changed) {
    assert.throws(() => check(request), (error) => {
      assert.ok(isStoreError(error, "unauthenticated"), String(error));
      // A changed created, alg or keyid may be refused for what it says before it is for not fitting.
      if (key === undefined) assert.match(error.message, /is not valid for/);
      return true;
    });
  }
  const bytes = Buffer.from(get.headers["signature"]!.split(":")[1]!, "base64");
  for (const at of [0, 31, 32, 63]) {
    const other = Buffer.from(bytes);
    other[at]! ^= 1;
    refused(
      with_(get, { signature: `sig=:${other.toString("base64")}:` }),
      "signature",
      /is not valid/,
    );
  }
  // The same request signed by somebody else, under the first one's key.
  const eve = forge(GET, COVERED, params(), newSigner());
  refused(eve, "signature", /is not valid for/);
});

Deno.test("an unsigned or half-signed request is told what it lacks", async () => {
  refused(GET, "signature-input", /not signed: it has no Signature-Input$/);
  const it = await signed(GET);
  const without = (name: string) => ({
    ...it,
    headers: Object.fromEntries(Object.entries(it.headers).filter(([key]) => key !== name)),
  });
  refused(without("signature"), "signature", /no Signature$/);
  refused(without("signature-input"), "signature-input", /no Signature-Input$/);
  refused(forge(GET, [], params()), "signature-input", /must cover "@method"/);
});

Deno.test("too little coverage is refused, however well it is signed", () => {
  assert.equal(check(forge(GET, COVERED, params())).signPub, ada.signPub);
  const [method, authority, target] = COVERED as [
    [string, string],
    [string, string],
    [string, string],
  ];
  refused(forge(GET, [authority, target], params()), "signature-input", /must cover "@method"/);
  refused(forge(GET, [method, target], params()), "signature-input", /must cover "@authority"/);
  const some = /must cover "@request-target"/;
  refused(forge(GET, [method, authority], params()), "signature-input", some);
  const path: [string, string] = ['"@path"', "/v1/rooms/a%2Fb"];
  const query: [string, string] = ['"@query"', "?limit=2&after=x"];
  refused(forge(GET, [method, authority, path], params()), "signature-input", some);
  refused(forge(GET, [method, authority, query], params()), "signature-input", some);
  check(forge(GET, [query, path, method, authority], params()));

  const covered: [string, string][] = [
    ['"@method"', "POST"],
    authority,
    ['"@request-target"', "/v1/register"],
  ];
  const digest = /must cover content-digest/;
  refused(forge(POST, covered, params()), "content-digest", digest);
  const { "content-length": length, "content-digest": field, ...rest } = POST.headers;
  const bare = { ...POST, headers: rest };
  const body = {
    "content-length": length!,
    "content-digest": field!,
    "transfer-encoding": "chunked",
  };
  for (const [name, value] of Object.entries(body)) {
    const sent = { ...bare, headers: { ...rest, [name]: value } };
    refused(forge(sent, covered, params()), "content-digest", digest);
  }
  assert.equal(check(forge(bare, covered, params())).digest, null);
  check(forge({ ...bare, headers: { ...rest, "content-length": "0" } }, covered, params()));
});

Deno.test("a covered content-digest without a sha-256 is refused", () => {
  const field = `sha-512=:${"A".repeat(86)}==:`;
  const sent = { ...GET, headers: { ...GET.headers, "content-digest": field } };
  refused(
    forge(sent, [...COVERED, ['"content-digest"', field]], params()),
    "content-digest",
    /must have a sha-256/,
  );
});

Deno.test("created must lie in the window, to the second, on both sides", async () => {
  const at = (seconds: number) => signed(GET, new Date((SECONDS + seconds) * 1000));
  check(await at(-59));
  check(await at(60));
  refused(await at(-60), "created", /created 60 s before the server's time, at most 60 s/);
  refused(await at(-3600), "created", /created 3600 s before/);
  refused(await at(61), "created", /created 61 s after/);
  const wrong = (created: string) =>
    refused(forge(GET, COVERED, params({ created })), "created", /in whole seconds$/);
  for (const created of ["", `"${SECONDS}"`, `${SECONDS}.5`, "now", ":AAAA:", "?0"]) wrong(created);
  refused(forge(GET, COVERED, params({ created: "-999999999999999" })), "created", /before/);
  refused(forge(GET, COVERED, params({ created: "999999999999999" })), "created", /after/);
});

Deno.test("expires is honoured where it is given", () => {
  const expires = (value: string) => forge(GET, COVERED, params({ expires: value }));
  check(expires(String(SECONDS + 1)));
  refused(expires(String(SECONDS)), "expires", /has expired/);
  refused(expires('"x"'), "expires", /in whole seconds/);
});

Deno.test("the nonce is a string of 8 to 128 characters", () => {
  const nonce = (value: string) => forge(GET, COVERED, params({ nonce: value }));
  assert.equal(check(nonce('"12345678"')).nonce, "12345678");
  assert.equal(check(nonce(`"${"n".repeat(128)}"`)).nonce.length, 128);
  assert.equal(check(nonce('"a \\"quoted\\" \\\\ ; one"')).nonce, 'a "quoted" \\ ; one');
  for (const it of ["", '"1234567"', `"${"n".repeat(129)}"`, "12345678", "token-as-nonce"]) {
    refused(nonce(it), "nonce", /8 to 128 characters/);
  }
});

Deno.test("the keyid is a public key: 64 hex digits in any case, no small-order point", () => {
  const keyid = (value: string) => forge(GET, COVERED, params({ keyid: value }));
  assert.equal(check(keyid(`"${ada.signPub.toUpperCase()}"`)).signPub, ada.signPub);
  const none = /No signature has alg ed25519 and a public key of 64 hex digits/;
  for (const it of ["", '"ada"', `"${ada.signPub}0"`, `"${ada.signPub.slice(1)}"`, "1", '"\\""']) {
    refused(keyid(it), "signature-input", none);
  }
  for (const point of ["00".repeat(32), "01" + "00".repeat(31), "ec" + "ff".repeat(30) + "7f"]) {
    refused(keyid(`"${point}"`), "keyid", /small-order/);
    // With such a key this signature fits any text.
    const zero = forge(GET, COVERED, params({ keyid: `"${point}"` }));
    zero.headers["signature"] = `sig=:${Buffer.alloc(64).toString("base64")}:`;
    refused(zero, "keyid", /small-order/);
  }
  // Not on the curve: one runtime refuses the key, another every signature of it.
  assert.throws(
    () => check(keyid(`"${"02" + "00".repeat(31)}"`)),
    (error) => isStoreError(error, "unauthenticated"),
  );
});

Deno.test("only ed25519 is accepted; saying so may be left out", () => {
  check(forge(GET, COVERED, params({ alg: "" })));
  for (const alg of ['"hmac-sha256"', '"rsa-pss-sha512"', '"ED25519"', "ed25519", "1", '""']) {
    refused(forge(GET, COVERED, params({ alg })), "signature-input", /alg ed25519/);
  }
});

Deno.test("the first signature that could be a user's counts, whatever stands beside it", () => {
  const own = forge(GET, COVERED, params()).headers as Record<string, string>;
  const beside = (input: string, signature: string, behind = false) => {
    const join = (a: string, b: string) => behind ? `${b}, ${a}` : `${a} ,\t${b}`;
    return {
      ...GET,
      headers: {
        ...GET.headers,
        "signature-input": join(input, own["signature-input"]!),
        "signature": join(signature, own["signature"]!),
      },
    };
  };
  const proxy = 'proxy=("@method";req "via";key="a b";sf);created=1;keyid="p";alg="hmac-sha256"';
  check(beside(proxy, "proxy=:AAAA:"));
  check(beside(proxy, "proxy=:AAAA:", true));
  // One that could be a user's and is not is refused, not passed over.
  const other = forge(GET, COVERED, params(), newSigner()).headers as Record<string, string>;
  const input = other["signature-input"]!.replace("sig=", "a=");
  const signature = other["signature"]!.replace("sig=", "a=");
  refused(beside(input, signature), "signature", /is not valid for/);
  check(beside(input, signature, true));
  refused(beside(proxy, "proxy"), "signature", /64 bytes with the label/);
  const many = [1, 2, 3, 4].map((i) => `p${i}=()`).join(", ");
  refused(beside(many, "proxy=:AAAA:"), "signature-input", /1 to 4 lists/);
});

Deno.test("components that stand twice, have parameters, or are unknown are refused", () => {
  const more = (...values: [string, string][]) => forge(GET, [...COVERED, ...values], params());
  refused(more(['"@method"', "GET"]), "signature-input", /"@method" is covered twice$/);
  for (
    const component of [
      '"@method";req',
      '"host";bs',
      '"host";sf',
      '"host";key="x"',
      '"host";tr',
      '"@query-param";name="limit"',
      '"@query-param"',
      '"@status"',
      '"@signature-params"',
      '"@nonsense"',
      '"Host"',
      '"not there"',
      '"not-there"',
      '""',
      '"a\\"b"',
    ]
  ) {
    refused(more([component, "bus.example:8470"]), "signature-input", /is missing or unknown/);
  }
  const host = forge(GET, [...COVERED, ['"host"', "bus.example:8470"]], params());
  assert.equal(check(host).authority, "bus.example:8470");
  const long = more([`"${"x".repeat(3000)}"`, ""]);
  assert.throws(() => check(long), (error) => (error as Error).message.length < 200);
  const fields = [...Array(14).keys()].map((i): [string, string] => [`"x-${i}"`, String(i)]);
  const headers = Object.fromEntries(fields.map(([k, v]) => [k.slice(1, -1), v]));
  const sent = { ...GET, headers: { ...GET.headers, ...headers } };
  check(forge(sent, [...COVERED, ...fields.slice(1)], params()));
  refused(forge(sent, [...COVERED, ...fields], params()), "signature-input", /At most 16/);
});

Deno.test("only the strict form is read: no parameter or label twice, nothing behind the end", () => {
  const own = forge(GET, COVERED, params()).headers as Record<string, string>;
  const input = own["signature-input"]!;
  const given = (headers: Record<string, string>) => ({ ...GET, headers: { ...own, ...headers } });
  for (
    const text of [
      "",
      " ",
      "sig",
      "sig=",
      "sig=()",
      `${input},`,
      `${input}, `,
      `${input};`,
      `${input} junk`,
      `${input})`,
      `,${input}`,
      `${input}, ${input}`,
      `${input}, other`,
      `${input}, other=1`,
      `${input}, other="x"`,
      `${input}, Sig=()`,
      `${input};created=${SECONDS}`,
      input.replace('("', '( "'),
      input.replace(" ", "  "),
      input.replace(";", " ;"),
      input.replace(";", "; "),
      input.replace("sig=", "sig ="),
      input.replace(/"/, "'"),
      input.replace("(", ""),
      input.replace(")", ""),
      input.replace(NONCE, 'a"b'),
      input.replace(NONCE, "a\\nb"),
      input.replace(/keyid="/, "keyid="),
      `${input};x=?1`,
      `${input};x=01.2345`,
      `${input};x=01`,
      `${input};x=-0`,
      `${input};x=:AB==:`,
      `${input};x=1234567890123456`,
      `${input};x=@1`,
      `${input};x=%"a"`,
      `${input};x=:A:A`,
    ]
  ) {
    const list = /strict form|not signed|No signature has alg/;
    refused(given({ "signature-input": text }), "signature-input", list);
  }
  const signature = own["signature"]!;
  for (
    const text of [
      "",
      "sig",
      "sig=",
      "sig=::",
      "sig=:AAAA:",
      `sig=:${"A".repeat(88)}:`,
      signature.replace(/.==:$/, "B==:"),
      signature + ",",
      signature + ";x",
      signature + "x",
      signature + ", x=1",
      `${signature}, ${signature}`,
      signature.replace("sig=", "other="),
      signature.slice(0, -1),
      signature.replace("=:", "=:!"),
      signature.replace("=:", "=:é"),
    ]
  ) refused(given({ "signature": text }), "signature", /64 bytes with the label|no Signature/);
});

Deno.test("fields that are too long are refused unread", () => {
  const own = forge(GET, COVERED, params()).headers as Record<string, string>;
  const long = "x".repeat(1_000_000);
  for (const name of ["signature-input", "signature"]) {
    const sent = { ...GET, headers: { ...own, [name]: `${own[name]}, ${long}` } };
    refused(sent, name, /must be at most 4096 bytes, found 1000\d{3}$/);
  }
});

Deno.test("hostile fields are judged in linear time", () => {
  const started = process.cpuUsage();
  for (
    const text of [
      'sig=("' + "\\\\".repeat(2000),
      "sig=(" + '"a" '.repeat(1000),
      'sig=("a"' + ";a".repeat(2000),
      "sig=()" + ";a=1".repeat(1000) + "!",
      "sig=();a=" + "1".repeat(4000) + "!",
      "sig=();a=:" + "A".repeat(4000) + "=!",
      "sig=();a=" + "a".repeat(4000) + "!",
      "a".repeat(4096),
      "a=(),".repeat(800),
    ]
  ) {
    for (let i = 0; i < 20; i++) {
      refused({ ...GET, headers: { "signature-input": text } }, "signature-input", /./);
    }
  }
  // 180 refusals; a quadratic reader needs many seconds of a processor for them.
  const { user, system } = process.cpuUsage(started);
  assert.ok(user + system < 3e6, `${user + system} µs`);
});

Deno.test("a server that knows its names refuses what was signed for another", async () => {
  const sent = await signed(GET);
  check(sent, { authorities: new Set(["bus.example:8470", "10.0.0.1:8470"]) });
  refused(sent, "authority", /This server is not "bus.example:8470"$/, {
    authorities: new Set(["bus.example"]),
  });
});

Deno.test("a URL that is not http, or has a fragment, is refused", async () => {
  const sent = await signed(GET);
  for (const url of [sent.url + "#x", "/v1/me", "", "ftp://bus.example:8470/v1/me", "http:/x"]) {
    refused({ ...sent, url }, "signature", /http URL without fragment/);
  }
  const odd = { get: (name: string) => name === "host" ? "a\nb" : sent.headers[name] ?? null };
  assert.throws(
    () => verifyRequest({ ...sent, headers: odd }, OPTIONS),
    (error) => isStoreError(error, "unauthenticated"),
  );
});
