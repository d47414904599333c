/**
 * Rounds of: start a process that works on a store, kill it at a random moment, open the store, and
 * see that it holds exactly what was answered, with the operation under way either done or not.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Store } from "../../../src/core/store.ts";
import { inviteId } from "../../../src/core/store.ts";
import { collect, plain } from "../../conformance/kit/kit.ts";
import { invariantProblems } from "../../conformance/kit/invariants.ts";
import { Model } from "../../model/model.ts";
import { onModel } from "../../model/play.ts";
import { makePlan, type Planned, randomOf } from "./plan.ts";

/** What {@link killRounds} takes. */
export interface CrashTarget {
  /** `sqlite` or `jetstream`. */
  backend: "sqlite" | "jetstream";
  /** What the child opens: a path, or a URL and a bucket. */
  target: string;
  /** A directory for plans. */
  folder: string;
  /** Opens the store after the kill. */
  open(): Promise<Store>;
  /** Called at the moment of the kill; default: nothing but the child is killed. */
  kill?: () => Promise<void>;
}

/** What happened. */
export interface CrashReport {
  /** Children that were killed. */
  kills: number;
  /** Kills with an operation under way: how many of these were done, and how many not. */
  done: number;
  /** See {@link CrashReport.done}. */
  undone: number;
  /** Operations under way, by name. */
  underWay: Record<string, number>;
}

const PLAN = 70;

/** Kills children until `kills` of them died before their plan's end. */
export async function killRounds(
  it: CrashTarget,
  kills: number,
  seed: number,
): Promise<CrashReport> {
  const random = randomOf(seed);
  const report: CrashReport = { kills: 0, done: 0, undone: 0, underWay: {} };
  let model = new Model(Date.parse("2026-03-04T05:06:07.089Z"));
  let tokens = new Map<string, string>();
  for (let round = 1; report.kills < kills; round++) {
    const plan = makePlan(random, model, {
      length: PLAN,
      restores: it.backend === "sqlite",
      tokens,
    });
    const said = await runAndKill(it, plan, random);
    if (!said.killed) assert.equal(said.acknowledged.length, plan.length, said.errors);
    const after = await settle(it, model, tokens, plan, said).catch((error) => {
      throw new Error(`Seed ${seed}, round ${round}: ${error.message}`, { cause: error });
    });
    model = after.model;
    tokens = after.tokens;
    model.now += PLAN + 1;
    if (!said.killed) continue;
    report.kills++;
    if (after.underWay === undefined) continue;
    report[after.wasDone ? "done" : "undone"]++;
    report.underWay[after.underWay] = (report.underWay[after.underWay] ?? 0) + 1;
  }
  return report;
}

/** What the child said before it died. */
interface Said {
  killed: boolean;
  /** What it was answered, in order. */
  acknowledged: { code: string; token?: string; message?: string }[];
  /** How many operations it began. */
  begun: number;
  errors: string;
}

async function runAndKill(it: CrashTarget, plan: Planned[], random: () => number): Promise<Said> {
  const planFile = `${it.folder}/plan.json`;
  await Deno.writeTextFile(planFile, JSON.stringify(plan));
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "--no-check", "--cached-only", "--allow-all"],
      ...["--config", new URL("../../../deno.json", import.meta.url).pathname],
      ...[new URL("./child.ts", import.meta.url).pathname, it.backend, it.target, planFile],
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const errors = new Response(child.stderr).text();
  // A big one where there is one, every other time: it takes longest and has most to leave half-done.
  const bigs = plan.flatMap(({ big }, i) => big && i < PLAN - 20 ? [i] : []);
  const big = bigs.length > 0 && random() < 0.5;
  const victim = big
    ? bigs[Math.floor(random() * bigs.length)]!
    : Math.floor(random() * (PLAN - 20));
  const delay = random() ** 2 * (big ? 120 : 6);
  const said: Said = { killed: false, acknowledged: [], begun: 0, errors: "" };
  let timer: ReturnType<typeof setTimeout> | undefined;
  let killing: Promise<void> | undefined;
  const kill = () => {
    killing = it.kill?.();
    try {
      child.kill("SIGKILL");
    } catch { /* It has ended by itself. */ }
  };
  let rest = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      const [what, number] = line.split(" ", 2);
      if (what === "s") {
        said.begun = Number(number) + 1;
        // A timer waits a millisecond at least, in which a small operation is over.
        if (said.begun === victim + 1 && delay < 1) kill();
        else if (said.begun === victim + 1) timer = setTimeout(kill, delay);
      } else if (what === "a") {
        said.acknowledged.push(JSON.parse(line.slice(line.indexOf("{"))));
      }
    }
  }
  clearTimeout(timer);
  const status = await child.status;
  await killing;
  said.killed = status.signal === "SIGKILL";
  said.errors = await errors;
  assert.ok(said.killed || status.success, `The child ended with ${status.code}: ${said.errors}`);
  return said;
}

