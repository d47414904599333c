/**
 * Live moves that are killed, stopped or cut off at each step and at random moments, while other processes
 * write to the file. `UNIBUS_LONG` kills 500 times, `UNIBUS_MOVE_KILLS` sets the number, `UNIBUS_SEED` the
 * seed.
 */

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { growStore, openSqlite, settleGrow } from "../../../../mod.ts";
import { pauseServer, testServer } from "../../../helpers/nats.ts";
import { person } from "../../../helpers/sqlite.ts";
import { Random } from "../../../tools/random.ts";
import { checkAdded, type Place, placeTests, populate, withPlace } from "../../kit.ts";
import { openTarget, Process, servingSide, sidesOf } from "./kit.ts";

const test = placeTests();
const KILLS = Number(Deno.env.get("UNIBUS_MOVE_KILLS") ?? (Deno.env.get("UNIBUS_LONG") ? 500 : 5));
const SEED = Deno.env.get("UNIBUS_SEED") ?? String(Date.now());
const COMPLETE = `"action":"store.moved"`;

/** Writes by raw SQL every few milliseconds; what it returns ends that and gives the names written. */
function rawWriter(db: string): () => string[] {
  const written: string[] = [];
  const file = new DatabaseSync(db, { timeout: 1000 });
  let n = 0;
  const timer = setInterval(() => {
    const { signPub, kexPub, handle } = person(`raw ${n++}`);
    try {
      file.prepare(
        `INSERT OR REPLACE INTO users (sign_pub, kex_pub, handle, role, status, created_at)
           VALUES (?, ?, ?, 'user', 'active', '2026-01-02T03:04:05.006Z')`,
      ).run(signPub, kexPub, handle);
      written.push(signPub);
    } catch (error) {
      assert.match(String(error), /is being switched to bucket|is locked/);
    }
  }, 4);
  return () => {
    clearInterval(timer);
    file.close();
    return written;
  };
}

/** Lets a child move a file while others write to it; `disturb` does something to it. Checks both sides. */
async function round(
  { db, nats }: Place,
  at: string[],
  disturb: (child: Process) => Promise<void> = async (child) => void await child.ended,
): Promise<"file" | "bucket"> {
  {
    await using store = openSqlite(db);
    await populate(store);
  }
  const writer = new Process("write", db, "beside");
  await writer.until(/^open/);
  const endRaw = rawWriter(db);
  const child = new Process("grow", db, JSON.stringify(nats), ...at);
  await disturb(child);
  child.kill();
  await child.ended;
  const sides = await sidesOf(db, nats);
  const serving = servingSide(sides);
  // It can be continued, whatever happened, with the writers still there.
  if (await settleGrow({ db, nats }) === "primary") {
    await using store = openSqlite(db);
    await using target = await openTarget(nats);
    await growStore(store, { target });
  }
  writer.kill();
  await writer.ended;
  const acknowledged = [child, writer].flatMap((it) =>
    it.lines.filter((line) => line.startsWith("ack ")).map((line) => person(line.slice(4)).signPub)
  );
  const after = await sidesOf(db, nats);
  assert.equal(servingSide(after), "bucket");
  for (const key of [...acknowledged, ...endRaw()]) {
    assert.ok(after.bucket.users.has(key), `an acknowledged write was lost, at ${at}`);
  }
  for (const [key, handle] of after.file.users) assert.equal(after.bucket.users.get(key), handle);
  const added = [...after.bucket.users.keys()].filter((key) => !after.file.users.has(key));
  const own = new Set(acknowledged);
  // What the file does not have was written to the bucket by the store that moved.
  assert.ok(
    added.every((key) => own.has(key)) || serving === "bucket",
    "a write came from nowhere",
  );
  await using store = await openTarget(nats);
  const entries = await checkAdded(store, acknowledged);
  const moves = entries.filter(({ action }) => action === "store.moved");
  assert.equal(moves.length, 1, `the history tells of ${moves.length} moves, at ${at}`);
  return serving;
}

