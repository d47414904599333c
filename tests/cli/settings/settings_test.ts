import assert from "node:assert/strict";
import { readConfig, resolve } from "../../../cli/settings/resolve.ts";
import { flagOf, type Key, KEYS, SPECS, variableOf } from "../../../cli/settings/settings.ts";
import { cli } from "../kit.ts";
import { inDir } from "../../helpers/sqlite.ts";

const NOTHING = { flags: {}, env: {}, file: null };

/** A value other than the default, and how it is written, for every setting. */
const OTHER: Record<Key, [text: string, value: unknown]> = {
  bind: ["127.0.0.2", "127.0.0.2"],
  httpPort: ["1", 1],
  natsPort: ["2", 2],
  wsPort: ["4300", 4300],
  wsUrl: ["wss://Bus.example.org/bus/,ws://127.0.0.1:1", [
    "wss://bus.example.org/bus",
    "ws://127.0.0.1:1",
  ]],
  wsOrigin: ["https://Chat.example.org/,http://a:8080", [
    "https://chat.example.org",
    "http://a:8080",
  ]],
  tlsCert: ["cert.pem", "cert.pem"],
  tlsKey: ["key.pem", "key.pem"],
  authority: ["Bus.example.org,b:1", ["bus.example.org", "b:1"]],
  publicUrl: ["https://N1.example.org:8470/,tls://n1:4250", [
    "https://n1.example.org:8470",
    "tls://n1:4250",
  ]],
  console: ["false", false],
  busAuth: ["soft", "soft"],
  serviceKeys: ["keys.json", "keys.json"],
  store: ["jetstream", "jetstream"],
  db: ["a b.db", "a b.db"],
  follower: ["f.db", "f.db"],
  storeDir: ["blobs", "blobs"],
  maxBlobBytes: ["1.5 KiB", 1536],
  bucket: ["B", "B"],
  history: ["false", false],
  replicas: ["3", 3],
  maxBlobBytesPerUser: ["3MiB", 3 * 2 ** 20],
  diskReserve: ["4MiB", 4 * 2 ** 20],
  natsMaxStore: ["5MiB", 5 * 2 ** 20],
  maxRoomsPerOwner: ["5", 5],
  maxMembersPerRoom: ["6", 6],
  maxEpochsKept: ["7", 7],
  keepInvites: ["8", 8],
  historyDays: ["11", 11],
  historyRows: ["12", 12],
  maxBodyMemory: ["9MiB", 9 * 2 ** 20],
  maxConnectionsPerAddress: ["10", 10],
  natsStore: ["js", "js"],
  natsUrl: ["nats://a:1, tls://b", ["nats://a:1", "tls://b"]],
  ca: ["ca.pem", "ca.pem"],
  nkeySeedFile: ["seed", "seed"],
  creds: ["creds", "creds"],
  systemSeedFile: ["system", "system"],
  issuerSeedFile: ["issuer", "issuer"],
  clusterName: ["c", "c"],
  serverName: ["n1", "n1"],
  clusterPort: ["3", 3],
  routes: ["a:1,nats://b:2,[::1]:3", ["a:1", "b:2", "[::1]:3"]],
  clusterUser: ["u", "u"],
  clusterPass: ["p", "p"],
  clusterPassFile: ["pass", "pass"],
  routeTlsCert: ["rc", "rc"],
  routeTlsKey: ["rk", "rk"],
  routeTlsCa: ["ra", "ra"],
  logFormat: ["json", "json"],
  logLevel: ["warn", "warn"],
};

Deno.test("the flags, their names and defaults are those of the issue", () => {
  const { settings } = resolve(NOTHING);
  const wanted: Partial<Record<Key, unknown>> = {
    bind: "127.0.0.1",
    httpPort: 8470,
    db: "./local_files/unibus.db",
    follower: null,
    storeDir: "./local_files/blobs",
    natsUrl: [],
    natsPort: 4250,
    natsStore: "./local_files/jetstream",
    busAuth: "off",
    clusterPort: 6250,
    routes: [],
    store: "sqlite",
  };
  for (const [key, value] of Object.entries(wanted)) {
    assert.deepEqual(settings[key as Key], value, key);
  }
  const flags =
    "bind http-port db store-dir nats-url nats-port nats-store bus-auth tls-cert tls-key " +
    "cluster-name server-name cluster-port routes cluster-user cluster-pass route-tls-cert " +
    "route-tls-key route-tls-ca store replicas bucket ca";
  const known = KEYS.map(flagOf);
  assert.deepEqual(flags.split(" ").filter((it) => !known.includes(`--${it}`)), []);
});

