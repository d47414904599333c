/**
 * Progress of long work on stderr: a bar on a terminal, lines elsewhere.
 *
 * @module
 */

import progress, { type SingleBar } from "cli-progress";
import type { ProgressFlag } from "../command.ts";
import type { Io, Output } from "./io.ts";

/** How far work is; `total` is `null` when nobody knows it. */
export interface Step {
  /** What is being done. */
  phase: string;
  /** How much of it is done. */
  done: number;
  /** How much there is. */
  total: number | null;
  /** What is counted; records when not given. */
  unit?: string;
}

/** Shows progress. Dispose of it in any case: a bar keeps a timer. */
export class Progress implements Disposable {
  readonly #out: Output;
  readonly #style: "bar" | "plain" | "json" | "none";
  #bar: SingleBar | null = null;
  #last: Step | null = null;
  #shown = 0;
  /** The last line of a phase. */
  #told = "";
  #begun = 0;

  /**
   * @param io Where to
   * @param flag How
   */
  constructor(io: Io, { progress: style }: ProgressFlag) {
    this.#out = io.stderr;
    this.#style = style === "auto" ? (io.stderr.isTTY ? "bar" : "plain") : style;
  }

  /** Shows a step; the step `done` ends it. */
  readonly show = (step: Step): void => {
    if (this.#style === "none") return;
    if (this.#style === "json") return this.#write(JSON.stringify(step));
    const last = this.#last;
    if (last === null || last.phase !== step.phase) {
      if (last !== null) this.#close(last, step);
      this.#open(step);
    } else if (step.done < last.done) {
      return; // Somebody else counts as well, and is behind.
    } else if (this.#bar !== null) {
      this.#bar.update(step.done, this.#pace(step));
    } else if (step.total !== 0 && Date.now() - this.#shown >= 1000) {
      this.#line(step);
    }
    this.#last = step;
  };

  /** Ends what is shown, whether the work succeeded or not. */
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
    if (step.total === 0 || step.total === null) return this.#write(`${step.phase} ...`);
    if (this.#style === "plain") return this.#line(step);
    this.#bar = new progress.SingleBar({
      stream: terminal(this.#out),
      format:
        `${step.phase.padEnd(9)} [{bar}] {percentage}% | {value}/{total} ${
          step.unit ?? "records"
        } | ` +
        "{rate}/s | {left} left",
      barsize: 24,
      hideCursor: true,
      gracefulExit: false,
      linewrap: null,
    }, progress.Presets.legacy);
    this.#bar.start(step.total, step.done, this.#pace(step));
  }

  #close(last: Step, next: Step): void {
    // Steps come at intervals, and the last of a phase seldom says that it is whole. Only looking
    // (verify) ends early, when it finds that something is to be done.
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
    const { phase, done, total } = step;
    this.#shown = Date.now();
    if (total === null) return this.#write(`${phase}: ${amount(done, step)}`);
    const percent = total === 0 ? 100 : Math.floor(100 * done / total);
    const text = `${phase}: ${done} of ${amount(total, step)} (${percent}%)`;
    // A phase that was whole at once would end with the line it began with.
    if (text !== this.#told) this.#write(text);
    this.#told = text;
  }

  #pace({ done, total }: Step): { rate: number; left: string } {
    const seconds = Math.max(0.1, (Date.now() - this.#begun) / 1000);
    const left = done === 0 ? null : Math.ceil(((total ?? done) - done) * seconds / done);
    return { rate: Math.round(done / seconds), left: left === null ? "?" : `${left} s` };
  }

  #write(line: string): void {
    void this.#out.write(`${line}\n`);
  }
}

function amount(number: number, { unit = "records" }: Step): string {
  return `${number} ${unit}`;
}

/** What the bar takes for a stream: it writes, and asks whether and how wide the terminal is. */
function terminal(out: Output): NodeJS.WritableStream {
  const it = {
    isTTY: true,
    columns: out.columns ?? 80,
    write(text: string, done?: () => void) {
      void out.write(text);
      done?.();
      return true;
    },
  };
  return it as unknown as NodeJS.WritableStream;
}
