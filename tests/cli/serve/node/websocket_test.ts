import assert from "node:assert/strict";
import { daemon, filesIn, until } from "../kit.ts";
import { inDir } from "../../../helpers/sqlite.ts";
import { admits, wsConnect } from "../../../helpers/websocket.ts";
import { cli } from "../../kit.ts";

Deno.test("a server lets its own pages use NATS over WebSocket, and tells where", () =>
  inDir(async (dir) => {
    await using server = await daemon(dir, ["--ws-port", "0", "--ws-origin", "https://a.example"]);
    const { ws } = await server.event("ready");
    assert.match(ws, /^ws:\/\/127\.0\.0\.1:\d+$/);
    const { nodes } = await (await fetch(`${server.http}/v1/nodes`)).json();
    assert.deepEqual(nodes.map((it: { wsUrls: string[] }) => it.wsUrls), [[ws]]);
    const { port } = new URL(server.http);
    const own = [server.http, `http://localhost:${port}`, "https://a.example"];
    for (const origin of own) await (await wsConnect(ws, { origin })).close();
    for (const origin of [`https://127.0.0.1:${port}`, "https://b.example"]) {
      await assert.rejects(wsConnect(ws, { origin }), origin);
    }
    // Its nats-server is started again on the same port.
    const pid = server.natsPid();
    Deno.kill(pid, "SIGKILL");
    await until(() => server.natsPid() !== pid, "another nats-server");
    await (await wsConnect(ws, { origin: server.http })).close();
  }));

Deno.test("behind a reverse proxy the page of its name may use NATS over WebSocket", () =>
  inDir(async (dir) => {
    const proxy = ["--authority", "bus.example.org", "--ws-url", "wss://bus.example.org/bus"];
    await using server = await daemon(dir, [...proxy, "--ws-port", "0"]);
    const { ws } = await server.event("ready");
    assert.ok(await admits(ws, "https://bus.example.org"));
    assert.ok(!await admits(ws, "https://bus.example.org.evil.example"));
  }));

Deno.test("the WebSocket port is chosen with care: none for a server of another NATS port", () =>
  inDir(async (dir) => {
    await using server = await daemon(dir);
    assert.equal((await server.event("ready")).ws, undefined);
    const { nodes } = await (await fetch(`${server.http}/v1/nodes`)).json();
    assert.deepEqual(nodes[0].wsUrls, []);
    // A name that is not known would let every page in.
    const open = ["--bind", "0.0.0.0", "--bus-auth", "enforce", "--ws-port", "0"];
    const proxy = ["--ws-url", "wss://bus.example.org/bus"];
    const { code, stderr } = await cli(["serve", ...filesIn(`${dir}/b`), ...open, ...proxy]);
    assert.equal(code, 2);
    assert.match(
      stderr,
      /every web page could use it; set --authority, --public-url or --ws-origin/,
    );
  }));
