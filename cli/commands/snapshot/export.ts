/**
 * `snapshot export`
 *
 * @module
 */

import { exportSnapshot } from "../../../src/snapshot/mod.ts";
import {
  command,
  type CommandUnknownOpts,
  type Context,
  withJson,
  withProgress,
  withStore,
} from "../../command.ts";
import { UsageError } from "../../terminal/failure.ts";
import { writeWhole } from "../../terminal/files.ts";
import { withOpenStore } from "../../store/open.ts";
import {
  countsText,
  digestLines,
  historyText,
  print,
  printJson,
  say,
  totalOf,
} from "../../terminal/output.ts";
import { Progress } from "../../terminal/progress.ts";
import type { Counts } from "../../../src/core/model.ts";

/** The last line of a snapshot; see docs/snapshot-format.md. */
interface Trailer {
  counts: Counts & { history?: number };
  sha256: Record<string, string>;
}

/** Creates the command. */
export function exportCommand(context: Context): CommandUnknownOpts {
  return withJson(withProgress(withStore(
    command(
      context,
      "export",
      "Export all records at one point in time, and the history, to a file, readable by its owner " +
        "only, or to stdout",
      [
        "membershipd snapshot export backup.ndjson",
        "membershipd snapshot export - --nats-url nats://127.0.0.1:4222 | gzip >backup.ndjson.gz",
      ],
    )
      .argument("<file>", "file to write; - is stdout")
      .option("--no-history", "export only the records: programs before the history can read it")
      .option("--force", "replace an existing file"),
  ))).action(async (file, flags) => {
    if (file === "-" && flags.json) {
      throw new UsageError("--json and - both write to stdout; name a file");
    }
    await withOpenStore(context, flags, { read: true }, async (store) => {
      const { io } = context;
      const last = new LastLine();
      {
        using progress = new Progress(io, flags);
        const show = (done: number) => progress.show({ phase: "export", done, total: null });
        const stream = exportSnapshot(store, {
          history: flags.history,
          signal: io.signal,
          onProgress: show,
        });
        const chunks = last.watch(stream);
        if (file === "-") { for await (const chunk of chunks) await io.stdout.write(chunk); }
        else await writeWhole(file, chunks, { force: flags.force === true, signal: io.signal });
        const done = totalOf((JSON.parse(last.text()) as Trailer).counts);
        progress.show({ phase: "done", done, total: done });
      }
      const { counts: { history = null, ...counts }, sha256 } = JSON.parse(last.text()) as Trailer;
      if (flags.json) {
        const { bytes } = last;
        return await printJson(context, { file, bytes, counts, history, digests: sha256 });
      }
      const summary = `exported ${countsText(counts)}${historyText(history)} -> ` +
        (file === "-" ? "stdout" : file);
      if (file === "-") await say(context, [summary, ...digestLines(sha256)].join("\n"));
      else await print(context, summary, ...digestLines(sha256));
    });
  });
}

/** Passes chunks through and keeps the last line. */
class LastLine {
  bytes = 0;
  #kept = new Uint8Array();

  async *watch(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      this.bytes += chunk.length;
      // A trailer has a few hundred bytes; it ends in the last chunk and may begin in the one
      // before.
      const joined = new Uint8Array(this.#kept.length + chunk.length);
      joined.set(this.#kept);
      joined.set(chunk, this.#kept.length);
      this.#kept = joined.subarray(-4096);
      yield chunk;
    }
  }

  text(): string {
    return new TextDecoder().decode(this.#kept).trimEnd().split("\n").at(-1)!;
  }
}
