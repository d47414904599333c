/**
 * Who gets in with the key of a session, as a client of a few lines over a bare socket sees it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { randomBytes, sign } from "node:crypto";
import type { Store } from "../../../mod.ts";
import { type Identity, identityFromSeed, openSession } from "../../../src/client/mod.ts";
import { concat, fromHex, sized, uint, utf8 } from "../../../src/keys/bytes.ts";
import { formatSession, type NewSession, SESSION_MS } from "../../../src/keys/codec/session.ts";
import { keyPair } from "../../../src/keys/ed25519.ts";
import { FIRST_BYTES } from "../../../src/keys/forms.ts";
import { createNkey, type NkeyPair, signPubOf } from "../../../src/keys/nkey.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { type AuthCalloutOptions, natsAuthenticator } from "../../../src/nats/mod.ts";
import { type Bus, type BusOptions, eventually, openRoom, testBus } from "./bus.ts";
import { RawClient } from "./raw_nats.ts";

const AUDIENCE = "bus.example:8470";

/** Somebody with an identity that also signs what no identity would. */
interface Person {
  identity: Identity;
  signPub: string;
  kexPub: string;
  signRaw(data: Uint8Array): Uint8Array;
}

function newPerson(): Person {
  const seed = new Uint8Array(randomBytes(32));
  const identity = identityFromSeed(seed);
  const { key } = keyPair("ed25519", seed);
  const { signPub, kexPub } = identity;
  return { identity, signPub, kexPub, signRaw: (data) => new Uint8Array(sign(null, data, key)) };
}

async function enrolled(store: Store): Promise<Person> {
  const person = newPerson();
  await store.addUser({ signPub: person.signPub, kexPub: person.kexPub, handle: "somebody" });
  return person;
}

/** The fields of a certificate, whatever they are. */
interface Fields extends Partial<NewSession> {
  signPub?: string;
}

/** A certificate for a key; a test may change a field, or who signs. */
function certificate(
  person: Person,
  { publicKey }: NkeyPair,
  change: Fields = {},
  signRaw = person.signRaw,
): string {
  const now = Date.now();
  const fields = {
    signPub: person.signPub,
    sessionPub: signPubOf(publicKey)!,
    issued: now,
    expires: now + SESSION_MS,
    audience: AUDIENCE,
    ...change,
  };
  const data = concat(
    utf8(FIRST_BYTES.session),
    fromHex(fields.signPub),
    fromHex(fields.sessionPub),
    uint(fields.issued, 8),
    uint(fields.expires, 8),
    sized(fields.audience),
  );
  return formatSession(data, signRaw(data));
}

const base64url = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64url");

/** Connects with a key and a token; `null` when it was not let in. */
async function present(
  { server }: Bus,
  key: Pick<NkeyPair, "publicKey" | "signNonce">,
  token: unknown,
): Promise<RawClient | null> {
  const client = await RawClient.open(server.port);
  const sig = base64url(key.signNonce(client.info!.nonce!));
  if (await client.login({ nkey: key.publicKey, sig, auth_token: token })) return client;
  await client[Symbol.asyncDispose]();
  return null;
}

async function sessionBus(
  callout: Partial<AuthCalloutOptions> = {},
  options: BusOptions = {},
): Promise<Bus> {
  const isAudience = (it: string) => it === AUDIENCE;
  return await testBus({ ...options, callout: { isAudience, ...callout } });
}

const refusals = (bus: Bus) => bus.events.flatMap((it) => it.kind === "refused" ? [it] : []);

Deno.test("a session's key has the rights of its identity and an inbox of its own, until they change", async () => {
  await using bus = await sessionBus();
  const { store } = bus;
  const [ada, bob] = [await enrolled(store), await enrolled(store)];
  const peer = ({ signPub, kexPub }: Person) => ({ signPub, kexPub }) as never;
  await openRoom(store, "one", peer(ada), [peer(bob)]);
  await openRoom(store, "two", peer(ada));
  const key = createNkey("user");
  const enter = async () => {
    const client = await present(bus, key, certificate(bob, key));
    assert.ok(client !== null, JSON.stringify(refusals(bus)));
    return client;
  };
  await using client = await enter();
  assert.ok(await client.mayPublish("room.one"));
  assert.ok(await client.maySubscribe("room.one.>"));
  assert.ok(!await client.mayPublish("room.two"));
  assert.ok(await client.maySubscribe(`_INBOX.${key.publicKey}.>`));
  assert.ok(!await client.maySubscribe(`_INBOX.${bob.identity.nkey}.>`));
  const event = bus.events.findLast((it) => it.kind === "admitted");
  assert.equal(event?.kind === "admitted" && event.endpoint, bob.signPub);

  // By its tag, the connection is found as one of bob's.
  const { signPub: endpoint, kexPub } = bob;
  await store.addMember("two", { endpoint, kexPub });
  await client.until(() => client.ended);
  await using again = await enter();
  assert.ok(await again.mayPublish("room.two"));
  await store.revokeUser(endpoint);
  await again.until(() => again.ended);
  const kicks = () =>
    bus.events.flatMap((it) => it.kind === "kicked" ? [[it.endpoint, it.reason]] : []);
  // The server ends a connection before it answers who asked for that.
  await eventually(() => kicks().length === 2);
  assert.deepEqual(kicks(), [[endpoint, "rooms_changed"], [endpoint, "not_authorized"]]);
  assert.equal(await present(bus, key, certificate(bob, key)), null);
  assert.equal(refusals(bus).at(-1)!.reason, "not_authorized");
});

