import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { createConnection, createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { connect as connectTls, type SecureContextOptions } from "node:tls";
import { fileURLToPath } from "node:url";
import { Kvm } from "@nats-io/kv";
import { connect } from "@nats-io/transport-node";
import { isStoreError } from "../../../src/core/errors.ts";
import { formatNatsConfig } from "../../../src/nats/server/config.ts";
import { startNatsServer } from "../../../src/nats/server/server.ts";
import {
  freePorts,
  natsBinary,
  pauseServer,
  takePort,
  testCluster,
  testServer,
} from "../../helpers/nats.ts";
import { testTls } from "../../helpers/tls.ts";

const unix = Deno.build.os !== "windows";

Deno.test("startNatsServer() serves JetStream and syncs every write as soon as it returns", async () => {
  await using server = await testServer({ monitoringPort: -1 });
  await using connection = await connect({ servers: server.url });
  const kv = await new Kvm(connection).create("first");
  await kv.put("key", "value");
  assert.equal((await kv.get("key"))?.string(), "value");
  const response = await fetch(`${server.monitoringUrl}/jsz`);
  assert.equal((await response.json()).config.sync_always, true);
  assert.ok(server.running);
  assert.match(server.logs(), /Server is ready/);
});

Deno.test("stop() ends the server in order, and may be called again", async () => {
  await using server = await testServer();
  const { pid } = server;
  await Promise.all([server.stop(), server.stop()]);
  await server.stop();
  assert.equal(server.running, false);
  assert.equal(server.kill(), false);
  assert.throws(() => process.kill(pid, 0), { code: "ESRCH" });
  assert.match(server.logs(), /Initiating Shutdown[^]*Server Exiting/);
});

Deno.test({
  name: "stop() kills a server that does not stop in time",
  ignore: !unix,
  async fn() {
    await using server = await testServer({ stopTimeout: 200 });
    await pauseServer(server);
    await server.stop();
    assert.deepEqual(await server.exited, { code: null, signal: "SIGKILL" });
  },
});

Deno.test({
  name: "restart() after SIGKILL serves the same data on the same ports",
  ignore: !unix,
  async fn() {
    await using server = await testServer({ monitoringPort: -1 });
    const { url, pid, monitoringUrl } = server;
    {
      await using connection = await connect({ servers: url });
      await (await new Kvm(connection).create("kept")).put("key", "value");
    }
    for (const value of ["value", "second"]) {
      assert.ok(server.kill("SIGKILL"));
      assert.equal((await server.exited).signal, "SIGKILL");
      await server.restart();
      assert.deepEqual([server.url, server.monitoringUrl], [url, monitoringUrl]);
      assert.notEqual(server.pid, pid);
      await using connection = await connect({ servers: url });
      const kv = await new Kvm(connection).open("kept");
      assert.equal((await kv.get("key"))?.string(), value);
      await kv.put("key", "second");
    }
    await assert.rejects(server.restart(), { code: "invalid" });
  },
});

Deno.test("disposing a server removes its configuration and its process", async () => {
  const server = await testServer();
  const { pid, configPath, directory } = server;
  assert.ok(existsSync(configPath));
  await server[Symbol.asyncDispose]();
  assert.throws(() => process.kill(pid, 0), { code: "ESRCH" });
  assert.ok(!existsSync(dirname(configPath)));
  assert.ok(!existsSync(directory));
});

Deno.test("startNatsServer() that fails names the server's own last words", async () => {
  const { path } = await natsBinary();
  await assert.rejects(
    startNatsServer({ binary: path, extra: "jetstrem { }" }),
    (error: Error) => {
      assert.ok(isStoreError(error, "unavailable"));
      assert.match(error.message, /exited with code 1: .*unknown field "jetstrem"/);
      return true;
    },
  );
  await assert.rejects(
    startNatsServer({ binary: join(path, "..", "no-such-nats-server") }),
    { code: "unavailable" },
  );
});

Deno.test("startNatsServer() says so when the port is in use", async () => {
  const { path } = await natsBinary();
  const other = createServer().listen(0, "127.0.0.1");
  await once(other, "listening");
  try {
    const { port } = other.address() as { port: number };
    await assert.rejects(startNatsServer({ binary: path, port }), (error: Error) => {
      assert.ok(isStoreError(error, "unavailable"));
      assert.match(error.message, /address already in use/);
      return true;
    });
  } finally {
    const closed = once(other, "close");
    other.close();
    await closed;
  }
});

Deno.test({
  name: "startNatsServer() gives up after its time-out or on abort, and leaves no process",
  ignore: !unix,
  async fn() {
    const directory = await mkdtemp(join(tmpdir(), "unibus-test-slow-"));
    try {
      // It never serves, and its process id is its last word.
      const binary = join(directory, "nats-server");
      const script = "#!/bin/sh\necho process $$\nexec sleep 60\n";
      const write = 'printf "%s" "$2" > "$1" && chmod 755 "$1"';
      execFileSync("/bin/sh", ["-c", write, "sh", binary, script]);

      const late = startNatsServer({ binary, startTimeout: 3000 });
      await assert.rejects(late, (error: Error) => {
        assert.ok(isStoreError(error, "unavailable"));
        const pid = /not ready within 3000 ms: process (\d+)$/.exec(error.message)?.[1];
        assert.ok(pid !== undefined, error.message);
        assert.throws(() => process.kill(Number(pid), 0), { code: "ESRCH" });
        return true;
      });

      const controller = new AbortController();
      let pid: number | undefined;
      const onLog = (text: string) => {
        pid = Number(/process (\d+)/.exec(text)?.[1]);
        controller.abort();
      };
      const { signal } = controller;
      await assert.rejects(startNatsServer({ binary, onLog, signal }), { code: "aborted" });
      assert.throws(() => process.kill(pid!, 0), { code: "ESRCH" });
    } finally {
      await rm(directory, { recursive: true });
    }
  },
});

Deno.test("passwords show neither in the log nor in errors, and the configuration is private", async () => {
  const password = 'hunter2 "\\ü$';
  const users = [{ user: "ada", password }];
  await using server = await testServer({ authorization: { users } });
  await using _ = await connect({ servers: server.url, user: "ada", pass: password });
  assert.ok(!server.logs().includes("hunter2"));
  if (unix) assert.equal((await stat(server.configPath)).mode & 0o077, 0);
  const { path } = await natsBinary();
  const failing = startNatsServer({
    binary: path,
    authorization: { users },
    extra: "authorization {",
  });
  await assert.rejects(failing, (error: Error) => !error.message.includes("hunter2"));
});

Deno.test("formatNatsConfig() refuses a setting that could break out of its quotes", () => {
  const text = formatNatsConfig({ serverName: 'a"b\\c' }, "ports");
  assert.match(text, /server_name: "a\\"b\\\\c"/);
  const serverName = 'a"\nport: 1';
  assert.throws(() => formatNatsConfig({ serverName: `${serverName}\u0000` }, "ports"), {
    code: "invalid",
  });
  assert.throws(() => formatNatsConfig({ serverName }, "ports"), { code: "invalid" });
});

Deno.test("a server with mutual TLS takes clients its authority signed and no others", async () => {
  await using tls = await testTls();
  await using server = await testServer({ tls: tls.mutual });
  const servers = server.url;
  await using connection = await connect({ servers, tls: { caFile: tls.caFile, ...tls.client } });
  await connection.flush();
  const stranger = { caFile: tls.otherCaFile, ...tls.client };
  await assert.rejects(connect({ servers, tls: stranger, reconnect: false }));
  const ca = await readFile(tls.caFile, "utf8");
  assert.equal(await greet(server.port, { ca }), "");
  const [cert, key] = await Promise.all(
    [tls.client.certFile, tls.client.keyFile].map((path) => readFile(path, "utf8")),
  );
  assert.equal(await greet(server.port, { ca, cert: cert!, key: key! }), "PONG\r\n");
});

/**
 * What a server with TLS answers to a client's greeting; nothing when it refuses the client. Not with
 * the client library: in Deno the process can end when the server refuses its certificate.
 */
async function greet(port: number, tls: SecureContextOptions): Promise<string> {
  const socket = createConnection(port, "127.0.0.1");
  await once(socket, "data"); // The server's INFO comes before TLS.
  const { promise, resolve } = Promise.withResolvers<string>();
  const secure = connectTls({ socket, host: "127.0.0.1", ...tls });
  secure.on("error", () => {});
  secure.on("secureConnect", () => secure.write('CONNECT {"verbose":false}\r\nPING\r\n'));
  secure.on("data", (bytes) => {
    if (!String(bytes).startsWith("INFO")) resolve(String(bytes));
  });
  secure.on("close", () => resolve(""));
  try {
    return await promise;
  } finally {
    secure.destroy();
    socket.destroy();
  }
}

Deno.test("a cluster keeps a replicated bucket when its leader is killed and comes back", async () => {
  await using tls = await testTls();
  await using cluster = await testCluster(3, {
    cluster: { user: "route", password: "s/e:c@r et", tls: tls.mutual },
  });
  const leader = await cluster.leader();
  assert.ok(leader !== undefined);
  const others = cluster.servers.filter((server) => server !== leader).map((server) => server.url);
  await using connection = await connect({ servers: others });
  const kv = await new Kvm(connection).create("replicated", { replicas: 3 });
  await kv.put("key", "value");
  leader.kill("SIGKILL");
  await leader.exited;
  await leader.restart();
  await cluster.ready();
  assert.equal((await kv.get("key"))?.string(), "value");
});

Deno.test("freePorts() gives ports of which none is taken or given twice, also while no server listens", async () => {
  const ports = await freePorts(20);
  assert.equal(new Set(ports).size, 20);
  for (const it of ports) assert.equal(await takePort(it), false);
});

/** Starts a program that starts a server. */
async function startParent(options: { detached?: boolean } = {}) {
  const directory = await mkdtemp(join(tmpdir(), "unibus-test-parent-"));
  const root = new URL("../../../", import.meta.url);
  const args = [
    "run",
    "-A",
    "--no-check",
    "--config",
    fileURLToPath(new URL("deno.json", root)),
    fileURLToPath(new URL("tests/nats/server/parent.ts", root)),
    (await natsBinary()).path,
    directory,
  ];
  const child = spawn(Deno.execPath(), args, { stdio: ["ignore", "pipe", "inherit"], ...options });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async () => JSON.parse((await lines.next()).value ?? "null");
  return {
    pid: child.pid!,
    line,
    server: await line() as { pid: number; directory: string },
    exited: once(child, "close"),
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}

/** Waits for something that happens outside this process; nobody tells us, so we have to look. */
async function gone(condition: () => boolean): Promise<void> {
  const end = Date.now() + 60_000;
  while (!condition()) {
    assert.ok(Date.now() < end, "still there after 60 s");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // Ended, but not yet collected by the system's first process.
    return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH" ||
      (error as NodeJS.ErrnoException).code === "ENOENT" && Deno.build.os === "linux";
  }
}

Deno.test({
  name: "the server ends when the process that started it is killed with SIGKILL",
  ignore: !unix,
  async fn() {
    await using parent = await startParent();
    process.kill(parent.server.pid, 0);
    process.kill(parent.pid, "SIGKILL");
    await parent.exited;
    await gone(() => isGone(parent.server.pid));
    // Its configuration may hold passwords.
    await gone(() => !existsSync(parent.server.directory));
  },
});

Deno.test({
  name: "Ctrl-C reaches the process that started the server and not the server",
  ignore: !unix,
  async fn() {
    await using parent = await startParent({ detached: true });
    // A terminal signals the whole process group.
    process.kill(-parent.pid, "SIGINT");
    const ended = await parent.line();
    await parent.exited;
    assert.equal(ended.wasRunning, true);
    assert.equal(ended.code, 0);
    assert.ok(isGone(parent.server.pid));
  },
});
