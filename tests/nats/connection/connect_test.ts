import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { connect } from "@nats-io/transport-node";
import { writeFile } from "node:fs/promises";
import { within } from "../../../src/core/async/wait.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { triedLongestAgo } from "../../../src/nats/connection/reconnect.ts";
import { serverUrls, showServers, withoutLogins } from "../../../src/nats/connection/servers.ts";
import { watchStatus } from "../../../src/nats/connection/watch.ts";
import { testServer } from "../../helpers/nats.ts";
import { failsWith, inDir } from "../../helpers/sqlite.ts";
import { testAuthority } from "../../helpers/tls.ts";

/** Takes connections, and says nothing or ends them. */
async function listener(onSocket: (socket: Socket) => void) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).once("close", () => sockets.delete(socket));
    socket.resume();
    onSocket(socket);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `nats://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sockets,
    async [Symbol.asyncDispose]() {
      for (const it of sockets) it.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

Deno.test("of connections made at once, none reports the error of another", async () => {
  await inDir(async (dir) => {
    const { cert, key } = testAuthority("CA").issue("n1", ["127.0.0.1"]);
    const tls = { cert: `${dir}/n1.pem`, key: `${dir}/n1.key` };
    await writeFile(tls.cert, cert);
    await writeFile(tls.key, key, { mode: 0o600 });
    await using untrusted = await testServer({ jetstream: false, tls });
    await using good = await testServer({ jetstream: false });
    await using silent = await listener(() => {});
    const atOnce = { bootstrapTimeout: 0 };
    const [, connection] = await Promise.all([
      failsWith(
        "unavailable",
        () => connectNats({ servers: untrusted.url.replace("nats:", "tls:"), ...atOnce }),
        /TLS failed/,
      ),
      connectNats({ servers: good.url, ...atOnce }),
      failsWith("unavailable", () => connectNats({ servers: silent.url, ...atOnce }), /timeout/),
    ]);
    await connection.flush();
    await connection.close();
    // An attempt that was given up holds no socket.
    for (const it of silent.sockets) await once(it, "close");
  });
});

Deno.test("a server that ends the connection without a word is said to have done so", async () => {
  await using mute = await listener((socket) => socket.end());
  await failsWith(
    "unavailable",
    () => connectNats({ servers: mute.url, bootstrapTimeout: 0 }),
    /the server closed the connection before its greeting/,
  );
});

Deno.test("a connection of the library's own, made in between, takes nothing away", async () => {
  await using server = await testServer({ jetstream: false });
  const theirs = connect({ servers: server.url });
  const ours = connectNats({ servers: server.url });
  const both = await Promise.all([theirs, ours]);
  for (const it of both) {
    const found = it.subscribe("a", { max: 1 });
    it.publish("a", "b");
    for await (const message of found) assert.equal(message.string(), "b");
    const events = it.status()[Symbol.asyncIterator]();
    await it.reconnect();
    while ((await events.next()).value?.type !== "reconnect");
    await it.flush();
    await it.close();
  }
});

Deno.test("a clock that is set back by an hour does not keep a connection away", async () => {
  await using server = await testServer({ jetstream: false });
  const { now } = Date;
  try {
    Date.now = () => now() + 3_600_000;
    const connection = await connectNats({ servers: server.url });
    Date.now = now;
    const back = Promise.withResolvers<void>();
    watchStatus(connection, (type) => void (type === "reconnect" && back.resolve()));
    await connection.reconnect();
    await within(60_000, back.promise, () => assert.fail("It did not connect again"));
    await connection.close();
  } finally {
    Date.now = now;
  }
});

Deno.test("the server that was tried longest ago is tried next, the one that was just lost last", () => {
  const [first, second, lost] = [1, 2, 3].map((lastConnect) => ({ lastConnect }));
  assert.equal(triedLongestAgo([lost!, second!, first!]), first);
  assert.equal(triedLongestAgo([lost!, second!]), second);
  const ahead = { lastConnect: Date.now() + 3_600_000 };
  assert.equal(triedLongestAgo([first!, ahead]), ahead);
});

Deno.test("after the clock was set back a server that is there is found beside one that is not", async () => {
  await using server = await testServer({ jetstream: false });
  const { now } = Date;
  try {
    Date.now = () => now() + 3_600_000;
    const connection = await connectNats({
      servers: [server.url, "nats://127.0.0.1:1"],
      bootstrapTimeout: 60_000,
    });
    Date.now = now;
    const back = Promise.withResolvers<void>();
    watchStatus(connection, (type) => void (type === "reconnect" && back.resolve()));
    await connection.reconnect();
    await within(60_000, back.promise, () => assert.fail("It did not connect again"));
    await connection.close();
  } finally {
    Date.now = now;
  }
});

Deno.test("several servers in one text are each a server, with TLS if one of them demands it", async () => {
  await using server = await testServer({ jetstream: false });
  const dead = "nats://127.0.0.1:1";
  for (
    const servers of [`${server.url},${dead}`, `${dead}, ${server.url}`, [`${dead},${server.url}`]]
  ) {
    const connection = await connectNats({ servers, bootstrapTimeout: 60_000 });
    assert.equal(`nats://${connection.getServer()}`, server.url);
    await connection.close();
  }
  await failsWith(
    "unavailable",
    () => connectNats({ servers: `${server.url},${server.url.replace("nats:", "tls:")}` }),
    /TLS failed/,
  );
  for (const servers of ["", " , ", []]) {
    await failsWith("invalid", () => connectNats({ servers }), /^servers must be a URL/);
  }
});

Deno.test("a list of servers is taken apart at its commas, but not in a password, and shown without", () => {
  const login = "nats://ada:a,b@n1:4222";
  assert.deepEqual(serverUrls(`${login} ,n2:4222,, tls://eve:c,d@n3`), [
    login,
    "n2:4222",
    "tls://eve:c,d@n3",
  ]);
  assert.deepEqual(withoutLogins([login, "n2:4222,nats://eve:x@n3"]), [
    "nats://n1:4222",
    "n2:4222",
    "nats://n3",
  ]);
  assert.equal(showServers(`${login},tls://eve:c,d@n3`), "nats://n1:4222, tls://n3");
});
