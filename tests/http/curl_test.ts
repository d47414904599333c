/** `curl` and `openssl`, which know nothing of us, as a client over a real socket. */

import assert from "node:assert/strict";
import { createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { serve } from "../../src/http/serve/serve.ts";
import { testPlane } from "./kit.ts";
import { testTls } from "../helpers/tls.ts";
import { toolTest } from "../helpers/tools.ts";

const SCRIPT = new URL("../../examples/curl.sh", import.meta.url).pathname;

async function run(program: string, args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, { args }).output();
  const [out, error] = [stdout, stderr].map((it) => new TextDecoder().decode(it));
  assert.ok(success, `${program}: ${error}`);
  return out!;
}

toolTest({
  name: "curl and openssl sign requests that are understood, over TLS",
  tools: ["curl", "openssl"],
  fn: async () => {
    await using tls = await testTls();
    await using it = await testPlane({ requireEncrypted: false });
    const server = await serve(it.plane, {
      port: 0,
      hardened: true,
      tls: {
        cert: readFileSync(tls.server.cert, "utf8"),
        key: readFileSync(tls.server.key, "utf8"),
      },
    });
    const dir = await Deno.makeTempDir();
    try {
      const key = `${dir}/key.pem`;
      await run("openssl", ["genpkey", "-algorithm", "ed25519", "-out", key]);
      const signPub = createPublicKey(readFileSync(key)).export({ format: "der", type: "spki" })
        .subarray(-32).toString("hex");
      const origin = `https://localhost:${server.port}`;
      const ask = async (method: string, path: string, body = "") => {
        const args = [key, method, origin + path, body, "--cacert", tls.caFile];
        return JSON.parse(await run(SCRIPT, args));
      };
      assert.equal((await ask("GET", "/v1/me")).code, "forbidden");
      const { kexPub } = await it.user();
      await it.store.addUser({ signPub, kexPub, handle: "curl" });
      assert.equal((await ask("GET", "/v1/me")).user.handle, "curl");
      const room = await ask("POST", "/v1/rooms", '{"id":"löbby","encrypted":false}');
      assert.equal(room.owner, signPub, JSON.stringify(room));
      assert.equal((await ask("GET", "/v1/rooms?limit=5")).items[0].id, "löbby");
    } finally {
      await server.close(100);
      await Deno.remove(dir, { recursive: true });
    }
  },
});
