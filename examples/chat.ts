/**
 * A chat between registered users in an encrypted room. One makes the room, for those whose cards it was
 * given; the others join it. What is typed is sent; neither server can read it.
 *
 *     membershipd identity show bob.json        # Bob's card, to hand to Ada
 *     deno run -A examples/chat.ts --identity ada.json --room lounge --with unibus1.…
 *     deno run -A examples/chat.ts --identity bob.json --room lounge --owner ADAS-KEY
 *
 * Names come from the control plane, which could show a false one: each stands with the first digits of
 * its key, which are proved.
 *
 * `--url` and `--nats` say where the servers are: `http://127.0.0.1:8470` and `nats://127.0.0.1:4250`.
 * Repeat them for the nodes of a cluster.
 * A key file under a passphrase asks for it; on a terminal it is not shown.
 *
 * @module
 */

import process from "node:process";
import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { parseArgs } from "node:util";
import {
  createClient,
  fileMemory,
  type OpenRoom,
  openRooms,
  readCard,
  readIdentity,
} from "@unibus/membership/client";

const text = { type: "string" } as const;
const { values } = parseArgs({
  options: {
    identity: text,
    room: text,
    owner: text,
    with: { type: "string", multiple: true },
    url: { type: "string", multiple: true, default: ["http://127.0.0.1:8470"] },
    nats: { type: "string", multiple: true, default: ["nats://127.0.0.1:4250"] },
  },
});
if (values.identity === undefined || values.room === undefined) {
  console.error("Usage: chat.ts --identity FILE --room ID [--with CARD]... [--owner KEY]");
  process.exit(2);
}

let isHidden = false;
const echo = new Writable({
  write: (chunk, _, done) => isHidden ? done() : void process.stdout.write(chunk, () => done()),
});
const terminal = process.stdin.isTTY === true;
// Read from now on, so that no line that comes early is lost.
const typed = createInterface({ input: process.stdin, output: echo, terminal })
  [Symbol.asyncIterator]();

/** Asks without showing the answer. */
async function passphrase(): Promise<string> {
  process.stderr.write(`Passphrase of ${values.identity}: `);
  isHidden = true;
  const { value = "" } = await typed.next();
  isHidden = false;
  process.stderr.write("\n");
  return value;
}

/** Ends with what failed: a stack helps no one whose file or room has another name. */
function fail(error: Error): never {
  console.error(`! ${error.message}`);
  process.exit(1);
}

const identity = await readIdentity(values.identity, { passphrase }).catch(fail);
using client = createClient({ url: values.url, identity });
await using rooms = await openRooms({
  client,
  identity,
  nats: { servers: values.nats },
  // Who was who the last time: a key that changed since is not taken.
  memory: fileMemory(`${values.identity}.known`),
  onProblem: ({ error }) => console.error(`! ${error.message}`),
});
const room: OpenRoom =
  await (values.with === undefined
    ? rooms.join(values.room, values.owner === undefined ? {} : { owner: values.owner })
    : rooms.createRoom({ id: values.room, members: values.with.map(readCard) })).catch(fail);
console.log(`in ${room.id}, epoch ${room.epoch}; end with Ctrl-D`);

const names = new Map<string, string>();

/** The name of a member; read again when there is one that is not known yet. */
async function nameOf(endpoint: string): Promise<string> {
  if (!names.has(endpoint)) {
    // A name is worth no failure.
    const members = await Array.fromAsync(client.members(room.id, { handles: true })).catch(
      () => [],
    );
    for (const it of members) names.set(it.endpoint, it.handle ?? "?");
  }
  return `${names.get(endpoint) ?? "?"} (${endpoint.slice(0, 8)})`;
}

const reading = (async () => {
  for await (const message of room.messages()) {
    // Another member's text must not control this terminal.
    console.log(`${await nameOf(message.sender)}: ${message.text().replace(/\p{Cc}/gu, " ")}`);
  }
})();
for await (const line of { [Symbol.asyncIterator]: () => typed }) {
  if (line !== "") await room.send(line);
}
await room.close();
await reading;
