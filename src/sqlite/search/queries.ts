/**
 * Queries of users and rooms as SQL.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import {
  ORDERS,
  type Query,
  ROOM_SORTS,
  type RoomQuery,
  USER_SORTS,
  type UserQuery,
} from "../../core/store/search.ts";
import * as check from "../../core/validate.ts";
import { columnsOf } from "../rows.ts";
import { type Few, fewNamed } from "./few.ts";
import { fold } from "./names.ts";
import type { Asked, Sql } from "./sql.ts";

/** A query of one table, ready to run. */
export interface Prepared {
  /** Reads the items of the page and one more. */
  page: Asked;
  /** Counts all items that match; `null` if not asked for. */
  count: Asked | null;
  /** Most items on the page. */
  limit: number;
  /** Returns the cursor of an item; its fields are named as the columns are sorted by. */
  cursor(value: string, key: string): string;
}

/** What differs between the tables. */
interface Listed {
  table: "users" | "rooms";
  key: string;
  /** The expression to sort by; `null` for the key. */
  by: string | null;
  parseKey(field: string, value: unknown): string;
}

const QUERY = ["limit", "after", "order", "total", "search", "sort"];
/** Most characters that users are searched for. */
const USER_CHARS = 64;
/** Most characters that rooms are searched for. */
const ROOM_CHARS = 256;
/** Characters of handles; longer cursors are not ours. */
const CURSOR_CHARS = 1024;

/** Rooms that readers do not see: a large change is in progress. */
const PENDING = "id NOT IN (SELECT room_id FROM follower_pending WHERE op <> 'rekey')";

/** Members who lack the current key of their room. */
const WITHOUT_KEY = `members AS lacks CROSS JOIN rooms AS keyed ON keyed.id = lacks.room_id
  WHERE keyed.encrypted = 1 AND NOT EXISTS (SELECT 1 FROM room_keys AS held
    WHERE held.room_id = keyed.id AND held.epoch = keyed.epoch AND held.endpoint = lacks.endpoint)`;

/** The condition that a user, or a room, is one of those that a column of {@link WITHOUT_KEY} names. */
function lacks(key: string, column: string, lacking: unknown): Sql {
  const not = check.boolean("lacking", lacking) ? "" : "NOT ";
  return plain(`${key} ${not}IN (SELECT lacks.${column} FROM ${WITHOUT_KEY})`);
}

/** Prepares a query of users. */
export function userQuery(query: UserQuery): Prepared {
  const given = check.options("query", query, [
    ...QUERY,
    "role",
    "status",
    "lacking",
  ]) as UserQuery;
  const filters: Sql[] = [];
  const text = searchText(given.search, USER_CHARS);
  let few: Few | null = null;
  if (text !== null) {
    const named = contains("handle", text);
    const keyed = /^[0-9a-f]{1,64}$/.test(text)
      ? { sql: "sign_pub >= ? AND sign_pub < ?", values: [text, `${text}g`] }
      : null;
    few = fewNamed(text, keyed);
    filters.push(
      keyed === null ? named : {
        sql: `(${named.sql} OR ${keyed.sql})`,
        values: [...named.values, ...keyed.values],
      },
    );
  }
  const { role, status, lacking } = given;
  // As text, so that the indexes of few users serve.
  if (role !== undefined) filters.push(plain(`role = '${check.userRole("role", role)}'`));
  if (status !== undefined) {
    filters.push(plain(`status = '${check.oneOf("status", status, ["active", "revoked"])}'`));
  }
  if (lacking !== undefined) filters.push(lacks("sign_pub", "endpoint", lacking));
  const sort = check.oneOf("sort", given.sort ?? USER_SORTS[0], USER_SORTS);
  const by = { key: null, handle: "handle COLLATE NOCASE", created: "created_at" }[sort];
  const listed: Listed = { table: "users", key: "sign_pub", by, parseKey: check.hashId };
  return prepare(listed, filters, given, few);
}

/** Prepares a query of rooms. */
export function roomQuery(query: RoomQuery, isFollower: boolean): Prepared {
  const given = check.options("query", query, [
    ...QUERY,
    "member",
    "accepted",
    "lacking",
  ]) as RoomQuery;
  const filters: Sql[] = isFollower ? [plain(PENDING)] : [];
  const text = searchText(given.search, ROOM_CHARS);
  if (text !== null) filters.push(contains("id", text));
  const { member, accepted, lacking } = given;
  if (accepted !== undefined && member === undefined) {
    throw check.invalid("accepted", "accepted must not be given without a member");
  }
  if (member !== undefined) {
    const also = accepted === undefined
      ? ""
      : ` AND accepted = ${check.boolean("accepted", accepted) ? 1 : 0}`;
    filters.push({
      sql: `id IN (SELECT room_id FROM members WHERE endpoint = ?${also})`,
      values: [check.signPub("member", member)],
    });
  }
  if (lacking !== undefined) filters.push(lacks("id", "room_id", lacking));
  const sort = check.oneOf("sort", given.sort ?? ROOM_SORTS[0], ROOM_SORTS);
  const by = { id: null, created: "created_at" }[sort];
  return prepare({ table: "rooms", key: "id", by, parseKey: check.roomId }, filters, given);
}

