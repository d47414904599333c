import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { localTls } from "../../../src/nats/mod.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { testServer } from "../../helpers/nats.ts";
import { failsWith, inDir } from "../../helpers/sqlite.ts";
import { type PemPair, selfSigned, testAuthority } from "../../helpers/tls.ts";

/** Writes a pair, with the authority's certificate beside it. */
function save(dir: string, name: string, pair: PemPair, ca: string) {
  const files = ["cert", "key", "ca"].map((it) => join(dir, `${name}.${it}`)) as [
    string,
    string,
    string,
  ];
  writeFileSync(files[0], pair.cert);
  writeFileSync(files[1], pair.key, { mode: 0o600 });
  writeFileSync(files[2], ca);
  return { cert: files[0], key: files[1], ca: files[2] };
}

Deno.test("our own server is verified by the name in its certificate, whatever address it has", async () => {
  await inDir(async (dir) => {
    const authority = testAuthority("CA");
    const names: [string, string[]][] = [
      ["public", ["bus.example.org", "127.0.0.9"]],
      ["wild", ["*.example.org"]],
      ["address", ["192.0.2.7"]],
    ];
    for (const [name, hosts] of names) {
      const files = save(dir, name, authority.issue(name, hosts), authority.cert);
      await using server = await testServer({
        jetstream: false,
        tls: { cert: files.cert, key: files.key },
      });
      const tls = await localTls(files);
      const connection = await connectNats({ servers: server.url, tls, bootstrapTimeout: 30_000 });
      await connection.flush();
      await connection.close();
      // Without the name it is not ours, and with another neither.
      for (const serverName of [undefined, "other.example.com", "192.0.2.8"]) {
        const wrong = { caFile: files.ca, ...(serverName === undefined ? {} : { serverName }) };
        await failsWith(
          "unavailable",
          () => connectNats({ servers: server.url, tls: wrong, bootstrapTimeout: 0 }),
          /TLS failed/,
        );
      }
    }
  });
});

Deno.test("a server with another authority's certificate of the same name is not ours", async () => {
  await inDir(async (dir) => {
    const ours = testAuthority("CA");
    const files = save(dir, "ours", ours.issue("x", ["bus.example.org"]), ours.cert);
    const other = testAuthority("CA");
    const theirs = save(dir, "theirs", other.issue("x", ["bus.example.org"]), other.cert);
    await using server = await testServer({
      jetstream: false,
      tls: { cert: theirs.cert, key: theirs.key },
    });
    const tls = await localTls(files);
    await failsWith(
      "unavailable",
      () => connectNats({ servers: server.url, tls, bootstrapTimeout: 0 }),
      /TLS failed/,
    );
  });
});

Deno.test("a self-signed certificate is trusted by itself, and no other one is", async () => {
  await inDir(async (dir) => {
    const hosts = ["bus.example.org"];
    const ours = selfSigned("ours", hosts);
    const files = save(dir, "ours", ours, ours.cert);
    const tls = await localTls({ cert: files.cert });
    assert.equal(tls.serverName, "bus.example.org");
    const theirs = selfSigned("ours", hosts);
    const others = save(dir, "theirs", theirs, theirs.cert);
    for (const { cert, key } of [files, others]) {
      await using server = await testServer({ jetstream: false, tls: { cert, key } });
      const connecting = () => connectNats({ servers: server.url, tls, bootstrapTimeout: 0 });
      if (cert === files.cert) await (await connecting()).close();
      else await failsWith("unavailable", connecting, /TLS failed/);
    }
  });
});

Deno.test("localTls() trusts the system where an authority signed, and says what is wrong with a file", async () => {
  await inDir(async (dir) => {
    const authority = testAuthority("CA");
    const signed = save(dir, "signed", authority.issue("x", ["bus.example.org"]), authority.cert);
    assert.deepEqual(await localTls({ cert: signed.cert }), { serverName: "bus.example.org" });
    await failsWith("invalid", () => localTls({ cert: signed.ca }), /has no host name/);
    await failsWith("invalid", () => localTls({ cert: signed.key }), /no PEM certificate/);
    await failsWith("unavailable", () => localTls({ cert: join(dir, "none") }));
  });
});
