/**
 * Finds few users of many by the index of names.
 *
 * @module
 */

import type { Sql } from "./sql.ts";

/** What is looked for among a few users, and when. */
export interface Few {
  /** Reads 1 where the index is whole and leads to few. */
  isFew: Sql;
  /** The keys of those users, as `found`. */
  keys: Sql;
}

/** Above so many users that could match, the first of all that do are found sooner. */
const FEW = 2000;
/** Characters of the parts in the index. */
const PART = 3;

/**
 * The users whose names could contain a text.
 *
 * @param text The text, as names are compared
 * @param keys The condition of those who are found by their key; `null` for none
 */
export function fewNamed(text: string, keys: Sql | null): Few {
  const ids = idsOf(text);
  const own = keys === null ? null : `SELECT sign_pub FROM users WHERE ${keys.sql}`;
  const values = [...ids.values, ...keys?.values ?? []];
  return {
    isFew: {
      sql: `SELECT upto = 'g' AND (SELECT count(*) FROM
        (${ids.sql}${own === null ? "" : ` UNION ALL ${own}`} LIMIT ${FEW})) < ${FEW}
        FROM user_names_state`,
      values,
    },
    keys: {
      sql: `SELECT sign_pub AS found FROM (${ids.sql}) CROSS JOIN users
        ON sign_pub >= printf('%08x', id) AND sign_pub < printf('%08xg', id)
        UNION ${own ?? "SELECT NULL WHERE 0"}`,
      values,
    },
  };
}

/** The rows of the index that could contain a text, with those that are out of date. */
function idsOf(text: string): Sql {
  const changed = "UNION ALL SELECT id FROM user_names_changed";
  return [...text].length < PART
    ? {
      sql: `SELECT doc AS id FROM temp.user_name_parts WHERE term >= ? AND term < ? ${changed}`,
      values: [text, `${text}\u{10ffff}`],
    }
    : {
      sql: `SELECT rowid AS id FROM user_names WHERE user_names MATCH ? ${changed}`,
      values: [`"${text.replaceAll('"', '""')}"`],
    };
}
