import assert from "node:assert/strict";
import { chmod } from "node:fs/promises";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { createIdentity } from "../../../src/keys/identity.ts";
import { loadServiceKeys } from "../../../src/nats/connection/service_keys.ts";
import { cliProcess, documentOf } from "../kit.ts";
import { addUser, isAdmitted, putBack, reach, SERVED } from "../follower/kit.ts";
import { daemon, isAlive, launch, readyz, until } from "./kit.ts";
import { inDir } from "../../helpers/sqlite.ts";

Deno.test("a start on a disk that was put back admits nobody, stays up and says the two ways on", () =>
  inDir(async (dir) => {
    const { ada, eve } = await putBack(dir);
    await using server = await daemon(dir, SERVED);
    const { message, hint } = await server.event("follower.alarm");
    assert.match(message, /the stream ends at sequence|key \w+\.\S+ is/);
    assert.match(hint, /repair --from follower .* repair --accept .* restart membershipd/);
    assert.equal(server.events().filter((it) => it.event === "follower.alarm").length, 1);
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
  }));

Deno.test("a server that loses its bucket while it runs admits nobody from then on", () =>
  inDir(async (dir) => {
    const eve = createIdentity();
    await using server = await daemon(dir, SERVED);
    await addUser(createIdentity(), reach(dir, server), "--admin");
    await addUser(eve, reach(dir, server));
    await until(() => isAdmitted(eve, server), "admission");
    await until(async () => (await readyz(server.http))?.status === 200, "readiness");
    const { service } = await loadServiceKeys(`${dir}/service-keys.json`);
    const nats = await connectNats({ servers: server.nats, nkeySeed: service.seed });
    await nats.request(
      "$JS.API.STREAM.PURGE.KV_UNIBUS",
      JSON.stringify({ filter: `$KV.UNIBUS.users.${eve.signPub}` }),
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
        async () => /^exact at position \d+, \d+ messages behind/.test(await detail()),
        "it",
      );
      const metrics = await (await fetch(`${server.http}/metrics`)).text();
      assert.match(metrics, /\nunibus_follower_position \d+\n/);
      assert.match(metrics, /\nunibus_follower_alarm 0\n/);
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
