/**
 * A live move to a file while another program has the follower's file open.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { DatabaseSync } from "node:sqlite";
import { finishShrink, type ShrinkProgress, shrinkStore, type StoreError } from "../../../mod.ts";
import { switchOf } from "../../../src/core/store/switching.ts";
import { FileFollower } from "../../../src/follower/follower.ts";
import { followerOf } from "../../../src/follower/open.ts";
import { type TestServer, testServer } from "../../helpers/nats.ts";
import { person } from "../../helpers/sqlite.ts";
import {
  bucketOf,
  failure,
  open,
  type Opened,
  type Place,
  roleIn,
  whoServes,
  withPlace,
} from "./shrink_kit.ts";

let server: TestServer;
Deno.test.beforeAll(async () => void (server = await testServer()));
Deno.test.afterAll(async () => await server[Symbol.asyncDispose]());

const ada = person("ada");
const HOW = ["reading", "open"] as const;
/** Longer than any switch takes on a busy machine. */
const PATIENCE = 30_000;

function test(name: string, work: (at: Place, it: Opened) => Promise<void>): void {
  Deno.test(name, () =>
    withPlace(server.url, async (at) => {
      await using it = await open(at, { maxStaleness: 60_000, opTimeout: 60_000 });
      await it.store.addUser({ ...ada, role: "admin" });
      await work(at, it);
    }));
}

/** Another process that has the follower's file open. */
class Holder {
  readonly #sign: string;
  readonly #child: Deno.ChildProcess;

