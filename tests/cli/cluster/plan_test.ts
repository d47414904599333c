import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { jetstreamManager } from "@nats-io/jetstream";
import { readNode, type Values } from "../../../cli/settings/node.ts";
import { resolve } from "../../../cli/settings/resolve.ts";
import { parseJoin } from "../../../cli/cluster/plan/join_file.ts";
import { readPlan } from "../../../cli/cluster/plan/plan_file.ts";
import { movedIn } from "../../../cli/cluster/plan/replace.ts";
import { refusedIn, settingsFor } from "../../../cli/cluster/plan/settings.ts";
import type { Plan } from "../../../cli/cluster/plan/types.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { cli, documentOf } from "../kit.ts";
import { inDir } from "../../helpers/sqlite.ts";
import { testAuthority } from "../../helpers/tls.ts";
import { findingsOf, firstServer, NODES } from "./kit.ts";

const modeOf = (path: string) => statSync(path).mode & 0o777;

Deno.test("a plan makes keys, certificates and settings for each node, and changes nothing", () =>
  inDir(async (dir) => {
    await using n1 = await firstServer(dir, "maxRoomsPerOwner = 7");
    const dry = await n1.plan("--dry-run", "--json");
    assert.equal(dry.code, 0, dry.stderr + dry.stdout);
    assert.deepEqual([documentOf(dry).written, documentOf(dry).findings], [false, []]);
    assert.deepEqual(readdirSync(dir).sort(), ["n1", "n1.toml"]);
    assert.ok(!existsSync(`${n1.dir}/cluster`));

    const made = documentOf(await n1.plan("--json"));
    assert.deepEqual([made.unchanged, made.written, made.cluster], [false, true, "bus"]);
    assert.deepEqual(made.nodes.map((it: { join: string }) => it.join), [
      null,
      `${dir}/n2.join`,
      `${dir}/n3.join`,
    ]);
    const life = Date.parse(made.expiresAt) - Date.now();
    assert.ok(Math.abs(life - 86_400_000) < 60_000, made.expiresAt);
    for (
      const file of [
        "node.json",
        ...readdirSync(`${n1.dir}/cluster`).map((it) => `cluster/${it}`),
      ]
    ) {
      assert.equal(modeOf(`${n1.dir}/${file}`), 0o600, file);
    }
    assert.equal(modeOf(`${n1.dir}/cluster`), 0o700);

    const node = (await readNode(n1.db))!;
    assert.deepEqual([node.name, node.state, node.plan], ["n1", "planned", made.plan]);
    assert.equal(node.settings.natsStore, `${n1.dir}/jetstream.cluster`);
    assert.equal(node.alone.natsStore, `${n1.dir}/jetstream`);
    // It goes on as it was.
    assert.equal((await fetch(`${n1.http}/readyz`)).status, 200);
    assert.equal((await n1.call("user", "list")).code, 0);

    const ca = new X509Certificate(readFileSync(`${n1.dir}/cluster/ca.pem`));
    const all = [];
    for (const name of ["n2", "n3"]) {
      const path = `${dir}/${name}.join`;
      assert.equal(modeOf(path), 0o600);
      const file = parseJoin(readFileSync(path, "utf8"));
      assert.deepEqual([file.name, file.plan, file.locked], [name, made.plan, false]);
      const { settings, files, first } = await file.open();
      all.push(settings);
      const route = new X509Certificate(files["cluster/route.pem"]!);
      assert.ok(route.checkIssued(ca) && route.verify(ca.publicKey));
      assert.equal(route.subjectAltName, `IP Address:${file.address}, DNS:${name}`);
      // The authority's key stays on n1.
      assert.ok(
        !JSON.stringify(files).includes(
          readFileSync(`${n1.dir}/cluster/ca.key`, "utf8").slice(30, 90),
        ),
      );
      assert.equal(files["service-keys.json"], readFileSync(`${n1.dir}/service-keys.json`, "utf8"));
      assert.equal(first.url, n1.nats);
    }
    const [n2, n3] = all as [Record<string, unknown>, Record<string, unknown>];
    assert.deepEqual([n2.bind, n3.bind], ["127.0.0.2", "127.0.0.3"]);
    assert.deepEqual([n2.busAuth, n2.maxRoomsPerOwner, n2.store], ["enforce", 7, "jetstream"]);
    assert.deepEqual(n2.routes, [`127.0.0.1:${n2.clusterPort}`, `127.0.0.3:${n2.clusterPort}`]);
    assert.equal(n2.tlsCert, undefined);
    const plan = (await readPlan(n1.db))!;
    assert.equal(plan.id, made.plan);
    assert.ok(plan.needs.disk > 4 * statSync(n1.db).size);
  }));

