import assert from "node:assert/strict";
import { isStoreError, type StoreError } from "../../src/core/errors.ts";
import { KINDS, type StoreRecord } from "../../src/core/model.ts";
import {
  decodeRecord,
  encodeRecord,
  readSnapshot,
  verifySnapshot,
} from "../../src/snapshot/mod.ts";
import { hex, sampleRecords, snapshotOf } from "./records.ts";

const bytes = await snapshotOf(sampleRecords());
const lines = new TextDecoder().decode(bytes).split("\n").slice(0, -1);
const join = (parts: string[]) => parts.map((it) => it + "\n").join("");

/** The error of a snapshot that must be refused. */
async function refusal(source: Parameters<typeof verifySnapshot>[0]): Promise<StoreError> {
  try {
    await verifySnapshot(source);
  } catch (error) {
    assert.ok(isStoreError(error), `not a StoreError: ${error}`);
    return error;
  }
  assert.fail("the damage was not found");
}

/** All lines as they should be, with a trailer that fits them: damage that no digest shows. */
async function withTrailer(parts: string[]): Promise<string> {
  const { createHash } = await import("node:crypto");
  const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
  const of = (kind: string) => parts.filter((it) => it.startsWith(`{"kind":"${kind}"`));
  return join([
    ...parts,
    JSON.stringify({
      kind: "end",
      counts: Object.fromEntries(KINDS.map((kind) => [kind, of(kind).length])),
      sha256: {
        ...Object.fromEntries(KINDS.map((kind) => [kind, sha256(join(of(kind)))])),
        all: sha256(join(parts)),
      },
    }),
  ]);
}

