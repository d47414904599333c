/** `nats install --missing`, which `deno task start` runs before the server. */

import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { inDir } from "../../helpers/sqlite.ts";
import { natsBinary } from "../../helpers/nats.ts";
import { cli } from "../kit.ts";

Deno.test("nats install --missing installs nothing and says nothing where a nats-server is found", () =>
  inDir(async (dir) => {
    const env = { UNIBUS_NATS_SERVER: (await natsBinary()).path, XDG_CACHE_HOME: dir };
    const { code, stdout, stderr } = await cli(["nats", "install", "--missing"], { env });
    assert.deepEqual([code, stdout, stderr], [0, "", ""]);
    assert.deepEqual(await readdir(dir), []);
    // A server that was named and cannot run is told, not replaced.
    const bad = { ...env, UNIBUS_NATS_SERVER: `${dir}/none` };
    const refused = await cli(["nats", "install", "--missing"], { env: bad });
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /\/none/);
  }));
