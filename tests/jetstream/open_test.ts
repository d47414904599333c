import assert from "node:assert/strict";
import { connect } from "@nats-io/transport-node";
import { jetstreamManager } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { diagnose, openJetStream, StoreError, type StoreWarning } from "../../mod.ts";
import { connectNats } from "../../src/nats/connection/connect.ts";
import { type TestServer, testServer } from "../helpers/nats.ts";
import { tampered } from "./tamper.ts";
import { testTls } from "../helpers/tls.ts";
import { person } from "../helpers/sqlite.ts";

let server: TestServer;
Deno.test.beforeAll(async () => void (server = await testServer({ monitoringPort: -1 })));
Deno.test.afterAll(async () => await server[Symbol.asyncDispose]());

let buckets = 0;
const fresh = () => ({
  servers: server.url,
  bucket: `OPEN_${++buckets}`,
  bootstrapTimeout: 60_000,
});

function fails(code: string, message: RegExp, field?: string) {
  return (error: unknown) => {
    assert.ok(error instanceof StoreError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    if (field !== undefined) assert.equal(error.field, field);
    return true;
  };
}

Deno.test("a store tells whether opening created its bucket", async () => {
  const options = fresh();
  for (const created of [true, false]) {
    await using store = await openJetStream(options);
    assert.equal(store.created, created);
  }
});

Deno.test("the bucket is a KV bucket that the KV library reads", async () => {
  const options = fresh();
  await using store = await openJetStream(options);
  await store.addUser(person("ada"));
  const nc = await connect({ servers: server.url });
  try {
    const kv = await new Kvm(nc).open(options.bucket);
    const entry = await kv.get(`users.${person("ada").signPub}`);
    const { v, kexPub, handle } = entry!.json<Record<string, unknown>>();
    assert.deepEqual({ v, kexPub, handle }, {
      v: 1,
      kexPub: person("ada").kexPub,
      handle: person("ada").handle,
    });
  } finally {
    await nc.close();
  }
});

Deno.test("a caller's own connection is used, and stays open when the store is closed", async () => {
  const connection = await connect({ servers: server.url });
  try {
    const store = await openJetStream({ connection, bucket: fresh().bucket });
    await store.addUser(person("ada"));
    await store.close();
    assert.equal(connection.isClosed(), false);
    await connection.flush();
  } finally {
    await connection.close();
  }
});

Deno.test("bad options are invalid, naming the field, before anything is connected", async () => {
  const nowhere = { servers: "nats://127.0.0.1:1" };
  await assert.rejects(openJetStream({}), fails("invalid", /servers/, "servers"));
  for (
    const [field, options] of Object.entries({
      bucket: { bucket: "a.b" },
      replicas: { replicas: 6 },
      opTimeout: { opTimeout: 0 },
      maxStaleness: { maxStaleness: 10 },
      bootstrapTimeout: { bootstrapTimeout: -1 },
      nkeySeed: { nkeySeed: "SUsecretsecret" },
    })
  ) {
    await assert.rejects(openJetStream({ ...nowhere, ...options }), (error: unknown) => {
      fails("invalid", new RegExp(field), field)(error);
      assert.doesNotMatch(String(error), /secretsecret/);
      return true;
    });
  }
});

Deno.test("a URL at which nobody listens is told within seconds when nothing is said of patience", async () => {
  const began = performance.now();
  const servers = "nats://127.0.0.1:1";
  await Promise.all([
    assert.rejects(openJetStream({ servers }), fails("unavailable", /^Connect to nats:.*refused/i)),
    assert.rejects(connectNats({ servers }), fails("unavailable", /^Connect to nats:.*refused/i)),
  ]);
  assert.ok(performance.now() - began < 60_000);
});

Deno.test("nobody listening: unavailable once bootstrapTimeout has passed, naming the server", async () => {
  const begun = performance.now();
  await assert.rejects(
    openJetStream({ servers: "nats://user:pass@127.0.0.1:1", bootstrapTimeout: 300 }),
    (error: unknown) => {
      fails("unavailable", /nats:\/\/127\.0\.0\.1:1/)(error);
      assert.doesNotMatch(String(error), /pass/);
      return true;
    },
  );
  assert.ok(performance.now() - begun < 30_000);
});

Deno.test("a host that does not exist is said at once", async () => {
  await assert.rejects(
    openJetStream({ servers: "nats://no-such-host.invalid:4222" }),
    fails("unavailable", /no such host|no-such-host/),
  );
});

Deno.test("opening waits for a server that comes up late", async () => {
  await using late = await testServer();
  const { url } = late;
  await late.stop();
  const opening = openJetStream({ servers: url, bootstrapTimeout: 60_000 });
  await late.restart();
  await (await opening).close();
});

Deno.test("a server without JetStream is unsupported", async () => {
  await using plain = await testServer({ jetstream: false });
  await assert.rejects(
    openJetStream({ servers: plain.url, bootstrapTimeout: 3000 }),
    fails("unsupported", /without JetStream/),
  );
});

Deno.test("a server that is too old is unsupported, naming both versions", async () => {
  // No older one is at hand, so a real one has its version rewritten.
  const older = (text: string) => text.replace(/"version":"[^"]*"/, '"version":"2.10.27"');
  await using aged = await tampered(server.url, older);
  await assert.rejects(
    openJetStream({ servers: aged.url, bootstrapTimeout: 3000 }),
    fails("unsupported", /2\.10\.27.*2\.12/),
  );
});

Deno.test("three replicas on one server are invalid, naming the field", async () => {
  await assert.rejects(
    openJetStream({ ...fresh(), replicas: 3 }),
    fails("invalid", /replicas 3/, "replicas"),
  );
});

Deno.test("one server is asked for one replica, and refused three also of a bucket that is not resized", async () => {
  const options = fresh();
  await (await openJetStream({ ...options, replicas: 1 })).close();
  for (const resize of [true, false]) {
    await assert.rejects(
      openJetStream({ ...options, replicas: 3, resize }),
      fails("invalid", /replicas 3/, "replicas"),
    );
  }
});

Deno.test("a bucket made by somebody else is refused and left as it is", async () => {
  const options = fresh();
  const nc = await connect({ servers: server.url });
  try {
    const kv = await new Kvm(nc).create(options.bucket);
    await kv.put("theirs", "data");
    await assert.rejects(openJetStream(options), fails("refused", /contains 1 message\)/));
    const manager = await jetstreamManager(nc);
    const { config } = await manager.streams.info(`KV_${options.bucket}`);
    assert.notEqual(config.allow_atomic, true);
  } finally {
    await nc.close();
  }
});

