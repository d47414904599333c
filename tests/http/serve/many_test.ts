/** Many connections that come and go: what they took is given back. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { TextLineStream } from "../../helpers/lines.ts";
import { authorities } from "./kit.ts";

const CHILD = fileURLToPath(new URL("./child.ts", import.meta.url));

const certificates = authorities();
const BATCH = 200;
const MB = 1024 * 1024;

/** Every way a client may leave. */
async function visit(port: number, manner: number, ca: string | undefined): Promise<void> {
  const where = { hostname: "127.0.0.1", port };
  const conn = ca === undefined
    ? await Deno.connect(where)
    : await Deno.connectTls({ ...where, caCerts: [ca] });
  const send = (text: string) => conn.write(new TextEncoder().encode(text));
  const buffer = new Uint8Array(4096);
  try {
    if (manner === 0) {
      await send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
      while (await conn.read(buffer) !== null);
    } else if (manner === 1) {
      await send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
      await conn.read(buffer);
    } else if (manner === 2) {
      await send("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc");
    } else if (manner === 3) {
      await send("GET / HTTP/1.1\r\nHost");
    } else await send("nonsense\r\n\r\n");
  } finally {
    conn.close();
  }
}

interface Held {
  rss: number;
  heap: number;
  handles: number;
}

for (const tls of [false, true]) {
  const connections = (tls ? 2000 : 10_000) * (Deno.env.get("UNIBUS_LONG") ? 5 : 1);
  const name = `hardened${tls ? " with TLS" : ""}`;

  Deno.test(`${name}: ${connections} connections that come and go leave nothing behind`, async () => {
    const { authority, pair } = certificates();
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--v8-flags=--expose-gc", CHILD],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const lines = child.stdout.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream())[Symbol.asyncIterator]();
    const input = child.stdin.getWriter();
    const say = async (line: string) => {
      await input.write(new TextEncoder().encode(`${line}\n`));
      return JSON.parse((await lines.next()).value!);
    };
    const port: number = await say(JSON.stringify(tls ? { tls: pair } : {}));
    const look = (): Promise<Held> => say("look");
    const round = async (count: number) => {
      for (let done = 0; done < count; done += BATCH) {
        const ca = tls ? authority.cert : undefined;
        await Promise.all(Array.from({ length: BATCH }, (_, i) => visit(port, i % 5, ca)));
      }
    };
    // The first ones warm up what stays.
    await round(connections / 2);
    const before = await look();
    await round(connections / 2);
    let after = await look();
    // Those who left in the middle are noticed in a moment.
    for (let i = 0; i < 400 && after.handles > before.handles; i++) after = await look();
    await input.close();
    await child.status;
    assert.ok(
      after.handles <= before.handles,
      `${after.handles} handles, ${before.handles} before`,
    );
    const heap = (after.heap - before.heap) / MB;
    assert.ok(heap < 2, `the heap grew by ${heap.toFixed(1)} MB`);
    const rss = (after.rss - before.rss) / MB;
    assert.ok(rss < 96, `memory grew by ${rss.toFixed(1)} MB`);
    if (Deno.env.get("UNIBUS_SHOW")) console.log(before, after);
  });
}
