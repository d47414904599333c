/**
 * The journeys of a server as the control channel sees them: one at a time, watched by who asks again,
 * paused by a stop, called off.
 *
 * @module
 */

import assert from "node:assert/strict";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { answerJourney, askJourney, type JourneyRequest } from "../../../../cli/cluster/journey.ts";
import { Journeys, type Ways } from "../../../../cli/serve/journey/journeys.ts";
import { checkJourney, reportOf } from "../../../../cli/serve/journey/report.ts";
import type { Trip, World } from "../../../../cli/serve/journey/types.ts";
import { orAbort } from "../../../../src/core/async/wait.ts";
import { StoreError } from "../../../../src/core/errors.ts";
import { failsWith } from "../../../helpers/sqlite.ts";
import { testServer } from "../../../helpers/nats.ts";
import { until } from "../kit.ts";

/** A server that travels as the test says, asked over a real control channel. */
async function bed(
  work: (ask: (request: JourneyRequest) => ReturnType<typeof askJourney>, at: {
    trips: Trip[];
    arrive: (error?: Error) => void;
    journeys: Journeys;
    logged: string[];
    storage: { bucket: string | null };
    connection: NatsConnection;
    ways: Ways;
  }) => Promise<void>,
  copied: Promise<void> = Promise.resolve(),
) {
  await using server = await testServer({ jetstream: false });
  const connection = await connect({ servers: server.url });
  const trips: Trip[] = [];
  let end = Promise.withResolvers<void>();
  const travel = async (_: World, trip: Trip) => {
    trips.push(trip);
    const { promise: arrived } = end;
    trip.begin("copy", 100);
    trip.tell({ done: 7, lag: 3 });
    const { promise, reject } = Promise.withResolvers<never>();
    trip.signal.addEventListener("abort", () => reject(new StoreError("aborted", "Ended")));
    promise.catch(() => {});
    await Promise.race([copied, promise]);
    await trip.released();
    if (trip.request.hold) trip.begin("switch");
    await Promise.race([arrived, promise]);
    trip.tell({ pause: 12 });
  };
  const ways: Ways = {
    grow: travel,
    shrink: travel,
    callOff: (_, trip) => Promise.resolve(void trips.push(trip)),
  };
  const storage = { bucket: null as string | null };
  const logged: string[] = [];
  const around = { log: (_: string, event: string) => void logged.push(event) };
  const journeys = new Journeys({ around, storage } as unknown as World, ways);
  answerJourney(connection, () => Promise.resolve("n1"), (it) => journeys.handle(it));
  try {
    await work((request) => askJourney(connection, "n1", request), {
      trips,
      journeys,
      logged,
      storage,
      connection,
      ways,
      arrive: (error) => {
        if (error === undefined) end.resolve();
        else end.reject(error);
        end = Promise.withResolvers();
      },
    });
  } finally {
    await journeys.stop();
    await connection.close();
  }
}

const status = { op: "status" } as const;

