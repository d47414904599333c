/**
 * What somebody takes on who imports an entry point: packages that are loaded, and permissions.
 *
 * @module
 */

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import config from "../../deno.json" with { type: "json" };
import { inDir } from "../helpers/sqlite.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** What each entry point may load; a package that is not here is one nobody asked for. */
const PACKAGES: Record<keyof typeof config.exports, string[]> = {
  ".": ["@nats-io/jetstream", "@nats-io/transport-node"],
  "./backend": [],
  "./cli": [
    "@commander-js/extra-typings",
    "@hono/node-server",
    "@nats-io/jetstream",
    "@nats-io/obj",
    "@nats-io/transport-node",
    "@peculiar/x509",
    "cli-progress",
    "hono",
    "prom-client",
    "rate-limiter-flexible",
    "reflect-metadata",
    "smol-toml",
    "structured-headers",
    "uqr",
  ],
  "./client": ["@nats-io/transport-node", "structured-headers"],
  "./http": [
    "@hono/node-server",
    "@nats-io/jetstream",
    "@nats-io/obj",
    "@nats-io/transport-node",
    "hono",
    "prom-client",
    "rate-limiter-flexible",
    "structured-headers",
  ],
  "./nats": ["@nats-io/transport-node"],
  "./testing": [],
};

async function deno(args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const env = { NO_COLOR: "1" };
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args, env, cwd: ROOT })
    .output();
  const text = (it: Uint8Array) => new TextDecoder().decode(it);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

for (const [name, file] of Object.entries(config.exports)) {
  Deno.test(`${name} loads the packages it needs, and no file of another part`, async () => {
    const { stdout } = await deno(["info", "--json", file]);
    const modules: string[] = JSON.parse(stdout).modules.map((it: { specifier: string }) =>
      it.specifier
    );
    const packages = modules.map((it) => /^npm:\/?(@?[^@]+)@/.exec(it)?.[1])
      .filter((it) => it !== undefined);
    const allowed = PACKAGES[name as keyof typeof PACKAGES];
    assert.deepEqual([...new Set(packages)].sort(), allowed);
    const own = modules.filter((it) => it.startsWith("file:"))
      .map((it) => fileURLToPath(it).slice(ROOT.length));
    const apart = ["cli/release/", "examples/", "src/web/"];
    if (name !== "./cli") apart.push("cli/");
    if (name !== "./testing") apart.push("tests/");
    assert.deepEqual(own.filter((it) => apart.some((dir) => it.startsWith(dir))), []);
  });
}

/** A program for each entry point, and the permissions that its documentation names for it. */
const PERMISSIONS: Record<string, { allow: (dir: string) => string[]; program: string }> = {
  "a store in a file": {
    allow: (dir) => [`--allow-read=${dir}`, `--allow-write=${dir}`],
    program: `import { openSqlite } from "@unibus/membership";
      await using store = openSqlite(DIR + "/unibus.db");
      await store.createInvite({ createdBy: "cli" });`,
  },
  "a control plane on loopback": {
    allow: () => ["--allow-net"],
    program: `import { openSqlite } from "@unibus/membership";
      import { createControlPlane, serve } from "@unibus/membership/http";
      await using store = openSqlite(":memory:");
      const server = await serve(createControlPlane(store), { port: 0 });
      for (const path of ["/readyz", "/metrics", "/docs", "/v1/me"]) {
        await (await fetch(server.url + path)).text();
      }
      await server.close();`,
  },
  "a client": {
    allow: () => ["--allow-net"],
    program: `import { createClient, createIdentity } from "@unibus/membership/client";
      const url = "http://127.0.0.1:1";
      using client = createClient({ url, identity: createIdentity(), retries: 0, timeout: 5000 });
      const failed = await client.me().catch((error) => error.code);
      if (failed !== "unavailable") throw new Error(String(failed));`,
  },
};

for (const [what, { allow, program }] of Object.entries(PERMISSIONS)) {
  Deno.test(`${what} runs with the permissions that the documentation names`, async () => {
    await inDir(async (dir) => {
      await writeFile(`${dir}/it.ts`, program.replaceAll("DIR", JSON.stringify(dir)));
      const how = ["run", "--no-prompt", "--config", `${ROOT}deno.json`];
      const { code, stderr } = await deno([...how, ...allow(dir), `${dir}/it.ts`]);
      assert.equal(code, 0, stderr);
    });
  });
}
