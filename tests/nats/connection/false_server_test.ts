/** A false NATS server: it chooses what it calls a nonce, and sees what it is answered. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createUser } from "@nats-io/nkeys";
import { connect } from "@nats-io/transport-node";
import {
  createClient,
  createIdentity,
  natsAuthenticator,
  openRooms,
  type RoomProblem,
} from "../../../src/client/mod.ts";
import type { StoreError } from "../../../src/core/errors.ts";
import { createControlPlane, serve } from "../../../src/http/mod.ts";
import { connectNats, type NatsOptions } from "../../../src/nats/connection/connect.ts";
import { createNkey } from "../../../src/keys/nkey.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";
import { signatureBase, targetOf } from "../../../src/signature/base.ts";
import { eventually } from "../callout/bus.ts";
import { credsOf, falseServer } from "./false_server.ts";

const encoder = new TextEncoder();

/** A request to the control plane as text to be signed, and the fields it then needs. */
function requestInNameOf(signPub: string, url: string) {
  const params = '("@method" "@authority" "@request-target")' +
    `;created=${Math.floor(Date.now() / 1000)};nonce="of-the-false-server"` +
    `;keyid="${signPub}";alg="ed25519"`;
  const components = ['"@method"', '"@authority"', '"@request-target"'];
  const base = signatureBase(components, params, targetOf("GET", url)!, { get: () => null });
  return { base, input: `sig=${params}` };
}

Deno.test("a false NATS server gets no HTTP signature of an admin out of openRooms()", async () => {
  await using store = openSqlite(":memory:");
  const admin = createIdentity();
  await store.addUser({ ...admin, handle: "ada", role: "admin" });
  await using server = await serve(createControlPlane(store));
  const url = `${server.url}/v1/users`;
  const { base, input } = requestInNameOf(admin.signPub, url);
  await using bus = await falseServer(base);
  await using client = createClient({ url: server.url, identity: admin });
  await assert.rejects(
    openRooms({ client, identity: admin, nats: { servers: bus.url } }),
    (error: StoreError) => {
      assert.equal(error.code, "refused");
      assert.match(error.message, /not a nonce .*found \d+ characters/);
      return true;
    },
  );
  assert.equal(bus.connects.length, 1);
  const { nkey, sig } = bus.connects[0]!;
  assert.equal(nkey, admin.nkey);
  assert.equal(sig, "");
  const headers = { "signature-input": input, "signature": `sig=:${sig}:` };
  assert.equal((await fetch(url, { headers })).status, 401);
  // What it asked for was a request that the control plane obeys.
  const signature = Buffer.from(admin.signRequest(encoder.encode(base))).toString("base64");
  const signed = { "signature-input": input, "signature": `sig=:${signature}:` };
  const answer = await fetch(url, { headers: signed });
  assert.equal(answer.status, 200, await answer.text());
});

const { seed } = createNkey("user");
const WAYS: [string, Partial<NatsOptions>][] = [
  ["an identity", { signer: createIdentity() }],
  ["a seed", { nkeySeed: seed }],
  ["a .creds file", { credentials: credsOf("e30.e30.e30", seed) }],
];
const NONCES = [
  "A".repeat(14),
  "A".repeat(65),
  '"@method": GET\n"@signature-params": ()',
  "signature of unibus message v1\0",
  "unibus endpoint v1\0",
  "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.e30",
  "AAAAAAAAAAAAAAA\n",
  "AAAAAAAAAAAAAA=",
  7,
  { length: 20 },
];

for (const [what, options] of WAYS) {
  Deno.test(`with ${what} nothing but a nonce is signed, and what asks for more is refused`, async () => {
    await using bus = await falseServer("");
    for (const nonce of NONCES) {
      bus.nonce = nonce;
      bus.connects.length = 0;
      await assert.rejects(
        connectNats({ servers: bus.url, ...options, bootstrapTimeout: 30_000 }),
        { code: "refused" },
        String(nonce),
      );
      assert.deepEqual(bus.connects.map((it) => it.sig), [""], String(nonce));
    }
    bus.nonce = "b64url_Nonce-15";
    bus.connects.length = 0;
    const connection = await connectNats({ servers: bus.url, ...options });
    await connection.close();
    assert.equal(Buffer.from(bus.connects[0]!.sig!, "base64").length, 64);
  });
}

