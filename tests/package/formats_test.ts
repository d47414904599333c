/**
 * Today's code reads the files of every version there was, and refuses those of a newer one in words
 * that tell what to do.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import type { NatsConnection } from "@nats-io/transport-node";
import { exportSnapshot, openJetStream, openSqlite, type Store } from "../../mod.ts";
import { readConfig, resolve } from "../../cli/settings/resolve.ts";
import { MIGRATIONS } from "../../migrations/mod.ts";
import { importIdentity } from "../../src/keys/identity.ts";
import { readIdentity } from "../../src/keys/identity_file.ts";
import { LAYOUT_VERSION } from "../../src/jetstream/log/stream.ts";
import { OLDEST_READ } from "../../src/sqlite/file/schema.ts";
import { openSource } from "../../src/sqlite/file/source.ts";
import { diagnoseFile } from "../../src/sqlite/repair/doctor.ts";
import { connectNats } from "../../src/nats/connection/connect.ts";
import { loadServiceKeys } from "../../src/nats/connection/service_keys.ts";
import { SNAPSHOT_VERSION } from "../../src/snapshot/format.ts";
import { cli, documentOf } from "../cli/kit.ts";
import { natsBinary, testServer } from "../helpers/nats.ts";
import { failsWith, filesOf, gather, inDir } from "../helpers/sqlite.ts";

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
const text = (name: string) => readFile(fixture(name), "utf8");

/** The kinds of records that a schema version has. */
const KINDS_OF = [
  ["rooms", "members", "room_keys"],
  ["rooms", "members", "room_keys", "users"],
  ["rooms", "members", "room_keys", "users", "invites"],
  ["rooms", "members", "room_keys", "users", "invites"],
  ["rooms", "members", "room_keys", "users", "invites"],
  ["rooms", "members", "room_keys", "users", "invites"],
  ["rooms", "members", "room_keys", "users", "invites"],
  ["rooms", "members", "room_keys", "users", "invites"],
  ["rooms", "members", "room_keys", "users", "invites"],
  ["rooms", "members", "room_keys", "users", "invites"],
  ["rooms", "members", "room_keys", "users", "invites"],
  ["rooms", "members", "room_keys", "users", "invites"],
];

/** The lines of the records that all fixtures hold. */
async function wanted(kinds: readonly string[]): Promise<string[]> {
  const lines = (await text("snapshot-v1.ndjson")).split("\n").slice(1, -2);
  return lines.filter((it) => kinds.includes(JSON.parse(it).kind));
}

async function linesOf(store: Store): Promise<string[]> {
  const stream = exportSnapshot(store, { history: false });
  return (await new Response(stream).text()).split("\n").slice(1, -2);
}

/** Puts a file of a schema version into `dir`. */
async function unpack(version: number, dir: string): Promise<string> {
  const path = `${dir}/unibus.db`;
  const packed = await readFile(fixture(`formats/schema-v${version}/unibus.db.gz`));
  await writeFile(path, gunzipSync(packed), { mode: 0o600 });
  return path;
}

Deno.test("there is a fixture of every version that this code writes", async () => {
  await Promise.all([
    text(`snapshot-v${SNAPSHOT_VERSION}.ndjson`),
    text(`formats/bucket-v${LAYOUT_VERSION}/messages.ndjson`),
    ...MIGRATIONS.map(({ version }) =>
      readFile(fixture(`formats/schema-v${version}/unibus.db.gz`))
    ),
  ]);
  assert.equal(KINDS_OF.length, MIGRATIONS.length);
});

for (const [i, kinds] of KINDS_OF.entries()) {
  const version = i + 1;
  Deno.test(`a file of schema version ${version} is brought up to date in place, with what it holds`, async () => {
    await inDir(async (dir) => {
      const path = await unpack(version, dir);
      const before = new DatabaseSync(path, { readOnly: true });
      assert.equal(before.prepare("PRAGMA user_version").get()!.user_version, version);
      const id = before.prepare("SELECT value FROM meta WHERE key = 'store_id'").get()!.value;
      before.close();
      if (version < OLDEST_READ) {
        // Who only reads does not alter it, and says what does.
        const files = filesOf(dir);
        await failsWith(
          "unsupported",
          () => openSqlite(path, { readOnly: true }),
          /this program needs/,
        );
        const { code, stderr } = await cli(["user", "list", "--db", path]);
        assert.equal(code, 1);
        assert.match(stderr, /\nhint: back up the file, then start the server with it once/);
        assert.deepEqual(filesOf(dir), files);
      } else {
        // It is read as it is, also where it lacks columns of today.
        const records = await (async () => {
          await using store = openSqlite(path, { readOnly: true });
          assert.deepEqual(await linesOf(store), await wanted(kinds));
          const users = (await store.listUsers()).items;
          assert.deepEqual((await store.search!.users()).items, users);
          assert.deepEqual((await store.listWaiting("lobby")).items, []);
          return await gather(store.records());
        })();
        const found = await diagnoseFile(path, { signal: AbortSignal.timeout(60_000) });
        assert.deepEqual(found.filter((it) => it.level === "problem"), []);
        using source = openSource(path);
        assert.deepEqual([...source.records()], records);
      }
      {
        await using store = openSqlite(path);
        assert.deepEqual(await linesOf(store), await wanted(kinds));
        // What came later works too.
        const { token } = await store.createInvite({ createdBy: "cli" });
        const [signPub, kexPub] = [keyOf("sign"), keyOf("kex")];
        await store.consumeInvite(token, { signPub, kexPub, handle: "new" });
        assert.equal(await store.isAuthorized(signPub), true);
      }
      const after = new DatabaseSync(path, { readOnly: true });
      const steps = after.prepare("SELECT version FROM schema_migrations ORDER BY version").all();
      assert.deepEqual(steps.map((it) => it.version), MIGRATIONS.map((it) => it.version));
      assert.equal(after.prepare("SELECT value FROM meta WHERE key = 'store_id'").get()!.value, id);
      after.close();
      assert.equal((await cli(["doctor", "--db", path])).code, 0);
    });
  });
}

