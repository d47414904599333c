import assert from "node:assert/strict";
import { chmod, readdir, writeFile } from "node:fs/promises";
import { authoritiesOf, originsOf } from "../../../cli/serve/authorities.ts";
import { inspect } from "../../../cli/serve/certificates.ts";
import { databaseProblems, isPublic, problemsOf, wsPortOf } from "../../../cli/settings/guards.ts";
import { createLog } from "../../../cli/terminal/log.ts";
import { resolve } from "../../../cli/settings/resolve.ts";
import type { Settings } from "../../../cli/settings/settings.ts";
import { isLoopback } from "../../../src/core/host/loopback.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";
import { cli } from "../kit.ts";
import { inDir } from "../../helpers/sqlite.ts";
import { testAuthority, testTls } from "../../helpers/tls.ts";

function settingsOf(...args: string[]): Settings {
  const flags: Record<string, string> = {};
  for (let i = 0; i < args.length; i += 2) {
    flags[args[i]!.slice(2).replace(/-(.)/g, (_, it) => it.toUpperCase())] = args[i + 1]!;
  }
  return resolve({ flags, env: {}, file: null }).settings;
}

const PUBLIC = ["--bind", "0.0.0.0", "--bus-auth", "enforce"];
const NODE = ["--cluster-name", "c", "--server-name", "n1", "--routes", "b:6250"];
const SECRET = ["--cluster-user", "u", "--cluster-pass", "p"];
const MUTUAL = ["--route-tls-cert", "c", "--route-tls-key", "k", "--route-tls-ca", "a"];
const ENFORCE = ["--bus-auth", "enforce"];
const OWN = ["--nats-url", "nats://a:1"];

/** Command lines that may start. */
const GOOD: string[][] = [
  [],
  PUBLIC,
  [...PUBLIC, "--tls-cert", "c", "--tls-key", "k"],
  [...ENFORCE, "--tls-cert", "c", "--tls-key", "k"],
  ["--bus-auth", "soft"],
  ["--bind", "127.9.9.9"],
  ["--bind", "::1"],
  ["--bind", "localhost"],
  NODE,
  [...NODE, ...SECRET],
  [...NODE, ...ENFORCE, ...SECRET],
  [...NODE, ...ENFORCE, ...SECRET, ...MUTUAL],
  [...NODE, ...PUBLIC, ...SECRET, ...MUTUAL],
  [...NODE, ...PUBLIC, "--cluster-user", "u", "--cluster-pass-file", "f", ...MUTUAL],
  ["--server-name", "n1"],
  ["--store", "jetstream", "--bucket", "B", "--replicas", "1"],
  OWN,
  [...OWN, "--creds", "c"],
  [...OWN, ...ENFORCE, "--service-keys", "k"],
  [...OWN, ...ENFORCE, "--creds", "c", "--system-seed-file", "s", "--issuer-seed-file", "i"],
  ["--http-port", "0", "--nats-port", "0"],
  // No cluster: nothing listens there.
  ["--http-port", "6250"],
  [...OWN, "--http-port", "4250"],
  ["--ws-port", "1", "--ws-origin", "https://a"],
  ["--ws-port", "none"],
  [...PUBLIC, "--ws-port", "1", "--tls-cert", "c", "--tls-key", "k"],
  [...PUBLIC, "--ws-port", "1", "--ws-url", "wss://a/bus"],
  [...OWN, "--ws-url", "wss://a"],
];

