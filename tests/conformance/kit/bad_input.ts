/**
 * Input that must be refused before anything is written.
 *
 * @module
 */

const KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

/** Not ids of rooms. */
export const BAD_IDS: readonly unknown[] = [
  ...["", " ", "a b", "a ", " a", "a\tb", "a\nb", "a\r", "\u00a0", "a\u2003b", "a\u2028b"],
  ...["*", "a.*", "a*b", ">", "a.>", "a>b", ".", "..", ".a", "a.", "a..b", "a.b."],
  ...["a\u0000", "\u0007", "a\u007f", "\u0085", "a\u200bb", "a\u202eb", "\ufeffa", "a\u00adb"],
  ...["\ud800", "a\udc00b", "\udc00\ud800"],
  ...["a".repeat(257), "é".repeat(129), "🚀".repeat(65), "x".repeat(10_000), "é".repeat(10_000)],
  ...[5, true, {}, [], ["a"], new String("a"), 5n, Symbol("a")],
];

/** Not subjects of rooms, beyond those that are not ids either. */
export const BAD_SUBJECTS: readonly unknown[] = [
  ...["$SYS.a", "$JS.API.x", "$", "_INBOX", "_INBOX.abc", "a.*", "a.>", "a b", "s".repeat(257)],
];

/** Not 32 bytes in hex. */
export const NOT_HEX: readonly unknown[] = [
  ...["", "00", KEY.slice(1), `${KEY}0`, `${KEY}\n`, ` ${KEY}`, `0x${KEY.slice(2)}`],
  ...["g".repeat(64), "*", ">", "x".repeat(10_000), "٣".repeat(64), `${KEY.slice(2)}é`],
  ...[5, {}, [], [KEY], new Uint8Array(32), new String(KEY)],
];

const HIGH_BIT = (hex: string) => {
  const nibble = parseInt(hex[62]!, 16) ^ 8;
  return hex.slice(0, 62) + nibble.toString(16) + hex[63];
};

/** Points of small order common to both curves, and their forms with the top bit set. */
const SMALL_COMMON = [
  "00".repeat(32),
  `01${"00".repeat(31)}`,
  `ec${"ff".repeat(30)}7f`,
  `ed${"ff".repeat(30)}7f`,
  `ee${"ff".repeat(30)}7f`,
];

/** Ed25519 points of small order. */
export const SMALL_ED25519: readonly string[] = withVariants([
  ...SMALL_COMMON,
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
]);

/** X25519 points of small order. */
export const SMALL_X25519: readonly string[] = withVariants([
  ...SMALL_COMMON,
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
]);

function withVariants(points: string[]): string[] {
  return points.flatMap((it) => [it, HIGH_BIT(it), it.toUpperCase()]);
}

/** Not handles. */
export const BAD_HANDLES: readonly unknown[] = [
  ...["", " ", " a", "a ", "a\nb", "a\u0000", "\u001b[31mred", "a\u007f", "a\u0085b", "a\u2028b"],
  ...["x".repeat(65), "🚀".repeat(65), "x".repeat(10_000), "\ud800", 5, null, undefined, {}],
];

/** Not sealed keys. */
export const BAD_SEALED_KEYS: readonly unknown[] = [
  new Uint8Array(0),
  new Uint8Array(4097),
  new Uint8Array(1_000_000),
  ...["text", null, undefined, [1, 2, 3], new ArrayBuffer(8), new Uint16Array(8), { length: 8 }],
];

/** Not epochs. */
export const BAD_EPOCHS: readonly unknown[] = [
  ...[0, -1, 1.5, NaN, Infinity, 2 ** 31, 2 ** 53, "1", null, {}, 1n],
];

/** Not roles. */
export const BAD_ROLES: readonly unknown[] = ["", "owner", "Admin", "root", 1, {}, ["admin"]];
