/**
 * What is handed out: one file that unpacks itself, in an empty directory, without network.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { execFile, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { shippedServer } from "../../cli/nats_server.ts";
import { StoreError } from "../../src/core/errors.ts";
import { VERSION } from "../../cli/version.ts";
import { natsBinary } from "../helpers/nats.ts";
import { until } from "../cli/serve/kit.ts";
import { inDir } from "../helpers/sqlite.ts";
import { toolTest } from "../helpers/tools.ts";

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** The environment of an empty host, and our own. */
const PATHS = { PATH: "/usr/bin:/bin", NO_COLOR: "1" };
const OWN = Deno.env.toObject();

/** What the server says of itself. */
interface Ready {
  http: string;
  nats: string;
}

interface Done {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a program with nothing but what is given in its environment. */
function call(program: string, args: string[], options: { cwd?: string; env?: object } = {}) {
  const env = { ...PATHS, ...options.env };
  return new Promise<Done>((resolve) => {
    execFile(program, args, { ...options, env, timeout: 120_000 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
      resolve({ code, stdout, stderr });
    });
  });
}

/** A network of its own that reaches nothing, where this machine lets us make one. */
async function withoutNetwork(): Promise<AsyncDisposable & { prefix: string[] }> {
  const script = "ip link set lo up && echo up && exec sleep 600";
  const holder = spawn("unshare", ["--net", "sh", "-c", script], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const ended = new Promise<void>((resolve) => holder.on("close", () => resolve()));
  holder.on("error", () => {});
  const up = await new Promise<boolean>((resolve) => {
    holder.stdout.once("data", () => resolve(true));
    holder.on("close", () => resolve(false));
    holder.on("error", () => resolve(false));
  });
  return {
    prefix: up ? ["nsenter", `--net=/proc/${holder.pid}/ns/net`] : ["env"],
    async [Symbol.asyncDispose]() {
      if (up) process.kill(holder.pid!, "SIGKILL");
      await ended;
    },
  };
}

const isLinux = process.platform === "linux";

toolTest({
  name: "deno task dist: one file is the whole stack on an empty host without network",
  tools: ["unshare", "nsenter", "ip"],
  why: isLinux ? null : "it is for Linux",
  fn: async (t) => {
    await inDir(async (dir) => {
      const file = `${dir}/membershipd`;
      const script = path("../../cli/release/dist.ts");
      const built = await call(Deno.execPath(), ["run", "-A", script, "--out", file], { env: OWN });
      assert.equal(built.code, 0, built.stderr);
      const { size, mode } = await stat(file);
      assert.ok(size < 60e6, `${size} bytes`);
      assert.equal(mode & 0o111, 0o111);
      await using away = await withoutNetwork();
      const empty = `${dir}/empty`;
      const home = `${dir}/home`;
      await mkdir(empty);
      await mkdir(home);
      const world = { cwd: empty, env: { HOME: home } };
      const run = (...args: string[]) =>
        call(away.prefix[0]!, [...away.prefix.slice(1), file, ...args], world);
      const done = async (...args: string[]) => {
        const result = await run(...args);
        assert.equal(result.code, 0, `${args.join(" ")}: ${result.stdout}${result.stderr}`);
        return result.stdout;
      };
      const json = async (...args: string[]) => JSON.parse(await done(...args, "--json"));

      await t.step("two first starts at once unpack it once", async () => {
        const [a, b] = await Promise.all([done("version"), done("version")]);
        assert.deepEqual([a.trim(), b.trim()], [VERSION, VERSION]);
        const cache = await readdir(`${home}/.cache/unibus`);
        assert.equal(cache.length, 1, cache.join());
        assert.ok(!(await readdir(`${home}/.cache/unibus/${cache[0]}`)).includes("it"));
        // One that removes what the other is removing too.
        const shims = `${dir}/shims`;
        await mkdir(shims);
        const both = `case "$*" in *it) exit 1 ;; esac\nexec /bin/rm "$@"\n`;
        await writeFile(`${shims}/rm`, `#!/bin/sh\n${both}`, { mode: 0o755 });
        const env = { HOME: shims, PATH: `${shims}:${PATHS.PATH}` };
        const { code, stdout, stderr } = await call(file, ["version"], { env });
        assert.deepEqual([code, stdout.trim(), stderr], [0, VERSION, ""]);
      });

      /** Does something while the server runs, which then ends in good order. */
      const served = async (args: string[], work: (ready: Ready) => Promise<void>) => {
        const ports = ["--http-port", "0", "--nats-port", "0"].slice(args.length > 0 ? 2 : 0);
        const [program, ...before] = [...away.prefix, file];
        const all = [...before, "serve", ...args, ...ports, "--log-format", "json"];
        const serving = spawn(program!, all, { cwd: empty, env: { ...PATHS, HOME: home } });
        let log = "";
        serving.stderr.on("data", (data) => log += data);
        const ended = new Promise<number | null>((resolve) => serving.on("close", resolve));
        const ready = () => log.split("\n").find((it) => it.includes('"event":"ready"'));
        try {
          await until(() => ready() !== undefined, "readiness", 60_000);
          await work(JSON.parse(ready()!));
        } finally {
          serving.kill("SIGTERM");
          await ended;
        }
        assert.match(log, /"event":"stopped"}\n$/);
      };

      await t.step(
        "serves, takes a first admin, registers a user",
        () =>
          served([], async ({ http }) => {
            await done("identity", "create", "ada.json");
            await done("user", "add", "--admin", "--handle", "ada", "--identity", "ada.json");
            const { token } = await json("invite", "create");
            const script = ["run", "-A", path("./release/register.ts"), http, token];
            const [program, ...before] = [...away.prefix, Deno.execPath()];
            const outcome = await call(program!, [...before, ...script], { env: OWN });
            assert.equal(outcome.code, 0, outcome.stderr);
            assert.equal(JSON.parse(outcome.stdout).user.handle, "grace");
          }),
      );

      await t.step(
        "moves to its own nats-server and verifies",
        () =>
          served(["--nats-only"], async ({ nats }) => {
            const target = ["--nats-url", nats, "--service-keys", "local_files/service-keys.json"];
            await done("migrate-to-kv", ...target);
            await done("verify", ...target);
            assert.match(await done("user", "list", ...target), /ada[^]*grace|grace[^]*ada/);
          }),
      );

      await t.step("a damaged file and another machine's are refused, and say so", async () => {
        const bytes = await readFile(file);
        const damaged = Buffer.from(bytes);
        damaged[damaged.length - 1000]! ^= 1;
        await writeFile(`${dir}/damaged`, damaged, { mode: 0o755 });
        const elsewhere = { cwd: empty, env: { UNIBUS_CACHE_DIR: `${dir}/other` } };
        const refused = await call(`${dir}/damaged`, ["version"], elsewhere);
        assert.equal(refused.code, 1);
        assert.match(refused.stderr, /This file is damaged/);
        assert.deepEqual(await readdir(`${dir}/other`), []);
        const text = bytes.toString("latin1");
        const alien = Buffer.from(text.replace(/Linux-\w+"/, 'Plan9-mips" '), "latin1");
        await writeFile(`${dir}/alien`, alien, { mode: 0o755 });
        const wrong = await call(`${dir}/alien`, ["version"], elsewhere);
        assert.equal(wrong.code, 1);
        assert.match(wrong.stderr, /This file is for .*, and this machine is Linux/);
        const homeless = await call(file, ["version"], { cwd: empty });
        assert.match(homeless.stderr, /set HOME or UNIBUS_CACHE_DIR/);
      });
    });
  },
});

Deno.test("a server inside a compiled program is unpacked once, and only when it is the right one", async () => {
  await inDir(async (dir) => {
    const shipped = `${dir}/shipped`;
    const env = { XDG_CACHE_HOME: `${dir}/cache` };
    await mkdir(shipped);
    assert.equal(await shippedServer(env, `${dir}/none`, true), null);
    const bytes = randomBytes(100_000);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    await writeFile(`${shipped}/nats-server`, bytes);
    await writeFile(`${shipped}/manifest.json`, JSON.stringify({ version: "2.15.1", sha256 }));
    assert.equal(await shippedServer(env, shipped, false), `${shipped}/nats-server`);
    const all = await Promise.all([1, 2, 3].map(() => shippedServer(env, shipped, true)));
    const [place] = all;
    assert.deepEqual(new Set(all).size, 1);
    assert.deepEqual(await readFile(place!), bytes);
    assert.equal((await stat(place!)).mode & 0o777, 0o700);
    // Half of one, of a start that died, is replaced.
    await writeFile(place!, bytes.subarray(0, 10));
    assert.deepEqual(await readFile((await shippedServer(env, shipped, true))!), bytes);
    await rm(place!);
    await writeFile(`${shipped}/nats-server`, "another");
    await assert.rejects(
      shippedServer(env, shipped, true),
      (error: unknown) => error instanceof StoreError && error.code === "mismatch",
    );
    assert.deepEqual(await readdir(dirname(place!)), []);
  });
});

Deno.test("deno task compile: what cannot be downloaded is said, and a given runtime is used", async () => {
  await inDir(async (dir) => {
    const compile = (args: string[], env: Record<string, string>) =>
      call(Deno.execPath(), ["run", "-A", path("../../cli/release/compile.ts"), ...args], {
        env: { ...OWN, ...env },
      });
    const wrong = await compile(["--target", "vax"], {});
    assert.equal(wrong.code, 1);
    assert.match(wrong.stderr, /--target must be one of .*, found vax/);
    const foreign = Deno.build.target === "aarch64-apple-darwin"
      ? "x86_64-unknown-linux-gnu"
      : "aarch64-apple-darwin";
    assert.match((await compile(["--target", foreign], {})).stderr, /needs --nats-server FILE/);
    const out = `${dir}/membershipd`;
    // Deno itself as the runtime: what comes out is no program of ours, but all parts are put in.
    const made = await compile(["--out", out], { DENORT_BIN: Deno.execPath() });
    assert.equal(made.code, 0, made.stderr);
    const whole = await readFile(out);
    const server = await readFile((await natsBinary()).path);
    assert.ok(whole.includes(server.subarray(0, 4096)), "the nats-server is in it");
    assert.ok(whole.includes("manifest.json"));
  });
});
