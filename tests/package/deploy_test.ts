/**
 * The files in docs/deploy: what they set exists, is safe to start with, and starts.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parse as parseYaml } from "yaml";
import { restartNode } from "../../cli/cluster/restarts.ts";
import { problemsOf } from "../../cli/settings/guards.ts";
import { readConfig, resolve } from "../../cli/settings/resolve.ts";
import { KEYS, type Settings, SPECS, variableOf } from "../../cli/settings/settings.ts";
import { connectNats } from "../../src/nats/connection/connect.ts";
import { loadServiceKeys } from "../../src/nats/mod.ts";
import { freePorts, natsBinary } from "../helpers/nats.ts";
import { eventsOf, isReady, until } from "../cli/serve/kit.ts";
import { inDir } from "../helpers/sqlite.ts";
import { selfSigned } from "../helpers/tls.ts";
import { toolTest } from "../helpers/tools.ts";

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const deploy = (name: string) => path(`../../docs/deploy/${name}`);
const text = (name: string) => readFile(deploy(name), "utf8");

type Env = Record<string, string>;

const KNOWN = new Set([...KEYS.map(variableOf), "UNIBUS_CONFIG"]);

/** The settings of variables, each of which must exist. */
function settingsOf(env: Env): Settings {
  for (const name of Object.keys(env)) {
    if (name.startsWith("UNIBUS_")) assert.ok(KNOWN.has(name), name);
  }
  const { settings } = resolve({ flags: {}, env, file: null });
  assert.deepEqual(problemsOf(settings), []);
  return settings;
}

/** What the unit says, by key; comments are left out. */
async function unit(): Promise<(key: string) => string[]> {
  const lines = (await text("membershipd.service")).split("\n");
  const found = lines.map((it) => /^(\w+)=(.*)$/.exec(it)).filter((it) => it !== null);
  return (key) => found.filter((it) => it[1] === key).map((it) => it[2]!);
}

/** Whether systemd starts the service again after it has ended by itself with a code. */
function isRestarted(value: (key: string) => string[], code: number): boolean {
  const names = (key: string) => value(key).join(" ").split(" ").includes(String(code));
  if (names("RestartPreventExitStatus")) return false;
  if (names("RestartForceExitStatus")) return true;
  const isSuccess = code === 0 || names("SuccessExitStatus");
  const [when] = value("Restart");
  return when === "always" || when === (isSuccess ? "on-success" : "on-failure");
}

async function environment(): Promise<Env> {
  const variables = (await unit())("Environment").map((it) => it.split("="));
  return Object.fromEntries(variables.map(([name, value]) => [name!, value!]));
}

Deno.test("the unit sets what exists and keeps its files where it may write", async () => {
  const value = await unit();
  const settings = settingsOf(await environment());
  const [state] = value("StateDirectory");
  for (const it of [settings.db, settings.storeDir, settings.natsStore]) {
    assert.match(it, new RegExp(`^/var/lib/${state}/`));
  }
  assert.deepEqual(value("WorkingDirectory"), [`/var/lib/${state}`]);
  assert.deepEqual(value("ExecStart"), ["/usr/local/bin/membershipd serve"]);
  assert.equal(value("MemoryDenyWriteExecute").length, 0);
  assert.match(await text("unibus.sysusers.conf"), new RegExp(`^u ${value("User")[0]} `, "m"));
  // What stands in comments to be taken up exists too.
  const all = [...(await text("membershipd.service")).matchAll(/UNIBUS_\w+/g)].map((it) => it[0]);
  for (const it of all) assert.ok(KNOWN.has(it), it);
});

