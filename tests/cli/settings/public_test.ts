import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { createClient, createIdentity, type Identity } from "../../../src/client/mod.ts";
import { isStoreError, type StoreErrorCode } from "../../../src/core/errors.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { createNkey } from "../../../src/keys/nkey.ts";
import { cliProcess } from "../kit.ts";
import { freePorts } from "../../helpers/nats.ts";
import { daemon, until } from "../serve/kit.ts";
import { inDir } from "../../helpers/sqlite.ts";
import { type TestTls, testTls } from "../../helpers/tls.ts";

function publicFlags(tls: TestTls): string[] {
  return [
    ...["--bind", "0.0.0.0", "--bus-auth", "enforce", "--ca", tls.caFile],
    ...["--tls-cert", tls.server.cert, "--tls-key", tls.server.key],
  ];
}

Deno.test("a public host: TLS for HTTP and NATS, and nothing without a signature", async () => {
  await using tls = await testTls();
  await inDir(async (dir) => {
    await using server = await daemon(dir, publicFlags(tls));
    assert.match(server.http, /^https:\/\/localhost:\d+$/);
    assert.match(server.nats, /^tls:\/\/localhost:\d+$/);
    using client = Deno.createHttpClient({ caCerts: [tls.authority.cert] });
    const get = async (path: string, init: RequestInit = {}) => {
      const response = await fetch(`${server.http}${path}`, { client, ...init });
      return { status: response.status, text: await response.text() };
    };
    assert.equal((await get("/readyz")).status, 200);
    assert.equal((await get("/v1/me")).status, 401);
    assert.equal((await get("/v1/users")).status, 401);
    // Another certificate's authority, and no TLS at all.
    using stranger = Deno.createHttpClient({ caCerts: [await readFile(tls.otherCaFile, "utf8")] });
    await assert.rejects(fetch(`${server.http}/healthz`, { client: stranger }));
    await assert.rejects(fetch(`${server.http.replace("https:", "http:")}/healthz`));

    const connect = (options: object) =>
      connectNats({ servers: server.nats, bootstrapTimeout: 1, ...options });
    const { seed } = createNkey("user");
    await assert.rejects(connect({ nkeySeed: seed, tls: { caFile: tls.caFile } }), /credentials/);
    await assert.rejects(connect({ tls: { caFile: tls.caFile } }), /credentials/);
    await assert.rejects(connect({ nkeySeed: seed, tls: { caFile: tls.otherCaFile } }), /TLS/);
    const { warning } = await server.event("certificate");
    assert.match(warning, /expires at .*renew it/);
    const { code, stderr } = await server.stop();
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stderr, /end_failed/);
  });
});

for (const store of ["sqlite", "jetstream"]) {
  Deno.test(`from the first admin to the revoked guest, as people do it: --store ${store}`, async () => {
    await using tls = await testTls();
    await inDir(async (dir) => {
      await using server = await daemon(dir, [...publicFlags(tls), "--store", store]);
      const { hint } = await server.event("no_admin");
      // What the hint shows is what reaches the store of the server that runs.
      const storeFlags = hint.split(" --identity me.json ")[1].split(" ");
      const command = async (...args: string[]) => {
        const { code, stdout, stderr } = await cliProcess([...args, ...storeFlags]).ended;
        assert.equal(code, 0, stderr);
        return stdout;
      };
      const ada = createIdentity();
      const keys = ["--sign-pub", ada.signPub, "--kex-pub", ada.kexPub];
      await command("user", "add", "--admin", "--handle", "ada", ...keys);
      const clientOf = (identity: Identity) =>
        createClient({ url: server.http, identity, ca: tls.authority.cert });
      using admin = clientOf(ada);
      await until(
        async () => (await admin.me().catch(() => null))?.user?.role === "admin",
        "admin",
      );

      const token = JSON.parse(await command("invite", "create", "--json")).token;
      const bob = createIdentity();
      using guest = clientOf(bob);
      const denied = (work: Promise<unknown>, code: StoreErrorCode) =>
        assert.rejects(work, (error) => isStoreError(error, code));
      await denied(guest.listRooms(), "forbidden");
      await guest.register(token, "bob");
      await denied(guest.listUsers(), "forbidden");
      await denied(guest.createRoom({ id: "open", encrypted: false }), "refused");
      const sealedKeys = [{ endpoint: bob.signPub, sealedKey: new Uint8Array(80) }];
      const room = await guest.createRoom({ id: "lab", encrypted: true, sealedKeys });

      const nkeySeed = new TextDecoder().decode(bob.natsSeed());
      const nats = await connectNats({
        servers: server.nats,
        nkeySeed,
        tls: { caFile: tls.caFile },
        name: "bob",
      });
      const closed = nats.closed();
      const seen = nats.subscribe(room.subject, { max: 1 });
      nats.publish(room.subject, "hello");
      for await (const it of seen) assert.equal(it.string(), "hello");
      assert.equal((await server.event("bus.admitted")).endpoint, bob.signPub);

      const began = performance.now();
      await command("user", "revoke", bob.signPub);
      await server.event("bus.kicked", (it) => it.endpoint === bob.signPub);
      assert.ok(performance.now() - began < 20_000, "before the next sweep");
      await denied(guest.listRooms(), "forbidden");
      // It is told so when it comes back, and gives up.
      await closed;
      assert.equal((await server.stop()).code, 0);
    });
  });
}

