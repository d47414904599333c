import assert from "node:assert/strict";
import { chmod, readFile, writeFile } from "node:fs/promises";
import { openFollowed } from "../../../src/follower/open.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { createIdentity } from "../../../src/keys/identity.ts";
import { loadServiceKeys } from "../../../src/nats/connection/service_keys.ts";
import { cliProcess, documentOf } from "../kit.ts";
import {
  addUser,
  done,
  isAdmitted,
  putBack,
  reach,
  SERVED,
  statusIn,
  stopAll,
} from "../follower/kit.ts";
import { rawBucket, rowsOf } from "../../follower/kit.ts";
import { testServer } from "../../helpers/nats.ts";
import { daemon, isAlive, isReady, launch, readyz, until } from "./kit.ts";
import { inDir, person } from "../../helpers/sqlite.ts";

Deno.test("a start on a disk that was put back admits nobody, stays up and says the two ways on", () =>
  inDir(async (dir) => {
    const { ada, eve } = await putBack(dir);
    await using server = await daemon(dir, SERVED);
    const { message, hint } = await server.event("follower.alarm");
    assert.match(message, /the stream ends at sequence|key \w+\.\S+ is/);
    assert.match(hint, /no client is admitted; run .*repair --from follower .* repair --accept/);
    const ready = (await readyz(server.http))!;
    assert.equal(ready.status, 503);
    const check = ready.checks.find((it) => it.name === "follower")!;
    assert.equal(check.ok, false);
    assert.match(check.detail, /repair --from follower/);
    // Neither the user whose revocation is gone, nor anyone else.
    assert.equal(await isAdmitted(eve, server), false);
    assert.equal(await isAdmitted(ada, server), false);
    for (const path of ["users", "rooms", "me"]) {
      const response = await fetch(`${server.http}/v1/${path}`);
      const problem = await response.json();
      assert.equal(response.status, 503);
      assert.equal(problem.code, "corrupt");
      assert.match(problem.detail, /the stream|key .*repair --from follower .* repair --accept/);
      assert.doesNotMatch(problem.detail, /[0-9a-f]{16}/);
    }
    const status = ["cluster", "status", ...reach(dir, server), "--json"];
    const { problems } = documentOf(await cliProcess(status).ended);
    assert.match(problems.join("\n"), /admits nobody: .*repair --from follower/);
    assert.equal(isAlive(server.process.pid), true);
    assert.equal((await server.stop()).code, 0);
    assert.equal(server.events().filter((it) => it.event === "follower.alarm").length, 1);
  }));

Deno.test("a server that loses its bucket while it runs admits nobody from then on", () =>
  inDir(async (dir) => {
    const eve = createIdentity();
    await using server = await daemon(dir, SERVED);
    await addUser(createIdentity(), reach(dir, server), "--admin");
    await addUser(eve, reach(dir, server));
    await until(() => isAdmitted(eve, server), "admission");
    await isReady(server.http);
    const { service } = await loadServiceKeys(`${dir}/service-keys.json`);
    const nats = await connectNats({ servers: server.nats, nkeySeed: service.seed });
    await nats.request(
      "$JS.API.STREAM.PURGE.KV_UNIBUS",
      JSON.stringify({ filter: `$KV.UNIBUS.users.${eve.signPub}` }),
      { timeout: 60_000 },
    );
    await nats.close();
    await server.event("follower.alarm");
    assert.equal((await readyz(server.http))?.status, 503);
    assert.equal(await isAdmitted(eve, server), false);
  }));

Deno.test("the follower is told in /readyz and /metrics; --follower none keeps none", () =>
  inDir(async (dir) => {
    const jetstream = ["--store", "jetstream"];
    {
      await using server = await daemon(dir, jetstream);
      const detail = async () =>
        (await readyz(server.http))?.checks.find((it) => it.name === "follower")?.detail ?? "";
      await until(
        async () => /^exact at position \d+, \d+ messages? behind/.test(await detail()),
        "it",
      );
      const metrics = await (await fetch(`${server.http}/metrics`)).text();
      assert.match(metrics, /\nunibus_follower_position \d+\n/);
      assert.match(metrics, /\nunibus_follower_alarm 0\n/);
      assert.match(metrics, /\nunibus_follower_history_lag 0\n/);
      await addUser(createIdentity(), reach(dir, server), "--admin");
      const status = ["cluster", "status", ...reach(dir, server)];
      const history = async () =>
        documentOf(await cliProcess([...status, "--json"]).ended).nodes[0]?.follower?.history;
      const isWhole = ({ revision = "", lag = 1 } = {}) => /^0\.\d+$/.test(revision) && lag === 0;
      await until(async () => isWhole(await history()), "the history");
      assert.equal((await history()).problem, null);
      const archive = async () => {
        const { buckets } = documentOf(await cliProcess([...status, "--json"]).ended);
        return buckets.find((it: { holds: string }) => it.holds === "history");
      };
      // It takes the entry from the bucket a moment after the follower does.
      await until(async () => (await archive()).messages === 1, "the archive");
      assert.equal((await archive()).behind, 0);
      await server.stop();
    }
    await using server = await daemon(dir, [...jetstream, "--follower", "none"]);
    const { checks } = (await readyz(server.http))!;
    assert.equal(checks.some((it) => it.name === "follower"), false);
  }));

