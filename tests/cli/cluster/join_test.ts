import assert from "node:assert/strict";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { rm } from "node:fs/promises";
import { createServer } from "node:net";
import { resolveHere } from "../../../cli/settings/resolve.ts";
import { readNode } from "../../../cli/settings/node.ts";
import { parseJoin } from "../../../cli/cluster/plan/join_file.ts";
import { Kvm } from "@nats-io/kv";
import { openJetStream, openSqlite } from "../../../mod.ts";
import { parseServiceKeys } from "../../../src/nats/connection/service_keys.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { cli, documentOf } from "../kit.ts";
import { eventsOf, isReady, readyz, until } from "../serve/kit.ts";
import { inDir, person } from "../../helpers/sqlite.ts";
import { testServer } from "../../helpers/nats.ts";
import { changed, ended, findingsOf, firstServer, joined, joining } from "./kit.ts";

Deno.test("two machines join, each by one file, and wait visibly until the control plane comes", () =>
  inDir(async (dir) => {
    await using n1 = await firstServer(dir);
    assert.equal((await n1.plan()).code, 0);
    const { port } = new URL(n1.http);
    // One after the other: a node alone cannot know whether there is a control plane.
    const n2 = await joining(`${dir}/n2.join`, `${dir}/n2`);
    const n3 = await joining(`${dir}/n3.join`, `${dir}/n3`);
    try {
      for (const [i, node] of [n2, n3].entries()) {
        await node.seen(/"event":"waiting".*joined, waiting for the control plane"/);
        const told = eventsOf(node.stderr()).find((it) => it.event === "waiting")!;
        assert.deepEqual([told.node, told.cluster], [`n${i + 2}`, "bus"]);
        const answer = await readyz(`http://127.0.0.${i + 2}:${port}`);
        assert.equal(answer!.status, 503);
        assert.match(answer!.checks[0]!.detail, /^joined, waiting for the control plane/);
      }
      // Joined twice is joined once; a plan that is made again does not change that.
      assert.equal((await n1.plan()).code, 0);
      const again = await joined(`${dir}/n2.join`, `${dir}/n2`, "--json");
      assert.deepEqual([documentOf(again).before, documentOf(again).node], [true, "n2"]);
      // The machine's commands say why they cannot answer.
      const at = { env: { UNIBUS_DB: `${dir}/n2/unibus.db` } };
      await until(async () => {
        const { code, stderr } = await cli(["user", "list"], at);
        assert.equal(code, 1);
        return /Node n2 has joined and waits for the control plane\nhint: run .* grow/.test(stderr);
      }, "the two nodes to decide");
      for (const args of [["grow"], ["grow", "--status"], ["shrink", "--keep", "n2"]]) {
        await until(async () => {
          const { code, stderr } = await cli(args, at);
          assert.equal(code, 1, stderr);
          return /^error: Node n2 serves nothing now: joined, waiting for the control plane\nhint: run the command on the node that serves$/m
            .test(stderr);
        }, `the refusal of ${args.join(" ")}`);
      }
      // Nor does a command begin an empty control plane.
      const created = await cli(["invite", "create", "--create"], at);
      assert.match(created.stderr, /^error: Node n2 has joined and waits for the control plane/);
      assert.ok(!existsSync(`${dir}/n2/unibus.db`));

      // As a move does: the records, then the mark. Then commands on a node need no flags.
      const file = await parseJoin(readFileSync(`${dir}/n2.join`, "utf8")).open();
      const { seed } = parseServiceKeys(file.files["service-keys.json"]!, "").service;
      const connection = await connectNats({
        servers: `nats://127.0.0.2:${n1.natsPort}`,
        nkeySeed: seed,
        bootstrapTimeout: 60_000,
      });
      {
        await using store = await openJetStream({ connection });
        await store.addUser(person("grace"));
      }
      const mark = { v: 1, by: "journey", source: "s", state: "complete", startedAt: "now" };
      await (await new Kvm(connection).open("UNIBUS")).put("meta.migration", JSON.stringify(mark));
      await connection.close();
      for (const name of ["n2", "n3"]) {
        const env = { UNIBUS_DB: `${dir}/${name}/unibus.db` };
        await until(async () => {
          const { code, stdout } = await cli(["user", "list", "--json"], { env });
          return code === 0 && stdout.includes("user grace");
        }, `the users on ${name}`);
        // Servers that are busy answer too late to be heard.
        await until(async () => {
          const status = await cli(["cluster", "status", "--json"], { env });
          return documentOf(status).cluster === "bus";
        }, `the status on ${name}`);
        const { findings } = documentOf(await cli(["doctor", "--json"], { env }));
        assert.ok(findings.some((it: { check: string }) => it.check === "copies"));
      }
      const http = `http://127.0.0.2:${port}`;
      await isReady(http);
    } finally {
      await Promise.all([n2, n3].map(ended));
    }
    assert.match(
      (await n2.ended).stdout,
      /^joined as n2 of cluster bus, in .*\nstart: membershipd serve --db/,
    );
  }));

Deno.test("join writes settings and keys in place, and says how to start", () =>
  inDir(async (dir) => {
    await using n1 = await firstServer(dir);
    await n1.plan();
    const own = `${dir}/n2`;
    const { code, stdout, stderr } = await joined(`${dir}/n2.join`, own);
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, new RegExp(`^start: membershipd serve --db ${own}/unibus.db$`, "m"));
    assert.match(stdout, /UNIBUS_DB=.*\/n2\/unibus\.db: systemctl enable --now membershipd/);
    assert.match(stderr, /waits for membershipd grow; delete the \.join file/);
    for (
      const it of ["node.json", "service-keys.json", "cluster/route.secret", "cluster/route.key"]
    ) {
      assert.equal(statSync(`${own}/${it}`).mode & 0o777, 0o600, it);
    }
    const node = (await readNode(`${own}/unibus.db`))!;
    assert.deepEqual([node.name, node.state], ["n2", "clustered"]);
    assert.equal(node.settings.routeTlsKey, `${own}/cluster/route.key`);
    // The unit of docs/deploy names the directory of a server that is alone.
    const unit = { UNIBUS_DB: `${own}/unibus.db`, UNIBUS_NATS_STORE: `${own}/jetstream` };
    const { settings } = await resolveHere({ flags: {}, env: unit, file: null });
    assert.equal(settings.natsStore, `${own}/jetstream.cluster`);
    assert.equal(settings.storeDir, `${own}/blobs`);
    // What the machine has of its own must not contradict it.
    writeFileSync(`${dir}/own.toml`, 'serverName = "n9"');
    for (
      const [flags, env] of [
        [["--config", `${dir}/own.toml`], {}],
        [[], { UNIBUS_CONFIG: `${dir}/own.toml` }],
      ] as const
    ) {
      const args = ["join", `${dir}/n3.join`, "--dir", `${dir}/n3`, "--no-start", ...flags];
      const contradicted = await cli(args, { env: { ...n1.env, UNIBUS_CONFIG: "", ...env } });
      assert.equal(contradicted.code, 2);
      assert.match(
        contradicted.stderr,
        /serverName in the --config file is "n9", but this machine/,
      );
    }
    assert.ok(!existsSync(`${dir}/n3`));
    // A node is no place to plan from, nor for another node.
    const plan = await cli(["cluster", "plan", "a=127.0.0.1", "b=127.0.0.2", "c=127.0.0.3"], {
      env: { UNIBUS_DB: `${own}/unibus.db` },
    });
    assert.equal(plan.code, 2);
    assert.match(plan.stderr, /This machine is node n2 of cluster bus already/);
    await changed(`${dir}/n3.join`, { address: "127.0.0.2" });
    const other = await joined(`${dir}/n3.join`, own);
    assert.match(
      other.stderr,
      /Joining as n3: .*node\.json says that this is node n2 of cluster bus\nhint: name an empty/,
    );
    await n1.plan("--replace");
    const replaced = await joined(`${dir}/n2.join`, own);
    assert.equal(replaced.code, 1);
    assert.match(
      replaced.stderr,
      /Joining as n2 by plan \w+: .*by plan \w+\nhint: if that plan was replaced before/,
    );
  }));

