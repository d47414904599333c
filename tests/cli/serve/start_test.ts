import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, readdir, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { cli, cliProcess } from "../kit.ts";
import { freePorts, natsBinary } from "../../helpers/nats.ts";
import { daemon, eventsOf, filesIn, isAlive, isReady, launch, readyz, until } from "./kit.ts";
import { inDir, person } from "../../helpers/sqlite.ts";

/** Takes a port for the time of a test. */
async function taken(): Promise<AsyncDisposable & { port: number }> {
  const server = createServer();
  const listening = once(server, "listening");
  server.listen({ port: 0, host: "127.0.0.1", exclusive: true });
  await listening;
  const { port } = server.address() as { port: number };
  return {
    port,
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

Deno.test("no command is the server: the first start tells all there is to know, later ones a line", () =>
  inDir(async (dir) => {
    const { path } = await natsBinary();
    const [http, nats] = await freePorts(2);
    const start = async () => {
      const child = cliProcess(["--http-port", `${http}`, "--nats-port", `${nats}`], {
        cwd: dir,
        env: { UNIBUS_NATS_SERVER: path },
      });
      await child.seen(/ ready http=/);
      // One that is busy may say for a moment that it is not.
      let ready: Awaited<ReturnType<typeof readyz>> = null;
      await until(
        async () => {
          ready = await readyz(`http://127.0.0.1:${http}`);
          return ready?.status === 200;
        },
        "readiness",
        120_000,
      );
      const { checks } = ready!;
      assert.deepEqual(checks.filter((it) => !it.ok), []);
      assert.ok(checks.some((it) => it.name === "nats"));
      child.kill("SIGINT");
      const { code, stdout, stderr } = await child.ended;
      assert.deepEqual([code, stdout], [0, ""]);
      assert.match(stderr, / stopping reason="Interrupted by SIGINT"\n.* stopped\n$/);
      return stderr;
    };
    const first = await start();
    const files = ["unibus.db", "blobs", "jetstream", "service-keys.json"];
    for (const file of files) {
      assert.ok(first.includes(`  ./local_files/${file} `), `${file}:\n${first}`);
      assert.ok(existsSync(`${dir}/local_files/${file}`), file);
    }
    const keys = await stat(`${dir}/local_files/service-keys.json`);
    assert.equal(keys.mode & 0o777, 0o600);
    assert.match(first, new RegExp(`  http://127.0.0.1:${http} +for browsers and programs`));
    assert.match(first, new RegExp(`  nats://127.0.0.1:${nats} +NATS`));
    assert.match(first, /--bus-auth enforce\n.*--tls-cert.*\n.*--bind 0\.0\.0\.0/);
    const [, identity, command] =
      /\n {2}membershipd invite create --role admin --url http:\S+\n {2}membershipd (identity .*)\n {2}membershipd (user add --admin .*)\n/
        .exec(first)!;

    // The very commands that it shows.
    const made = await cliProcess(identity!.split(" "), { cwd: dir }).ended;
    const [, signPub] = /sign-pub +([0-9a-f]{64})/.exec(made.stdout)!;
    const words = command!.replace("NAME", "ada").split(" ");
    const added = await cliProcess(words, { cwd: dir }).ended;
    assert.equal(added.stdout, `added admin ada ${signPub}\n`, added.stderr);
    const later = (await start()).trimEnd().split("\n");
    assert.equal(later.length, 3, later.join("\n"));
    assert.match(later[0]!, / INFO {2}ready http=.* nats=.* store=sqlite busAuth=off .* ms=\d+$/);
  }));

Deno.test("a user whom the command line adds is there for the server at once", () =>
  inDir(async (dir) => {
    await using server = await daemon(dir);
    assert.ok((await server.event("no_admin")).hint.includes(`--db ${dir}/a.db`));
    const { signPub, kexPub } = person(1);
    const keys = ["--sign-pub", signPub, "--kex-pub", kexPub, "--handle", "ada", "--admin"];
    const added = await cliProcess(["user", "add", ...keys, "--db", `${dir}/a.db`]).ended;
    assert.equal(added.code, 0, added.stderr);
    const response = await fetch(`${server.http}/v1/users`);
    assert.equal(response.status, 200);
    assert.ok((await response.text()).includes(signPub));
  }));

Deno.test("a start that fails half-way undoes what it began, and says why", () =>
  inDir(async (dir) => {
    await using port = await taken();
    const start = async (args: string[], env?: Record<string, string>) => {
      const child = await launch(dir, args, env);
      const { code, stdout, stderr } = await child.ended;
      assert.deepEqual([code, stdout], [1, ""], stderr);
      for (const { event, pid } of eventsOf(stderr)) {
        if (event === "nats.started") await until(() => !isAlive(pid), "end of the nats-server");
      }
      return stderr;
    };
    const http = await start(["--http-port", `${port.port}`]);
    // Nothing was begun: a file made here would be taken for a store.
    assert.doesNotMatch(http, /"nats\.started"/);
    assert.deepEqual(await readdir(dir), []);
    assert.match(http, new RegExp(`^error: .*${port.port}: another program`));
    assert.match(http, /\nhint: stop the program that uses the port, or set --http-port/);

    const nats = await start(["--nats-port", `${port.port}`]);
    assert.match(nats, new RegExp(`error: .*${port.port}: another program`));
    assert.deepEqual(await readdir(dir), []);
    assert.match(nats, /\nhint: stop the program that uses the port, or set .*--nats-port/);

    await writeFile(
      `${dir}/other.db`,
      "This is no database, and long enough for its header.\n".repeat(99),
    );
    const db = await start(["--db", `${dir}/other.db`]);
    assert.match(db, /error: .*other\.db/);

    const none = await start([], { UNIBUS_NATS_SERVER: `${dir}/no-such-program` });
    assert.match(none, /error: .*no-such-program/);
    assert.equal(existsSync(`${dir}/a.db`), false);
    const nowhere = { PATH: "/nowhere", XDG_CACHE_HOME: dir, HOME: dir };
    const lost = await cli(filesIn(dir), { env: nowhere });
    assert.deepEqual([lost.code, lost.stdout], [1, ""]);
    assert.match(
      lost.stderr,
      /^error: No nats-server[^]*\nhint: install one with membershipd nats install\n$/,
    );

    // What was begun is gone, and the next start finds nothing in its way.
    await using good = await daemon(dir);
    await isReady(good.http);
  }));

Deno.test("a nats-server that does not like its store names its own last log line", () =>
  inDir(async (dir) => {
    await mkdir(`${dir}/jetstream`);
    await writeFile(`${dir}/jetstream/jetstream`, "a file where the directory should be");
    const { code, stderr } = await (await launch(dir)).ended;
    assert.equal(code, 1, stderr);
    assert.match(stderr, /\nerror: Starting .*\[(FTL|ERR)\].*/);
    const other = await (await launch(dir, ["--nats-store", `${dir}/jetstream/jetstream`])).ended;
    assert.equal(other.code, 1);
    assert.match(
      other.stderr,
      /\nerror: Using the streams in .*: the directory cannot be created or used/,
    );
  }));

Deno.test("stopped before it is ready, it undoes what it began and ends with 0", () =>
  inDir(async (dir) => {
    // A cluster of which nobody else is there: the store cannot open.
    const [cluster, other] = await freePorts(2);
    const child = await launch(dir, [
      ...["--store", "jetstream", "--cluster-name", "c", "--server-name", "n1"],
      ...["--cluster-port", `${cluster}`, "--routes", `127.0.0.1:${other}`],
    ]);
    await child.seen(/"nats\.started"/);
    const { pid } = eventsOf(child.stderr()).find((it) => it.event === "nats.started")!;
    assert.ok(isAlive(pid));
    child.kill("SIGTERM");
    const { code, stderr } = await child.ended;
    assert.equal(code, 0, stderr);
    assert.match(stderr, /"stopping".*Interrupted by SIGTERM/);
    assert.doesNotMatch(stderr, /"ready"|error:/);
    assert.equal(isAlive(pid), false);
  }));
