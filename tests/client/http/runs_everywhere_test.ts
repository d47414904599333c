/** What the client imports: its core runs in browsers, Deno and Node. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Threads } from "../../../src/sealing/hpke_threads.ts";

const ROOT = new URL("../../../", import.meta.url);

interface Module {
  specifier: string;
  dependencies?: { specifier: string; code?: { specifier?: string } }[];
}

/** What runs when `entry` is imported, by paths from the root and names of others; types are left out. */
async function importsOf(entry: string): Promise<string[]> {
  const args = ["info", "--json", fileURLToPath(new URL(entry, ROOT))];
  const { stdout } = await promisify(execFile)(Deno.execPath(), args, { maxBuffer: 1e8 });
  const { modules } = JSON.parse(stdout) as { modules: Module[] };
  const all = new Map(modules.map((it) => [it.specifier, it]));
  const seen = new Set<string>();
  const follow = (specifier: string): void => {
    if (seen.has(specifier)) return;
    seen.add(specifier);
    for (const { specifier: written, code } of all.get(specifier)?.dependencies ?? []) {
      if (code !== undefined) follow(code.specifier ?? written);
    }
  };
  follow(new URL(entry, ROOT).href);
  return [...seen].map((it) => it.replace(ROOT.href, "")).sort();
}

Deno.test("the client's core imports no node: module, no package and nothing of the server", async () => {
  const own = /^src\/(client\/http|core|keys|signature)\//;
  const found = await importsOf("src/client/http/client.ts");
  found.push(...await importsOf("src/client/http/caller.ts"));
  found.push(...await importsOf("src/client/http/nodes.ts"));
  found.push(...await importsOf("src/client/http/keys.ts"));
  assert.deepEqual(found.filter((it) => !own.test(it)), []);
  assert.ok(found.includes("src/signature/sign.ts"), found.join());
});

Deno.test("rooms, and sealing by Web Crypto, import no node: module and no package but HPKE", async () => {
  const own =
    /^src\/(client\/(http|rooms)\/|core\/|keys\/|sealing\/|signature\/|nats\/connection\/watch\.ts)/;
  for (const entry of ["src/client/rooms/rooms.ts", "src/sealing/primitives_web.ts"]) {
    const found = await importsOf(entry);
    assert.deepEqual(found.filter((it) => !own.test(it) && !it.startsWith("npm:hpke@")), []);
    assert.ok(found.includes("src/keys/bytes.ts"), found.join());
  }
  const bus = await importsOf("src/web/shared/bus.ts");
  assert.deepEqual(bus.filter((it) => !/^src\/(web|core)\//.test(it)), [
    "npm:@nats-io/nats-core@3.4.0",
    "src/nats/connection/reconnect.ts",
  ]);
});

Deno.test("no page imports a node: module or anything of the server", async () => {
  const fine = "web|client/http|core|keys|signature";
  // The page of rooms is a client of the bus too.
  const connection = "nats/connection/(authenticator|reconnect|watch)\\.ts";
  const bus = `client/rooms|client/session|sealing|${connection}`;
  for (const page of ["join", "console", "rooms"]) {
    const found = await importsOf(`src/web/${page}/main.tsx`);
    const others = new RegExp(`^node:|^src/(?!${page === "rooms" ? `${fine}|${bus}` : fine})`);
    assert.deepEqual(found.filter((it) => others.test(it)), []);
    // One client: the pages' requests are made where those of programs are.
    assert.ok(found.includes("src/client/http/caller.ts"), page);
  }
});

Deno.test("the client in Deno and Node imports nothing of the server", async () => {
  const found = await importsOf("src/client/node/client.ts");
  assert.deepEqual(found.filter((it) => it.startsWith("src/http/")), []);
  assert.ok(found.some((it) => it.startsWith("node:")), "the walk sees node: modules");
});

Deno.test({
  name: "sealing starts no threads where Deno would ask the user for a permission",
  permissions: { read: false },
  fn: async () => {
    const threads = new Threads();
    await threads.start(2);
    assert.equal(threads.size, 0);
  },
});

Deno.test("threads that seal end with their work: they would keep the program running", async () => {
  const { href } = new URL("src/sealing/hpke_threads.ts", ROOT);
  const program = `
    const { withThreads } = await import("${href}");
    await withThreads(() => Promise.reject(new Error("its work failed"))).catch(() => {});`;
  await promisify(execFile)(Deno.execPath(), ["eval", program], { timeout: 60_000 });
});