Deno.test("a .join file that is open, old, damaged or of another program is refused", () =>
  inDir(async (dir) => {
    await using n1 = await firstServer(dir);
    await n1.plan();
    const path = `${dir}/n2.join`;
    const whole = readFileSync(path, "utf8");
    const refused = async (message: RegExp, code = 1) => {
      const result = await joined(path, `${dir}/n2`);
      assert.equal(result.code, code, result.stdout + result.stderr);
      assert.match(result.stderr, message);
      assert.ok(!existsSync(`${dir}/n2/node.json`));
      writeFileSync(path, whole);
    };
    chmodSync(path, 0o640);
    await refused(/has private keys and mode 0640, so other users can access it/);
    chmodSync(path, 0o600);
    const past = new Date(Date.now() - 1000).toISOString();
    await changed(path, { expiresAt: past });
    await refused(
      /n2\.join expired at .*; this machine's clock says .*\nhint: run membershipd cluster plan/,
    );
    await changed(path, { createdAt: new Date(Date.now() + 90_000).toISOString() });
    await refused(/n2\.join was made at .*\nhint: set the clocks of all nodes by NTP/);
    writeFileSync(path, whole.replace(/"expiresAt": "20\d\d/, '"expiresAt": "2999'));
    await refused(/is damaged or was changed: its digest does not match\nhint: copy it again/, 2);
    writeFileSync(path, whole.slice(0, -100));
    await refused(/is not a \.join file, or it was cut off/, 2);
    writeFileSync(path, whole.replace('"version": 1', '"version": 2'));
    await refused(/has version 2, this program supports 1/);
    await changed(path, {}, (it) => ({ ...it, files: { ...it.files, "../evil": "x" } }));
    await refused(/unknown file "\.\.\/evil"/, 2);
    await rm(path);
    await refused(/n2\.join: no such file\nhint: copy it from the first node/);
  }));

Deno.test("a .join file under a passphrase opens with that one only", () =>
  inDir(async (dir) => {
    await using n1 = await firstServer(dir);
    const secret = `${dir}/passphrase`;
    writeFileSync(secret, "correct horse battery staple\n", { mode: 0o600 });
    writeFileSync(`${dir}/wrong`, "staple\n", { mode: 0o600 });
    assert.equal((await n1.plan("--passphrase-file", secret)).code, 0);
    const path = `${dir}/n2.join`;
    const text = readFileSync(path, "utf8");
    assert.ok(!text.includes("PRIVATE KEY") && !text.includes("BEGIN") && !text.includes("seed"));
    const result = async (...flags: string[]) => {
      const { code, stderr } = await joined(path, `${dir}/n2`, ...flags);
      return `${code} ${stderr}`;
    };
    assert.match(
      await result(),
      /^2 error: .*is encrypted, and no passphrase was given\nhint: use --passphrase/,
    );
    assert.match(
      await result("--passphrase-file", `${dir}/wrong`),
      /^2 error: Cannot decrypt it: the passphrase/,
    );
    // Another lifetime would need the passphrase too.
    const json = JSON.parse(text);
    json.expiresAt = "2999-01-01T00:00:00.000Z";
    const { createHash } = await import("node:crypto");
    const { digest: _, ...body } = json;
    const digest = createHash("sha256").update(JSON.stringify(body)).digest("hex");
    writeFileSync(path, JSON.stringify({ ...body, digest }));
    assert.match(
      await result("--passphrase-file", secret),
      /^2 error: Cannot decrypt it: .*or the file was changed/,
    );
    writeFileSync(path, text);
    assert.match(await result("--passphrase-file", secret), /^0 /);
    await n1.plan();
    const plain = await joined(`${dir}/n3.join`, `${dir}/n3`, "--passphrase-file", secret);
    assert.match(plain.stderr, /n3\.join is not encrypted with a passphrase/);
  }));

Deno.test("a machine joins only as the one that the plan is about, with what it needs", () =>
  inDir(async (dir) => {
    await using n1 = await firstServer(dir);
    await n1.plan();
    const path = `${dir}/n2.join`;
    const whole = readFileSync(path, "utf8");
    const problems = async () => {
      const result = await joined(path, `${dir}/n2`, "--json");
      assert.equal(result.code, 1, result.stdout + result.stderr);
      assert.ok(!existsSync(`${dir}/n2`));
      writeFileSync(path, whole);
      return findingsOf(result).join("\n");
    };
    await changed(path, { address: "192.0.2.7" });
    assert.match(
      await problems(),
      /^problem address: n2 is at 192\.0\.2\.7 by the plan, which is not an/,
    );
    await changed(path, {}, (it) => ({ ...it, needs: { ...it.needs, disk: 2 ** 60 } }));
    assert.match(
      await problems(),
      /^problem disk: n2: .* has \d+ MiB, the control plane and its blobs need/,
    );
    await using taken = await listening("127.0.0.2", n1.natsPort);
    assert.match(
      await problems(),
      new RegExp(
        `^problem port: 127\\.0\\.0\\.2:${taken.port} cannot be used \\(EADDRINUSE\\); stop`,
      ),
    );
  }));

Deno.test("join compares plan and clock with the first node where that answers", () =>
  inDir(async (dir) => {
    const path = `${dir}/n2.join`;
    const keep = `${dir}/kept.join`;
    let seed = "";
    {
      await using n1 = await firstServer(dir);
      await n1.plan();
      copyFileSync(path, keep);
      await n1.plan("--replace");
      const old = await joined(keep, `${dir}/n2`, "--json");
      assert.equal(old.code, 1);
      assert.match(
        findingsOf(old).join(),
        /^problem plan: n1 has plan \w+, this file is of plan \w+: the plan was replaced; copy the new n2\.join$/,
      );
      const file = await parseJoin(readFileSync(path, "utf8")).open();
      seed = parseServiceKeys(file.files["service-keys.json"]!, "").service.seed;
    }
    const silent = await joined(path, `${dir}/a`, "--json");
    assert.equal(silent.code, 0);
    assert.match(
      findingsOf(silent).join(),
      /^warning first node: n1 does not answer at nats:.*: clock and plan are compared when/,
    );

    // A first node whose clock is 90 s ahead.
    await using server = await testServer();
    const connection = await connectNats({ servers: server.url, nkeySeed: seed });
    const { plan } = parseJoin(readFileSync(path, "utf8"));
    let ahead = 90_000;
    connection.subscribe("unibus.membershipd.ping", {
      callback: (_, msg) => void msg.respond(JSON.stringify({ plan, time: Date.now() + ahead })),
    });
    await connection.flush();
    await changed(path, {}, (it) => ({ ...it, first: { ...it.first, url: server.url } }));
    const result = async (name: string) => {
      const it = await joined(path, `${dir}/${name}`, "--json");
      return `${it.code} ${findingsOf(it).join()}`;
    };
    assert.match(
      await result("b"),
      /^1 problem clock: this machine's clock is 90 s behind that of n1, at most 30 s/,
    );
    ahead = -90_000;
    assert.match(
      await result("b"),
      /^1 problem clock: this machine's clock is 90 s ahead of that of n1/,
    );
    ahead = 20_000;
    assert.equal(await result("b"), "0 ");
    await connection.close();
  }));

Deno.test("a directory with another control plane, or with its keys, is no place to join", () =>
  inDir(async (dir) => {
    await using n1 = await firstServer(dir);
    await n1.plan();
    const path = `${dir}/n2.join`;
    const refused = async (name: string, message: RegExp) => {
      const { code, stderr } = await joined(path, `${dir}/${name}`);
      assert.equal(code, 1, stderr);
      assert.match(stderr, message);
      assert.match(stderr, /\nhint: name an empty directory with --dir, or move that away/);
      assert.ok(!existsSync(`${dir}/${name}/node.json`));
    };
    mkdirSync(`${dir}/file`);
    {
      await using store = openSqlite(`${dir}/file/unibus.db`);
      await store.addUser(person("eve"));
    }
    await refused("file", /Joining: .*\/file\/unibus\.db holds a control plane/);
    mkdirSync(`${dir}/keys`);
    await cli(["nats", "accounts", `${dir}/keys/service-keys.json`]);
    await refused("keys", /service-keys\.json are the service keys of another control plane/);
    mkdirSync(`${dir}/streams/jetstream/jetstream/CONTROL/streams/KV_UNIBUS`, { recursive: true });
    await refused("streams", /streams\/jetstream holds the stream KV_UNIBUS of a control plane/);
    // What holds nothing is no obstacle: an interrupted join, an empty file.
    mkdirSync(`${dir}/begun`);
    copyFileSync(`${n1.dir}/service-keys.json`, `${dir}/begun/service-keys.json`);
    await openSqlite(`${dir}/begun/empty.db`).close();
    assert.equal((await joined(path, `${dir}/begun`)).code, 0);
  }));

/** A program that has a port. */
async function listening(host: string, port: number): Promise<AsyncDisposable & { port: number }> {
  const server = createServer().listen({ host, port });
  await until(() => server.listening, "listener");
  return {
    port,
    [Symbol.asyncDispose]: async () => void await new Promise((end) => server.close(end)),
  };
}
