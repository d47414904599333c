/**
 * The program from a URL, as the package registry serves it: only what is published, and no file.
 *
 * @module
 */

import assert from "node:assert/strict";
import { mkdir, readFile, symlink } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { type CliProcess, cliProcess } from "../cli/kit.ts";
import { eventsOf, filesIn } from "../cli/serve/kit.ts";
import { natsBinary, testServer } from "../helpers/nats.ts";
import { inDir } from "../helpers/sqlite.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

async function deno(args: string[]): Promise<{ stdout: string; stderr: string }> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  const text = (it: Uint8Array) => new TextDecoder().decode(it);
  assert.ok(success, text(stderr));
  return { stdout: text(stdout), stderr: text(stderr) };
}

/** The paths that `deno publish` takes. */
async function published(): Promise<Set<string>> {
  const { stderr } = await deno(["publish", "--dry-run", "--allow-dirty", "--no-check"]);
  const files = [...stderr.matchAll(/^ +(file:\S+) \(/gm)].map(([, url]) => fileURLToPath(url!));
  return new Set(files.map((it) => it.slice(ROOT.length)));
}

/** Runs a body with the program served over HTTP; modules go to a cache of their own. */
async function fromUrl(
  body: (run: (...args: string[]) => CliProcess, dir: string) => Promise<void>,
): Promise<void> {
  const files = await published();
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async ({ url }) => {
      const path = new URL(url).pathname.slice(1);
      if (!files.has(path)) return new Response(null, { status: 404 });
      const type = path.endsWith(".json") ? "application/json" : "application/typescript";
      return new Response(await readFile(ROOT + path), { headers: { "content-type": type } });
    },
  );
  const { npmCache } = JSON.parse((await deno(["info", "--json"])).stdout);
  const { path: binary } = await natsBinary();
  await inDir(async (dir) => {
    await mkdir(`${dir}/deno`);
    await symlink(npmCache, `${dir}/deno/npm`);
    const flags = ["run", "-A", "--quiet", "--no-lock", "--import-map", `${ROOT}deno.json`];
    const program = [...flags, `http://127.0.0.1:${server.addr.port}/cli/main.ts`];
    const env = {
      DENO_DIR: `${dir}/deno`,
      UNIBUS_NATS_SERVER: "",
      PATH: binary.replace(/\/[^/]*$/, ""),
    };
    await body((...args) => cliProcess(args, { program, env, cwd: dir }), dir);
  });
}

Deno.test("the program runs from a URL, with the published files alone", async () => {
  await fromUrl(async (run, dir) => {
    const path = await run("nats", "path").ended;
    assert.deepEqual([path.code, path.stderr], [0, ""]);
    assert.equal(path.stdout.trim(), (await natsBinary()).path);

    const server = run(
      "serve",
      ...filesIn(dir),
      "--http-port",
      "0",
      "--nats-port",
      "0",
      "--log-format",
      "json",
    );
    await server.seen(/"event":"ready"/);
    const { http } = eventsOf(server.stderr()).find((it) => it.event === "ready")!;
    assert.equal((await fetch(`${http}/readyz`)).status, 200);
    assert.equal((await fetch(`${http}/join`)).status, 200);
    server.kill("SIGTERM");
    assert.equal((await server.ended).code, 0);

    await using target = await testServer();
    const move = await run("migrate-to-kv", "--db", `${dir}/a.db`, "--nats-url", target.url).ended;
    assert.equal(move.code, 0, move.stderr);
  });
});