Deno.test("the settings beside the unit are taken, those in comments as well", async () => {
  await inDir(async (dir) => {
    const file = `${dir}/it.toml`;
    const found = await text("membershipd.toml");
    await writeFile(file, found);
    const plain = resolve({ flags: {}, env: {}, file: await readConfig(file) });
    assert.deepEqual(problemsOf(plain.settings), []);
    await writeFile(file, found.replace(/^# (?=\w+ = )/gm, ""));
    const whole = resolve({ flags: {}, env: {}, file: await readConfig(file) });
    assert.deepEqual(problemsOf(whole.settings), []);
    assert.equal(whole.settings.bind, "0.0.0.0");
  });
});

Deno.test("the unit starts the server again when it failed or is to restart, not when it was stopped", async () => {
  const value = await unit();
  const again = [0, 1, 2, 75, 130].filter((it) => isRestarted(value, it));
  assert.deepEqual(again, [1, 75, 130]);
});

Deno.test({
  name: "the unit's command serves, restarts and ends in good order, as systemd runs it",
  ignore: process.platform === "win32",
  fn: async () => {
    await inDir(async (dir) => {
      const value = await unit();
      const here = (it: string) =>
        it.replace(/^\/var\/lib\//, `${dir}/lib/`).replace(/^\/etc\//, `${dir}/etc/`);
      const [directory] = value("WorkingDirectory");
      await mkdir(here(directory!), { recursive: true, mode: 0o700 });
      await mkdir(`${dir}/etc/unibus`, { recursive: true });
      await writeFile(`${dir}/etc/unibus/membershipd.toml`, await text("membershipd.toml"));
      const variables = Object.entries(await environment()).map(([key, it]) => [key, here(it)]);
      const [, ...args] = value("ExecStart")[0]!.split(" ");
      const [natsPort] = await freePorts(1);
      const env = {
        // No home. From source, Deno's own cache must be told.
        PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
        LANG: "C.UTF-8",
        STATE_DIRECTORY: here(directory!),
        CACHE_DIRECTORY: `${dir}/cache`,
        INVOCATION_ID: "0".repeat(32),
        DENO_DIR: await denoDir(),
        UNIBUS_NATS_SERVER: (await natsBinary()).path,
        UNIBUS_HTTP_PORT: "0",
        UNIBUS_NATS_PORT: String(natsPort),
        UNIBUS_SERVER_NAME: "n1",
        ...Object.fromEntries(variables),
      };
      /** Runs the service until it is ready, does something, and returns how it ended. */
      const run = async (work: (http: string, pid: number) => Promise<unknown>) => {
        const program = [Deno.execPath(), "run", "-A", path("../../cli/main.ts"), ...args];
        // systemd tells the process that it starts its own ID.
        const child = spawn("/bin/sh", [
          "-c",
          'export SYSTEMD_EXEC_PID=$$; exec "$@"',
          "sh",
          ...program,
        ], {
          cwd: here(directory!),
          stdio: ["ignore", "ignore", "pipe"],
          env,
        });
        let log = "";
        child.stderr!.setEncoding("utf8").on("data", (it) => log += it);
        const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
        const ready = () => eventsOf(log).find((it) => it.event === "ready");
        try {
          const failed = ended.then(() => assert.ok(ready(), log));
          await Promise.race([until(() => ready() !== undefined, "readiness", 60_000), failed]);
          await work(ready()!.http, child.pid!);
        } catch (error) {
          process.kill(child.pid!, "SIGKILL");
          throw error;
        }
        return { code: await ended, log };
      };
      const restarted = await run(async () => {
        const { service } = await loadServiceKeys(`${here(directory!)}/service-keys.json`);
        const connection = await connectNats({
          servers: `nats://127.0.0.1:${natsPort}`,
          nkeySeed: service.seed,
          bootstrapTimeout: 60_000,
        });
        try {
          assert.deepEqual(await restartNode(connection, "n1", false), { way: "exit" });
        } finally {
          await connection.close();
        }
      });
      assert.ok(isRestarted(value, restarted.code!), restarted.log);
      const stopped = await run(async (http, pid) => {
        await isReady(http);
        process.kill(pid, "SIGTERM");
      });
      assert.equal(stopped.code, 0, stopped.log);
      const made = await readdir(here(directory!));
      assert.deepEqual(made.filter((it) => !/^unibus\.db-/.test(it)).sort(), [
        "blobs",
        "jetstream",
        "service-keys.json",
        "unibus.db",
      ]);
      assert.equal((await stat(`${here(directory!)}/unibus.db`)).mode & 0o077, 0);
      assert.deepEqual((await readdir(dir)).sort(), ["etc", "lib"]);
    });
  },
});

/** Where Deno keeps what it has downloaded. */
async function denoDir(): Promise<string> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  return JSON.parse(new TextDecoder().decode(stdout)).denoDir;
}

toolTest({
  name: "systemd takes the unit, and finds little exposed",
  tools: ["systemd-analyze"],
  fn: async () => {
    await inDir(async (dir) => {
      const program = `${dir}/membershipd`;
      await writeFile(program, "#!/bin/sh\n", { mode: 0o755 });
      const file = `${dir}/membershipd.service`;
      const source = (await text("membershipd.service"))
        .replace("/usr/local/bin/membershipd", program);
      const analyze = async (...args: string[]) => {
        const { code, stdout, stderr } = await new Deno.Command("systemd-analyze", { args })
          .output();
        return { code, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
      };
      await writeFile(file, source);
      const verified = await analyze("verify", "--man=no", file);
      // It may have remarks about the machine's own units.
      assert.doesNotMatch(verified.text, /membershipd/);
      assert.equal(verified.code, 0, verified.text);
      // A key that systemd does not know would do nothing.
      await writeFile(file, source.replace("NoNewPrivileges=", "NoNewPrivilege="));
      assert.match((await analyze("verify", "--man=no", file)).text, /NoNewPrivilege/);
      await writeFile(file, source);
      const rated = await analyze("security", "--offline=true", "--no-pager", file);
      const [, exposure] = /Overall exposure level for .*: (\d+\.\d+)/.exec(rated.text) ??
        assert.fail(rated.text);
      assert.ok(Number(exposure) <= 2, `${exposure}`);
    });
  },
});

/** The instructions of the container file, lines put together. */
async function instructions(): Promise<[name: string, rest: string][]> {
  const source = (await text("Containerfile")).replace(/^#.*\n/gm, "").replace(/\\\n\s*/g, "");
  return source.trim().split(/\n+/).map((it) => {
    const [, name, rest] = /^([A-Z]+) (.*)$/.exec(it) ?? assert.fail(it);
    return [name!, rest!];
  });
}

async function containerEnv(): Promise<Env> {
  const all = (await instructions()).filter(([name]) => name === "ENV").map(([, it]) => it);
  return Object.fromEntries(
    all.join(" ").split(" ").map((it) => it.split("=") as [string, string]),
  );
}

Deno.test("the container's settings exist, its ports are the server's, its user is not root", async () => {
  const settings = settingsOf(await containerEnv());
  const all = await instructions();
  const last = (name: string) => all.findLast(([it]) => it === name)![1];
  const ports = [settings.httpPort, settings.natsPort, settings.clusterPort];
  assert.deepEqual(last("EXPOSE").split(" ").map(Number), ports);
  assert.match(last("USER"), /^[1-9]\d+:[1-9]\d+$/);
  for (const it of [settings.db, settings.storeDir, settings.natsStore]) {
    assert.ok(it.startsWith(`${last("VOLUME")}/`), it);
  }
  assert.deepEqual(JSON.parse(last("CMD")), ["serve"]);
  // Each stage that is copied from is there.
  const stages = all.filter(([name]) => name === "FROM").map(([, it]) => it.split(" AS ")[1]);
  for (const [, from] of (await text("Containerfile")).matchAll(/--from=(\w+)/g)) {
    assert.ok(stages.includes(from), `${from}`);
  }
});

Deno.test("the container's health check tells a server that is ready from one that is not", async () => {
  const all = await instructions();
  const check = all.find(([name]) => name === "HEALTHCHECK")![1];
  const [program, ...args] = JSON.parse(check.slice(check.indexOf("CMD ") + 4)) as string[];
  assert.equal(program, "/opt/unibus/deno");
  const look = async (port: number) => {
    const env = { UNIBUS_HTTP_PORT: String(port) };
    const command = new Deno.Command(Deno.execPath(), {
      args,
      env,
      stdout: "null",
      stderr: "null",
    });
    return (await command.output()).code;
  };
  for (const tls of [{}, selfSigned("bus", ["bus.example.org"])]) {
    let status = 200;
    const asked: string[] = [];
    const at = { port: 0, hostname: "127.0.0.1", onListen() {}, ...tls };
    const server = Deno.serve(at, (request) => {
      asked.push(new URL(request.url).pathname);
      return new Response(null, { status });
    });
    const { port } = server.addr;
    assert.equal(await look(port), 0);
    status = 503;
    assert.notEqual(await look(port), 0);
    assert.deepEqual(asked, ["/readyz", "/readyz"]);
    await server.shutdown();
    assert.notEqual(await look(port), 0);
  }
});

interface Compose {
  services: Record<string, {
    environment: Record<string, string>;
    ports: string[];
    secrets: string[];
    volumes: string[];
  }>;
  secrets: Record<string, { file: string }>;
  volumes: Record<string, unknown>;
}

Deno.test("a host of the compose file is a node of a cluster that may start", async () => {
  const { services, secrets, volumes }: Compose = parseYaml(await text("compose.yaml"));
  assert.deepEqual(Object.keys(services), ["membershipd"]);
  const { environment, ...node } = services.membershipd!;
  const example = (await text("example.env")).replace(/^#.*\n/gm, "").trim().split("\n")
    .map((it) => it.split("=") as [string, string]);
  const given = new Map(example);
  const filled = Object.entries(environment).map(([name, value]): [string, string] => {
    assert.equal(typeof value, "string", name);
    return [name, value.replace(/\$\{(\w+):\?[^}]*\}/g, (_, it) => given.get(it)!)];
  });
  const settings = settingsOf({ ...await containerEnv(), ...Object.fromEntries(filled) });
  assert.equal(settings.store, "jetstream");
  assert.equal(settings.replicas, settings.routes.length + 1);
  const ports = [settings.httpPort, settings.natsPort, settings.clusterPort, settings.wsPort];
  assert.deepEqual(node.ports, ports.map((it) => `${it}:${it}`));
  // Each secret is declared, handed over, and named by a setting; none stands in a variable.
  const names = Object.keys(secrets);
  assert.deepEqual(node.secrets.toSorted(), names.toSorted());
  const used = Object.values(environment).filter((it) => it.startsWith("/run/secrets/"));
  assert.deepEqual(used.map((it) => it.split("/").pop()!).sort(), names.toSorted());
  assert.ok(!(variableOf("clusterPass") in environment));
  assert.deepEqual(node.volumes, Object.keys(volumes).map((it) => `${it}:/var/lib/unibus`));
  // What the page that explains it names, is there.
  const readme = await text("README.md");
  for (const { file } of Object.values(secrets)) {
    assert.ok(readme.includes(file.replace("./secrets/", "")), file);
  }
  assert.equal(SPECS.clusterPort.fallback, 6250);
});
