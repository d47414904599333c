import assert from "node:assert/strict";
import { createClient, createIdentity } from "../../../src/client/mod.ts";
import { createControlPlane } from "../../../src/http/mod.ts";
import { openSqlite } from "../../../mod.ts";
import { createTarget } from "../../../src/sqlite/file/target.ts";
import { failsWith, inDir } from "../../helpers/sqlite.ts";

Deno.test("a client that has seen a control plane's generation refuses a lower one", () =>
  inDir(async (dir) => {
    createTarget(`${dir}/new.db`, { generation: 2 }).close();
    await using old = openSqlite(`${dir}/old.db`);
    await using now = openSqlite(`${dir}/new.db`);
    assert.deepEqual([old.generation, now.generation], [0, 2]);
    const identity = createIdentity();
    for (const store of [old, now]) await store.addUser({ ...identity, handle: "ada" });
    const planes = [createControlPlane(old), createControlPlane(now)];
    // A server of a version that says no generation.
    planes.push({ ...planes[0]!, fetch: () => Promise.resolve(Response.json({ user: null })) });
    let at = 0;
    let proxyError = false;
    const fetch = async (request: Request) =>
      proxyError ? new Response("", { status: 502 }) : await planes[at]!.fetch(request);
    const url = "http://127.0.0.1:8470";
    using client = createClient({ url, identity, fetch, retries: 0 });
    await client.me();
    at = 1;
    await client.me();
    assert.equal(client.generation, 2);
    at = 0;
    const message = await failsWith("refused", () => client.me());
    assert.match(message, /generation 0, this client has seen 2/);
    proxyError = true;
    await failsWith("unavailable", () => client.me());
    proxyError = false;
    at = 1;
    await client.me();
    at = 2;
    await failsWith("refused", () => client.me(), /generation 0/);
    at = 0;
    using later = createClient({ url, identity, fetch, generation: client.generation });
    await failsWith("refused", () => later.me(), /generation 0/);
  }));
