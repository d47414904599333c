import type { Migration } from "./mod.ts";

/** The first 8 digits of a key as a number; bit shifts, because SQL reads no hexadecimal text. */
const id = (key: string) =>
  Array.from(
    { length: 8 },
    (_, i) => `(instr('123456789abcdef', substr(${key}, ${i + 1}, 1)) << ${28 - 4 * i})`,
  ).join(" | ");
const note = (key: string) => `INSERT OR IGNORE INTO user_names_changed VALUES (${id(key)})`;
const behind = (key: string) => `${key} < (SELECT upto FROM user_names_state)`;

/**
 * An index of the parts of users' handles. The first searches of a large file fill it, so that neither
 * opening an older file nor loading one waits for it; triggers note what changes.
 */
export const migration: Migration = {
  version: 8,
  name: "names",
  sql: `
-- The row id is the number in the first 8 digits of a signing key; its text is the folded handles of
-- all users with such keys, each with two line feeds behind it, so that its last characters begin a
-- trigram too.
CREATE VIRTUAL TABLE user_names USING fts5(
  handle, content = '', contentless_delete = 1, tokenize = 'trigram case_sensitive 1'
);

-- One row. Users whose keys sort before "upto" are in the index: none before '', all before 'g'.
CREATE TABLE user_names_state (
  one  INTEGER PRIMARY KEY CHECK (one = 1),
  upto TEXT NOT NULL
) STRICT;

INSERT INTO user_names_state VALUES (1, '');

-- Rows of the index that are out of date.
CREATE TABLE user_names_changed (id INTEGER PRIMARY KEY) STRICT;

CREATE TRIGGER users_named_insert AFTER INSERT ON users WHEN ${behind("NEW.sign_pub")}
BEGIN ${note("NEW.sign_pub")}; END;
CREATE TRIGGER users_named_update AFTER UPDATE OF sign_pub, handle ON users
WHEN ${behind("NEW.sign_pub")} OR ${behind("OLD.sign_pub")}
BEGIN ${note("NEW.sign_pub")}; ${note("OLD.sign_pub")}; END;
CREATE TRIGGER users_named_delete AFTER DELETE ON users WHEN ${behind("OLD.sign_pub")}
BEGIN ${note("OLD.sign_pub")}; END;

CREATE TRIGGER user_names_forget AFTER UPDATE OF upto ON user_names_state WHEN NEW.upto = ''
BEGIN
  INSERT INTO user_names (user_names) VALUES ('delete-all');
  DELETE FROM user_names_changed;
END;
`,
};
