/** Which NATS servers a room client takes from the control plane. */

import assert from "node:assert/strict";
import { busServers, learnServers } from "../../../src/client/node/bus_servers.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { testServer } from "../../helpers/nats.ts";

const took = (servers: string | string[], urls: string[], tls?: object) =>
  busServers({ servers, ...tls && { tls } }, [{ busUrls: urls }]);

Deno.test("a bus over TLS learns servers over TLS only", () => {
  const told = ["tls://n2.example:4250", "nats://n3.example:4250", "tls://n1.example:4250"];
  assert.deepEqual(took("tls://n1.example:4250", told), ["tls://n2.example:4250"]);
  assert.deepEqual(took("n1.example:4250", told, {}).length, 2);
  // This name would be verified for every server.
  assert.deepEqual(took("tls://n1.example:4250", told, { serverName: "n1.example" }), []);
});

Deno.test("without TLS a bus learns servers on loopback from one on loopback only", () => {
  const told = ["nats://127.0.0.1:4251", "nats://10.0.0.1:4250", "tls://n1.example:4250"];
  assert.deepEqual(took("nats://127.0.0.1:4250", told), ["nats://127.0.0.1:4251"]);
  assert.deepEqual(took("127.0.0.1:4250", told), ["nats://127.0.0.1:4251"]);
  assert.deepEqual(took("nats://10.0.0.7:4250", told), []);
  assert.deepEqual(took(["nats://127.0.0.1:1", "nats://10.0.0.7:4250"], told), []);
  const two = "nats://127.0.0.1:4250,nats://127.0.0.1:4252";
  assert.deepEqual(took(two, [...two.split(","), ...told]), ["nats://127.0.0.1:4251"]);
  // Another machine cannot send this one to its own services.
  assert.deepEqual(took("tls://n1.example:4250", ["tls://127.0.0.1:1", "tls://localhost:1"]), []);
});

Deno.test("what is no URL of a NATS server is not taken, and no more than 32", () => {
  const told = [
    "tls://u:p@n2:1",
    "tls://n2/x",
    "http://n2",
    "tls://",
    "n2",
    7 as unknown as string,
  ];
  assert.deepEqual(took("tls://n1:1", told), []);
  const many = Array.from({ length: 50 }, (_, i) => `tls://n${i}.example:1`);
  assert.equal(took("tls://n1:1", many).length, 32);
});

for (const when of ["when it is opened", "when it has lost its server"]) {
  Deno.test(`a connection learns the other servers ${when}, and goes to one soon`, async () => {
    await using first = await testServer();
    await using second = await testServer();
    const connection = await connectNats({ servers: first.url });
    try {
      let nodes = [{ name: "n2", urls: [], busUrls: [second.url], wsUrls: [], answers: true }];
      let asked = 0;
      const isLate = when !== "when it is opened";
      const known = nodes;
      if (isLate) nodes = [];
      const client = {
        nodes: () =>
          ++asked === 2 && !isLate
            ? Promise.reject(new Error("No control plane"))
            : Promise.resolve({ nodes }),
      };
      void learnServers(connection, { servers: first.url }, client);
      await connection.flush();
      nodes = known;
      const port = Number(new URL(second.url).port);
      assert.equal(connection.getServers().some((it) => it.port === port), !isLate);
      const began = performance.now();
      first.kill("SIGKILL");
      await first.exited;
      for (let server = 0; server !== port;) {
        await connection.flush().catch(() => {});
        server = Number(connection.getServer().split(":").at(-1));
        assert.ok(performance.now() - began < 60_000, "back at another server");
      }
      assert.equal(asked, 2);
    } finally {
      await connection.close();
    }
  });
}