/** A public key that is one. */
function keyOf(name: string): string {
  return createHash("sha256").update(name).digest("hex");
}

interface Recorded {
  key: string;
  value: string;
}

/** Puts the recorded bucket into a server. */
async function replay(
  nc: NatsConnection,
  { change = (it: string) => it, layout = "1" } = {},
): Promise<void> {
  const config = JSON.parse(await text("formats/bucket-v1/stream.json"));
  config.metadata = { ...config.metadata, "unibus.membership.layout": layout };
  const made = await nc.request(`$JS.API.STREAM.CREATE.${config.name}`, JSON.stringify(config));
  assert.equal(made.json<{ error?: unknown }>().error, undefined);
  const lines = (await text("formats/bucket-v1/messages.ndjson")).trimEnd().split("\n");
  for (const line of lines) {
    const { key, value }: Recorded = JSON.parse(line);
    const stored = await nc.request(`$KV.UNIBUS.${key}`, change(value));
    assert.equal(stored.json<{ error?: unknown }>().error, undefined);
  }
}

Deno.test("a bucket of layout 1 is read and written, and found healthy", async () => {
  await using server = await testServer();
  const nc = await connectNats({ servers: server.url });
  try {
    await replay(nc);
    await using store = await openJetStream({ connection: nc, create: false });
    assert.deepEqual(await linesOf(store), await wanted(KINDS_OF.at(-1)!));
    const [signPub, kexPub] = [keyOf("sign"), keyOf("kex")];
    await store.addUser({ signPub, kexPub, handle: "new" });
    await store.addMember("open", { endpoint: signPub, kexPub });
    assert.equal(await store.isAuthorized(signPub), true);
    assert.deepEqual((await store.listRoomsForEndpoint(signPub)).items.map((it) => it.id), [
      "open",
    ]);
  } finally {
    await nc.close();
  }
  const { code, stdout } = await cli(["doctor", "--nats-url", server.url]);
  assert.equal(code, 0, stdout);
});

Deno.test("a bucket of a newer layout is refused and left alone", async () => {
  await using server = await testServer();
  const nc = await connectNats({ servers: server.url });
  try {
    await replay(nc, { layout: String(LAYOUT_VERSION + 1) });
    const info = async () => (await nc.request("$JS.API.STREAM.INFO.KV_UNIBUS", "")).string();
    const state = async () => JSON.stringify(JSON.parse(await info()).config);
    const before = await state();
    const open = () => openJetStream({ connection: nc });
    await failsWith("unsupported", open, /has layout 2, this code reads 1/);
    const { code, stderr } = await cli(["user", "list", "--nats-url", server.url]);
    assert.equal(code, 1);
    assert.match(stderr, NEWER);
    assert.equal(await state(), before);
  } finally {
    await nc.close();
  }
});

/** What the program says to do about what a newer one made. */
const NEWER = /\nhint: it was created by a newer version: use that version or a later one\n$/;