Deno.test("a journey is begun once; the same command watches it, the other direction is refused", () =>
  bed(async (ask, { trips, arrive, storage }) => {
    assert.deepEqual(await ask(status), {
      node: "n1",
      serves: "file",
      direction: null,
      state: "none",
      phase: null,
      done: 0,
      total: null,
      lag: null,
      pause: null,
      retry: null,
      error: null,
      findings: [],
      startedAt: null,
      endedAt: null,
    });
    await failsWith("refused", () => ask({ op: "call-off" }), /no move to call off/);
    const begun = await ask({ op: "grow", pace: 0.2 });
    assert.deepEqual(
      [begun.state, begun.direction, begun.phase, begun.done, begun.total, begun.lag],
      ["running", "grow", "copy", 7, 100, 3],
    );
    await ask({ op: "grow" });
    assert.equal(trips.length, 1);
    await ask({ op: "grow", pace: 0.2 });
    assert.equal(trips.length, 1);
    assert.equal(trips[0]!.request.pace, 0.2);
    for (
      const [other, expected] of [
        [{ dryRun: true }, /A grow is in progress \(copy\)$/],
        [{ pace: 0.1 }, /in progress \(copy, and has another --pace\)/],
        [{ noHistory: true }, /in progress \(copy, and takes the history along\)/],
      ] as const
    ) await failsWith("refused", () => ask({ op: "grow", ...other }), expected);
    await failsWith("refused", () => ask({ op: "shrink", keep: "n1" }), /A grow is in progress/);
    await failsWith("refused", () => ask({ op: "release" }), /No move waits/);
    for (const op of ["release", "call-off"] as const) {
      await failsWith(
        "refused",
        () => ask({ op, direction: "shrink" }),
        /[Nn]o shrink (waits|to call)/,
      );
    }
    assert.equal((await ask(status)).state, "running");
    storage.bucket = "UNIBUS";
    arrive();
    await until(async () => (await ask(status)).state === "done", "the end");
    const done = await ask(status);
    assert.deepEqual([done.serves, done.pause, done.error], ["bucket", 12, null]);
    assert.ok(done.startedAt !== null && done.endedAt! >= done.startedAt);
    await failsWith("refused", () => ask({ op: "call-off" }), /no grow to call off/);
    await ask({ op: "grow" });
    arrive(new StoreError("refused", "The control plane is in the bucket already"));
    await until(async () => (await ask(status)).state === "failed", "the refusal");
    await failsWith("refused", () => ask({ op: "call-off" }), /no grow to call off/);
    assert.equal((await ask({ op: "shrink", keep: "n1" })).direction, "shrink");
    await failsWith("refused", () => ask({ op: "shrink", keep: "n2" }), /copy, and goes to n1/);
    assert.equal(trips.length, 3);
  }));

Deno.test("a journey that waits before its switch goes on when it is released, not when it is watched", () =>
  bed(async (ask, { arrive, trips, connection, logged, ways }) => {
    const held = async () => (await ask(status)).phase === "hold";
    await ask({ op: "grow", hold: true });
    await until(held, "the wait");
    trips[0]!.begin("replicas", 6);
    for (const hold of [true, false]) {
      assert.equal((await ask({ op: "grow", hold })).phase, "hold");
    }
    // What a released journey does next follows within the same turn.
    await connection.flush();
    assert.ok(await held());
    await failsWith(
      "refused",
      () => ask({ op: "release", direction: "shrink" }),
      /No shrink waits/,
    );
    assert.ok(await held());
    await ask({ op: "release", direction: "grow" });
    await until(async () => (await ask(status)).phase === "switch", "the switch");
    arrive();
    await until(async () => (await ask(status)).state === "done", "the end");
    assert.deepEqual(logged, ["grow.copy", "grow.switch", "grow.done"]);
    await failsWith("refused", () => ask({ op: "release" }), /No move waits for --release/);

    await ask({ op: "grow", hold: true });
    await until(held, "the wait");
    // Two at once call it off once, and both are told.
    const both = [ask({ op: "call-off" }), ask({ op: "call-off" })];
    for (const { state } of await Promise.all(both)) assert.equal(state, "called-off");
    assert.deepEqual(trips.map(({ request }) => request.op), ["grow", "grow", "call-off"]);

    // One that comes while it is being called off does not end that.
    const { promise, resolve } = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    ways.callOff = (_, { signal }) => {
      asked.resolve();
      return orAbort(promise, signal);
    };
    await ask({ op: "grow" });
    const first = ask({ op: "call-off" });
    await asked.promise;
    const second = ask({ op: "call-off" });
    await failsWith("refused", () => ask({ op: "grow" }), /and is being called off/);
    resolve();
    for (const it of [first, second]) assert.equal((await it).state, "called-off");
  }));

Deno.test("a journey that does not wait is not taken for one that does; one that will is released early", () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  return bed(async (ask, { arrive, trips }) => {
    await ask({ op: "grow" });
    await failsWith(
      "refused",
      () => ask({ op: "grow", hold: true }),
      /A grow is in progress \(copy, and does not wait before its switch\)/,
    );
    assert.equal((await ask({ op: "call-off" })).state, "called-off");
    await ask({ op: "grow", hold: true });
    assert.equal((await ask({ op: "release" })).phase, "copy");
    resolve();
    arrive();
    await until(async () => (await ask(status)).state === "done", "the end");
    assert.deepEqual(trips.map(({ request }) => request.op), ["grow", "call-off", "grow"]);
  }, promise);
});

