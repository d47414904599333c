/**
 * Writes an SQLite file of realistic shape, for trying and measuring the move.
 *
 * Rooms of 2 to 40 members and a few of 200, one to four epochs with everybody's sealed keys, people
 * who left, cleartext rooms; users, some of them revoked or admins; invites open, used, expired and
 * canceled.
 *
 * @module
 */

import { mkdirSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import type { Counts, Invite, Room, StoreRecord, User } from "../../src/core/model.ts";
import { KINDS } from "../../src/core/model.ts";
import { compareText } from "../../src/core/order.ts";
import { createTarget } from "../../src/sqlite/file/target.ts";
import { Random } from "./random.ts";

/** How much to write: a number of each of these, or about so many records altogether. */
export type DatasetSize =
  | { rooms: number; users: number; invites: number }
  | { records: number };

/** What {@link writeDataset} takes besides the path. */
export type DatasetOptions = DatasetSize & {
  /** Same seed and size, same records. Default `unibus`. */
  seed?: string;
  /** Identity of the control plane. Default: a new one. */
  storeId?: string;
};

/** A room before it has a name. */
interface Plan {
  members: number[];
  /** Index of somebody who had a key of the first epoch and left, or `null`. */
  former: number | null;
  owner: number;
  encrypted: boolean;
  epoch: number;
}

const DAY = 24 * 3600 * 1000;
/** Everything happened in the two years from here. */
const START = Date.UTC(2024, 0, 1);
const YEARS = 2 * 365 * DAY;

const NAMES = ["ada", "björn", "chen", "dana", "emeka", "fátima", "grace", "hiro", "ines", "jörg"];
const ROOMS = ["alerts", "backup", "build", "büro", "deploy", "logs", "ops", "sensors", "監視"];
const NOTES = ["", "", "new laptop", "second host", "for the build machine", "añadido por Inés"];

/** Writes a new file; `refused` when there is one. Leaves none when it fails. */
export function writeDataset(path: string, options: DatasetOptions): Counts {
  const random = new Random(options.seed ?? "unibus");
  const target = createTarget(path, options.storeId ? { storeId: options.storeId } : {});
  let done = false;
  try {
    const counts = target.insertAllSync(records(random, options));
    done = true;
    return counts;
  } finally {
    target.close();
    if (!done) rmSync(target.path, { force: true });
  }
}

function* records(random: Random, size: DatasetSize): Generator<StoreRecord> {
  const total = "records" in size ? size.records : Infinity;
  const users = "users" in size ? size.users : Math.max(4, Math.round(total * 0.12));
  const invites = "invites" in size ? size.invites : Math.round(total * 0.09);
  const people = makeUsers(random, users);
  yield* roomRecords(random, people, planRooms(random, people, size, total - users - invites));
  for (const record of people) yield { kind: "users", record };
  for (const record of makeInvites(random, people, invites)) yield { kind: "invites", record };
}

function makeUsers(random: Random, count: number): User[] {
  const keys = Array.from({ length: count }, () => random.hex(32)).sort();
  return keys.map((signPub, i) => {
    const revoked = i > 0 && random.chance(0.08);
    const created = START + random.integer(0, YEARS);
    return {
      signPub,
      kexPub: random.hex(32),
      handle: `${random.pick(NAMES)} ${random.integer(1, 9999)}`,
      // The first is an active admin, so that there is one.
      role: i === 0 || random.chance(0.01) ? "admin" : "user",
      status: revoked ? "revoked" : "active",
      createdAt: time(created),
      revokedAt: revoked ? time(created + random.integer(DAY, 300 * DAY)) : null,
    };
  });
}

function planRooms(random: Random, people: User[], size: DatasetSize, records: number): Plan[] {
  const plans: Plan[] = [];
  const wanted = "rooms" in size ? size.rooms : Infinity;
  for (let left = records; plans.length < wanted && (left > 0 || "rooms" in size);) {
    const members = random.distinct(roomSize(random), people.length);
    const encrypted = !random.chance(0.08);
    const epoch = encrypted ? random.pick([1, 1, 1, 1, 1, 1, 2, 2, 3, 4]) : 1;
    const other = random.integer(0, people.length - 1);
    const former = epoch > 1 && random.chance(0.5) && !members.includes(other) ? other : null;
    plans.push({ members, former, owner: random.pick(members), encrypted, epoch });
    left -= 1 + members.length * (encrypted ? 1 + epoch : 1) + (former === null ? 0 : 1);
  }
  return plans;
}

function roomSize(random: Random): number {
  const at = random.fraction();
  if (at < 0.7) return random.integer(2, 5);
  if (at < 0.93) return random.integer(6, 15);
  if (at < 0.997) return random.integer(16, 40);
  return 200;
}

function* roomRecords(random: Random, people: User[], plans: Plan[]): Generator<StoreRecord> {
  const ids = plans.map((_, i) => `${random.pick(ROOMS)}-${String(i).padStart(6, "0")}`)
    .sort(compareText);
  for (const [i, plan] of plans.entries()) {
    const id = ids[i]!;
    const created = START + random.integer(0, YEARS);
    const room: Room = {
      id,
      subject: `unibus.${random.hex(8)}`,
      encrypted: plan.encrypted,
      owner: people[plan.owner]!.signPub,
      epoch: plan.epoch,
      createdAt: time(created),
    };
    yield { kind: "rooms", record: room };
    for (const index of plan.members) {
      const { signPub, kexPub } = people[index]!;
      const owner = index === plan.owner;
      yield {
        kind: "members",
        record: {
          roomId: id,
          endpoint: signPub,
          role: owner ? "owner" : "member",
          signPub,
          kexPub,
          joinedAt: time(owner ? created : created + random.integer(0, 60 * DAY)),
          accepted: true,
        },
      };
    }
    for (let epoch = 1; plan.encrypted && epoch <= plan.epoch; epoch++) {
      const createdAt = time(created + (epoch - 1) * 61 * DAY + random.integer(0, DAY));
      const former = epoch === 1 && plan.former !== null ? [plan.former] : [];
      for (const index of [...plan.members, ...former].sort((a, b) => a - b)) {
        const endpoint = people[index]!.signPub;
        const sealedKey = random.bytes(80);
        yield {
          kind: "room_keys",
          record: { roomId: id, epoch, endpoint, sealedKey, createdAt },
        };
      }
    }
  }
}

function makeInvites(random: Random, people: User[], count: number): Invite[] {
  const ids = Array.from({ length: count }, () => random.hex(32)).sort();
  const admins = people.filter((it) => it.role === "admin");
  return ids.map((id, i) => {
    const created = START + random.integer(0, YEARS);
    const invite: Invite = {
      id,
      createdBy: random.chance(0.2) ? "cli" : random.pick(admins).signPub,
      role: random.chance(0.02) ? "admin" : "user",
      note: random.pick(NOTES),
      createdAt: time(created),
      expiresAt: time(created + 7 * DAY),
      usedAt: null,
      usedBy: null,
      canceledAt: null,
    };
    switch (i % 4) {
      case 0: // Open, whenever this is read.
        return { ...invite, expiresAt: "2099-12-31T23:59:59.999Z" };
      case 1:
        return {
          ...invite,
          usedAt: time(created + random.integer(1, 7 * DAY - 1)),
          usedBy: random.pick(people).signPub,
        };
      case 2: // Expired.
        return invite;
      default:
        return { ...invite, canceledAt: time(created + random.integer(1, 7 * DAY)) };
    }
  });
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}

const USAGE = `Usage: deno task dataset --db PATH --records N [--seed S] [--json]

Writes a new SQLite file of about N records (at least 100).

  deno task dataset --db ./local_files/million.db --records 1000000`;

function main(args: string[]): number {
  let values;
  try {
    ({ values } = parseArgs({
      args,
      options: {
        db: { type: "string" },
        records: { type: "string" },
        seed: { type: "string" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    }));
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${USAGE}`);
    return 2;
  }
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const count = Number(values.records);
  if (!values.db || !Number.isInteger(count) || count < 100) {
    console.error(USAGE);
    return 2;
  }
  const began = performance.now();
  try {
    mkdirSync(dirname(values.db), { recursive: true });
    const counts = writeDataset(values.db, {
      records: count,
      ...(values.seed === undefined ? {} : { seed: values.seed }),
    });
    const seconds = (performance.now() - began) / 1000;
    const bytes = statSync(values.db).size;
    const records = KINDS.reduce((sum, kind) => sum + counts[kind], 0);
    if (values.json) {
      console.log(JSON.stringify({ path: values.db, records, counts, bytes, seconds }));
    } else {
      const each = KINDS.map((kind) => `${counts[kind]} ${kind}`).join(", ");
      console.log(
        `Wrote ${values.db}: ${records} records (${each}), ` +
          `${(bytes / 1e6).toFixed(1)} MB in ${seconds.toFixed(1)} s`,
      );
    }
    return 0;
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    return 1;
  }
}

if (import.meta.main) process.exitCode = main(process.argv.slice(2));