Deno.test("identities, service keys and settings of each version are read", async () => {
  await inDir(async (dir) => {
    const ada = importIdentity(await text("formats/identity-v1/ada.json"));
    const path = `${dir}/ada.json`;
    await writeFile(path, await text("formats/identity-v1/ada.json"), { mode: 0o600 });
    assert.equal((await readIdentity(path)).signPub, ada.signPub);
    assert.match((await cli(["identity", "show", path])).stdout, new RegExp(ada.kexPub));
    const locked = `${dir}/locked.json`;
    await writeFile(locked, await text("formats/identity-v2/ada.json"), { mode: 0o600 });
    const passphrase = "correct horse battery staple";
    const opened = await readIdentity(locked, { passphrase });
    assert.equal(opened.signPub, JSON.parse(await text("formats/identity-v2/ada.json")).signPub);
    const keys = `${dir}/service-keys.json`;
    const seeds = await text("formats/service-keys-v1/service-keys.json");
    await writeFile(keys, seeds, { mode: 0o600 });
    const { service, system, issuer } = await loadServiceKeys(keys);
    assert.deepEqual(
      [service.seed, system.seed, issuer.seed],
      ["service", "system", "issuer"].map((it) => JSON.parse(seeds)[it]),
    );
    const file = await readConfig(fixture("formats/config-v1/membershipd.toml"));
    const { settings, sources } = resolve({ flags: {}, env: {}, file });
    const said = Object.keys(file!.values) as (keyof typeof sources)[];
    assert.equal(said.length, 32);
    for (const it of said) assert.equal(sources[it], "file", it);
    assert.equal(settings.natsPort, 4250);
    assert.equal(settings.maxBlobBytes, 256 * 2 ** 20);
    assert.deepEqual(settings.routes, ["n2:6250", "n3:6250"]);
    assert.deepEqual(settings.natsUrl, ["nats://10.0.0.1:4222", "tls://10.0.0.2:4222"]);
  });
});

Deno.test("a file of a newer version is refused, left alone, and said to be newer", async () => {
  await inDir(async (dir) => {
    const at = (name: string) => `${dir}/it/${name}`;
    await mkdir(at(""));
    await unpack(MIGRATIONS.length, at(""));
    const db = new DatabaseSync(at("unibus.db"));
    db.exec(`PRAGMA user_version = ${MIGRATIONS.length + 1}`);
    db.close();
    const newer = async (from: string, to: string, change: [RegExp, string]) => {
      const changed = (await text(from)).replace(...change);
      assert.notEqual(changed, await text(from));
      await writeFile(at(to), changed, { mode: 0o600 });
    };
    const raise: [RegExp, string] = [/("version": ?)1\b/, "$199"];
    await newer("snapshot-v1.ndjson", "it.ndjson", raise);
    await newer("formats/identity-v1/ada.json", "ada.json", raise);
    await newer("formats/service-keys-v1/service-keys.json", "keys.json", raise);
    const before = filesOf(at(""));
    const env = { UNIBUS_NATS_SERVER: (await natsBinary()).path };
    const newerFile = new RegExp(
      `schema version is ${MIGRATIONS.length + 1}, this program supports`,
    );
    const wrong: [string[], RegExp][] = [
      [["user", "list", "--db", at("unibus.db")], newerFile],
      [[
        "user",
        "add",
        "--handle",
        "ada",
        "--sign-pub",
        keyOf("a"),
        "--kex-pub",
        keyOf("b"),
        "--db",
        at("unibus.db"),
      ], newerFile],
      [[
        "serve",
        "--db",
        at("unibus.db"),
        "--http-port",
        "0",
        "--nats-port",
        "0",
        "--nats-store",
        `${dir}/jetstream`,
        "--store-dir",
        `${dir}/blobs`,
        "--service-keys",
        `${dir}/own.json`,
      ], newerFile],
      [["snapshot", "verify", at("it.ndjson")], /version 99/],
      [["snapshot", "import", at("it.ndjson"), "--db", `${dir}/new.db`], /version 99/],
      [["identity", "show", at("ada.json")], /version 99/],
      [["nats", "accounts", at("keys.json")], /version 99/],
    ];
    for (const [args, message] of wrong) {
      const { code, stdout, stderr } = await cli(args, { env });
      assert.deepEqual([code, stdout], [1, ""], `${args.join(" ")}: ${stderr}`);
      assert.match(stderr, message);
      assert.match(stderr, NEWER, args.join(" "));
    }
    const json = await cli(["user", "list", "--db", at("unibus.db"), "--json"]);
    assert.equal(documentOf(json).error.code, "unsupported");
    assert.deepEqual(filesOf(at("")), before);
  });
});

Deno.test("one value of a newer version in a bucket stops what needs it, and names its key", async () => {
  await using server = await testServer();
  const nc = await connectNats({ servers: server.url });
  try {
    const newer = (value: string) =>
      value.includes('"subject":"chat.open"') ? value.replace('"v":1', '"v":2') : value;
    await replay(nc, { change: newer });
    await using store = await openJetStream({ connection: nc, create: false });
    await failsWith("unsupported", () => store.getRoom("open"), /rooms\.open has version 2/);
    assert.equal((await store.getRoom("lobby")).epoch, 2);
    const { stderr } = await cli(["room", "show", "open", "--nats-url", server.url]);
    assert.match(stderr, NEWER);
  } finally {
    await nc.close();
  }
});
