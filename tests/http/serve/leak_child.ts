/**
 * Serves some requests in a process of its own, and prints how many of the answers are still held when
 * all have been read: `leak_child.ts HARDENED REQUESTS`, with `--expose-gc`.
 *
 * @module
 */

import { serve } from "../../../src/http/serve/serve.ts";
import { pause } from "./kit.ts";

const { gc } = globalThis as unknown as { gc: () => void };
const hardened = Deno.args[0] === "true";
const requests = Number(Deno.args[1]);
const answers: WeakRef<Response>[] = [];
const plane = {
  async fetch() {
    await pause(0);
    const answer = new Response("x".repeat(1000));
    answers.push(new WeakRef(answer));
    return answer;
  },
};
await using server = await serve(plane, { hardened });
for (let i = 0; i < requests; i++) await (await fetch(server.url)).text();
let held = requests;
// What is collected when is the runtime's affair.
for (let i = 0; i < 200 && held > 0; i++) {
  await pause(50);
  gc();
  held = answers.filter((it) => it.deref() !== undefined).length;
}
console.log(held);