/** Command lines that must not, and what they are told. */
const BAD: [string[], RegExp][] = [
  [["--bind", "0.0.0.0"], /--bind 0\.0\.0\.0 .*--bus-auth off.*add --bus-auth enforce/],
  [["--bind", "::"], /add --bus-auth enforce/],
  [["--bind", "192.168.0.1", "--bus-auth", "soft"], /--bus-auth soft.*add --bus-auth enforce/],
  [["--bind", "example.org"], /add --bus-auth enforce/],
  [["--tls-cert", "c", "--tls-key", "k"], /--tls-cert and --tls-key .*add --bus-auth enforce/],
  [["--bus-auth", "soft", "--tls-cert", "c", "--tls-key", "k"], /add --bus-auth enforce/],
  [[...NODE, ...MUTUAL], /--route-tls-ca .*add --bus-auth enforce/],
  [[...ENFORCE, "--tls-cert", "c"], /--tls-cert is set without --tls-key; set both/],
  [[...ENFORCE, "--tls-key", "k"], /--tls-key is set without --tls-cert; set both/],
  [
    ["--cluster-name", "c", "--routes", "b:1"],
    /--cluster-name and --routes.* requires --server-name/,
  ],
  [["--routes", "b:1"], /requires --server-name .* and --cluster-name/],
  [["--cluster-name", "c", "--server-name", "n"], /requires --routes/],
  [SECRET, /requires --server-name .*, --cluster-name .* and --routes/],
  [[...NODE, "--cluster-user", "u"], /--cluster-user and --cluster-pass-file .*set both/],
  [[...NODE, "--cluster-pass", "p"], /--cluster-user and --cluster-pass-file .*set both/],
  [[...NODE, ...ENFORCE], /every program on this machine.*; add a route secret \([^)]*\)\n?$/],
  [[...NODE, ...ENFORCE, ...MUTUAL], /add a route secret \(--cluster-user/],
  [[...NODE, ...PUBLIC], /add a route secret .* and mutual TLS/],
  [[...NODE, ...PUBLIC, ...SECRET], /add mutual TLS \(--route-tls-cert, /],
  [[...NODE, ...PUBLIC, ...MUTUAL], /add a route secret \(--cluster-user/],
  [
    [...NODE, ...ENFORCE, ...SECRET, "--route-tls-cert", "c"],
    /--route-tls-cert without --route-tls-key and --route-tls-ca; .*set all three/,
  ],
  [
    [...NODE, ...ENFORCE, ...SECRET, "--route-tls-cert", "c", "--route-tls-key", "k"],
    /without --route-tls-ca; /,
  ],
  [
    [...NODE, ...OWN],
    /--cluster-name.* and --nats-url cannot be used together/,
  ],
  [["--replicas", "3"], /--replicas requires --store jetstream/],
  [["--bucket", "B", "--replicas", "3"], /--bucket and --replicas require --store jetstream/],
  [["--creds", "c"], /--creds is for an external NATS server: add --nats-url/],
  [[...OWN, "--creds", "c", "--nkey-seed-file", "n"], /use only one of them/],
  [[...OWN, ...ENFORCE], /--nkey-seed-file or --creds, --system-seed-file and --issuer-seed-file/],
  [[...OWN, "--bus-auth", "soft", "--creds", "c"], /: --system-seed-file and --issuer-seed-file/],
  [["--http-port", "4250"], /--http-port and --nats-port are both 4250/],
  [[...NODE, "--nats-port", "6250"], /--nats-port and --cluster-port are both 6250/],
  [["--ws-port", "8470"], /--http-port and --ws-port are both 8470/],
  [["--http-port", "4252"], /--http-port and --ws-port are both 4252/],
  [[...OWN, "--ws-port", "1"], /cannot be used with --nats-url; .*--ws-url/],
  [[...OWN, "--ws-origin", "https://a"], /set allowed_origins/],
  [
    [...PUBLIC, "--ws-port", "1"],
    /without TLS: .*add --tls-cert and --tls-key, or .*--ws-url wss:/,
  ],
  [[...PUBLIC, "--ws-port", "1", "--ws-url", "ws://a"], /without TLS: .*--ws-url wss:/],
  [[...PUBLIC, "--ws-url", "wss://a"], /--ws-url requires --ws-port/],
  [
    ["--nats-port", "1", "--ws-url", "wss://a", "--ws-origin", "https://a"],
    /--ws-url and --ws-origin require --ws-port/,
  ],
];

Deno.test("settings that keep the doors shut may start", () => {
  for (const args of GOOD) assert.deepEqual(problemsOf(settingsOf(...args)), [], args.join(" "));
});

Deno.test("each guard refuses with one sentence that says what to do", () => {
  for (const [args, message] of BAD) {
    const problems = problemsOf(settingsOf(...args));
    assert.equal(problems.length, 1, `${args.join(" ")}: ${problems.join("; ")}`);
    assert.match(problems[0]!, message, args.join(" "));
  }
});

Deno.test("the program refuses all of them with 2, and makes no file", () =>
  inDir(async (dir) => {
    const files = ["--db", `${dir}/d/a.db`, "--store-dir", `${dir}/b`, "--nats-store", `${dir}/j`];
    for (const [args, message] of BAD) {
      const { code, stdout, stderr } = await cli([...files, ...args]);
      assert.deepEqual([code, stdout], [2, ""], args.join(" "));
      assert.match(stderr, message);
      assert.match(stderr, /^error: /);
    }
    assert.deepEqual(await readdir(dir), []);
  }));

Deno.test("loopback is 127.0.0.0/8, ::1 and localhost, and nothing else", () => {
  for (const it of ["127.0.0.1", "127.0.0.2", "127.255.255.255", "::1", "localhost", "LOCALHOST"]) {
    assert.equal(isLoopback(it), true, it);
  }
  const others =
    "0.0.0.0 :: ::ffff:127.0.0.1 10.0.0.1 128.0.0.1 126.255.255.255 127.1 127 0 localhost.localdomain " +
    "localhost.example.org 127.0.0.1.example.org example.org 0:0:0:0:0:0:0:1 ::2 fe80::1";
  for (const it of others.split(" ")) assert.equal(isLoopback(it), false, it);
  assert.equal(isPublic(settingsOf()), false);
  assert.equal(isPublic(settingsOf(...PUBLIC)), true);
});

Deno.test("a certificate and its key must be there, be readable, and belong together", async () => {
  await using tls = await testTls();
  const { cert, key } = tls.server;
  await inDir(async (dir) => {
    const look = (...args: string[]) => inspect(settingsOf(...ENFORCE, ...args));
    const file = async (name: string, text: string, mode = 0o600) => {
      const path = `${dir}/${name}`;
      await writeFile(path, text, { mode });
      await chmod(path, mode);
      return path;
    };
    const good = await look("--tls-cert", cert, "--tls-key", key);
    assert.deepEqual([good.problems, good.names], [[], ["localhost", "127.0.0.1"]]);
    assert.equal(good.pair?.cert, await Deno.readTextFile(cert));
    // It is good for a day.
    assert.match(good.warnings.join(), /^--tls-cert .*expires at .*, in 0 days; renew it$/);
    const routes = ["--route-tls-cert", cert, "--route-tls-key", key, "--route-tls-ca", tls.caFile];
    assert.deepEqual((await look(...routes)).problems, []);

    const open = await file("open.key", await Deno.readTextFile(key), 0o644);
    const text = await file("text.pem", "hello");
    const locked = await file("locked.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n");
    const nameless = tls.authority.issue("nameless", []);
    const namelessCert = await file("nameless.pem", nameless.cert);
    const namelessKey = await file("nameless.key", nameless.key);
    const wrong: [string[], RegExp][] = [
      [["--tls-cert", `${dir}/none`, "--tls-key", key], /^--tls-cert .*none: no such file$/],
      [["--tls-cert", cert, "--tls-key", `${dir}/none`], /^--tls-key .*none: no such file$/],
      [["--tls-cert", dir, "--tls-key", key], /^--tls-cert .*: is a directory/],
      [["--tls-cert", text, "--tls-key", key], /^--tls-cert .*contains no certificate/],
      [["--tls-cert", cert, "--tls-key", text], /^--tls-key .*contains no private key/],
      [
        ["--tls-cert", cert, "--tls-key", locked],
        /^--tls-key .*encrypted; store it without a password/,
      ],
      [
        ["--tls-cert", cert, "--tls-key", tls.client.keyFile],
        /^--tls-key .* is not the private key/,
      ],
      [["--tls-cert", cert, "--tls-key", open], /accessible to all users .*; chmod o-rwx /],
      [["--tls-cert", namelessCert, "--tls-key", namelessKey], /has no host name/],
      [["--route-tls-ca", text], /^--route-tls-ca .*contains no certificate/],
      [["--ca", `${dir}/none`], /^--ca .*no such file/],
      [
        ["--route-tls-cert", cert, "--route-tls-key", tls.client.keyFile],
        /^--route-tls-key .* is not/,
      ],
    ];
    for (const [args, message] of wrong) {
      const { problems, pair } = await look(...args);
      assert.equal(problems.length, 1, `${args.join(" ")}: ${problems.join("; ")}`);
      assert.match(problems[0]!, message);
      if (args[0] === "--tls-cert" && args[3] !== open && args[1] !== namelessCert) {
        assert.equal(pair, null);
      }
    }

    const later = (days: number) =>
      inspect(
        settingsOf(...ENFORCE, "--tls-cert", cert, "--tls-key", key),
        new Date(Date.now() + days * 86_400_000),
      );
    assert.match((await later(2)).problems.join(), /expired at .*; renew it/);
    assert.match(
      (await later(-3)).problems.join(),
      /not valid before .* check this machine's clock/,
    );
    assert.deepEqual((await later(-0.9)).problems, []);
  });
});

Deno.test("a database that others may write is refused, and one that they may read is not", () =>
  inDir(async (dir) => {
    const db = `${dir}/a.db`;
    await openSqlite(db).close();
    const problems = () => databaseProblems(settingsOf("--db", db));
    assert.deepEqual(await problems(), []);
    for (const mode of [0o600, 0o640, 0o644, 0o755]) {
      await chmod(db, mode);
      assert.deepEqual(await problems(), [], mode.toString(8));
    }
    for (const mode of [0o602, 0o620, 0o666]) {
      await chmod(db, mode);
      const [problem, ...more] = await problems();
      assert.match(problem!, new RegExp(`has mode 0${mode.toString(8)}, .*chmod go-w ${db}, `));
      assert.deepEqual(more, []);
    }
    const { code, stderr } = await cli(["serve", "--db", db]);
    assert.equal(code, 2);
    assert.match(stderr, /--db .*a\.db has mode 0666/);
    assert.deepEqual(await databaseProblems(settingsOf("--db", db, "--store", "jetstream")), []);
    await chmod(db, 0o600);
    await writeFile(`${db}-wal`, "", { mode: 0o600 });
    await chmod(`${db}-wal`, 0o622);
    assert.match((await problems()).join(), /a\.db-wal has mode 0622/);
  }));

Deno.test("the route secret's file must hold it, for membershipd only", () =>
  inDir(async (dir) => {
    const path = `${dir}/pass`;
    const start = (...args: string[]) => cli([...NODE, "--cluster-user", "u", ...args]);
    const wrong: [text: string | null, mode: number, RegExp][] = [
      [null, 0, /--cluster-pass-file .*no such file/],
      ["", 0o600, /must contain the route secret in one line/],
      ["hunter2\nhunter3", 0o600, /in one line/],
      ["hunter2", 0o644, /accessible to all users of this machine; chmod o-rwx/],
    ];
    for (const [text, mode, message] of wrong) {
      if (text !== null) await writeFile(path, text);
      if (text !== null) await chmod(path, mode);
      const { code, stderr } = await start("--cluster-pass-file", path);
      assert.equal(code, 2);
      assert.match(stderr, message);
      assert.doesNotMatch(stderr, /hunter/);
    }
    const config = `${dir}/a.toml`;
    await writeFile(config, 'clusterPass = "hunter2"\n', { mode: 0o644 });
    const open = await start("--config", config);
    assert.equal(open.code, 2);
    assert.match(open.stderr, /--config .*: the file contains the route secret/);
  }));

Deno.test("requests must be signed for a name of this server, where anybody can tell its names", () => {
  const of = (names: string[] | null, ...args: string[]) =>
    authoritiesOf(settingsOf(...args), names, 8470)?.sort() ?? null;
  const local = [
    "127.0.0.1",
    "127.0.0.1:8470",
    "[::1]",
    "[::1]:8470",
    "localhost",
    "localhost:8470",
  ];
  assert.deepEqual(of(null), local);
  assert.deepEqual(of(null, ...PUBLIC), null);
  assert.deepEqual(of(["*.example.org"], ...PUBLIC), null);
  assert.deepEqual(
    of(["bus.example.org"], ...PUBLIC),
    [
      ...local,
      "bus.example.org",
      "bus.example.org:8470",
    ].sort(),
  );
  assert.deepEqual(of(null, ...ENFORCE, "--bind", "10.0.0.1"), ["10.0.0.1", "10.0.0.1:8470"]);
  assert.deepEqual(of(null, ...PUBLIC, "--authority", "Bus.example.org,b:1"), [
    "b:1",
    "bus.example.org",
    "bus.example.org:8470",
  ]);
  assert.deepEqual(
    of(
      ["n1.example"],
      ...PUBLIC,
      "--authority",
      "b:1",
      "--public-url",
      "https://n1.example,tls://n1:2",
    ),
    ["b:1", "n1.example"],
  );
  assert.ok(of(null, "--public-url", "https://n1.example:8443")?.includes("n1.example:8443"));
  // The port of the scheme is no part of an authority.
  assert.deepEqual(of(["a"], ...PUBLIC, "--authority", "a:443"), ["a"]);
});

Deno.test("the pages that may use NATS over WebSocket are this server's own, and those in the settings", () => {
  const of = (names: string[] | null, ...args: string[]) =>
    originsOf(settingsOf(...args), names, 8470).toSorted();
  assert.deepEqual(of(null), [
    "http://127.0.0.1:8470",
    "http://[::1]:8470",
    "http://localhost:8470",
  ]);
  // Not the scheme's own port, which may be that of another program.
  assert.deepEqual(of(["n1.example"], ...ENFORCE, "--bind", "10.0.0.1"), [
    "https://10.0.0.1:8470",
    "https://n1.example:8470",
  ]);
  // Behind a proxy that has TLS.
  const proxied = originsOf(settingsOf(...PUBLIC, "--authority", "bus.example"), null, 8470);
  assert.equal(proxied.at(-1), "https://bus.example");
  const told = ["--public-url", "https://n1.example:8443/x,tls://n1:2", "--ws-origin", "https://a"];
  assert.ok(of(null, ...PUBLIC, ...told).includes("https://n1.example:8443"));
  assert.ok(of(null, ...PUBLIC, ...told).includes("https://a"));
  assert.ok(!of(null, ...PUBLIC, ...told).some((it) => it.includes("n1:2")));
  // Unknown: none, which the server does not start with.
  assert.deepEqual(of(null, ...PUBLIC), []);
  assert.deepEqual(of(["*.example"], ...PUBLIC), []);
});

Deno.test("NATS over WebSocket is on by default where only this machine can reach it, once", () => {
  const of = (...args: string[]) => wsPortOf(settingsOf(...args));
  assert.equal(of(), 4252);
  assert.equal(of("--bind", "::1", ...ENFORCE, "--tls-cert", "c", "--tls-key", "k"), 4252);
  assert.equal(of(...PUBLIC, "--tls-cert", "c", "--tls-key", "k"), null);
  assert.equal(of("--nats-port", "4300"), null);
  assert.equal(of("--nats-port", "4300", "--ws-port", "0"), 0);
  assert.equal(of("--ws-port", "none"), null);
  assert.equal(of(...OWN), null);
});

Deno.test("the log: one line an event, whatever strangers send; secrets never", () => {
  const at = new Date("2026-01-02T03:04:05.678Z");
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line);
  const options = { level: "info", secrets: ["hunter2", ""], write, clock: () => at } as const;
  const hostile = {
    a: "x\n2026-01-02T03:04:05.678Z INFO  forged",
    b: "\u001b[31m\u009b1m\u2028\u202e\u{e0001}\u007f",
    c: 'say "hi" a=b',
    d: "nats://u:hunter2@host",
    e: null,
    f: 1.5,
    g: true,
    h: undefined,
    i: new Error("it hunter2 failed"),
    j: "",
    k: "x".repeat(10_000),
  };
  for (const format of ["text", "json"] as const) {
    const log = createLog({ ...options, format });
    log("debug", "hidden");
    log("info", "a.b", hostile);
  }
  assert.equal(lines.length, 2);
  for (const line of lines) {
    // deno-lint-ignore no-control-regex
    assert.doesNotMatch(line, /[\u0000-\u001f\u007f-\u009f\u2028\u2029]|\p{Cf}/u);
    assert.doesNotMatch(line, /hunter2/);
    assert.ok(line.length < 3_000);
  }
  const [text, json] = lines as [string, string];
  assert.match(text, /^2026-01-02T03:04:05\.678Z INFO {2}a\.b a="x\\n2026/);
  assert.match(text, / c="say \\"hi\\" a=b" d=nats:\/\/u:\*\*\*@host e=- f=1\.5 g=true i="it /);
  const found = JSON.parse(json);
  assert.deepEqual([found.time, found.level, found.event], [at.toISOString(), "info", "a.b"]);
  assert.deepEqual([found.a, found.b, found.e, found.f], [hostile.a, hostile.b, null, 1.5]);
  assert.deepEqual([found.g, found.j, "h" in found], [true, "", false]);
});

Deno.test("a certificate of another authority is told apart from its own key's", async () => {
  // Two certificates with the same name: only the key tells which is whose.
  const [a, b] = [testAuthority("x").issue("x"), testAuthority("x").issue("x")];
  await inDir(async (dir) => {
    await writeFile(`${dir}/a.pem`, a.cert);
    await writeFile(`${dir}/b.key`, b.key, { mode: 0o600 });
    const tls = ["--tls-cert", `${dir}/a.pem`, "--tls-key", `${dir}/b.key`];
    const { problems } = await inspect(settingsOf(...ENFORCE, ...tls));
    assert.match(problems.join(), /is not the private key of/);
  });
});