Deno.test("a follower that other users of the machine may write is refused", () =>
  inDir(async (dir) => {
    await (await daemon(dir, ["--store", "jetstream"])).stop();
    await chmod(`${dir}/follower.db`, 0o666);
    const { code, stderr } = await (await launch(dir, ["--store", "jetstream"])).ended;
    assert.equal(code, 2, stderr);
    assert.match(stderr, /--follower .*follower\.db has mode 0666, so other users .* chmod go-w/);
  }));

Deno.test("a start with a damaged follower stays up, admits nobody, and --accept is the way on", () =>
  inDir(async (dir) => {
    const ada = createIdentity();
    const db = `${dir}/follower.db`;
    {
      await using server = await daemon(dir, SERVED);
      await addUser(ada, reach(dir, server), "--admin");
      await until(() => statusIn(db, ada) === "active", "ada in the follower");
      await stopAll(server);
    }
    const sound = await readFile(db);
    for (const offset of [0, 100]) {
      await writeFile(db, new Uint8Array(sound).fill(0xa5, offset, offset + 4096));
      await using server = await daemon(dir, SERVED);
      const { message, hint } = await server.event("follower.alarm");
      assert.match(message, /damaged/);
      assert.match(hint, /repair --accept/);
      assert.equal((await readyz(server.http))?.status, 503);
      assert.equal(await isAdmitted(ada, server), false);
      const accept = ["repair", "--accept", "--follower", db];
      await done(cliProcess(accept).ended);
      await stopAll(server);
    }
    await using server = await daemon(dir, SERVED);
    await isReady(server.http);
    await until(() => isAdmitted(ada, server), "admission");
  }));

Deno.test("a server that has searched in its follower lets go of it at an alarm", () =>
  inDir(async (dir) => {
    const server = await testServer();
    await using _ = server;
    const db = `${dir}/f.db`;
    const { promise: alarmed, resolve } = Promise.withResolvers<unknown>();
    const { store } = await openFollowed({ servers: server.url, follower: db, onAlarm: resolve });
    await using _store = store;
    await store.addUser(person(1));
    await until(() => rowsOf(db, "users").length === 1, "the user in the follower");
    assert.equal((await store.search!.users()).items.length, 1);
    await using raw = await rawBucket(server.url);
    await raw.api("PURGE", { filter: `$KV.UNIBUS.users.${person(1).signPub}` });
    await alarmed;
    const args = ["repair", "--from", db, "--nats-url", server.url];
    await until(async () => (await cliProcess(args).ended).code === 0, "repair");
  }));

Deno.test("an invalid record is told everywhere and stops nobody; a repair lets clients in without a restart", () =>
  inDir(async (dir) => {
    const ada = createIdentity();
    await using server = await daemon(dir, SERVED);
    await addUser(ada, reach(dir, server), "--admin");
    const { service } = await loadServiceKeys(`${dir}/service-keys.json`);
    await using raw = await rawBucket(server.nats, "UNIBUS", service.seed);
    const bad = `users.${"ab".repeat(32)}`;
    await raw.put(bad, "{}");
    const told = await server.event("follower.degraded");
    assert.match(told.message, new RegExp(`a record is not valid: ${bad}: `));
    await isReady(server.http);
    const check = (await readyz(server.http))!.checks.find((it) => it.name === "follower")!;
    assert.deepEqual([check.ok, check.degraded], [true, true]);
    await until(() => isAdmitted(ada, server), "admission");
    const status = () => cliProcess(["cluster", "status", ...reach(dir, server), "--json"]).ended;
    let found = await status();
    // A node that is busy answers too late to be heard.
    await until(async () => {
      found = await status();
      return typeof documentOf(found).nodes[0]?.follower?.position === "number";
    }, "the node's answer");
    assert.equal(found.code, 1);
    const { problems, nodes } = documentOf(found);
    assert.match(problems.join("\n"), new RegExp(`: .*a record is not valid: ${bad}`));
    const [{ follower }] = nodes;
    assert.deepEqual([follower.exact, follower.alarm], [true, null]);
    assert.match(follower.degraded, /not valid/);
    const text = async () => (await cliProcess(["cluster", "status", ...reach(dir, server)]).ended);
    await until(
      async () => / FOLLOWER\n.* at \d+, \d+ behind, DEGRADED\n/.test((await text()).stdout),
      "the node's line",
    );
    const doctor = ["doctor", "--follower", `${dir}/follower.db`, ...reach(dir, server)];
    assert.equal((await cliProcess(doctor).ended).code, 1);
    await raw.put(bad, "");
    await server.event("follower.sound");
    assert.equal(server.events().filter((it) => it.event === "follower.degraded").length, 1);
    // The stream loses the admin.
    await raw.api("PURGE", { filter: `$KV.UNIBUS.users.${ada.signPub}` });
    await server.event("follower.alarm");
    assert.equal(await isAdmitted(ada, server), false);
    const repair = ["repair", "--from", `${dir}/follower.db`, ...reach(dir, server)];
    await until(async () => (await cliProcess(repair).ended).code === 0, "repair");
    await server.event("follower.renewed");
    await until(() => isAdmitted(ada, server), "admission");
    await isReady(server.http);
    assert.doesNotMatch((await status()).stdout, /admits nobody/);
  }));