Deno.test("a certificate of an unknown authority needs --ca, and the start says so", async () => {
  await using tls = await testTls();
  await inDir(async (dir) => {
    const args = publicFlags(tls).filter((it) => it !== "--ca" && it !== tls.caFile);
    const child = await daemon(dir, args).then(() => null, (error: Error) => error.message);
    assert.match(child!, /TLS failed.*\n?hint: set --ca/);
  });
});

/** Every process of ours with its arguments: what others on the machine see. */
async function processList(): Promise<string> {
  const pids = (await readdir("/proc")).filter((it) => /^\d+$/.test(it));
  const lines = await Promise.all(
    pids.map((it) => readFile(`/proc/${it}/cmdline`, "utf8").catch(() => "")),
  );
  return lines.join("\n").replaceAll("\0", " ");
}

Deno.test("the secrets of a node stand in no log and in no list of processes", async () => {
  await using tls = await testTls();
  await inDir(async (dir) => {
    const [cluster, other] = await freePorts(2);
    // Another run of this test shows its own in the list of processes.
    const secret = `hunter2/${crypto.randomUUID()}?`;
    await writeFile(`${dir}/pass`, `${secret}\n`, { mode: 0o600 });
    const node = [
      ...["--cluster-name", "c", "--server-name", "n1", "--cluster-port", `${cluster}`],
      ...["--routes", `127.0.0.1:${other}`, "--cluster-user", "node"],
      ...["--route-tls-cert", tls.server.cert, "--route-tls-key", tls.server.key],
      ...["--route-tls-ca", tls.caFile, "--bus-auth", "enforce"],
    ];
    const debug = { UNIBUS_NATS_DEBUG: "1" };
    for (
      const [args, env] of [
        [["--cluster-pass-file", `${dir}/pass`], {}],
        [[], { UNIBUS_CLUSTER_PASS: secret }],
      ] as const
    ) {
      await using server = await daemon(dir, [...node, ...args], { ...debug, ...env });
      const { monitoring } = await server.event("ready");
      assert.match(monitoring, /^http:\/\/127\.0\.0\.1:\d+$/);
      const routes = await (await fetch(`${monitoring}/varz`)).json();
      assert.equal(routes.cluster.name, "c");
      assert.equal(routes.cluster.tls_required, true);
      assert.equal(routes.jetstream.config.sync_always, true);
      await server.event("nats.log", (it) => /Error trying to connect to route/.test(it.line));
      const list = await processList();
      assert.ok(list.includes("nats-server"), "The list is there");
      assert.equal(list.includes(secret), false);
      await server.stop();
      const { stderr } = await server.process.ended;
      const keys: string[] = Object.values(
        JSON.parse(await readFile(`${dir}/service-keys.json`, "utf8")),
      );
      const seeds = JSON.stringify(keys).match(/S[UA][A-Z2-7]{56}/g)!;
      assert.equal(seeds.length, 3);
      for (const it of [secret, encodeURIComponent(secret), ...seeds]) {
        assert.equal(stderr.includes(it), false);
      }
    }
    // On the command line everybody sees it: that is said.
    await using loud = await daemon(dir, [...node, "--cluster-pass", secret]);
    assert.match((await loud.event("settings")).warning, /--cluster-pass exposes the route secret/);
    await loud.stop();
    assert.equal((await loud.process.ended).stderr.includes(secret), false);
  });
});

Deno.test("without UNIBUS_NATS_DEBUG the nats-server says nothing and has no monitoring port", () =>
  inDir(async (dir) => {
    await using server = await daemon(dir);
    assert.equal((await server.event("ready")).monitoring, undefined);
    assert.equal((await server.stop()).code, 0);
    assert.equal(server.events().some((it) => it.event === "nats.log"), false);
  }));