const POINTS: [at: string, serving: "file" | "bucket"][] = [
  [`before "attempt":1`, "file"],
  [`after "attempt":1`, "file"],
  ["copy", "file"],
  ["verify", "file"],
  ["ready", "file"],
  ["switch", "file"],
  [`before ${COMPLETE}`, "file"],
  [`after ${COMPLETE}`, "bucket"],
  ["done", "bucket"],
];

for (const [at, serving] of POINTS) {
  test(`Killed at its step ${at}: the ${serving} serves, all that was acknowledged is there, and it continues`, async (place) => {
    assert.equal(await round(place, [at]), serving);
  });
}

test(
  `Killed ${KILLS} times at random: one side serves, all that was acknowledged is there (UNIBUS_SEED=${SEED})`,
  async (_, server) => {
    const random = new Random(SEED);
    const found = { file: 0, bucket: 0 };
    // How long a whole move takes here and now, so that the kills fall all over it.
    let whole = 0;
    await withPlace(server.url, async (place) => {
      await round(place, [], async (child) => {
        await child.until(/^phase copy/);
        const begun = performance.now();
        await child.until(/^moved/);
        whole = performance.now() - begun;
      });
    });
    for (let i = 0; i < KILLS; i++) {
      await withPlace(server.url, async (place) => {
        const serving = await round(place, [], async (child) => {
          await child.until(/^phase copy/);
          await new Promise((resolve) => setTimeout(resolve, random.fraction() * whole * 1.6));
        });
        found[serving]++;
      });
    }
    console.log(`after ${KILLS} kills`, found);
  },
);

test("Stopped for 6 s with the mark not sent: called off or moved, and nobody is authorized by a file that is frozen for long", async (place) => {
  await round(place, [`before ${COMPLETE}`, "SIGSTOP"], async (child) => {
    await child.stopped();
    await new Promise((resolve) => setTimeout(resolve, 6000));
    const { file, bucket } = await sidesOf(place.db, place.nats);
    assert.deepEqual([file.frozen, bucket.state], [true, "in_progress"]);
    await using reader = openSqlite(place.db, { readOnly: true });
    assert.equal(await reader.isAuthorized(person("ada").signPub), false);
    assert.equal((await reader.getUser(person("ada").signPub)).handle, "user ada");
    child.signal("SIGCONT");
    await child.until(/^moved|^failed/);
  });
});

test("A run that was stopped and taken over does nothing any more", async (place) => {
  await round(place, [`before ${COMPLETE}`, "SIGSTOP"], async (child) => {
    await child.stopped();
    assert.equal(await settleGrow({ db: place.db, nats: place.nats }), "primary");
    child.signal("SIGCONT");
    assert.match(await child.until(/^moved|^failed/), /^failed conflict .*another run/);
    const sides = await sidesOf(place.db, place.nats);
    assert.deepEqual([servingSide(sides), sides.file.frozen], ["file", false]);
  });
});

Deno.test("The server paused when the mark is sent: the file stays frozen until it is known what became of it", async () => {
  await using server = await testServer();
  await withPlace(server.url, async (place) => {
    await round(place, [`before ${COMPLETE}`, "SIGSTOP"], async (child) => {
      await child.stopped();
      await pauseServer(server);
      try {
        child.signal("SIGCONT");
        await child.until(/^phase settle/);
        const file = new DatabaseSync(place.db, { readOnly: true });
        assert.notEqual(file.prepare("SELECT frozen_at FROM file_role").get()!.frozen_at, null);
        file.close();
      } finally {
        server.kill("SIGCONT");
      }
      assert.match(await child.until(/^moved|^failed/), /^moved/);
    });
  });
});

Deno.test("The server killed when the mark is sent, and started again: settled, and moved in the end", async () => {
  await using server = await testServer();
  await withPlace(server.url, async (place) => {
    await round(place, [`before ${COMPLETE}`, "SIGSTOP"], async (child) => {
      await child.stopped();
      server.kill("SIGKILL");
      await server.exited;
      child.signal("SIGCONT");
      await child.until(/^phase settle/);
      await server.restart();
      assert.match(await child.until(/^moved|^failed/), /^moved/);
    });
  });
});