Deno.test("a journey is called off while it runs and after it has failed; a stop pauses it", () =>
  bed(async (ask, { journeys, arrive }) => {
    await ask({ op: "grow" });
    assert.equal((await ask({ op: "call-off" })).state, "called-off");
    // Asked again by one who lost the first answer.
    assert.equal((await ask({ op: "call-off" })).state, "called-off");
    await ask({ op: "grow" });
    arrive(new StoreError("unavailable", "No leader", { hint: "wait" }));
    await until(async () => (await ask(status)).state === "failed", "the failure");
    const failed = await ask(status);
    assert.deepEqual(failed.error, { code: "unavailable", message: "No leader", hint: "wait" });
    assert.equal((await ask({ op: "call-off" })).state, "called-off");
    journeys.foundPaused("grow", "It has begun", "continue it");
    assert.deepEqual((await ask(status)).error?.code, "in_progress");
    assert.equal((await ask({ op: "call-off" })).state, "called-off");
    await ask({ op: "grow" });
    await journeys.stop();
    assert.deepEqual([journeys.status().state, journeys.status().error?.code], [
      "paused",
      "aborted",
    ]);
    assert.equal((await ask({ op: "grow" })).state, "running");
  }));

Deno.test("a dry run ends with what it found, and is no journey", () =>
  bed(async (ask, { trips, arrive, journeys }) => {
    await ask({ op: "grow", dryRun: true });
    trips[0]!.find("n2: joined");
    await failsWith("refused", () => ask({ op: "grow", dryRun: true }), /in progress/);
    await failsWith("refused", () => ask({ op: "grow" }), /copy, and only checks whether it is/);
    arrive();
    await until(async () => (await ask(status)).state === "none", "the end");
    assert.deepEqual((await ask(status)).findings, ["n2: joined"]);
    assert.equal(reportOf(journeys.status()), null);
  }));

Deno.test("who asks a node that is not there, or another node, is told so", () =>
  bed(async (_, { connection }) => {
    await failsWith("unavailable", () => askJourney(connection, "n9", status), /did not answer/);
    await using alone = await testServer({ jetstream: false });
    const other = await connect({ servers: alone.url });
    await failsWith("unavailable", () => askJourney(other, "n1", status), /No membershipd/);
    await other.close();
  }));

Deno.test("a journey is a check that is well, until it is over", () =>
  bed(async (ask, { journeys, arrive, trips }) => {
    const shown = () => checkJourney(reportOf(journeys.status()));
    assert.deepEqual(shown(), []);
    await ask({ op: "grow" });
    assert.deepEqual(shown(), [
      { name: "journey", ok: true, detail: "grow running: copy, 7 of 100, 3 changes behind" },
    ]);
    arrive(new StoreError("unavailable", "No leader"));
    await until(() => journeys.status().state === "failed", "the failure");
    assert.deepEqual(shown(), [{ name: "journey", ok: true, detail: "grow failed; No leader" }]);
    await ask({ op: "shrink" });
    trips.at(-1)!.tell({ retry: "It took too long" });
    assert.match(shown()[0]!.detail, /3 changes behind; It took too long$/);
    arrive(new StoreError("in_progress", "A move to node n2 began"));
    await until(() => journeys.status().state === "failed", "the failure");
    assert.match(shown()[0]!.detail, /^shrink failed; A move to node n2 began$/);
    await ask({ op: "shrink" });
    arrive();
    await until(() => journeys.status().state === "done", "the end");
    assert.deepEqual(shown(), []);
    assert.equal(reportOf(journeys.status())?.pause, 12);
  }));

Deno.test("a server that stops while a move ends does not begin to call it off", () =>
  bed(async (ask, { trips, journeys, ways }) => {
    const end = Promise.withResolvers<void>();
    const aborted = Promise.withResolvers<void>();
    ways.grow = async (_, { signal }) => {
      signal.addEventListener("abort", () => aborted.resolve());
      await end.promise;
      signal.throwIfAborted();
    };
    await ask({ op: "grow" });
    const asked = ask({ op: "call-off" });
    await aborted.promise;
    const stopped = journeys.stop();
    end.resolve();
    await stopped;
    assert.equal((await asked).state, "failed");
    assert.deepEqual(trips, []);
  }));