Deno.test("every setting is read from its flag, its variable and the file, in this order", () => {
  for (const key of KEYS) {
    const [text, value] = OTHER[key];
    assert.notDeepEqual(value, SPECS[key].fallback, key);
    const flags = { [key]: text };
    const env = { [variableOf(key)]: text };
    const file = { path: "a.toml", values: { [key]: text } };
    const from = (given: Partial<typeof NOTHING>) => {
      const { settings, sources } = resolve({ ...NOTHING, ...given });
      return [settings[key], sources[key]];
    };
    assert.deepEqual(from({ flags }), [value, "flag"], key);
    assert.deepEqual(from({ env } as object), [value, "environment"], key);
    assert.deepEqual(from({ file } as object), [value, "file"], key);
    assert.deepEqual(from({}), [SPECS[key].fallback, "default"], key);
    // A bad value of what does not count is not looked at.
    const bad = "\u0000";
    const badFile = { path: "a.toml", values: { [key]: bad } };
    const all = { flags, env: { [variableOf(key)]: bad }, file: badFile };
    assert.deepEqual(from(all as object), [value, "flag"], key);
    assert.deepEqual(from({ env, file: badFile } as object), [value, "environment"], key);
    // As in a shell, an empty variable says nothing.
    assert.deepEqual(
      from({ env: { [variableOf(key)]: "" }, file } as object),
      [value, "file"],
      key,
    );
  }
});

Deno.test("a password in a URL is not repeated, wherever it stands", () => {
  for (const key of ["natsUrl", "routes", "authority"] as const) {
    for (const text of ["nats://ada:sekret@a:1", "http://?, nats://ada:sekret@a:1"]) {
      for (
        const given of [
          { flags: { [key]: text } },
          { env: { [variableOf(key)]: text } },
          { file: { path: "a.toml", values: { [key]: text.split(", ") } } },
        ]
      ) {
        assert.throws(() => resolve({ ...NOTHING, ...given }), (error: Error) => {
          assert.match(error.message, /must/);
          assert.doesNotMatch(error.message, /sekret/);
          return true;
        });
      }
    }
  }
});

Deno.test("a value that cannot be is told with the place where it stands, and all at once", () => {
  const wrong: [Key, string][] = [
    ["bind", "a b"],
    ["bind", "http://a"],
    ["bind", ""],
    ["console", "no"],
    ["httpPort", "65536"],
    ["httpPort", "-1"],
    ["httpPort", "1e3"],
    ["busAuth", "on"],
    ["store", "postgres"],
    ["replicas", "6"],
    ["replicas", "0"],
    ["maxBlobBytes", "64 Mb2"],
    ["maxBlobBytes", "0"],
    ["bucket", "a b"],
    ["natsUrl", "http://a"],
    ["natsUrl", "nats://u:p@a"],
    ["routes", "a"],
    ["routes", "u:p@a:1"],
    ["routes", "a:0"],
    ["authority", "https://a"],
    ["serverName", "a b"],
    ["tlsCert", " "],
    ["wsPort", "off"],
    ["wsUrl", "https://a"],
    ["wsUrl", "wss://a/b;c"],
    ["wsUrl", "wss://a/?b"],
    ["wsUrl", "wss://a;script-src"],
    ["wsUrl", "ws://[::1]:4252"],
    ["wsOrigin", "https://a/b"],
    ["wsOrigin", "*"],
  ];
  for (const [key, text] of wrong) {
    const at = (given: object, place: string) =>
      assert.throws(() => resolve({ ...NOTHING, ...given }), (error: Error) => {
        assert.ok(error.message.startsWith(`${place} must `), error.message);
        return true;
      });
    at({ flags: { [key]: text } }, flagOf(key));
    if (text !== "") at({ env: { [variableOf(key)]: text } }, variableOf(key));
    at({ file: { path: "a.toml", values: { [key]: text } } }, `a.toml: ${key}`);
  }
  assert.throws(
    () => resolve({ ...NOTHING, flags: { httpPort: "x", busAuth: "y" } }),
    /^UsageError: --http-port must.*\nerror: --bus-auth must/,
  );
});

