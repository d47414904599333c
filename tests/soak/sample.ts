/**
 * Looking at the server's process, its nats-server's, and what it says of itself.
 *
 * @module
 */

import { readdirSync, readFileSync } from "node:fs";

/** One look. */
export interface Look {
  /** Resident memory of the server, bytes. */
  rss: number;
  /** Files the server has open. */
  fds: number;
  natsRss: number;
  natsFds: number;
  /** Processor time of both so far, seconds. */
  cpu: number;
  /** Heap in use, bytes. */
  heap: number;
  /** Counts of the event loop's delays so far, by upper bound in seconds. */
  delays: Map<number, number>;
  /** Its longest delay lately, seconds. */
  longest: number;
}

/** Looks at the server. */
export async function look(http: string, pid: number, nats: number): Promise<Look> {
  const text = await (await fetch(`${http}/metrics`)).text();
  const one = (name: string) => {
    const found = new RegExp(`^${name} (\\S+)$`, "m").exec(text);
    if (found === null) throw new Error(`The metrics have no ${name}`);
    return Number(found[1]);
  };
  const delays = new Map<number, number>();
  const bucket = /^unibus_event_loop_delay_seconds_bucket\{le="([^"]+)"\} (\d+)$/gm;
  for (const [, le, count] of text.matchAll(bucket)) {
    delays.set(le === "+Inf" ? Infinity : Number(le), Number(count));
  }
  return {
    rss: rssOf(pid),
    fds: fdsOf(pid),
    natsRss: rssOf(nats),
    natsFds: fdsOf(nats),
    cpu: cpuOf(pid) + cpuOf(nats),
    heap: one("nodejs_heap_size_used_bytes"),
    delays,
    longest: one("unibus_event_loop_delay_max_seconds"),
  };
}

/** The processes that `pid` started. */
export function childrenOf(pid: number): number[] {
  return readdirSync("/proc").filter((it) => /^\d+$/.test(it)).map(Number).filter((it) => {
    try {
      return Number(statOf(it)[1]) === pid;
    } catch {
      return false; // It has ended meanwhile.
    }
  });
}

function rssOf(pid: number): number {
  const found = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(found?.[1]) * 1024;
}

function fdsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** Linux counts processor time in hundredths of a second. */
function cpuOf(pid: number): number {
  const fields = statOf(pid);
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** The fields of a process's `stat` after its name: state, parent, and so on. */
function statOf(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

/** The delay that a share `q` of those between two looks stayed below, milliseconds. */
export function quantile(before: Look["delays"], after: Look["delays"], q: number): number {
  const bounds = [...after.keys()].sort((a, b) => a - b);
  const count = (le: number) => (after.get(le) ?? 0) - (before.get(le) ?? 0);
  const wanted = q * count(Infinity);
  let below = 0;
  let from = 0;
  for (const le of bounds) {
    if (count(le) >= wanted && count(le) > below) {
      // As Prometheus does: spread evenly within a bucket.
      const to = le === Infinity ? from : le;
      return 1000 * (from + (to - from) * (wanted - below) / (count(le) - below));
    }
    below = count(le);
    from = le;
  }
  return 0;
}
