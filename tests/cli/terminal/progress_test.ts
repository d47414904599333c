import assert from "node:assert/strict";
import { stripVTControlCharacters } from "node:util";
import { Progress, type Step } from "../../../cli/terminal/progress.ts";
import { cli } from "../kit.ts";
import { inDir } from "../../helpers/sqlite.ts";
import { writeDataset } from "../../tools/dataset.ts";

/** What is shown of some steps. */
function shown(style: "bar" | "plain" | "json" | "none", steps: Step[]): string {
  let text = "";
  const write = (data: string | Uint8Array) => void (text += data);
  const output = { isTTY: style === "bar", columns: 120, write };
  const io = {
    stdout: output,
    stderr: output,
    stdin: (async function* () {})(),
    env: {},
    signal: new AbortController().signal,
  };
  {
    using progress = new Progress(io, { progress: style });
    for (const step of steps) progress.show(step);
  }
  return text;
}

const STEPS: Step[] = [
  { phase: "preflight", done: 0, total: 0 },
  { phase: "copy", done: 0, total: 5000 },
  { phase: "copy", done: 1000, total: 5000 },
  { phase: "verify", done: 0, total: 5000 },
  { phase: "verify", done: 4000, total: 5000 },
  { phase: "done", done: 5000, total: 5000 },
];

Deno.test("plain progress has a beginning and an end for every phase, and a definite end", () => {
  assert.equal(
    shown("plain", STEPS),
    [
      "preflight ...",
      "copy: 0 of 5000 records (0%)",
      "copy: 5000 of 5000 records (100%)",
      "verify: 0 of 5000 records (0%)",
      "verify: 5000 of 5000 records (100%)",
      "done: 5000 records",
      "",
    ].join("\n"),
  );
});

Deno.test("one of a unit is in the singular", () => {
  const steps = (unit?: string): Step[] => [
    { phase: "copy", done: 1, total: 1, ...unit === undefined ? {} : { unit } },
    { phase: "done", done: 1, total: 1, ...unit === undefined ? {} : { unit } },
  ];
  assert.equal(shown("plain", steps()), "copy: 1 of 1 record (100%)\ndone: 1 record\n");
  assert.match(shown("plain", steps("copies")), /1 of 1 copy .*\ndone: 1 copy\n$/s);
  assert.match(shown("bar", steps("blobs")), /1\/1 blob \|/);
});

Deno.test("plain progress writes a line a second at most, however many steps there are", () => {
  const steps = Array.from({ length: 100_000 }, (_, done) => ({ phase: "copy", done, total: 1e5 }));
  assert.ok(shown("plain", steps).split("\n").length <= 3);
});

Deno.test("what else there is to tell begins no new phase", () => {
  const copying = (done: number, note: string) => ({ phase: "copy", done, total: 100, note });
  const waiting = (note: string) => ({ phase: "switch", done: 0, total: 0, note });
  assert.equal(
    shown("plain", [
      copying(0, "3 changes behind"),
      copying(50, "4 changes behind"),
      waiting("again: late"),
      waiting("again: late"),
      waiting("again: later"),
    ]),
    [
      "copy (3 changes behind): 0 of 100 records (0%)",
      "copy (4 changes behind): 100 of 100 records (100%)",
      "switch (again: late) ...",
      "switch (again: later) ...",
      "",
    ].join("\n"),
  );
  assert.match(shown("bar", [copying(0, "3 changes behind")]), /left \| 3 changes behind/);
});

Deno.test("a phase that ended early is not called whole", () => {
  const text = shown("plain", [
    { phase: "verify", done: 0, total: 100 },
    { phase: "verify", done: 10, total: 100 },
    { phase: "copy", done: 0, total: 100 },
  ]);
  assert.match(text, /^verify: 10 of 100 records \(10%\)$/m);
});

Deno.test("JSON progress is one JSON object a line", () => {
  const lines = shown("json", STEPS).trimEnd().split("\n");
  assert.deepEqual(lines.map((it) => JSON.parse(it)), STEPS);
});

Deno.test("no progress is nothing", () => {
  assert.equal(shown("none", STEPS), "");
});

Deno.test("on a terminal a bar fills, and the cursor is shown again at the end", () =>
  inDir(async (dir) => {
    const [db, file] = [`${dir}/a.db`, `${dir}/a.ndjson`];
    writeDataset(db, { records: 5000 });
    assert.equal((await cli(["snapshot", "export", file, "--db", db])).code, 0);
    const args = ["snapshot", "import", file, "--db", `${dir}/b.db`];
    const { code, stdout, stderr } = await cli(args, { terminal: true });
    assert.equal(code, 0);
    const text = stripVTControlCharacters(stderr);
    assert.match(text, /import +\[-{24}\] 0% \| 0\/\d+ records/);
    assert.match(text, /import +\[={24}\] 100% \| (\d+)\/\1 records/);
    assert.ok(stderr.lastIndexOf("\x1b[?25h") > stderr.lastIndexOf("\x1b[?25l"));
    assert.match(stdout, /^imported /);
    const plain = await cli(args.toSpliced(-1, 1, `${dir}/c.db`));
    assert.ok(!plain.stderr.includes("\x1b"));
  }));
