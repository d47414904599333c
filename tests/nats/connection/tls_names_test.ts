import { writeFile } from "node:fs/promises";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { testServer } from "../../helpers/nats.ts";
import { failsWith, inDir } from "../../helpers/sqlite.ts";
import { testAuthority } from "../../helpers/tls.ts";

Deno.test("a server is verified by the address in its URL, and by nothing else", async () => {
  await inDir(async (dir) => {
    const authority = testAuthority("CA");
    const ca = `${dir}/ca.pem`;
    await writeFile(ca, authority.cert);
    const certificates: [hosts: string[], reached: string[], not: string[]][] = [
      [["127.0.0.1"], ["127.0.0.1"], ["localhost"]],
      // What stands for this machine is not what was asked for.
      [["localhost"], ["localhost"], ["127.0.0.1"]],
      [["127.0.0.1", "localhost"], ["127.0.0.1", "localhost"], []],
      [["192.0.2.7"], [], ["127.0.0.1", "localhost"]],
    ];
    for (const [i, [hosts, reached, not]] of certificates.entries()) {
      const { cert, key } = authority.issue(`n${i}`, hosts);
      const files = { cert: `${dir}/${i}.pem`, key: `${dir}/${i}.key` };
      await writeFile(files.cert, cert);
      await writeFile(files.key, key, { mode: 0o600 });
      await using server = await testServer({ jetstream: false, tls: files });
      const { port } = new URL(server.url);
      const connect = (host: string) =>
        connectNats({
          servers: `tls://${host}:${port}`,
          tls: { caFile: ca },
          bootstrapTimeout: 0,
        });
      for (const host of reached) {
        const connection = await connect(host);
        await connection.flush();
        await connection.close();
      }
      for (const host of not) {
        await failsWith("unavailable", () => connect(host), /TLS failed/);
      }
    }
  });
});
