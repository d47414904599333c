/**
 * Room ids that are valid and awkward: what an encoding, a query or a subject could trip over.
 *
 * @module
 */

/** Valid ids, all different from each other. */
export const AWKWARD_IDS: readonly string[] = [
  // Dots inside: tokens of a subject.
  ...["a", "a.b", "a.b.c", "b.a", "a.a", "x.1.y"],
  // Case and look-alikes.
  ...["A", "aB", "Ab", "\u00e9", "e\u0301", "ﬁ", "fi", "ß", "ss", "İ", "i"],
  // Punctuation of queries, paths, globs, shells, JSON.
  ...["a/b", "/", "a\\b", "a:b", "a=b", "=", "==", "a'b", "''", 'a"b', "a`b", "a;b", "--", "a,b"],
  ...["%", "100%", "%_", "a_b", "_", "?", "a?b", "#", "a&b=c", "(x)", "[x]", "{x}", "|", "~", "^"],
  ...["@", "!", "+", "-", "$", "$KV", "$JS.API", "_INBOX", "_INBOX.x", "-1", "0", "00", "1e3"],
  // Words that mean something elsewhere.
  ...["null", "undefined", "true", "NaN", "__proto__", "constructor", "toString", "meta", "rooms"],
  ...["members", "rooms.a", "meta.migration", "room_keys.a.1", "rooms_by_member"],
  // What "a.b" and "é" become in common encodings: an id must not be taken for another's encoding.
  ...["a%2Eb", "a%2eb", "%61", "a=2Eb", "=61", "a_2Eb", "a\\u002eb", "a+2Eb", "a~2Eb", "a-2Eb"],
  ...["%C3%A9", "%c3%a9", "=C3=A9", "=c3=a9", "_c3_a9", "c3a9", "=c3a9", "=w6k", "w6k", "w6k="],
  ...["YS5i", "=YS5i", "b64=YS5i", "_YS5i", "-YS5i", "~YS5i", "612e62", "=612e62", "x612e62"],
  ...["&#46;", "a&#46;b", "\\x2e", "xn--9ca", "===", "=00", "%00"],
  // Unicode of every length, either side of the surrogates, up to the last code point.
  ...[
    "日本語の部屋",
    "комната",
    "غرفة",
    "👋🏽",
    "🚀",
    "𐀀",
    "\u{10ffff}",
    "\ue000",
    "\uf8ff",
    "\uffff",
  ],
  ...["\ufffd", "\u00a1", "\u07ff", "\u0800"],
  // 256 bytes, the longest there are.
  "a".repeat(256),
  "é".repeat(128),
  "🚀".repeat(64),
  "=".repeat(256),
  "a.".repeat(127) + "aa",
];

/** Sorts text by its UTF-8 bytes, told by the bytes themselves. */
export function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
