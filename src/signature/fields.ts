/**
 * Parses `Signature-Input` and `Signature` (RFC 9421, sections 4.1 and 4.2).
 *
 * Accepts only the strict form that every serializer writes (RFC 8941, section 4.1), so that the received
 * text is the text that was signed and need not be serialized again. A label or parameter that occurs
 * twice is malformed, although in RFC 8941 the last one counts, so that all parsers see the same
 * signature. A general parser and serializer of structured fields takes 8 µs per request, this one 2 µs;
 * the tests compare their results.
 *
 * @module
 */

import { Buffer } from "node:buffer";

/** One member of `Signature-Input`. */
export interface SignatureInput {
  /** Its label, the same in `Signature`. */
  label: string;
  /** The covered components as written: in quotes, with their parameters. */
  components: string[];
  /** Strings and integers; `true` for a value of any other type. */
  params: Map<string, string | number | true>;
  /** Components and parameters, the value of `@signature-params`. */
  text: string;
}

// Each alternative begins with a different character, so matching takes linear time.
const KEY = "[a-z*][a-z0-9_.*-]*";
const STRING = String.raw`"(?:[ !#-\[\]-~]|\\["\\])*"`;
const NUMBER = String.raw`(?:0|-?[1-9]\d{0,14}|-?(?:0|[1-9]\d{0,11})\.\d{1,3})(?![.\d])`;
const TOKEN = String.raw`[A-Za-z*][:/!#$%&'*+\-.^_\x60|~A-Za-z0-9]*`;
const BASE64 = "[A-Za-z0-9+/]";
const LAST = `${BASE64}[AQgw]==|${BASE64}{2}[AEIMQUYcgkosw048]=`;
const BYTES = `:(?:${BASE64}{4})*(?:${LAST})?:`;
const PARAMS = String.raw`(?:;${KEY}(?:=(?:${STRING}|${NUMBER}|${TOKEN}|${BYTES}|\?0))?)*`;
const ITEM = `${STRING}${PARAMS}`;
const NEXT = String.raw`[ \t]*(?:$|,[ \t]*(?!$))`;

const INPUT = new RegExp(`(${KEY})=(\\((${ITEM}(?: ${ITEM})*)?\\)(${PARAMS}))${NEXT}`, "y");
const SIGNATURE = new RegExp(`(${KEY})=(${BYTES})${NEXT}`, "y");
const EACH_ITEM = new RegExp(ITEM, "g");
const EACH_PARAM = new RegExp(`;(${KEY})(?:=(?:(${STRING})|(-?\\d+)(?![.\\d])|[^;"]+))?`, "g");

/** Parses `Signature-Input`; returns `null` if it is malformed or has more than `max` members. */
export function parseInput(field: string, max: number): SignatureInput[] | null {
  const found: SignatureInput[] = [];
  INPUT.lastIndex = 0;
  while (INPUT.lastIndex < field.length) {
    const [, label, text, items, parameters] = INPUT.exec(field) ?? [];
    if (label === undefined || text === undefined || found.length === max) return null;
    if (found.some((it) => it.label === label)) return null;
    const params = paramsOf(parameters ?? "");
    if (params === null) return null;
    found.push({ label, components: items?.match(EACH_ITEM) ?? [], params, text });
  }
  return found;
}

/** Returns the bytes of a label in `Signature`, or `null` if it is missing or the field is malformed. */
export function parseSignature(field: string, label: string): Uint8Array | null {
  let found: string | null = null;
  SIGNATURE.lastIndex = 0;
  while (SIGNATURE.lastIndex < field.length) {
    const [, name, value] = SIGNATURE.exec(field) ?? [];
    if (value === undefined || (name === label && found !== null)) return null;
    if (name === label) found = value;
  }
  return found === null ? null : Buffer.from(found.slice(1, -1), "base64");
}

function paramsOf(text: string): SignatureInput["params"] | null {
  const params: SignatureInput["params"] = new Map();
  for (const [, key, string, integer] of text.matchAll(EACH_PARAM)) {
    if (params.has(key!)) return null;
    if (string !== undefined) params.set(key!, unescape(string));
    else params.set(key!, integer === undefined ? true : Number(integer));
  }
  return params;
}

function unescape(string: string): string {
  const inner = string.slice(1, -1);
  return inner.includes("\\") ? inner.replace(/\\(.)/g, "$1") : inner;
}