Deno.test("a flipped bit is found at every byte, and its line or kind is named", async () => {
  let line = 1;
  for (let at = 0; at < bytes.length; at++) {
    const kind = /^\{"kind":"(\w+)"/.exec(lines[line - 1]!)?.[1];
    for (const bit of [at % 8, (at + 3) % 8, (at + 6) % 8]) {
      const damaged = bytes.slice();
      damaged[at]! ^= 1 << bit;
      const { code, message } = await refusal(damaged);
      const what = `byte ${at} (line ${line}, ${kind}), bit ${bit}: ${code} ${message}`;
      if (line === 1) {
        // The digit of the version turns into another digit, or into nothing this format has.
        assert.ok(code === "corrupt" || (code === "unsupported" && /version/.test(message)), what);
        assert.match(message, /line 1|version/, what);
        continue;
      }
      assert.equal(code, "corrupt", what);
      const named = Number(/line (\d+)/.exec(message)?.[1]);
      // Order shows only at the next line; a value that is as good as the old one only in the digest.
      const byDigest = named === lines.length &&
        (kind === "end" || message.includes(`the SHA-256 of ${kind} differs`));
      assert.ok(named === line || named === line + 1 || byDigest, what);
    }
    if (bytes[at] === 10) line++;
  }
  assert.equal(line, lines.length + 1);
});

Deno.test("a snapshot cut off at any byte is found, and the place is named", async () => {
  let line = 1;
  for (let length = 0; length < bytes.length; length++) {
    const { code, message } = await refusal(bytes.subarray(0, length));
    assert.equal(code, "corrupt");
    if (length === 0) assert.match(message, /it is empty/);
    else if (bytes[length - 1] === 10) {
      assert.equal(message, `Snapshot ends at line ${line} without its trailer`);
      line++;
    } else {
      assert.match(message, new RegExp(`line ${line} is truncated`));
    }
  }
});

Deno.test("any two lines swapped are found", async () => {
  for (let a = 0; a < lines.length; a++) {
    for (let b = a + 1; b < lines.length; b++) {
      const swapped = lines.slice();
      [swapped[a], swapped[b]] = [swapped[b]!, swapped[a]!];
      const { code, message } = await refusal(join(swapped));
      assert.equal(code, "corrupt", message);
      const named = Number(/line (\d+)/.exec(message)?.[1]);
      assert.ok(named >= a + 1 && named <= b + 1, `lines ${a + 1} and ${b + 1}: ${message}`);
    }
  }
});

Deno.test("any line removed is found", async () => {
  for (const [i, line] of lines.entries()) {
    const { code, message } = await refusal(join(lines.toSpliced(i, 1)));
    assert.equal(code, "corrupt");
    const kind = JSON.parse(line).kind;
    if (i === 0) assert.match(message, /line 1 is not its header/);
    else if (kind === "end") assert.match(message, /without its trailer/);
    else assert.match(message, new RegExp(`${kind}: .* expected and .* found`));
  }
});

Deno.test("any line repeated, next to itself or elsewhere, is found", async () => {
  for (let i = 0; i < lines.length; i++) {
    for (let to = 0; to <= lines.length; to++) {
      const { code, message } = await refusal(join(lines.toSpliced(to, 0, lines[i]!)));
      assert.equal(code, "corrupt", `line ${i + 1} again before line ${to + 1}: ${message}`);
    }
  }
});

Deno.test("disorder and repetition are found also under a trailer that fits", async () => {
  const records = lines.slice(0, -1);
  assert.ok(await verifySnapshot(await withTrailer(records)), "the trailer made here is good");
  const swapped = records.toSpliced(1, 2, records[2]!, records[1]!);
  assert.match((await refusal(await withTrailer(swapped))).message, /line 3 .*out of order/);
  const repeated = records.toSpliced(3, 0, records[2]!);
  assert.match((await refusal(await withTrailer(repeated))).message, /line 4 .*out of order/);
});

Deno.test("records that do not fit together are refused, damage being named first", async () => {
  const orphaned = lines.slice(0, -1).filter((it) => !it.includes('"kind":"rooms","id":"lobby"'));
  const fits = await refusal(await withTrailer(orphaned));
  assert.equal(fits.code, "invalid");
  assert.match(fits.message, /members lobby .* belongs to no room/);
  // The same with the trailer of the whole snapshot: the line was lost, and that is the reason.
  const lost = await refusal(join([...orphaned, lines.at(-1)!]));
  assert.equal(lost.code, "corrupt");
  assert.match(lost.message, /rooms: 4 expected and 3 found/);
});

Deno.test("a record beyond a limit is refused by line and field", async () => {
  const parts = lines.slice(0, -1);
  const i = parts.findIndex((it) => it.includes('"handle":"eve"'));
  const bad = parts.with(i, parts[i]!.replace('"handle":"eve"', '"handle":"e\\u0007e"'));
  const error = await refusal(await withTrailer(bad));
  assert.equal(error.code, "corrupt");
  assert.equal(error.field, "handle");
  assert.match(
    error.message,
    new RegExp(`line ${i + 1} has an invalid record: handle must not contain`),
  );
});

Deno.test("a line has one spelling: every other one is refused by its number", async () => {
  const parts = lines.slice(0, -1);
  const at = parts.findIndex((it) =>
    it.includes('"kind":"room_keys","roomId":"lobby","epoch":1') && it.includes(hex("ada"))
  );
  const key = parts[at]!;
  const sealed = /"sealedKey":"([^"]+)"/.exec(key)![1]!;
  const spellings = [
    key.replace("{", "{ "),
    key + " ",
    key + "\r",
    key.replace(hex("ada"), hex("ada").toUpperCase()),
    key.replace("}", ',"extra":1}'),
    key.replace('"epoch":1', '"epoch":1.0'),
    key.replace('"epoch":1', '"epoch":2,"epoch":1'),
    key.replace('"lobby"', '"\\u006cobby"'),
    key.replace(sealed, sealed + "=="),
    key.replace(sealed, sealed.slice(0, -1) + String.fromCharCode(sealed.charCodeAt(85) + 1)),
    key.replace(sealed, "!" + sealed),
    key.replace(/"roomId":"lobby","epoch":1/, '"epoch":1,"roomId":"lobby"'),
  ];
  for (const spelling of spellings) {
    assert.notEqual(spelling, key);
    const { code, message } = await refusal(await withTrailer(parts.with(at, spelling)));
    assert.equal(code, "corrupt", spelling);
    assert.match(message, new RegExp(`line ${at + 1} is not in canonical form`), spelling);
  }
});