Deno.test("a plan made again is the same one; another is refused, or replaces it", () =>
  inDir(async (dir) => {
    await using n1 = await firstServer(dir);
    const first = documentOf(await n1.plan("--json"));
    const secret = readFileSync(`${n1.dir}/cluster/route.secret`, "utf8");
    const again = documentOf(await n1.plan("--json", "--expires", "2h"));
    assert.deepEqual([again.plan, again.unchanged], [first.plan, true]);
    assert.ok(Date.parse(again.expiresAt) < Date.parse(first.expiresAt));
    assert.equal(readFileSync(`${n1.dir}/cluster/route.secret`, "utf8"), secret);

    // Streams of a cluster of this plan, as after a grow that was called off, or a shrink.
    mkdirSync(`${n1.dir}/jetstream.cluster/$SYS`, { recursive: true });
    assert.equal((await n1.plan()).code, 0);
    assert.ok(existsSync(`${n1.dir}/jetstream.cluster/$SYS`));

    const other = ["cluster", "plan", ...NODES.slice(0, 2), "n3=127.0.0.4", "--out", dir];
    const refused = await n1.call(...other);
    assert.equal(refused.code, 2);
    assert.match(
      refused.stderr,
      /There is a plan already, .*and it differs: nodes, settings; use --replace/,
    );
    const replaced = documentOf(await n1.call(...other, "--replace", "--json"));
    assert.notEqual(replaced.plan, first.plan);
    // They wait for nodes that the new plan does not have.
    const aside = readdirSync(n1.dir).filter((it) => it.startsWith("jetstream.cluster"));
    assert.match(aside.join(), /^jetstream\.cluster\.\d[^,]*$/);
    assert.ok(existsSync(`${n1.dir}/${aside}/$SYS`));
    assert.match(JSON.stringify(replaced.findings), new RegExp(`are now in .*${aside}: delete`));
    assert.notEqual(readFileSync(`${n1.dir}/cluster/route.secret`, "utf8"), secret);
    assert.equal((await readNode(n1.db))!.plan, replaced.plan);
    assert.equal(parseJoin(readFileSync(`${dir}/n3.join`, "utf8")).address, "127.0.0.4");

    // A damaged plan is not taken for none.
    writeFileSync(`${n1.dir}/cluster/plan.json`, "{");
    const damaged = await n1.plan();
    assert.match(
      damaged.stderr,
      /plan\.json: it is damaged.*\nhint: make a new one with .*--replace/,
    );
    assert.equal((await n1.plan("--replace")).code, 0);
    // Nor is a file written over that is something else.
    writeFileSync(`${dir}/n2.join`, "letters to grandmother");
    const kept = await n1.plan();
    assert.match(kept.stderr, /n2\.join: the file exists and is not a \.join file/);
    assert.equal(readFileSync(`${dir}/n2.join`, "utf8"), "letters to grandmother");
  }));

