/**
 * What is recorded is what is read, also after a crash; and the links between nodes do what they are
 * told.
 *
 * @module
 */

import assert from "node:assert/strict";
import { appendFileSync } from "node:fs";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { StoreError } from "../../../../src/core/errors.ts";
import { freePorts } from "../../../helpers/nats.ts";
import { inDir } from "../../../helpers/sqlite.ts";
import { isAnswered, isOpen, LineFile, readHistory, Recorder } from "./history.ts";
import { Links } from "../arena/links.ts";

Deno.test("a recorded run is read as it was: calls with their spans, endings, and those without", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/run.ndjson`;
    let now = 0;
    {
      using lines = new LineFile(path);
      const recorder = new Recorder({ seed: 5, maxStaleness: 1 }, (it) => lines.add(it), () => now);
      const asked = { client: "c", node: "n1#1", op: "getUser", args: { signPub: "a" } };
      now = 1;
      const answering = recorder.call(asked, async () => {
        await Promise.resolve();
        now = 2;
        return { status: "active" };
      });
      assert.deepEqual(await answering, { answer: { status: "active" } });
      for (const code of ["not_found", "unavailable"] as const) {
        await recorder.call(asked, () => Promise.reject(new StoreError(code, "no")));
      }
      await recorder.call(asked, () => Promise.reject(new TypeError("oh")));
      recorder.begin(asked);
      now = 3;
      recorder.fault({ name: "kill", phase: "begin", nodes: ["n1"], cut: ["n1"] });
    }
    // As a crash leaves it.
    appendFileSync(path, '{"type":"ret');
    const { run, calls, faults } = readHistory(path);
    assert.equal(run.seed, 5);
    assert.deepEqual(calls.map((it) => [it.start, it.end, it.error, isOpen(it), isAnswered(it)]), [
      [1, 2, undefined, false, true],
      [2, 2, "not_found", false, false],
      [2, 2, "unavailable", true, false],
      [2, 2, "not_a_store_error", false, false],
      [2, null, undefined, true, false],
    ]);
    assert.deepEqual(calls[0]!.answer, { status: "active" });
    assert.deepEqual(faults, [
      { at: 3, name: "kill", phase: "begin", nodes: ["n1"], cut: ["n1"] },
    ]);
  });
});

/** What arrives at a socket. */
function heard(socket: Socket): { text: () => string; until: (text: string) => Promise<number> } {
  let text = "";
  socket.on("data", (data: Uint8Array) => text += new TextDecoder().decode(data));
  return {
    text: () => text,
    async until(wanted) {
      const begun = performance.now();
      while (text !== wanted) {
        assert.ok(performance.now() - begun < 5000, `${wanted}, found ${text}`);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      return performance.now() - begun;
    },
  };
}

Deno.test("a link that is cut holds what is sent, each way by itself, and delivers it when it is whole", async () => {
  const [port, target] = await freePorts(2) as [number, number];
  const server = createServer();
  server.listen(target, "127.0.0.1");
  await once(server, "listening");
  await using links = new Links();
  await links.open(0, 1, port, target);
  const accepted = once(server, "connection");
  const here = connect(port, "127.0.0.1");
  const [there] = await accepted as [Socket];
  const [atHere, atThere] = [heard(here), heard(there)];
  here.write("a");
  await atThere.until("a");

  links.set(0, 1, { cut: true });
  here.write("b");
  there.write("c");
  await atHere.until("c");
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(atThere.text(), "a");
  links.heal();
  await atThere.until("ab");

  links.set(0, 1, { delay: 200 });
  here.write("d");
  assert.ok(await atThere.until("abd") > 150);

  // Who hangs up while the link is cut is not heard of before it is whole.
  links.set(0, 1, { cut: true });
  const ended = once(there, "close");
  here.destroy();
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(there.destroyed, false);
  links.heal();
  await ended;
  server.close();
});