interface Settled {
  model: Model;
  tokens: Map<string, string>;
  /** The operation that was under way. */
  underWay?: string;
  wasDone?: boolean;
}

/** Compares what the store holds with what it must hold, and gives the state to go on from. */
async function settle(
  it: CrashTarget,
  before: Model,
  known: Map<string, string>,
  plan: Planned[],
  said: Said,
): Promise<Settled> {
  const model = before.clone();
  const tokens = new Map(known);
  const named = new Map<string, string>();
  const play = (model: Model, i: number, token?: string): string => {
    const { command, at } = plan[i]!;
    model.now = at;
    const real = command.op === "consumeInvite"
      ? { ...command, token: named.get(command.token) ?? command.token }
      : command;
    const outcome = onModel(model, real, token === undefined ? undefined : { token });
    return "code" in outcome ? outcome.code : "ok";
  };
  for (const [i, { code, token, message }] of said.acknowledged.entries()) {
    const expected = play(model, i, token);
    const text = `operation ${i}, ${JSON.stringify(plan[i]!.command).slice(0, 200)}`;
    assert.equal(code, expected, `${code} in place of ${expected} (${message}): ${text}`);
    if (token === undefined) continue;
    named.set(`@${i}`, token);
    tokens.set(inviteId(token), token);
  }
  const store = await it.open();
  try {
    const records = await collect(store.records());
    const found = plain(records);
    const problems = await invariantProblems(store, { everyMemberHasKey: true });
    const under = said.begun > said.acknowledged.length ? said.acknowledged.length : null;
    const command = under === null ? undefined : plan[under]!.command;
    const what = command === undefined ? "nothing" : JSON.stringify(command).slice(0, 200);
    assert.deepEqual(problems.slice(0, 10), [], `Under way: ${what}`);
    const settled = (model: Model, wasDone?: boolean): Settled => {
      for (const id of tokens.keys()) {
        const invite = model.invites.get(id);
        if (invite === undefined || invite.usedAt !== null) tokens.delete(id);
      }
      return { model, tokens, ...(command ? { underWay: command.op, wasDone: wasDone! } : {}) };
    };
    if (same(found, plain(model.records()))) return settled(model, false);
    if (under !== null) {
      const done = model.clone();
      if (command!.op === "createInvite") {
        // Its token died with the child; all else about it is known.
        const made = records.find((r) => r.kind === "invites" && !model.invites.has(r.record.id));
        done.now = plan[under]!.at;
        const { admin, note, expiresIn } = command!;
        if (made?.kind === "invites") {
          done.createInvite(made.record.id, admin ? "admin" : "user", note, expiresIn);
        }
      } else {
        play(done, under);
      }
      if (same(found, plain(done.records()))) return settled(done, true);
    }
    assert.fail(
      `The store holds neither the state before nor after ${what}; ` +
        `${said.acknowledged.length} were answered. Difference to before:\n` +
        difference(found, plain(model.records())),
    );
  } finally {
    await store.close();
  }
}

function same(a: unknown[], b: unknown[]): boolean {
  return JSON.stringify(a.map(entries)) === JSON.stringify(b.map(entries));
}

/** Fields in one order: the model and a backend may write them in different ones. */
function entries(it: unknown): unknown {
  return Object.entries(it as object).sort(([a], [b]) => a < b ? -1 : 1);
}

function difference(found: unknown[], expected: unknown[]): string {
  const left = new Set(found.map((it) => JSON.stringify(entries(it))));
  const right = new Set(expected.map((it) => JSON.stringify(entries(it))));
  return [
    ...[...left].filter((it) => !right.has(it)).map((it) => `+ ${it}`),
    ...[...right].filter((it) => !left.has(it)).map((it) => `- ${it}`),
  ].slice(0, 20).join("\n");
}
