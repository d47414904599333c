import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import process from "node:process";
import { freePorts, natsBinary } from "../../helpers/nats.ts";
import { type Daemon, daemon, filesIn, isAlive, isReady, launch, readyz, until } from "./kit.ts";
import { inDir } from "../../helpers/sqlite.ts";

const DIGEST = createHash("sha256").update("helloworld").digest("base64");

/** An upload of `helloworld` of which `hello` was sent, and which the server works on. */
async function upload(
  dir: string,
  http: string,
): Promise<{ socket: Socket; answer: Promise<string> }> {
  const { hostname, port, host } = new URL(http);
  const socket = connect(Number(port), hostname);
  let text = "";
  socket.setEncoding("utf8").on("data", (it: string) => text += it).on("error", () => {});
  const answer = once(socket, "close").then(() => text);
  socket.write(
    `PUT /v1/blobs HTTP/1.1\r\nhost: ${host}\r\ncontent-length: 10\r\n` +
      `content-digest: sha-256=:${DIGEST}:\r\nconnection: close\r\n\r\nhello`,
  );
  await until(async () => (await readdir(`${dir}/blobs/tmp`)).length > 0, "upload");
  return { socket, answer };
}

/** Whether a request of now is taken: not refused, and not answered with 503. */
async function takes(http: string): Promise<boolean> {
  try {
    const response = await fetch(`${http}/healthz`);
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}

async function gone(server: Daemon): Promise<void> {
  assert.equal(isAlive(server.process.pid), false);
  await until(() => !isAlive(server.natsPid()), "end of the nats-server");
}

Deno.test("SIGHUP ends the server in order; one that nohup started goes on", () =>
  inDir(async (dir) => {
    {
      await using server = await daemon(dir);
      process.kill(server.process.pid, "SIGHUP");
      const { code, stderr } = await server.process.ended;
      assert.equal(code, 0, stderr);
      assert.match(stderr, /"stopping".*Interrupted by SIGHUP[^]*"stopped"/);
      await gone(server);
    }
    const { path } = await natsBinary();
    const ports = ["--http-port", "0", "--nats-port", "0"];
    const main = new URL("../../../cli/main.ts", import.meta.url).pathname;
    const child = spawn("nohup", [
      ...[Deno.execPath(), "run", "-A", main, ...filesIn(dir), ...ports],
    ], { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, UNIBUS_NATS_SERVER: path } });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => stderr += text);
    const ended = once(child, "close");
    await until(() => / ready http=/.test(stderr), "start");
    const http = / ready http=(\S+)/.exec(stderr)![1]!;
    process.kill(child.pid!, "SIGHUP");
    await isReady(http);
    process.kill(child.pid!, "SIGTERM");
    assert.equal((await ended)[0], 0);
    assert.match(stderr, /Interrupted by SIGTERM/);
  }));

Deno.test("SIGTERM: nothing new is accepted, what is in flight is finished, the end is in order", () =>
  inDir(async (dir) => {
    await using server = await daemon(dir);
    const { socket, answer } = await upload(dir, server.http);
    // As `deno task` does: it hands on what the terminal has sent to us as well.
    server.process.kill("SIGTERM");
    server.process.kill("SIGTERM");
    await server.event("stopping");
    await until(async () => !(await takes(server.http)), "end of accepting");
    // The rest comes while it stops.
    assert.ok(isAlive(server.natsPid()));
    socket.write("world");
    assert.match(await answer, /^HTTP\/1\.1 201 /);
    const { code, stdout, stderr } = await server.process.ended;
    assert.deepEqual([code, stdout], [0, ""], stderr);
    const ended = server.events().filter((it) => it.event === "ended").map((it) => it.what);
    const at = (what: string) => ended.findIndex((it) => it === what);
    assert.ok(at("http") === 0 && at("nats-server") > at("the service connection"), `${ended}`);
    assert.ok(at("store") > 0);
    assert.equal(server.events().at(-1)?.event, "stopped");
    assert.equal(server.events().some((it) => it.event === "end_failed"), false, stderr);
    await gone(server);
  }));