Deno.test("lines that are not records are refused by number and reason", async () => {
  const cases: [string, RegExp][] = [
    ["", /line 2 is not a JSON object/],
    ["null", /line 2 is not a JSON object/],
    ["[]", /line 2 is not a JSON object/],
    ["{", /line 2 is not a JSON object/],
    ['{"kind":"constructor"}', /line 2 has the unknown kind "constructor"/],
    ['{"kind":"__proto__"}', /line 2 has the unknown kind "__proto__"/],
    ["{}", /line 2 has the unknown kind undefined/],
    ['{"kind":"rooms"}', /line 2 has an invalid record: id must be a string/],
    ['{"kind":"room_keys","roomId":"a","epoch":1}', /line 2 has an invalid record: endpoint/],
    ["[".repeat(60_000), /line 2 is not a JSON object/],
    ['{"kind":"end"}', /line 2 \(the trailer\) .*expected/],
    ['{"kind":"end"', /line 2 \(the trailer\) is not a JSON object/],
    ['{"kind":"end","counts":null,"sha256":7}', /line 2 \(the trailer\) does not match/],
    ["\ufeff" + lines[1]!, /line 2 is not a JSON object/],
  ];
  for (const [line, reason] of cases) {
    const error = await refusal(join([lines[0]!, line, ...lines.slice(1)]));
    assert.equal(error.code, "corrupt");
    assert.match(error.message, reason);
  }
});

Deno.test("a snapshot of another version is unsupported, both versions being named", async () => {
  for (const version of [0, 3, 17]) {
    const header = JSON.stringify({ format: "unibus-membership-snapshot", version, more: true });
    // What the later lines hold does not matter: another version may write them in another way.
    for (const rest of [lines.slice(1), ["x".repeat(100_000)], ["\u0000"]]) {
      const { code, message } = await refusal(join([header, ...rest]));
      assert.equal(code, "unsupported");
      assert.equal(
        message,
        `Snapshot has version ${version}, this program supports versions 1 and 2`,
      );
    }
  }
});

Deno.test("what is not a snapshot is refused as that", async () => {
  const sources: [Uint8Array | string, RegExp][] = [
    ["", /it is empty/],
    [new Uint8Array(0), /it is empty/],
    ["hello\n", /line 1 is not its header/],
    ["{}\n", /line 1 is not its header/],
    ['{"format":"something else","version":1}\n', /line 1 is not its header/],
    ['{"format":"unibus-membership-snapshot"}\n', /line 1 is not its header in canonical form/],
    ['{"format":"unibus-membership-snapshot","version":"1"}\n', /in canonical form/],
    ["\ufeff" + join(lines), /line 1 is not its header/],
    [join(lines).replaceAll("\n", "\r\n"), /line 1 is not its header/],
    ["SQLite format 3\u0000", /line 1 is truncated/],
    [new Uint8Array([0xff, 0xfe, 10]), /line 1 is not UTF-8/],
    [new Uint8Array(1_000_000), /line 1 is longer than 65536 bytes/],
  ];
  for (const [source, reason] of sources) {
    const error = await refusal(source);
    assert.equal(error.code, "corrupt");
    assert.match(error.message, /^Source is not a membership snapshot: /);
    assert.match(error.message, reason);
  }
  for (const source of [null, undefined, 7, {}, [bytes]]) {
    const error = await refusal(source as never);
    assert.equal(error.code, "invalid");
    assert.equal(error.field, "source");
  }
  async function* texts(): AsyncGenerator<string> {
    yield join(lines);
  }
  assert.equal((await refusal(texts() as never)).code, "invalid");
});

