/**
 * What `grow` refuses before it changes anything, each with the sentence that helps.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { jetstreamManager } from "@nats-io/jetstream";
import { fingerprint, type Presence, SUBJECT } from "../../../../cli/cluster/presence.ts";
import { VERSION } from "../../../../cli/version.ts";
import { connectNats } from "../../../../src/nats/connection/connect.ts";
import { busAccounts, loadServiceKeys } from "../../../../src/nats/mod.ts";
import { documentOf } from "../../kit.ts";
import { type First, firstServer } from "../../cluster/kit.ts";
import { testServer } from "../../../helpers/nats.ts";
import { inDir } from "../../../helpers/sqlite.ts";

/** Answers as a node that has joined does, at its address. */
async function fakeNode(n1: First, name: string, answer: () => Partial<Presence>) {
  const keys = await loadServiceKeys(`${n1.dir}/service-keys.json`);
  await using stack = new AsyncDisposableStack();
  const host = `127.0.0.${name.slice(1)}`;
  const server = stack.use(
    await testServer({
      ...busAccounts({ mode: "enforce", keys }),
      host,
      port: n1.natsPort,
      jetstream: false,
      serverName: name,
    }),
  );
  const connection = await connectNats({ servers: server.url, nkeySeed: keys.service.seed });
  stack.defer(() => connection.close());
  const { plan } = JSON.parse(readFileSync(`${n1.dir}/node.json`, "utf8"));
  const present = (): Presence => ({
    node: name,
    version: VERSION,
    time: Date.now(),
    bucket: null,
    keys: fingerprint(keys),
    plan,
    waiting: "joined, waiting for the control plane",
    nats: "2.15.1",
    disk: 2 ** 40,
    ...answer(),
  });
  connection.subscribe(SUBJECT, {
    callback: (_, msg) => void msg.respond(JSON.stringify(present())),
  });
  await connection.flush();
  return stack.move();
}

/** Asks whether it can grow; returns the reason why not. */
async function reason(n1: First, ...flags: string[]): Promise<string> {
  const result = await n1.call("grow", "--dry-run", "--json", ...flags);
  const { state, error, serves } = documentOf(result);
  assert.equal(serves, "file");
  assert.equal(result.code, state === "none" ? 0 : 1, result.stdout);
  return error?.message ?? "";
}

Deno.test("grow says what each node lacks, and changes nothing", () =>
  inDir(async (dir) => {
    await using n1 = await firstServer(dir);
    const early = await n1.call("grow");
    assert.equal(early.code, 2);
    assert.match(early.stderr, /no plan of a cluster .* membershipd cluster plan/);
    assert.equal((await n1.plan()).code, 0);
    assert.match(
      await reason(n1),
      /n2 does not answer \(.*\): run membershipd join n2\.join there.*; n3 does not answer/,
    );
    let lacks: Partial<Presence> = {};
    let skew = 0;
    await using _two = await fakeNode(n1, "n2", () => ({ ...lacks, time: Date.now() + skew }));
    await using _three = await fakeNode(n1, "n3", () => ({}));
    assert.equal(await reason(n1), "");
    const cases: [Partial<Presence>, RegExp][] = [
      [{ plan: "another" }, /n2: it joined another plan: copy the present n2\.join/],
      [{ keys: "others" }, /n2: it has other service keys/],
      [{ waiting: null, bucket: "UNIBUS" }, /n2: it serves UNIBUS/],
      [{ waiting: null }, /n2: it does not wait/],
      [{ version: "0.0.1" }, /n2: it runs version 0\.0\.1, this one .*: upgrade it/],
      [{ disk: 1000 }, /n2: it has 1 MiB of free disk space, \d+ MiB are needed/],
    ];
    for (const [answer, expected] of cases) {
      lacks = answer;
      assert.match(await reason(n1), expected);
    }
    lacks = {};
    for (
      const [ms, expected] of [[90_000, /n2: .* 90 s ahead of this/], [
        -90_000,
        /90 s behind/,
      ]] as const
    ) {
      skew = ms;
      assert.match(await reason(n1), expected);
    }
    skew = 0;
    assert.deepEqual(
      documentOf(await n1.call("grow", "--dry-run", "--json")).findings,
      [`n2: joined, waiting; version ${VERSION}`, `n3: joined, waiting; version ${VERSION}`],
    );
    const people = await n1.call("grow", "--dry-run");
    assert.match(people.stdout, /grow is possible; nothing was changed\nn1 serves from its file/);

    // A stream of somebody else's on this nats-server is named.
    const keys = await loadServiceKeys(`${n1.dir}/service-keys.json`);
    const connection = await connectNats({ servers: n1.nats, nkeySeed: keys.service.seed });
    await (await jetstreamManager(connection)).streams.add({ name: "ORDERS", subjects: ["o.>"] });
    await connection.close();
    assert.match(await reason(n1), /Streams that clients made on this nats-server: ORDERS/);
    assert.equal(await reason(n1, "--drop-streams"), "");

    // A node that did not make the plan does not begin.
    const path = `${n1.dir}/node.json`;
    const text = readFileSync(path, "utf8");
    writeFileSync(path, text.replace(/"plan": "\w+"/, '"plan": "other"'));
    assert.match(await reason(n1), /Node n1 did not make the plan of its cluster/);
    writeFileSync(path, text);

    for (
      const [args, expected] of [
        [
          ["shrink", "--keep", "n2"],
          /Node n1 serves from a file already: .*\n.*after membershipd grow on n1/,
        ],
        [["grow", "--release"], /No grow waits/],
      ] as const
    ) {
      const { code, stdout, stderr } = await n1.call(...args);
      assert.match(stdout + stderr, expected);
      assert.equal(code, 1, args.join(" "));
    }
    const nothing = await n1.call("shrink", "--keep", "n1");
    assert.deepEqual([nothing.code, nothing.stdout], [
      0,
      `nothing to do: n1 serves from its file ${n1.db}\n`,
    ]);
    const { unchanged, serves } = documentOf(await n1.call("shrink", "--keep", "n1", "--json"));
    assert.deepEqual([unchanged, serves], [true, "file"]);
    for (
      const [args, expected] of [
        [["shrink"], /--keep is required/],
        [["grow", "--hold", "--release"], /--hold and --release cannot be used together/],
        [["grow", "--pace", "2"], /above 0 and up to 1/],
      ] as const
    ) {
      const { code, stderr } = await n1.call(...args);
      assert.equal(code, 2);
      assert.match(stderr, expected);
    }
    assert.equal(JSON.parse(readFileSync(path, "utf8")).state, "planned");
    assert.equal((await n1.call("user", "list", "--json")).code, 0);
  }));
