/**
 * Public keys of small order. For such a key anyone can create a valid signature, or knows the shared
 * secret, so they are refused in every input.
 *
 * Source: the block lists of libsodium (`ge25519_has_small_order`, `has_small_order` of
 * `scalarmult_curve25519`). The top bit is not part of the coordinate and is masked, as there; the
 * entries p-1, p and p+1 are non-canonical encodings of the same points.
 *
 * @module
 */

const COMMON = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

const ED25519 = new Set([
  ...COMMON,
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
]);

const X25519 = new Set([
  ...COMMON,
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
]);

/** First digits of all entries, which rule out almost every other key. */
const BEGINNINGS = new Set([...ED25519, ...X25519].map((it) => it.slice(0, 4)));

function maskTopBit(hex: string): string {
  const nibble = parseInt(hex.charAt(62), 16);
  return nibble < 8 ? hex : hex.slice(0, 62) + (nibble - 8).toString(16) + hex.charAt(63);
}

/** Returns whether lower-case hex is an Ed25519 point of order 8 or less. */
export function isSmallOrderEd25519(hex: string): boolean {
  return BEGINNINGS.has(hex.slice(0, 4)) && ED25519.has(maskTopBit(hex));
}

/** Returns whether lower-case hex is an X25519 point of order 8 or less, on the curve or its twist. */
export function isSmallOrderX25519(hex: string): boolean {
  return BEGINNINGS.has(hex.slice(0, 4)) && X25519.has(maskTopBit(hex));
}
