/**
 * A hardened server in a process of its own: its first line of input is its options, as JSON, and
 * its first line of output its port; for each further line of input it says what it holds.
 *
 * @module
 */

import { serve } from "../../../src/http/serve/serve.ts";
import { TextLineStream } from "../../helpers/lines.ts";
import { echo, pause } from "./kit.ts";

const { gc } = globalThis as { gc?: () => void };
const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream())
  .pipeThrough(new TextLineStream())[Symbol.asyncIterator]();
const options = JSON.parse((await lines.next()).value!);
await using server = await serve(echo, { hardened: true, ...options });
console.log(server.port);

for (let line = await lines.next(); !line.done; line = await lines.next()) {
  for (let i = 0; i < 3; i++) {
    await pause(50);
    gc?.();
  }
  const { rss, heapUsed, external } = Deno.memoryUsage();
  const handles = [...Deno.readDirSync("/proc/self/fd")].length;
  console.log(JSON.stringify({ rss, heap: heapUsed + external, handles }));
}