Deno.test("a request that does not end holds the end up for 5 s and no longer", () =>
  inDir(async (dir) => {
    await using server = await daemon(dir);
    await using other = await daemon(`${dir}/other`);
    const [hanging, again] = [
      await upload(dir, server.http),
      await upload(`${dir}/other`, other.http),
    ];
    const began = performance.now();
    server.process.kill("SIGINT");
    other.process.kill("SIGINT");
    await other.event("stopping");
    // A second signal does not wait. Within 100 ms it would be the first one, handed on by a task runner.
    await new Promise((resolve) => setTimeout(resolve, 150));
    assert.ok(isAlive(other.process.pid));
    other.process.kill("SIGINT");
    assert.equal((await other.process.ended).code, 130);
    await gone(other);
    await again.answer;

    const { code, stderr } = await server.process.ended;
    const took = performance.now() - began;
    assert.equal(code, 0, stderr);
    assert.ok(took > 4_500 && took < 60_000, `${took} ms`);
    await hanging.answer;
    await gone(server);
    // What was cut off left nothing.
    await using next = await daemon(dir);
    assert.deepEqual(await readdir(`${dir}/blobs/tmp`), []);
    await isReady(next.http);
  }));

Deno.test("SIGKILL leaves no nats-server behind; started again at once, it waits for its end", () =>
  inDir(async (dir) => {
    const [port] = await freePorts(1);
    const args = ["--nats-port", `${port}`];
    const pids: number[] = [];
    for (const both of [false, true, false]) {
      await using server = await daemon(dir, args);
      await isReady(server.http);
      pids.push(server.natsPid());
      assert.ok(isAlive(pids.at(-1)!));
      if (both) process.kill(pids.at(-1)!, "SIGKILL");
      await server.stop("SIGKILL");
    }
    await using server = await daemon(dir, args);
    await until(() => !pids.some(isAlive), "end of all that were killed");
    await isReady(server.http);
    assert.equal((await server.stop()).code, 0);
    await gone(server);
  }));

Deno.test("two servers never share the directory of a nats-server, which would destroy it", () =>
  inDir(async (dir) => {
    await using server = await daemon(dir);
    const { code, stderr } = await (await launch(dir)).ended;
    assert.equal(code, 1, stderr);
    assert.match(
      stderr,
      /\nerror: Using the streams in .*jetstream: in use by another membershipd; stop it/,
    );
    assert.doesNotMatch(stderr, /nats\.started/);
    await isReady(server.http);
    // Whatever was said by others about it, the one that runs is well.
    assert.equal((await server.stop()).code, 0);
    await using next = await daemon(dir);
    assert.equal((await next.stop()).code, 0);
  }));

Deno.test("a nats-server that dies is restarted; /readyz tells when it is down and up", () =>
  inDir(async (dir) => {
    await using server = await daemon(dir);
    const first = server.natsPid();
    // It stands still: nobody answers, and it is not restarted as it has not ended.
    process.kill(first, "SIGSTOP");
    let down: Awaited<ReturnType<typeof readyz>> = null;
    await until(async () => {
      down = await readyz(server.http);
      return down?.checks.find((it) => it.name === "nats")?.ok === false;
    }, "its loss in /readyz");
    assert.equal(down!.status, 503);
    process.kill(first, "SIGKILL");
    const ended = await server.event("nats.ended");
    assert.equal(ended.level, "warn");
    await server.event("nats.started", (it) => it.restarts === 1);
    await isReady(server.http);
    const second = server.natsPid();
    assert.notEqual(second, first);
    assert.equal((await server.event("nats.started", (it) => it.restarts === 1)).url, server.nats);
    assert.match(await (await fetch(`${server.http}/metrics`)).text(), /unibus_nats_restarts 1/);
    const { code, stderr } = await server.stop();
    assert.equal(code, 0, stderr);
    assert.equal(isAlive(second), false);
  }));