Deno.test("a line of more than 64 KiB is refused, however it arrives", async () => {
  const long = (bytes: number) => join([lines[0]!, "x".repeat(bytes), ...lines.slice(1)]);
  assert.match((await refusal(long(65_536))).message, /line 2 is not a JSON object/);
  for (const size of [65_537, 100_000, 1_000_000]) {
    assert.match((await refusal(long(size))).message, /line 2 is longer than 65536 bytes/);
  }
  // Counted in bytes: 40,000 characters of two bytes each.
  const wide = join([lines[0]!, "é".repeat(40_000), ...lines.slice(1)]);
  assert.match((await refusal(wide)).message, /line 2 is longer than 65536 bytes/);
});

Deno.test("an endless line is given up after 64 KiB", async () => {
  let given = 0;
  let released = false;
  async function* endless(): AsyncGenerator<Uint8Array> {
    try {
      yield new TextEncoder().encode(lines[0]! + "\n");
      for (;;) {
        given++;
        yield new Uint8Array(1024).fill(65);
      }
    } finally {
      released = true;
    }
  }
  assert.match((await refusal(endless())).message, /line 2 is longer/);
  assert.ok(given <= 66, `${given} KiB were taken`);
  assert.ok(released);
});

Deno.test("text that is not UTF-8 is refused by its line, good lines before it being read", async () => {
  const damaged = bytes.slice();
  const start = new TextEncoder().encode(join(lines.slice(0, 4))).length;
  damaged[start + 20] = 0xff;
  const seen: StoreRecord[] = [];
  await assert.rejects(
    async () => {
      for await (const it of readSnapshot(damaged)) seen.push(it);
    },
    (error) => isStoreError(error, "corrupt") && /line 5 is not UTF-8/.test(error.message),
  );
  assert.deepEqual(seen, sampleRecords().slice(0, 3));
});

Deno.test("what follows the trailer is refused, a second snapshot too", async () => {
  for (const more of ["\n", " ", "x", lines[1]! + "\n", lines.at(-1)! + "\n", join(lines)]) {
    const { code, message } = await refusal(join(lines) + more);
    assert.equal(code, "corrupt");
    assert.equal(message, `Snapshot line ${lines.length + 1} follows the trailer`);
  }
});

Deno.test("damage in the trailer's own digests is told from damage in the records", async () => {
  const wrongKind = JSON.parse(lines.at(-1)!);
  wrongKind.sha256.users = "0".repeat(64);
  assert.match(
    (await refusal(join(lines.with(-1, JSON.stringify(wrongKind))))).message,
    /the SHA-256 of users differs, .*the trailer itself is damaged/,
  );
  const spaced = lines.with(-1, lines.at(-1)!.replace("{", '{"kind":"end",').replace("}}", "}} "));
  assert.match((await refusal(join(spaced))).message, /trailer.* not in canonical form/);
});

Deno.test("no error shows the bytes of a sealed key", async () => {
  const at = lines.findIndex((it) => it.includes('"kind":"room_keys"'));
  const sealed = /"sealedKey":"([^"]+)"/.exec(lines[at]!)![1]!;
  const damages = [
    lines[at]!.replace('"sealedKey":', "sealedKey:"),
    lines[at]!.replace('"sealedKey":', '"sealedKey":7,"sealedKey":'),
    lines[at]!.slice(0, -1),
    lines[at]!.replace('"epoch":1', '"epoch":-1'),
    lines[at]!.replace(sealed, sealed.repeat(100)),
  ];
  for (const line of damages) {
    let error: unknown = await refusal(join(lines.with(at, line)));
    for (; error instanceof Error; error = error.cause) {
      assert.ok(!error.message.includes(sealed.slice(0, 6)), error.message);
    }
  }
});

Deno.test("decodeRecord() and encodeRecord() alone refuse what is not a record line", () => {
  assert.throws(() => decodeRecord("{}"), (e) => isStoreError(e, "corrupt"));
  const line = encodeRecord(sampleRecords()[0]!);
  assert.throws(
    () => decodeRecord(line.replace('"epoch":1', '"epoch":0').replace('"epoch":2', '"epoch":0')),
    (e) => isStoreError(e, "invalid") && e.field === "epoch",
  );
});
