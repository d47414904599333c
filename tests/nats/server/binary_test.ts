import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import {
  findNatsServer,
  isSupportedNatsServer,
  natsServerVersion,
} from "../../../src/nats/server/binary.ts";
import { natsBinary } from "../../helpers/nats.ts";

/** An environment in which there is no nats-server, and a directory for it. */
async function emptyEnv() {
  const directory = await mkdtemp(join(tmpdir(), "unibus-test-find-"));
  const [bin, cache] = [join(directory, "bin"), join(directory, "cache")];
  await mkdir(bin);
  await mkdir(cache);
  return {
    bin,
    cached: (version: string) => join(cache, "unibus", "nats-server", version),
    env: { PATH: bin, HOME: directory, XDG_CACHE_HOME: cache },
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}

async function linkReal(directory: string): Promise<string> {
  await mkdir(directory, { recursive: true });
  const path = join(directory, "nats-server");
  await symlink((await natsBinary()).path, path);
  return path;
}

/** A program that gives a version and can do nothing else. */
async function fake(directory: string, output: string): Promise<string> {
  await mkdir(directory, { recursive: true });
  const path = join(directory, "nats-server");
  // Written by another process: a file this one holds open for writing while some other test starts
  // a program cannot be run.
  const script = 'printf "#!/bin/sh\\necho \\"%s\\"\\n" "$2" > "$1" && chmod 755 "$1"';
  execFileSync("/bin/sh", ["-c", script, "sh", path, output]);
  return path;
}

const unix = Deno.build.os !== "windows";

Deno.test({
  name: "findNatsServer() takes UNIBUS_NATS_SERVER first, then the PATH, then the cache",
  ignore: !unix,
  async fn() {
    await using place = await emptyEnv();
    const { version } = await natsBinary();
    const cached = await linkReal(place.cached(version));
    assert.deepEqual(await findNatsServer({ env: place.env }), {
      path: cached,
      version,
      source: "cache",
    });
    const onPath = await linkReal(place.bin);
    assert.deepEqual(await findNatsServer({ env: place.env }), {
      path: onPath,
      version,
      source: "path",
    });
    const named = await linkReal(join(place.env.HOME, "named"));
    const env = { ...place.env, UNIBUS_NATS_SERVER: named };
    assert.deepEqual(await findNatsServer({ env }), { path: named, version, source: "env" });
  },
});

Deno.test({
  name: "findNatsServer() takes the newest in the cache and passes over a damaged entry",
  ignore: !unix,
  async fn() {
    await using place = await emptyEnv();
    await fake(place.cached("2.12.3"), "nats-server: v2.12.3");
    const newest = await fake(place.cached("2.112.0"), "nats-server: v2.112.0");
    await fake(place.cached("3.0.0"), "");
    const found = await findNatsServer({ env: place.env });
    assert.deepEqual(found, { path: newest, version: "2.112.0", source: "cache" });
  },
});

Deno.test({
  name:
    "findNatsServer() skips a server on the PATH that is too old, and names it when none is left",
  ignore: !unix,
  async fn() {
    await using place = await emptyEnv();
    const old = await fake(place.bin, "nats-server: v2.10.27");
    await assert.rejects(findNatsServer({ env: place.env }), (error: Error & { code: string }) => {
      assert.equal(error.code, "unavailable");
      assert.ok(error.message.includes(`${old} is 2.10.27, too old`), error.message);
      assert.match(error.message, /cache: not found/);
      assert.match(error.message, /UNIBUS_NATS_SERVER: not set/);
      return true;
    });
    const second = await linkReal(join(place.env.HOME, "second"));
    const env = { ...place.env, PATH: [place.bin, join(second, "..")].join(delimiter) };
    assert.equal((await findNatsServer({ env })).path, second);
  },
});

Deno.test({
  name: "findNatsServer() never skips UNIBUS_NATS_SERVER: missing, too old or no nats-server fails",
  ignore: !unix,
  async fn() {
    await using place = await emptyEnv();
    await linkReal(place.bin);
    const missing = join(place.env.HOME, "missing");
    const old = await fake(join(place.env.HOME, "old"), "nats-server: v2.10.27");
    const other = await fake(join(place.env.HOME, "other"), "hello");
    const cases = [
      [missing, "unavailable", /missing failed: no such program/],
      [place.env.HOME, "unavailable", /permission denied/],
      [old, "unsupported", /version 2\.10\.27; 2\.12 or later is required/],
      [other, "unavailable", /is not a nats-server/],
    ] as const;
    for (const [path, code, message] of cases) {
      const env = { ...place.env, UNIBUS_NATS_SERVER: path };
      await assert.rejects(findNatsServer({ env }), (error: Error & { code: string }) => {
        assert.equal(error.code, code);
        assert.match(error.message, message);
        assert.match(error.message, /UNIBUS_NATS_SERVER/);
        return true;
      });
    }
  },
});

Deno.test("natsServerVersion() reads the version of a real server", async () => {
  const { path, version } = await natsBinary();
  assert.equal(await natsServerVersion(path), version);
  assert.ok(isSupportedNatsServer(version));
});

Deno.test("isSupportedNatsServer() compares versions by number", () => {
  for (const version of ["2.12.0", "2.12.0-RC.1", "2.15.1", "2.100.0", "3.0.0"]) {
    assert.ok(isSupportedNatsServer(version), version);
  }
  for (const version of ["2.11.9", "2.9.10", "1.99.0"]) {
    assert.ok(!isSupportedNatsServer(version), version);
  }
});