Deno.test("an empty bucket that any KV client made is taken, and gets what the store needs", async () => {
  const options = fresh();
  const nc = await connect({ servers: server.url });
  try {
    await new Kvm(nc).create(options.bucket);
    await (await openJetStream(options)).close();
    const { config } = await (await jetstreamManager(nc)).streams.info(`KV_${options.bucket}`);
    assert.deepEqual(
      [config.allow_atomic, config.allow_msg_ttl, config.metadata?.["unibus.membership.layout"]],
      [true, true, "1"],
    );
  } finally {
    await nc.close();
  }
});

Deno.test("a bucket of a newer layout is unsupported", async () => {
  const options = fresh();
  await (await openJetStream(options)).close();
  const nc = await connect({ servers: server.url });
  try {
    const manager = await jetstreamManager(nc);
    const { config } = await manager.streams.info(`KV_${options.bucket}`);
    const metadata = { ...config.metadata, "unibus.membership.layout": "2" };
    await manager.streams.update(config.name, { ...config, metadata });
    await assert.rejects(openJetStream(options), fails("unsupported", /layout 2/));
  } finally {
    await nc.close();
  }
});

Deno.test("create: false does not make a bucket", async () => {
  await assert.rejects(
    openJetStream({ ...fresh(), create: false }),
    fails("not_found", /No bucket/),
  );
});

Deno.test("TLS with the right CA works; a CA that does not match, or none, is said at once", async () => {
  await using tls = await testTls();
  await using other = await testTls();
  await using secure = await testServer({ tls: tls.server });
  const options = { servers: secure.url, bootstrapTimeout: 120_000 };
  const store = await openJetStream({ ...options, tls: { caFile: tls.caFile } });
  await store.addUser(person("ada"));
  await store.close();
  const begun = performance.now();
  await assert.rejects(
    openJetStream({ ...options, tls: { caFile: other.caFile } }),
    fails("unavailable", /TLS failed.*check the CA/),
  );
  await assert.rejects(openJetStream(options), fails("unavailable", /TLS failed/));
  await assert.rejects(
    openJetStream({ ...options, tls: { caFile: "no-such-ca.pem" } }),
    fails("unavailable", /no-such-ca/),
  );
  assert.ok(performance.now() - begun < 60_000, "said at once, not after bootstrapTimeout");
});

Deno.test("wrong credentials are said at once, and are not in the message", async () => {
  await using guarded = await testServer({
    authorization: { users: [{ user: "u", password: "right" }] },
  });
  const { host } = new URL(guarded.url);
  const options = { bootstrapTimeout: 60_000 };
  await (await openJetStream({ ...options, servers: `nats://u:right@${host}` })).close();
  for (let i = 0; i < 20; i++) {
    await assert.rejects(
      openJetStream({ ...options, servers: `nats://u:wrong-one@${host}` }),
      (error: unknown) => {
        fails("unavailable", /does not accept these credentials/)(error);
        assert.doesNotMatch(String(error), /wrong-one/);
        return true;
      },
    );
  }
});

Deno.test("warns of a server that does not sync, and when it cannot tell", async () => {
  await using lax = await testServer({ jetstream: { syncAlways: false }, monitoringPort: -1 });
  const warned = async (options: { servers: string; monitorUrl?: string }) => {
    const warnings: StoreWarning[] = [];
    await (await openJetStream({ ...options, onWarning: (it) => warnings.push(it) })).close();
    return warnings.map((it) => it.code);
  };
  assert.deepEqual(await warned({ servers: lax.url, monitorUrl: lax.monitoringUrl! }), [
    "no_fsync",
  ]);
  assert.deepEqual(await warned({ servers: lax.url }), ["fsync_unknown"]);
  const monitored = { servers: server.url, monitorUrl: server.monitoringUrl! };
  assert.deepEqual(await warned(monitored), []);
  assert.equal((await diagnose(monitored)).find((it) => it.check === "fsync")?.level, "ok");
});
