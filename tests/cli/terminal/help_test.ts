import assert from "node:assert/strict";
import process from "node:process";
import config from "../../../deno.json" with { type: "json" };
import { HELP } from "../../../cli/help.ts";
import { MIGRATIONS } from "../../../migrations/mod.ts";
import { cli, cliProcess, documentOf } from "../kit.ts";
import { natsBinary } from "../../helpers/nats.ts";

/** Every command, found by walking the help. */
async function commands(path: string[] = []): Promise<string[][]> {
  const { stdout } = await cli([...path, "--help"]);
  const [, list] = /\nCommands:\n((?: {2}.*\n)+)/.exec(stdout) ?? [];
  if (list === undefined) return [path];
  const names = [...list.matchAll(/^ {2}([a-z-]+)/gm)].map((it) => it[1]!);
  const below = names.filter((it) => it !== "help").map((it) => commands([...path, it]));
  return [path, ...(await Promise.all(below)).flat()];
}

/** Where the help that needs no parser is kept. */
const HELP_FILE = new URL("../../../cli/help.ts", import.meta.url);

Deno.test("the help that is shown without loading the parser is the parser's own", async () => {
  const { stdout } = await cli(["--help"]);
  if (Deno.args.includes("--update")) {
    const source = await Deno.readTextFile(HELP_FILE);
    const text = stdout.trimEnd().replace(/[\\`$]/g, "\\$&");
    await Deno.writeTextFile(
      HELP_FILE,
      source.replace(/(= `)[^]*(`;\n)$/, (_, a, b) => a + text + b),
    );
    return;
  }
  assert.equal(
    `${HELP}\n`,
    stdout,
    "deno test -A tests/cli/terminal/help_test.ts -- --update writes it anew",
  );
  for (const args of [["--help"], ["-h"], ["help"]]) {
    assert.deepEqual(await cliProcess(args).ended, { code: 0, stdout, stderr: "" });
  }
});

Deno.test("every command of the issue is there", async () => {
  const found = (await commands()).map((it) => it.join(" "));
  const wanted = [
    ..."add list show revoke restore delete".split(" ").map((it) => `user ${it}`),
    ..."create list show cancel redeem".split(" ").map((it) => `invite ${it}`),
    ..."export import verify diff".split(" ").map((it) => `snapshot ${it}`),
    ..."install path version accounts".split(" ").map((it) => `nats ${it}`),
    ..."plan status scale remove import".split(" ").map((it) => `cluster ${it}`),
    ..."serve migrate-to-kv migrate-to-sqlite verify doctor version".split(" "),
    "grow",
    "shrink",
    "room list",
    "room owner",
    "room show",
  ];
  assert.deepEqual(wanted.filter((it) => !found.includes(it)), []);
});

Deno.test("every command's help goes to stdout, shows examples, and is told by `help` as well", async () => {
  for (const path of await commands()) {
    const asked = await cli([...path, "--help"]);
    assert.equal(asked.code, 0, path.join(" "));
    assert.equal(asked.stderr, "");
    assert.match(asked.stdout, /\nExamples:\n {2}"?\$?\(?\w/, path.join(" "));
    assert.deepEqual(await cli(["help", ...path]), asked);
  }
});

Deno.test("every example in the help is a command line that the parser takes", async () => {
  let tried = 0;
  const known = await commands();
  for (const path of known) {
    const { stdout } = await cli([...path, "--help"]);
    const examples = /\nExamples:\n((?: {2}.*\n?)+)/.exec(stdout)![1]!.trim().split(/\n\s*/);
    for (const example of examples) {
      const [, line] = /\bmembershipd(?: (.*?))?(?:$| [|<>]|\))/.exec(example)!;
      const words = [...(line ?? "serve").matchAll(/'([^']*)'|(\S+)/g)].map((it) =>
        it[1] ?? it[2]!
      );
      const flags = words.filter((it) => it.startsWith("--")).map((it) => it.split("=")[0]!);
      const command = words.filter((it) => /^[a-z-]+$/.test(it) && !it.startsWith("-"));
      const deepest = known.filter((it) => it.every((word, i) => command[i] === word))
        .sort((a, b) => b.length - a.length)[0]!;
      const help = (await cli([...deepest, "--help"])).stdout;
      assert.ok(deepest.length > 0, example);
      for (const flag of flags) assert.ok(help.includes(`${flag}`), `${example}: ${flag}`);
      tried++;
    }
  }
  assert.ok(tried > 40, String(tried));
});

Deno.test("half a command shows the help on stderr and is wrong usage", async () => {
  for (const args of [["user"], ["snapshot"], ["nats"]]) {
    const { code, stdout, stderr } = await cli(args);
    assert.deepEqual([code, stdout], [2, ""]);
    assert.match(stderr, /^Usage: membershipd/);
  }
});

Deno.test("what the parser does not take is wrong usage, with a suggestion where one is near", async () => {
  const wrong: [string[], RegExp][] = [
    [["usr"], /unknown command 'usr'\n\(Did you mean user\?\)/],
    [["user", "lst"], /Did you mean list\?/],
    [["help", "usr"], /unknown command/],
    [["usr", "--help"], /unknown command/],
    [["user", "list", "--jsn"], /unknown option '--jsn'\n\(Did you mean --json\?\)/],
    [["user", "show"], /missing required argument 'key'/],
    [["user", "add", "--handle", "a"], /Give --sign-pub and --kex-pub, or --identity/],
    [["user", "list", "--limit", "0"], /whole number of at least 1/],
    [["user", "list", "--limit", "1e3"], /whole number/],
    [["user", "list", "--connect-timeout", "0"], /number of seconds/],
    [["user", "add", "--role", "king"], /Allowed choices are admin, user/],
    [["user", "list", "--nkey-seed-file", "a", "--creds", "b"], /cannot be used with/],
    [["invite", "create", "--expires", "soon"], /90m, 12h, 7d/],
    [["migrate-to-kv", "--nats-url", "nats://127.0.0.1:1", "--replicas", "6"], /from 1 to 5/],
    [["migrate-to-kv", "--db", "a.db"], /required option '--nats-url/],
    [["migrate-to-sqlite", "--db", "a.db"], /required option '--nats-url/],
    [["verify", "--db", "a.db"], /required option '--nats-url/],
    [["user", "list", "--creds", "b", "--service-keys", "c"], /cannot be used with/],
    [["user", "list", "--nkey-seed-file", "b", "--service-keys", "c"], /cannot be used with/],
    // Without a command it is the server that does not take it.
    [["--htp-port", "1"], /unknown option '--htp-port'\n\(Did you mean --http-port\?\)/],
    [["serve", "now"], /too many arguments/],
  ];
  for (const [args, message] of wrong) {
    const { code, stdout, stderr } = await cli(args);
    assert.deepEqual([code, stdout], [2, ""], args.join(" "));
    assert.match(stderr, message);
    assert.match(stderr, /^error: /);
    const json = await cli([...args, "--json"]);
    assert.equal(json.code, 2);
    assert.equal(documentOf(json).error.code, "usage");
  }
});

Deno.test("two stores at once, and flags that need another, are wrong usage", async () => {
  const url = ["--nats-url", "nats://127.0.0.1:1"];
  const wrong: [string[], RegExp][] = [
    [["user", "list", "--db", "a.db", ...url], /select different stores/],
    [["doctor", "--db", "a.db", ...url], /select different stores/],
    [["user", "list", "--bucket", "B"], /--bucket requires --nats-url/],
    [["user", "list", "--ca", "ca.pem"], /--ca requires --nats-url/],
    [["doctor", "--monitor-url", "http://127.0.0.1:1"], /--monitor-url requires --nats-url/],
    [["doctor", ...url, "--monitor-url", "x"], /http:\/\//],
    [["snapshot", "diff", "-", "-"], /stdin/],
    [["snapshot", "diff", "a", "@nats"], /must be used together/],
    [["snapshot", "export", "-", "--json"], /write to stdout/],
  ];
  for (const [args, message] of wrong) {
    const { code, stderr } = await cli(args);
    assert.equal(code, 2, args.join(" "));
    assert.match(stderr, message);
  }
});

Deno.test("the version is the package's, as text and as JSON", async () => {
  for (const args of [["version"], ["--version"], ["-V"]]) {
    assert.deepEqual(await cli(args), { code: 0, stdout: `${config.version}\n`, stderr: "" });
    assert.equal(documentOf(await cli([...args, "--json"])).version, config.version);
  }
});

Deno.test("version --json tells what a report of a fault needs: runtime, platform, nats-server, formats", async () => {
  const { runtime, platform, natsServer, formats, ...rest } = documentOf(
    await cli(["version", "--json"], { env: { UNIBUS_NATS_SERVER: (await natsBinary()).path } }),
  );
  assert.deepEqual(rest, { name: "membershipd", version: config.version });
  assert.deepEqual(runtime, { name: "deno", version: Deno.version.deno });
  assert.equal(platform, `${process.platform}-${process.arch}`);
  assert.equal(natsServer, (await natsBinary()).version);
  assert.deepEqual(formats, { snapshot: 2, bucket: 1, schema: MIGRATIONS.length });
  // Without one it is still told.
  const none = { UNIBUS_NATS_SERVER: "/nonexistent/nats-server" };
  assert.equal(documentOf(await cli(["version", "--json"], { env: none })).natsServer, null);
});