Deno.test("a server that one comes back to and that asks for more is reported once, and gets nothing", async () => {
  await using bus = await falseServer("AAAAAAAAAAAAAAA");
  const problems: StoreError[] = [];
  const connection = await connectNats({
    servers: bus.url,
    signer: createIdentity(),
    onProblem: (error) => {
      problems.push(error);
      throw new Error("a careless program");
    },
  });
  bus.nonce = '"@method": GET';
  for (const connects of [2, 3]) {
    bus.drop();
    await eventually(() => bus.connects.length >= connects);
    assert.equal(bus.connects.at(-1)!.sig, "");
  }
  assert.deepEqual(problems.map((it) => it.code), ["refused"]);
  assert.ok(!connection.isClosed());
  bus.nonce = "BBBBBBBBBBBBBBB";
  bus.drop();
  await eventually(() => bus.connects.length >= 4);
  assert.notEqual(bus.connects.at(-1)!.sig, "");
  await connection.close();
});

Deno.test("rooms report a false server that they come back to", async () => {
  const identity = createIdentity();
  await using bus = await falseServer("AAAAAAAAAAAAAAA");
  await using client = createClient({ url: "http://127.0.0.1:1", identity });
  const problems: RoomProblem[] = [];
  const onProblem = (problem: RoomProblem) => problems.push(problem);
  const nats = { servers: bus.url };
  await using _rooms = await openRooms({ client, identity, nats, session: false, onProblem });
  bus.nonce = '"@method": GET';
  bus.drop();
  await eventually(() => problems.length === 1);
  assert.equal(problems[0]!.roomId, "");
  assert.match(problems[0]!.error.message, /not a nonce/);
});

Deno.test("natsAuthenticator() is what the NATS library takes, shows a token, and never throws", async () => {
  const identity = createIdentity();
  await using bus = await falseServer("AAAAAAAAAAAAAAA");
  const problems: StoreError[] = [];
  const onProblem = (error: StoreError) => problems.push(error);
  const authenticator = natsAuthenticator(identity, { jwt: "a.b.c", onProblem });
  const connection = await connect({ servers: bus.url, authenticator });
  await connection.close();
  const { nkey, sig, jwt } = bus.connects[0]!;
  assert.deepEqual([nkey, jwt], [identity.nkey, "a.b.c"]);
  assert.deepEqual(
    new Uint8Array(Buffer.from(sig!, "base64")),
    identity.signNonce("AAAAAAAAAAAAAAA"),
  );
  assert.deepEqual(authenticator(), { nkey, sig: "", jwt: "a.b.c" });
  assert.equal(problems.length, 0);
  const broken = natsAuthenticator({
    nkey: identity.nkey,
    signNonce: () => {
      throw new Error("the key is gone");
    },
  }, { onProblem });
  assert.equal(broken("AAAAAAAAAAAAAAA").sig, "");
  assert.equal((problems[0]!.cause as Error).message, "the key is gone");
  const loud = natsAuthenticator(identity, {
    onProblem: () => {
      throw new Error("loud");
    },
  });
  assert.equal(loud("not a nonce").sig, "");
});

Deno.test("a .creds file is read as the NATS tools write it, and its parts are never shown", async () => {
  const pair = createUser();
  const text = credsOf("e30.e30.e30", new TextDecoder().decode(pair.getSeed()));
  await using bus = await falseServer("AAAAAAAAAAAAAAA");
  for (const credentials of [text, text.replaceAll("\n", "\r\n"), `\n${text}`]) {
    const connection = await connectNats({ servers: bus.url, credentials });
    await connection.close();
    const { nkey, jwt, sig } = bus.connects.at(-1)!;
    assert.deepEqual([nkey, jwt], [pair.getPublicKey(), "e30.e30.e30"]);
    const signature = new Uint8Array(Buffer.from(sig!, "base64"));
    assert.ok(pair.verify(encoder.encode("AAAAAAAAAAAAAAA"), signature));
  }
  for (const damaged of ["", text.slice(0, 90), text.replace("\nSU", "\nSX")]) {
    await assert.rejects(
      connectNats({ servers: bus.url, credentials: damaged }),
      (error: StoreError) => {
        assert.equal(error.code, "invalid");
        assert.equal(error.field, "credentials");
        assert.doesNotMatch(error.message, /SX|SU[A-Z]/);
        return true;
      },
    );
  }
});
