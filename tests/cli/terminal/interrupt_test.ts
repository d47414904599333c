import assert from "node:assert/strict";
import { createServer } from "node:net";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { cli, documentOf } from "../kit.ts";
import { inDir, person } from "../../helpers/sqlite.ts";
import { writeDataset } from "../../tools/dataset.ts";

Deno.test("interrupted while a server does not answer, every command ends at once with 130", async () => {
  // Takes the connection and never says a word.
  const silent = createServer().listen(0, "127.0.0.1");
  await once(silent, "listening");
  const { port } = silent.address() as { port: number };
  const url = ["--nats-url", `nats://127.0.0.1:${port}`, "--connect-timeout", "60"];
  try {
    for (const args of [["user", "list"], ["doctor"], ["invite", "create"]]) {
      const controller = new AbortController();
      const connected = once(silent, "connection");
      const call = cli([...args, "--json", ...url], { signal: controller.signal });
      const [socket] = await connected;
      const began = performance.now();
      controller.abort();
      const ended = await call;
      assert.equal(ended.code, 130, ended.stderr);
      assert.equal(documentOf(ended).error.code, "aborted");
      assert.equal(ended.stderr, "error: Interrupted\n");
      assert.ok(performance.now() - began < 30_000);
      socket.destroy();
    }
  } finally {
    silent.close();
  }
});

Deno.test("interrupted while waiting for stdin, nothing is made", () =>
  inDir(async (dir) => {
    const { signPub, kexPub, handle } = person(1);
    const claim = ["--sign-pub", signPub, "--kex-pub", kexPub, "--handle", handle];
    for (
      const args of [
        ["snapshot", "import", "-", "--db", `${dir}/a.db`],
        ["snapshot", "verify", "-"],
        ["invite", "redeem", "--token-file", "-", ...claim, "--db", `${dir}/a.db`],
      ]
    ) {
      const controller = new AbortController();
      const stdin = {
        [Symbol.asyncIterator]: () => ({
          next: () => {
            controller.abort();
            return new Promise<never>(() => {});
          },
        }),
      };
      const { code, stderr } = await cli(args, { stdin, signal: controller.signal });
      assert.equal(code, 130, stderr);
    }
    assert.deepEqual(readdirSync(dir), []);
  }));

Deno.test("interrupted before it begins, a command does nothing", () =>
  inDir(async (dir) => {
    const signal = AbortSignal.abort();
    const { code } = await cli(["user", "list", "--db", `${dir}/a.db`], { signal });
    assert.equal(code, 130);
    assert.deepEqual(readdirSync(dir), []);
  }));

Deno.test("interrupted in the middle of a long list, the JSON document is ended with the error", () =>
  inDir(async (dir) => {
    const db = `${dir}/a.db`;
    writeDataset(db, { rooms: 10, users: 3000, invites: 10 });
    const controller = new AbortController();
    const listed = await cli(["user", "list", "--json", "--db", db], {
      signal: controller.signal,
      onStdout: () => controller.abort(),
    });
    assert.equal(listed.code, 130);
    const { users, error } = documentOf(listed);
    assert.ok(users.length > 0 && users.length < 3000);
    assert.equal(error.code, "aborted");
  }));