Deno.test("a session is refused with a certificate that is wrong in any part, and never taken for something else", async () => {
  await using bus = await sessionBus();
  const [ada, eve] = [await enrolled(bus.store), await enrolled(bus.store)];
  const unknown = newPerson();
  const key = createNkey("user");
  const other = createNkey("user");
  const { identity } = ada;
  const own = { publicKey: identity.nkey, signNonce: identity.signNonce };
  const now = Date.now();
  const small = "00".repeat(32);
  type Attack = [
    what: string,
    key: Pick<NkeyPair, "publicKey" | "signNonce">,
    token: unknown,
    reason: string,
    endpoint: string | null,
  ];
  const of = (change: Fields, signRaw?: Person["signRaw"]) =>
    certificate(ada, key, change, signRaw);
  const attacks: Attack[] = [
    ["signed by another user", key, of({}, eve.signRaw), "bad_session", ada.signPub],
    [
      "signed by the session's own key",
      key,
      of({}, () => key.signNonce("A".repeat(20))),
      "bad_session",
      ada.signPub,
    ],
    [
      "of a key that verifies anything",
      key,
      of({ signPub: small }, () => new Uint8Array(64)),
      "bad_session",
      small,
    ],
    ["for another key", other, of({}), "bad_session", ada.signPub],
    [
      "of a key that is not the one that signed",
      { ...key, signNonce: other.signNonce },
      of({}),
      "bad_signature",
      ada.signPub,
    ],
    [
      "expired",
      key,
      of({ issued: now - SESSION_MS, expires: now - 1 }),
      "session_time",
      ada.signPub,
    ],
    [
      "from the future",
      key,
      of({ issued: now + 3e5, expires: now + 4e5 }),
      "session_time",
      ada.signPub,
    ],
    [
      "for more than an hour",
      key,
      of({ expires: now + SESSION_MS + 6e4 }),
      "session_time",
      ada.signPub,
    ],
    ["for another server", key, of({ audience: "evil.example" }), "session_audience", ada.signPub],
    ["for another port", key, of({ audience: "bus.example" }), "session_audience", ada.signPub],
    ["of somebody unknown", key, certificate(unknown, key), "not_authorized", unknown.signPub],
    // A user's own key does not make up for its token.
    ["beside the identity's own key", own, of({}), "bad_session", ada.signPub],
    ["that is none", own, "t", "bad_session", null],
    ["of another version", own, of({}).replace("session1", "session2"), "bad_session", null],
    [
      "that is a JWT",
      own,
      "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.e30.e30",
      "bad_session",
      null,
    ],
    ["that is too long", own, `unibus-session1.${"A".repeat(3000)}`, "bad_session", null],
  ];
  for (const [what, as, token, reason, endpoint] of attacks) {
    assert.equal(await present(bus, as, token), null, what);
    const event = refusals(bus).at(-1)!;
    assert.deepEqual([event.reason, event.client.endpoint], [reason, endpoint], what);
  }
  // One changed byte in each part: keys, times, length, audience, signature.
  const good = certificate(ada, key);
  const bytes = Buffer.from(good.slice(16), "base64url");
  for (const at of [0, 31, 32, 63, 64, 71, 72, 79, 80, 81, 82, 97, 98, bytes.length - 1]) {
    const changed = Buffer.from(bytes);
    changed[at]! ^= 1;
    assert.equal(await present(bus, key, `unibus-session1.${base64url(changed)}`), null, `${at}`);
  }
  // The nonce of another connection, signed by the right key.
  await using first = await RawClient.open(bus.server.port);
  const sig = base64url(key.signNonce(first.info!.nonce!));
  const hello = { nkey: key.publicKey, sig, auth_token: good };
  assert.ok(await first.login(hello));
  await using second = await RawClient.open(bus.server.port);
  assert.ok(!await second.login(hello));
  assert.equal(refusals(bus).at(-1)!.reason, "bad_signature");
  // What was true all along: the key alone is nobody's, and the identity's own key needs no token.
  assert.equal(await present(bus, key, undefined), null);
  assert.equal(refusals(bus).at(-1)!.reason, "not_authorized");
  await using _ = (await present(bus, own, undefined))!;
  assert.ok(!JSON.stringify(bus.events).includes(good.slice(16, 60)), "no event holds a token");
});