Deno.test("the secret is never repeated, and given once", () => {
  const secret = "hunter2\u0007";
  assert.throws(() => resolve({ ...NOTHING, flags: { clusterPass: secret } }), (error: Error) => {
    assert.match(error.message, /^--cluster-pass must be/);
    return !error.message.includes("hunter2");
  });
  const both = { clusterPass: "a", clusterPassFile: "b" };
  assert.throws(() => resolve({ ...NOTHING, flags: both }), /use only one of them/);
  // Said in two places, the place that counts more counts.
  const env = { UNIBUS_CLUSTER_PASS: "a" };
  const { settings } = resolve({ ...NOTHING, env, flags: { clusterPassFile: "b" } });
  assert.deepEqual([settings.clusterPass, settings.clusterPassFile], [null, "b"]);
  const file = { path: "a.toml", values: { clusterPassFile: "b" } };
  const other = resolve({ ...NOTHING, env, file }).settings;
  assert.deepEqual([other.clusterPass, other.clusterPassFile], ["a", null]);
});

Deno.test("the file is TOML with numbers and lists; a wrong one is told, without quoting it", () =>
  inDir(async (dir) => {
    const path = `${dir}/a.toml`;
    const read = async (text: string) => {
      await Deno.writeTextFile(path, text);
      return resolve({ ...NOTHING, file: await readConfig(path) }).settings;
    };
    const settings = await read('httpPort = 1\nroutes = ["a:1", "b:2"]\nbusAuth = "enforce"\n');
    assert.deepEqual([settings.httpPort, settings.routes, settings.busAuth], [
      1,
      ["a:1", "b:2"],
      "enforce",
    ]);
    assert.equal((await read("console = false")).console, false);
    const wrong: [string, RegExp][] = [
      ["http_prot = 1", /a\.toml: unknown setting "http_prot"; did you mean httpPort\?/],
      ["busauth = 'off'", /unknown setting "busauth"; did you mean busAuth\?/],
      ["colour = 'red'", /unknown setting "colour"$/],
      ["__proto__ = 'red'", /unknown setting "__proto__"$/],
      ["httpPort = true", /httpPort must be a string, a number/],
      ["console = 1", /console must be true or false/],
      ["routes = [1]", /routes must be a string, a number/],
      ["[httpPort]\na = 1", /httpPort must be a string, a number/],
      ["clusterPass = 'hunter2", /a\.toml, line 1: /],
      ["a = 1\na = 1", /a\.toml, line 2: /],
    ];
    for (const [text, message] of wrong) {
      await assert.rejects(read(text), (error: Error) => {
        assert.equal(error.name, "UsageError");
        assert.match(error.message, message);
        return !error.message.includes("hunter2");
      });
    }
    await assert.rejects(readConfig(`${dir}/none.toml`), /no such file/);
    await assert.rejects(readConfig(dir), /cannot be read/);
  }));

Deno.test("the program takes the file from --config and UNIBUS_CONFIG, and ends with 2 when it is wrong", () =>
  inDir(async (dir) => {
    const path = `${dir}/a.toml`;
    await Deno.writeTextFile(path, "bindd = 'x'\n");
    const { code, stderr } = await cli(["--config", path]);
    assert.equal(code, 2);
    assert.match(stderr, /^error: .*a\.toml: unknown setting "bindd"; did you mean bind\?\n/);
    assert.deepEqual(await cli(["serve"], { env: { UNIBUS_CONFIG: path } }), {
      code,
      stdout: "",
      stderr,
    });
  }));

Deno.test("the help of the server names every flag, and its variable's rule", async () => {
  const { stdout } = await cli(["serve", "--help"]);
  for (const key of KEYS) {
    // One without a value turns something off.
    const word = typeof SPECS[key].fallback === "boolean" ? " " : " <";
    assert.ok(stdout.includes(` ${flagOf(key)}${word}`), key);
  }
  assert.match(stdout, /UNIBUS_HTTP_PORT=8470/);
  assert.equal(new Set(KEYS.map(variableOf)).size, KEYS.length);
});