Deno.test("a plan says what is wrong before it writes anything", () =>
  inDir(async (dir) => {
    await using n1 = await firstServer(dir);
    const wrong = async (nodes: string[], ...flags: string[]) => {
      const result = await n1.call("cluster", "plan", ...nodes, "--out", dir, "--json", ...flags);
      assert.equal(result.code, 1, result.stdout + result.stderr);
      assert.equal(documentOf(result).plan, null);
      return findingsOf(result).join("\n");
    };
    const usage = async (nodes: string[]) => {
      const { code, stderr } = await n1.call("cluster", "plan", ...nodes, "--out", dir);
      assert.equal(code, 2);
      return stderr;
    };
    assert.match(await usage(["n1", "n2=127.0.0.2"]), /"n1" must be NAME=ADDRESS, such as/);
    assert.match(await usage(["n1=127.0.0.1", "n2=0.0.0.0", "n3=a"]), /at which the other nodes/);
    assert.match(await usage(["n1=127.0.0.1", "n 2=127.0.0.2", "n3=a"]), /must be 1 to 64 letters/);
    assert.match(await usage(NODES.slice(0, 2)), /has 3 to 5 nodes, found 2; with three, one may/);
    assert.match(
      await usage(["n1=127.0.0.1", "n2=127.0.0.2", "n3=127.0.0.2"]),
      /n2=127\.0\.0\.2 and n3=127\.0\.0\.2 have the same address/,
    );
    assert.match(
      await usage(["n1=127.0.0.1", "n1=127.0.0.2", "n3=127.0.0.3"]),
      /have the same name; each node is a machine of its own/,
    );
    assert.match(
      await wrong(["n1=127.0.0.1", "n2=127.0.0.2", "n3=localhost"]),
      /^problem address: n1 and n3 are the same machine: 127\.0\.0\.1$/,
    );
    assert.match(
      await wrong(["n1=127.0.0.1", "n2=127.0.0.2", "n3=nobody.invalid"]),
      /^problem address: n3: the name nobody\.invalid does not resolve$/,
    );
    assert.match(
      await wrong(["n1=192.0.2.1", "n2=127.0.0.2", "n3=127.0.0.3"]),
      /^problem address: n1: 192\.0\.2\.1 is not an address of this machine \(.*127\.0\.0\.1/,
    );
    // It listens on 127.0.0.1 only.
    assert.match(
      await wrong(["n1=127.0.0.5", "n2=127.0.0.2", "n3=127.0.0.3"]),
      /^problem bind: n1 does not answer at 127\.0\.0\.5:\d+; it listens on 127\.0\.0\.1: serve with/,
    );
    assert.ok(!existsSync(`${n1.dir}/cluster`) && !existsSync(`${dir}/n2.join`));
  }));

Deno.test("streams that clients made are named, and left behind only if that is wanted", () =>
  inDir(async (dir) => {
    await using n1 = await firstServer(dir, 'busAuth = "off"');
    const connection = await connectNats({ servers: n1.nats });
    const jsm = await jetstreamManager(connection);
    await jsm.streams.add({ name: "ORDERS", subjects: ["orders.>"] });
    await connection.close();
    const refused = await n1.plan("--json");
    assert.equal(refused.code, 1);
    assert.match(
      findingsOf(refused).join(),
      /^problem streams: Streams that .*: ORDERS; a cluster begins without/,
    );
    const made = await n1.plan("--json", "--drop-streams");
    assert.equal(made.code, 0, made.stderr);
    assert.match(findingsOf(made).join(), /^warning streams: .*: ORDERS; they are left behind$/);
    assert.equal((await readPlan(n1.db))!.dropStreams, true);
    // Without signatures the server takes no certificates.
    assert.equal((await readNode(n1.db))!.settings.routeTlsCert, undefined);
    assert.ok(!existsSync(`${n1.dir}/cluster/route.pem`));
  }));

Deno.test("too little disk, and ports that others cannot know, are problems", async () => {
  const found = async (...settings: string[]) => {
    let problems = "";
    await inDir(async (dir) => {
      await using n1 = await firstServer(dir, ...settings);
      problems = findingsOf(await n1.plan("--json")).join();
    });
    return problems;
  };
  assert.match(
    await found("httpPort = 0"),
    /^problem server: The server's httpPort is 0, any free port; set a fixed one/,
  );
  assert.match(
    await found('natsMaxStore = "1MiB"'),
    /^problem disk: n1: --nats-max-store allows 1 MiB, the control plane and its blobs need \d+ MiB/,
  );
});

Deno.test("only a server that serves from its own file can plan", () =>
  inDir(async (dir) => {
    const env = { UNIBUS_DB: `${dir}/a.db`, UNIBUS_NATS_PORT: "1" };
    const plan = async (more: Record<string, string>) => {
      const { stdout, code } = await cli(["cluster", "plan", ...NODES], {
        env: { ...env, ...more },
      });
      assert.equal(code, 1);
      return stdout;
    };
    await cli(["nats", "accounts", `${dir}/service-keys.json`]);
    assert.match(
      await plan({}),
      /^problem {2}server {6}membershipd does not answer at nats:\/\/127\.0\.0\.1:1/,
    );
    assert.match(
      await plan({ UNIBUS_NATS_URL: "nats://a:1" }),
      /does not start \(--nats-url\): it cannot be made/,
    );
    await using n1 = await firstServer(dir);
    const other = await cli(["cluster", "plan", ...NODES], {
      env: {
        ...n1.env,
        UNIBUS_DB: `${dir}/b.db`,
        UNIBUS_SERVICE_KEYS: `${n1.dir}/service-keys.json`,
      },
    });
    assert.match(
      other.stdout,
      /The running server serves .*\/n1\/a\.db, but the settings of this command say/,
    );
  }));

Deno.test("where the server has a certificate the others get one, by the plan's authority", () =>
  inDir(async (dir) => {
    const authority = testAuthority("somebody");
    const { cert, key } = authority.issue("n1");
    writeFileSync(`${dir}/cert.pem`, cert);
    writeFileSync(`${dir}/key.pem`, key, { mode: 0o600 });
    writeFileSync(`${dir}/their-ca.pem`, authority.cert);
    await using n1 = await firstServer(
      dir,
      `tlsCert = "${dir}/cert.pem"`,
      `tlsKey = "${dir}/key.pem"`,
      `ca = "${dir}/their-ca.pem"`,
    );
    const made = await n1.plan("--json");
    assert.equal(made.code, 0, made.stderr + made.stdout);
    const { settings, files, first } = await parseJoin(readFileSync(`${dir}/n2.join`, "utf8"))
      .open();
    assert.deepEqual([settings.tlsCert, settings.ca], ["cluster/server.pem", "cluster/ca.pem"]);
    const server = new X509Certificate(files["cluster/server.pem"]!);
    assert.equal(server.checkIP("127.0.0.2"), "127.0.0.2");
    assert.match(first.url, /^tls:\/\/127\.0\.0\.1:/);
    assert.equal(first.ca, authority.cert);
    const own = (await readNode(n1.db))!.settings;
    assert.deepEqual([own.tlsCert, own.ca], [`${dir}/cert.pem`, `${dir}/their-ca.pem`]);
    assert.ok(!existsSync(`${n1.dir}/cluster/server.pem`));
  }));

Deno.test("--tls makes certificates for a server without one too, and says what it needs to grow", () =>
  inDir(async (dir) => {
    await using n1 = await firstServer(dir);
    const made = await n1.plan("--json", "--tls");
    assert.equal(made.code, 0, made.stderr + made.stdout);
    assert.match(
      findingsOf(made).join(),
      /^warning certificate: n1 has none yet: before membershipd grow, restart it with --tls-cert .*\/n1\/cluster\/server\.pem --tls-key/,
    );
    const own = (await readNode(n1.db))!.settings;
    assert.equal(own.tlsCert, `${n1.dir}/cluster/server.pem`);
    const ca = new X509Certificate(readFileSync(`${n1.dir}/cluster/ca.pem`));
    const server = new X509Certificate(readFileSync(`${n1.dir}/cluster/server.pem`));
    assert.ok(server.checkIssued(ca) && server.verify(ca.publicKey));
    assert.equal(server.checkIP("127.0.0.1"), "127.0.0.1");
    assert.ok(Date.parse(server.validTo) - Date.now() < 825 * 86_400_000);
  }));

Deno.test("a plan carries NATS over WebSocket to the nodes that can offer it, for the pages of all", () => {
  const nodes = [1, 2, 3].map((i) => ({ name: `n${i}`, address: `10.0.0.${i}` }));
  const planned = (values: Values, tls = true) => {
    const { settings } = resolve({ flags: {}, env: {}, file: { path: "n1", values } });
    const base = { cluster: "bus", nodes, values, settings, tls };
    const made = Object.fromEntries(nodes.map((it) => [it.name, settingsFor(base, it)]));
    for (const [name, it] of Object.entries(made)) {
      assert.deepEqual(refusedIn(name, it).filter((it) => it.includes("--ws")), []);
    }
    const of = (name: string) =>
      ["wsPort", "wsUrl", "wsOrigin"].map((key) => made[name]![key as keyof Values]);
    return { settings, made, of };
  };
  const open = { bind: "0.0.0.0", busAuth: "enforce" };
  const secure = { ...open, tlsCert: "c", tlsKey: "k", wsPort: 4252, wsOrigin: ["https://a"] };
  const { settings, made, of } = planned(secure);
  const others = (...ids: number[]) =>
    ids.flatMap((i) => [`https://10.0.0.${i}:8470`, `https://n${i}:8470`]);
  assert.deepEqual(of("n1"), [4252, undefined, ["https://a", ...others(2, 3)]]);
  assert.deepEqual(of("n2"), [4252, undefined, ["https://a", ...others(1, 3)]]);

  // A machine in the place of n3.
  const plan = { nodes, settings: made } as unknown as Plan;
  const moved = movedIn(plan, { name: "n3", address: "10.0.0.9" }, settings).settings.n2!;
  assert.deepEqual(moved.wsOrigin, [
    "https://a",
    ...others(1),
    "https://10.0.0.9:8470",
    "https://n3:8470",
  ]);

  // Without TLS there is a proxy of n1 only.
  const proxied = planned({ ...open, wsPort: 4252, wsUrl: ["wss://bus.example"] }, false);
  const plain = [2, 3].map((i) => `http://10.0.0.${i}:8470`);
  assert.deepEqual(proxied.of("n1"), [4252, ["wss://bus.example"], plain]);
  assert.deepEqual(proxied.of("n2"), ["none", undefined, undefined]);
  const other = { ...plan, settings: proxied.made } as unknown as Plan;
  const { n1 } = movedIn(other, { name: "n3", address: "10.0.0.9" }, proxied.settings).settings;
  assert.deepEqual(n1!.wsOrigin, [plain[0], "http://10.0.0.9:8470"]);
  // What was not given is not carried.
  assert.deepEqual(planned(open, false).of("n2"), [undefined, undefined, undefined]);
  assert.deepEqual(planned({ ...open, wsPort: "none" }).of("n2"), ["none", undefined, undefined]);
});