Deno.test("a session is refused where the names of the server are unknown, or cannot be asked for", async () => {
  const reasonWith = async (isAudience: AuthCalloutOptions["isAudience"]) => {
    await using bus = await testBus({
      callout: { decisionTimeout: 300, ...isAudience && { isAudience } },
    });
    const ada = await enrolled(bus.store);
    const key = createNkey("user");
    assert.equal(await present(bus, key, certificate(ada, key)), null);
    return refusals(bus).at(-1)!.reason;
  };
  assert.equal(await reasonWith(undefined), "session_audience");
  assert.equal(await reasonWith(() => 1 as unknown as boolean), "session_audience");
  assert.equal(await reasonWith(() => Promise.reject(new Error("no answer"))), "unavailable");
  assert.equal(await reasonWith(() => new Promise(() => {})), "unavailable");
});

Deno.test("soft lets a session in whose certificate enforce would refuse, and says so", async () => {
  await using bus = await sessionBus({}, { mode: "soft" });
  const ada = await enrolled(bus.store);
  const key = createNkey("user");
  await using bad = (await present(bus, key, certificate(ada, key, { audience: "evil" })))!;
  assert.ok(await bad.flush());
  const event = bus.events.find((it) => it.kind === "would_refuse");
  assert.equal(event?.kind === "would_refuse" && event.reason, "session_audience");
  // A certificate that is good ends the connection in time here too.
  await using brief = (await present(
    bus,
    key,
    certificate(ada, key, { expires: Date.now() + 5_000 }),
  ))!;
  await brief.until(() => brief.ended);
  assert.match(brief.errors.join(), /Expired/);
});

Deno.test("an admission ends with the certificate, and a client goes on with the next one", async () => {
  await using bus = await sessionBus();
  const { identity } = await enrolled(bus.store);
  const problems: Error[] = [];
  using session = await openSession({
    identity,
    client: { authority: AUDIENCE, clockOffset: 0 },
    lifetime: 5_000,
    onProblem: (error) => problems.push(error),
  });
  const first = session.certificate;
  const connection = await connectNats({
    servers: bus.server.url,
    signer: session,
    retryRefused: true,
    reconnectWait: 20,
  });
  try {
    const admitted = () => bus.events.filter((it) => it.kind === "admitted").length;
    // It asked for an hour, and gets what its certificate has.
    await eventually(() => admitted() >= 2);
    await connection.flush();
    assert.notEqual(session.certificate, first);
    connection.subscribe(`${session.inboxPrefix}.x`);
    await connection.flush();
    assert.deepEqual(problems, []);
  } finally {
    await connection.close();
  }
});

Deno.test("a false server that passes on the nonce of the true one gets nowhere with a session", async () => {
  await using bus = await sessionBus();
  const { identity } = await enrolled(bus.store);
  /** What a server gets in with that somebody connected to, and that passes the true server's nonce on. */
  const relays = async (authenticator: ReturnType<typeof natsAuthenticator>) => {
    await using relay = await RawClient.open(bus.server.port);
    return await relay.login(authenticator(relay.info!.nonce));
  };
  // Its bus belongs to another control plane, for which the identity certified the key.
  using theirs = await openSession({
    identity,
    client: { authority: "evil.example", clockOffset: 0 },
  });
  assert.ok(!await relays(theirs.authenticator));
  assert.equal(refusals(bus).at(-1)!.reason, "session_audience");
  // Without the token, the key is nobody's.
  assert.ok(!await relays((nonce) => ({ ...theirs.authenticator(nonce), auth_token: "" })));
  assert.equal(refusals(bus).at(-1)!.reason, "not_authorized");
  // What it gets in with: the identity's own signature, which a session avoids.
  assert.ok(await relays(natsAuthenticator(identity)));
});
