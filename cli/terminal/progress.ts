/**
 * Shows the progress of long-running work on stderr: as a bar on a terminal, as lines elsewhere.
 *
 * @module
 */

import progress, { type SingleBar } from "cli-progress";
import { wordFor } from "../../src/core/text/counted.ts";
import type { ProgressFlag } from "../command.ts";
import type { Io, Output } from "./io.ts";

/** Progress of the work; `total` is `null` if it is unknown. */
export interface Step {
  /** The current phase. */
  phase: string;
  /** Number of units done. */
  done: number;
  /** Total number of units. */
  total: number | null;
  /** The unit, in the plural. Default: records. */
  unit?: string;
  /** What else there is to tell. */
  note?: string;
}

/** Shows progress. Must be disposed, because a bar has a timer. */
export class Progress implements Disposable {
  readonly #out: Output;
  readonly #style: "bar" | "plain" | "json" | "none";
  #bar: SingleBar | null = null;
  #last: Step | null = null;
  #shown = 0;
  /** The last line written. */
  #told = "";
  #begun = 0;

  /**
   * @param io The streams to write to
   * @param flag The `--progress` flag
   */
  constructor(io: Io, { progress: style }: ProgressFlag) {
    this.#out = io.stderr;
    this.#style = style === "auto" ? (io.stderr.isTTY ? "bar" : "plain") : style;
  }

  /** Shows a step; the phase `done` completes it. */
  readonly show = (step: Step): void => {
    if (this.#style === "none") return;
    if (this.#style === "json") return this.#write(JSON.stringify(step));
    const last = this.#last;
    if (last === null || last.phase !== step.phase) {
      if (last !== null) this.#close(last, step);
      this.#open(step);
    } else if (step.done < last.done) {
      return; // A concurrent counter that is behind.
    } else if (this.#bar !== null) {
      this.#bar.update(step.done, this.#pace(step));
    } else if (step.total === 0) {
      if (step.note !== last.note) this.#write(`${titleOf(step)} ...`);
    } else if (Date.now() - this.#shown >= 1000) {
      this.#line(step);
    }
    this.#last = step;
  };

  /** Stops the bar, whether the work succeeded or not. */
  [Symbol.dispose](): void {
    this.#bar?.stop();
    this.#bar = null;
    this.#last = null;
  }

  #open(step: Step): void {
    this.#begun = this.#shown = Date.now();
    if (step.phase === "done") {
      return this.#write(`done: ${amount(step.done, step)}`);
    }
    if (step.total === 0 || step.total === null) return this.#write(`${titleOf(step)} ...`);
    if (this.#style === "plain") return this.#line(step);
    this.#bar = new progress.SingleBar({
      stream: terminal(this.#out),
      format:
        `${step.phase.padEnd(9)} [{bar}] {percentage}% | {value}/{total} ${
          unitOf(step.total, step)
        } | ` +
        "{rate}/s | {left} left{note}",
      barsize: 24,
      hideCursor: true,
      gracefulExit: false,
      linewrap: null,
    }, progress.Presets.legacy);
    this.#bar.start(step.total, step.done, this.#pace(step));
  }

  #close(last: Step, next: Step): void {
    // Steps are reported at intervals, and the last one of a phase is rarely at 100 %. Only
    // verify can end early, when it finds something to copy.
    const whole = last.phase !== "verify" || next.phase === "done";
    const step = { ...last, done: whole ? last.total ?? last.done : last.done };
    if (this.#bar !== null) {
      this.#bar.update(step.done, this.#pace(step));
      this.#bar.stop();
      this.#bar = null;
    } else if (last.total !== 0) {
      this.#line(step);
    }
  }

  #line(step: Step): void {
    this.#shown = Date.now();
    const text = `${titleOf(step)}: ${howFar(step)}`;
    // A phase that completes immediately would repeat its first line.
    if (text !== this.#told) this.#write(text);
    this.#told = text;
  }

  #pace({ done, total, note }: Step): { rate: number; left: string; note: string } {
    const seconds = Math.max(0.1, (Date.now() - this.#begun) / 1000);
    const left = done === 0 ? null : Math.ceil(((total ?? done) - done) * seconds / done);
    return {
      rate: Math.round(done / seconds),
      left: left === null ? "?" : `${left} s`,
      note: note === undefined ? "" : ` | ${note}`,
    };
  }

  #write(line: string): void {
    void this.#out.write(`${line}\n`);
  }
}

function titleOf({ phase, note }: Step): string {
  return note === undefined ? phase : `${phase} (${note})`;
}

function howFar(step: Step): string {
  const { done, total } = step;
  if (total === null) return amount(done, step);
  const percent = total === 0 ? 100 : Math.floor(100 * done / total);
  return `${done} of ${amount(total, step)} (${percent}%)`;
}

function amount(number: number, step: Step): string {
  return `${number} ${unitOf(number, step)}`;
}

/** Returns the unit of a number: the singular of `copies` is `copy`. */
function unitOf(number: number, { unit = "records" }: Step): string {
  return wordFor(number, unit.replace(/ies$/, "y").replace(/s$/, ""), unit);
}

/**
 * Adapts an output to the stream that the bar expects: it writes and reads the terminal's width.
 */
function terminal(out: Output): NodeJS.WritableStream {
  const stream = {
    isTTY: true,
    columns: out.columns ?? 80,
    write(text: string, done?: () => void) {
      void out.write(text);
      done?.();
      return true;
    },
  };
  return stream as unknown as NodeJS.WritableStream;
}
