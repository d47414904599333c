/**
 * What the workers do whose power is lost, and what must be there of it afterwards.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { StoreRecord } from "../../src/core/model.ts";
import type { Store } from "../../src/core/store.ts";
import { collect, plain } from "../conformance/kit/kit.ts";
import { invariantProblems } from "../conformance/kit/invariants.ts";
import { endpointOf, type Peer, type Write } from "../model/commands.ts";
import { Model } from "../model/model.ts";
import { onModel } from "../model/play.ts";
import type { Event } from "./trace.ts";

/** The time of everything. */
export const NOW = Date.parse("2026-03-04T05:06:07.089Z");

/** The peers of a worker begin at this multiple of its number. */
const PEERS = 10_000;

/** The operations of a worker: none touches what belongs to another. */
export function workOf(worker: number, length: number): Write[] {
  const work: Write[] = [];
  for (let round = 0; work.length < length; round++) {
    const at = (i: number): Peer => worker * PEERS + round * 20 + i;
    const id = `w${worker}-${round}`;
    const five = [0, 1, 2, 3, 4].map(at);
    work.push(
      { op: "addUser", who: at(0), admin: round === 0, handle: `added ${id}` },
      { op: "createInvite", admin: false, note: `w${worker}`, expiresIn: 1e9 },
      { op: "consumeInvite", token: "", who: at(1), handle: `claimed ${id}` },
      {
        op: "createRoom",
        id,
        encrypted: true,
        owner: at(0),
        members: five.slice(1),
        keys: five,
        salt: round,
      },
      { op: "rekeyRoom", id, epoch: 2, keys: five, salt: round + 1 },
      { op: "addMember", id, who: at(5), key: { epoch: 2, salt: 3 } },
      { op: "removeMember", id, who: at(1) },
      { op: "revokeUser", who: at(1), force: true },
      { op: "deleteUser", who: at(round === 0 ? 1 : 0), force: true },
    );
    if (round % 2 === 1) work.push({ op: "deleteRoom", id: `w${worker}-${round - 1}` });
  }
  return work.slice(0, length);
}

/** What a writer said. */
export interface Mark {
  /** `s` before an operation, `a` after it. */
  kind: "s" | "a";
  /** The worker. */
  worker: number;
  /** The operation's place. */
  place: number;
  /** The token of an invite that was made. */
  token: string;
  /** Who said it. */
  thread: number;
  /** When it began to say it: nobody can have heard it before. */
  moment: number;
}

/** What was said in a trace. */
export function marksOf(events: readonly Event[]): Mark[] {
  return events.flatMap((it) => {
    if (it.kind !== "say") return [];
    const said = Buffer.from(it.data).toString("latin1");
    return [...said.matchAll(/^([sa]) (\d+) (\d+)(?: (\S+))?$/gm)].map((
      [, kind, worker, place, token = ""],
    ): Mark => ({
      kind: kind as Mark["kind"],
      worker: Number(worker),
      place: Number(place),
      token,
      thread: it.thread,
      moment: it.begin,
    }));
  });
}

/** What must be found after a loss of power, by what was said up to then. */
export class Expected {
  readonly #states = new Map<number, string[]>();
  readonly #owner = new Map<string, number>();

  /** @param marks Of the whole run: every token is known */
  constructor(readonly marks: readonly Mark[], length: number) {
    for (const worker of new Set(marks.map((it) => it.worker))) {
      const tokens = new Map(
        marks.filter((it) => it.worker === worker && it.kind === "a" && it.token.length > 1)
          .map((it) => [it.place, it.token]),
      );
      const model = new Model(NOW);
      const states = [JSON.stringify(plain(model.records()))];
      let token = "";
      for (const [i, command] of workOf(worker, length).entries()) {
        token = tokens.get(i) ?? token;
        const real = command.op === "consumeInvite" ? { ...command, token } : command;
        const outcome = onModel(model, real, { token });
        assert.ok(!("code" in outcome), `${command.op}: ${JSON.stringify(outcome)}`);
        states.push(text(model.records()));
      }
      this.#states.set(worker, states);
      for (let i = 0; i < PEERS; i++) this.#owner.set(endpointOf(worker * PEERS + i), worker);
    }
  }

  /** Holds what a store has against what was acknowledged by `moment`. */
  async check(store: Store, moment: number): Promise<{ acknowledged: number }> {
    assert.deepEqual(await invariantProblems(store, { everyMemberHasKey: true }), []);
    const records = await collect(store.records());
    const found = Map.groupBy(records, (it) => this.#workerOf(it));
    const said = this.marks.filter((it) => it.moment <= moment);
    for (const [worker, states] of this.#states) {
      const count = (kind: string) =>
        said.filter((it) => it.worker === worker && it.kind === kind).length;
      const acknowledged = count("a");
      const begun = count("s");
      const now = text(found.get(worker) ?? []);
      // Nothing acknowledged is missing; what was under way is whole or not there.
      if (now === states[acknowledged] || (begun > acknowledged && now === states[begun])) continue;
      const like = states.indexOf(now);
      assert.fail(
        `Worker ${worker} had heard of ${acknowledged} operations and begun ${begun}; there is ` +
          (like >= 0 ? `the state after ${like}` : "a state that never was"),
      );
    }
    return { acknowledged: said.filter((it) => it.kind === "a").length };
  }

  #workerOf(it: StoreRecord): number {
    switch (it.kind) {
      case "rooms":
        return Number(/^w(\d+)/.exec(it.record.id)![1]);
      case "members":
      case "room_keys":
        return Number(/^w(\d+)/.exec(it.record.roomId)![1]);
      case "users":
        return this.#owner.get(it.record.signPub)!;
      case "invites":
        return Number(it.record.note.slice(1));
    }
  }
}

/** Records in a form that compares: fields in one order. */
function text(records: StoreRecord[]): string {
  return JSON.stringify(
    plain(records).map((it) => Object.entries(it as object).sort(([a], [b]) => a < b ? -1 : 1)),
  );
}