  constructor(at: Place, how: typeof HOW[number]) {
    this.#sign = join(at.dir, `${crypto.randomUUID()}.sign`);
    const script = new URL("./holder_child.ts", import.meta.url).pathname;
    const args = ["run", "-A", "--no-check", "--no-config", script, at.follower, this.#sign, how];
    this.#child = new Deno.Command(Deno.execPath(), { args, stdin: "piped" }).spawn();
  }

  /** Resolves when it has the file open. */
  async held(): Promise<this> {
    while (!existsSync(this.#sign)) await pause(20);
    return this;
  }

  /** As {@link held}; nothing else is done in this thread meanwhile. */
  heldNow(): this {
    const nothing = new Int32Array(new SharedArrayBuffer(4));
    while (!existsSync(this.#sign)) Atomics.wait(nothing, 0, 0, 20);
    return this;
  }

  /** Lets it close the file, and waits for its end. */
  async end(): Promise<void> {
    await this.#child.stdin.close();
    await this.#child.status;
  }
}

for (const how of HOW) {
  test(
    `a program that has the follower's file ${how}: the move is refused, nothing has begun`,
    async (at, { store }) => {
      const holder = await new Holder(at, how).held();
      const move = shrinkStore(store, { db: at.db, node: "n1", dryRun: how === "reading" });
      await assert.rejects(move, (error: Error & { hint?: string }) => {
        assert.match(error.message, /another program has the follower .*follower\.db open/);
        assert.match(error.hint!, /close it .* fuser -v .*follower\.db/);
        return failure("refused", "follower")(error);
      });
      const { mark, takesWrites } = await bucketOf(at);
      assert.deepEqual([mark, takesWrites], [null, true]);
      await store.addUser(person("bob"));
      assert.equal((await store.search!.users()).items.length, 2);
      await holder.end();
      await shrinkStore(store, { db: at.db, node: "n1" });
      assert.equal(await whoServes(at, [ada.signPub, person("bob").signPub]), "file");
    },
  );

  test(
    `a program that has the file ${how} before the mark: the switch is called off until it is closed`,
    async (at, { store }) => {
      const holders: Holder[] = [];
      const move = { db: at.db, node: "n1", patience: 3000, attempts: 1 };
      const ready = async () => void holders.push(await new Holder(at, how).held());
      await assert.rejects(shrinkStore(store, { ...move, ready }), (error: StoreError) => {
        assert.match(
          error.message,
          /called off: it waited for other programs to close .*lower\.db/,
        );
        assert.match(error.hint!, /fuser -v .*follower\.db/);
        return failure("unavailable", "follower")(error);
      });
      // The bucket goes on meanwhile.
      await store.addUser(person("bob"));
      assert.equal((await store.search!.users()).items.length, 2);
      await holders[0]!.end();
      await shrinkStore(store, { ...move, attempts: 10 });
      assert.equal(await whoServes(at, [ada.signPub, person("bob").signPub]), "file");
    },
  );
}

/** Moves it; another program opens the file as soon as the follower has let go of it, behind the mark. */
function moveHeld(at: Place, { store }: Opened, how: typeof HOW[number], stop?: AbortSignal) {
  const waits = Promise.withResolvers<{ holder: Holder; waitsFor: string }>();
  const steps: ShrinkProgress[] = [];
  let holder: Holder | null = null;
  const moving = shrinkStore(store, {
    db: at.db,
    node: "n1",
    patience: PATIENCE,
    ...stop === undefined ? {} : { stop },
    onProgress(step) {
      steps.push(step);
      if (step.phase === "flip") holder ??= new Holder(at, how).heldNow();
      if (step.waitsFor !== null) waits.resolve({ holder: holder!, waitsFor: step.waitsFor });
    },
  });
  moving.catch((error) => waits.reject(error));
  return { moving, waits: waits.promise, steps };
}

test(
  "a program that reads the file behind the mark: the move waits for it, says so, and is made",
  async (at, it) => {
    const { store } = it;
    await store.search!.users();
    const { moving, waits, steps } = moveHeld(at, it, "reading");
    const { holder, waitsFor } = await waits;
    assert.match(waitsFor, /has left the bucket; Opening .*follower\.db: it is in use .*close it/);
    // Nothing changes, so all that is asked is answered.
    assert.equal(await store.isAuthorized(ada.signPub), true);
    assert.equal((await store.getUser(ada.signPub)).role, "admin");
    assert.equal((await store.search!.users()).items.length, 1);
    const acknowledged = [ada.signPub];
    // It waits, for 5 s at most.
    const writing = store.addUser(person("bob"))
      .then(({ signPub }) => acknowledged.push(signPub), failure("unavailable"));
    const count = steps.length;
    while (steps.length < count + 4) await pause(20);
    assert.equal(roleIn(at.db), null);
    await holder.end();
    await moving;
    await writing;
    assert.equal(steps.at(-1)!.phase, "done");
    assert.equal(await whoServes(at, acknowledged), "file");
  },
);

test(
  "a server that stops while another program has the file open: its next start makes the move",
  async (at, it) => {
    const stop = new AbortController();
    const { moving, waits } = moveHeld(at, it, "open", stop.signal);
    const { holder } = await waits;
    stop.abort();
    await assert.rejects(moving, failure("aborted"));
    await assert.rejects(it.store.getUser(ada.signPub), failure("refused", "moved"));
    await assert.rejects(finishShrink({ ...at, node: "n1" }), (error: Error) => {
      assert.match(error.message, /in use by another process/);
      return failure("refused")(error);
    });
    await holder.end();
    assert.equal((await finishShrink({ ...at, node: "n1" })).state, "here");
    assert.equal(await whoServes(at, [ada.signPub]), "file");
  },
);

test(
  "a follower that has its file alone applies to it, and lets others in again",
  async (at, { store }) => {
    const follower = followerOf(switchOf(store).current);
    assert.ok(follower instanceof FileFollower);
    const readUsers = () => {
      const db = new DatabaseSync(at.follower, { readOnly: true });
      try {
        db.exec("PRAGMA busy_timeout = 0");
        return db.prepare("SELECT count(*) AS count FROM users").get()!.count;
      } finally {
        db.close();
      }
    };
    await follower.whenExact();
    assert.equal(await follower.holdAlone(), true);
    assert.throws(readUsers, /locked/);
    await store.addUser(person("bob"));
    await follower.whenExact();
    assert.throws(readUsers, /locked/);
    for (let i = 0; i < 2; i++) {
      await follower.share();
      assert.equal(readUsers(), 2);
    }
    const other = new DatabaseSync(at.follower, { readOnly: true });
    other.prepare("SELECT count(*) FROM users").get();
    assert.equal(await follower.holdAlone(), false);
    await store.addUser(person("carol"));
    await follower.whenExact();
    assert.equal(readUsers(), 3);
    other.close();
    assert.equal(await follower.holdAlone(), true);
    await follower.share();
    const mode = new DatabaseSync(at.follower, { readOnly: true });
    assert.equal(mode.prepare("PRAGMA journal_mode").get()!.journal_mode, "wal");
    mode.close();
  },
);

test(
  "a follower that is being written is waited for, and not taken for one that others have open",
  async (at, { store }) => {
    const follower = followerOf(switchOf(store).current);
    assert.ok(follower instanceof FileFollower);
    const { holdAlone, whenExact } = follower;
    // As with a transaction that ends with a message which has not come yet.
    let isWritten = false;
    let waits = 0;
    follower.holdAlone = async () => isWritten && await holdAlone.call(follower);
    follower.whenExact = (...given) => {
      if (++waits === 2) isWritten = true;
      return whenExact.apply(follower, given);
    };
    const { attempts } = await shrinkStore(store, { db: at.db, node: "n1" });
    assert.equal(attempts, 1);
    assert.equal(await whoServes(at, [ada.signPub]), "file");
  },
);