function prepare(
  listed: Listed,
  filters: Sql[],
  given: Query,
  few: Few | null = null,
): Prepared {
  const { table, key, by } = listed;
  const isDescending = check.oneOf("order", given.order ?? ORDERS[0], ORDERS) === "desc";
  const { limit = check.LIMITS.pageDefault, after = null, total = false } = given;
  check.integer("limit", limit, 1, check.LIMITS.pageMax);
  const order = [...by === null ? [] : [by], key]
    .map((it) => isDescending ? `${it} DESC` : it).join(", ");
  const from = after === null ? [] : [afterCursor(listed, isDescending, after)];
  const inside = where([...filters, ...from]);
  const columns = columnsOf(table, "it");
  /** Statements of the few who could match. */
  const instead = (what: string, { sql, values }: Sql, end = "", ...more: number[]) =>
    few && {
      isFew: few.isFew,
      sql: `SELECT ${what} FROM (${few.keys.sql})
        CROSS JOIN ${table} it ON it.${key} = found${sql}${end}`,
      values: [...few.keys.values, ...values, ...more],
    };
  return {
    limit,
    // The keys first, which indexes hold; then so many rows.
    page: {
      sql: `SELECT ${columns} FROM
        (SELECT ${key} AS found FROM ${table}${inside.sql} ORDER BY ${order} LIMIT ?)
        CROSS JOIN ${table} it ON it.${key} = found ORDER BY ${order}`,
      values: [...inside.values, limit + 1],
      few: instead(columns, inside, ` ORDER BY ${order} LIMIT ?`, limit + 1),
    },
    count: check.boolean("total", total)
      ? { ...counting(table, where(filters)), few: instead("count(*)", where(filters)) }
      : null,
    cursor: (value, id) =>
      by === null ? id : Buffer.from(JSON.stringify([value, id])).toString("base64url"),
  };
}

function counting(table: string, { sql, values }: Sql): Sql {
  return { sql: `SELECT count(*) FROM ${table}${sql}`, values };
}

/** The condition of being behind a cursor. */
function afterCursor({ key, by, parseKey }: Listed, isDescending: boolean, after: unknown): Sql {
  const than = isDescending ? "<" : ">";
  if (by === null) return { sql: `${key} ${than} ?`, values: [parseKey("after", after)] };
  const [value, id] = parseCursor(after);
  // In words that make SQLite seek, which it does not for row values with a collation.
  return {
    sql: `${by} ${than}= ? AND (${by} ${than} ? OR ${key} ${than} ?)`,
    values: [value, value, parseKey("after", id)],
  };
}

function parseCursor(after: unknown): [string, string] {
  try {
    if (typeof after === "string" && after.length <= CURSOR_CHARS) {
      const found: unknown = JSON.parse(Buffer.from(after, "base64url").toString());
      if (
        Array.isArray(found) && found.length === 2 && found.every((it) => typeof it === "string")
      ) {
        return found as [string, string];
      }
    }
  } catch {
    // Not JSON.
  }
  throw check.invalid("after", "after must be the `next` of an earlier page in the same order");
}

/** A text to search for, as handles and ids are compared. */
function searchText(value: unknown, most: number): string | null {
  if (value === undefined) return null;
  if (typeof value !== "string" || value === "" || value.length > most || value.includes("\0")) {
    throw check.invalid("search", `search must be 1 to ${most} characters`);
  }
  return fold(value);
}

/**
 * The condition that a column contains a text in any case. SQLite knows that of ASCII letters only; what
 * else could contain it is left to `fold`, which is called for few: it costs five times as much.
 */
function contains(column: string, text: string): Sql {
  const isWide = `octet_length(${column}) > length(${column})`;
  const folded = `instr(fold(${column}), ?) > 0`;
  if (/[^\0-\x7f]/.test(text)) return { sql: `(${isWide} AND ${folded})`, values: [text] };
  const pattern = `%${text.replace(/[\\%_]/g, "\\$&")}%`;
  // The letters from À to ÿ stand for no ASCII characters.
  const isOdd = `${isWide} AND ${column} GLOB '*[^ -~À-ÿ]*'`;
  return {
    sql: `(${column} LIKE ? ESCAPE '\\' OR ${isOdd} AND ${folded})`,
    values: [pattern, text],
  };
}

function plain(sql: string): Sql {
  return { sql, values: [] };
}

function where(all: Sql[]): Sql {
  const sql = all.map((it) => it.sql).join(" AND ");
  return { sql: sql === "" ? "" : ` WHERE ${sql}`, values: all.flatMap((it) => it.values) };
}
