/**
 * A disk that forgets: what would be on it after a loss of power at some moment of a trace.
 *
 * What was written before a sync of the same file began is there once that sync has ended. Anything
 * else may be there or not: each sector of 512 bytes for itself. Names (files made, renamed, removed)
 * are there once the directory was synced; the rest of them up to some moment, for file systems write
 * their journal in order. With `journal` a sync of a file keeps its own name too and the names of the
 * directories it is in, as ext4, XFS and Btrfs do; without it only what POSIX promises counts.
 *
 * @module
 */

import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { Event } from "./trace.ts";

type Change =
  | { at: number; data: Uint8Array }
  | { size: number };

interface Pending {
  change: Change;
  thread: number;
  end: number;
}

/** A file, whatever its name. */
interface Inode {
  kept: Uint8Array;
  size: number;
  pending: Pending[];
  /** Each write of it is synced at once. */
  synced: boolean;
}

/** A change of names. */
interface Naming {
  apply(names: Map<string, Inode | null>): void;
  /** Directories, the sync of one of which keeps it. */
  folders: string[];
  /** What bears the names. */
  paths: string[];
  what: string;
  thread: number;
  end: number;
  kept: boolean;
}

/** What of the changes that were not synced is there after all. */
export type Keep = "nothing" | "everything" | { random: () => number };

const SECTOR = 512;

/** What a disk would hold, as events happen. */
export class Disk {
  readonly #root: string;
  readonly #events: readonly Event[];
  readonly #journal: boolean;
  #next = 0;
  /** As the program sees it; directories are `null`. */
  readonly #names = new Map<string, Inode | null>();
  readonly #namings: Naming[] = [];
  /** How many syncs have ended. */
  syncs = 0;

  /** @param events Of a program that began with nothing in `root` */
  constructor(root: string, events: readonly Event[], options: { journal?: boolean } = {}) {
    this.#root = root;
    this.#events = events;
    this.#journal = options.journal ?? false;
  }

  /** Goes on to a moment, not before the one it is at. */
  advance(moment: number): void {
    for (; this.#next < this.#events.length; this.#next++) {
      const event = this.#events[this.#next]!;
      if (event.end > moment) return;
      this.#do(event);
    }
  }

  #do(event: Event): void {
    const { thread, end } = event;
    switch (event.kind) {
      case "open": {
        let file = this.#names.get(event.path);
        if (file === undefined && event.create) {
          file = { kept: new Uint8Array(), size: 0, pending: [], synced: false };
          const made = file;
          const { path } = event;
          this.#name(event, `create ${path}`, [path], (it) => it.set(path, made));
        } else if (file && event.truncate && file.size + file.pending.length > 0) {
          file.pending.push({ change: { size: 0 }, thread, end });
        }
        if (file) file.synced = event.synced;
        break;
      }
      case "write":
      case "truncate": {
        const file = this.#names.get(event.path);
        if (!file) return;
        const change = event.kind === "write"
          ? { at: event.at, data: event.data }
          : { size: event.size };
        file.pending.push({ change, thread, end });
        if (file.synced) this.#sync(event.path, end + 1);
        break;
      }
      case "sync":
        this.syncs++;
        this.#sync(event.path, event.begin);
        break;
      case "rename": {
        const { from, to } = event;
        this.#name(event, `rename ${from} to ${to}`, [from, to], (names) => {
          // What is in a directory goes with it.
          for (const [path, it] of [...names]) {
            if (path !== from && !path.startsWith(`${from}/`)) continue;
            names.delete(path);
            names.set(to + path.slice(from.length), it);
          }
        });
        break;
      }
      case "link": {
        const { from, to } = event;
        this.#name(event, `link ${from} as ${to}`, [from, to], (names) => {
          const file = names.get(from);
          if (file) names.set(to, file);
        });
        break;
      }
      case "unlink": {
        const { path } = event;
        this.#name(event, `remove ${path}`, [path], (names) => names.delete(path));
        break;
      }
      case "mkdir": {
        const { path } = event;
        this.#name(event, `mkdir ${path}`, [path], (names) => names.set(path, null));
      }
    }
  }

  #name(
    { thread, end }: Event,
    what: string,
    paths: string[],
    apply: Naming["apply"],
  ): void {
    apply(this.#names);
    const folders = paths.map((it) => dirname(it));
    this.#namings.push({ apply, folders, paths, what, thread, end, kept: false });
  }

  #sync(path: string, begin: number): void {
    const file = this.#names.get(path);
    if (file) {
      const done = file.pending.filter((it) => it.end < begin);
      file.pending = file.pending.filter((it) => it.end >= begin);
      for (const { change } of done) apply(file, change);
    }
    // What is kept for its directory, or for the file's own sake; and what that rests on in its turn.
    const needed = new Set<string>();
    const need = (of: string) => {
      for (let it = of; it.length >= this.#root.length; it = dirname(it)) needed.add(it);
    };
    if (this.#journal) need(path);
    for (const it of this.#namings.toReversed()) {
      if (it.end >= begin) continue;
      if (!it.folders.includes(path) && !it.paths.some((p) => needed.has(p))) continue;
      it.kept = true;
      const [from, to] = it.paths;
      if (to === undefined) continue;
      need(from!);
      for (const p of [...needed]) if (p.startsWith(`${to}/`)) need(from + p.slice(to.length));
    }
  }

  /** What is not yet synced: the changes of a thread, or of all, to files that `counts`. */
  unsynced(counts: (path: string) => boolean, thread?: number): string[] {
    const mine = (it: { thread: number }) => thread === undefined || it.thread === thread;
    const files = [...this.#names].filter(([path, it]) => counts(path) && it?.pending.some(mine));
    const names = this.#namings.filter((it) => !it.kept && mine(it) && counts(it.what));
    return [...files.map(([path]) => `write ${path}`), ...names.map((it) => it.what)];
  }

  /** Changes to a file that are not yet synced. */
  pending(counts: (path: string) => boolean): { path: string; data: Uint8Array }[] {
    return [...this.#names].filter(([path]) => counts(path)).flatMap(([path, it]) =>
      (it?.pending ?? []).flatMap(({ change }) =>
        "data" in change ? [{ path, data: change.data }] : []
      )
    );
  }

  /** What would be there if power were lost at a moment not before the one it is at. */
  lose(moment: number, keep: Keep): Map<string, Uint8Array | null> {
    this.advance(moment);
    const random = keep === "nothing" ? () => 1 : keep === "everything" ? () => 0 : keep.random;
    // The fate of a change: how likely this loss is to keep one.
    const chance = keep === "nothing" ? 0 : keep === "everything" ? 1 : [0.1, 0.5, 0.9][
      Math.floor(random() * 3)
    ]!;
    const lucky = () => random() < chance;
    const names = new Map<string, Inode | null>([[this.#root, null]]);
    const open = this.#namings.filter((it) => !it.kept);
    const upTo = chance === 1 ? open.length : Math.floor(random() * (open.length + 1)) * chance;
    const also = new Set(open.slice(0, chance === 0 ? 0 : Math.ceil(upTo)));
    for (const it of this.#namings) if (it.kept || also.has(it)) it.apply(names);
    const under = this.#underWay(moment);
    const image = new Map<string, Uint8Array | null>();
    for (const [path, inode] of names) {
      // A file in a directory that is not there cannot be found.
      if (!reachable(names, path, this.#root)) continue;
      if (inode === null) {
        image.set(path, null);
        continue;
      }
      const copy: Inode = { ...inode, kept: inode.kept.slice(), pending: [] };
      for (const { change } of [...inode.pending, ...(under.get(inode) ?? [])]) {
        for (const piece of pieces(change)) if (lucky()) apply(copy, piece);
      }
      image.set(path, copy.kept.subarray(0, copy.size));
    }
    return image;
  }

  /** Writes that had begun and not ended. */
  #underWay(moment: number): Map<Inode, Pending[]> {
    const found = new Map<Inode, Pending[]>();
    for (let i = this.#next; i < this.#events.length; i++) {
      const event = this.#events[i]!;
      if (event.begin > moment || event.kind !== "write") continue;
      const file = this.#names.get(event.path);
      if (!file) continue;
      const list = found.get(file) ?? [];
      list.push({
        change: { at: event.at, data: event.data },
        thread: event.thread,
        end: event.end,
      });
      found.set(file, list);
    }
    return found;
  }
}

/** Writes an image into a directory. */
export async function writeImage(
  image: Map<string, Uint8Array | null>,
  root: string,
  into: string,
): Promise<void> {
  await mkdir(into, { recursive: true });
  for (const [path, data] of [...image].sort(([a], [b]) => a < b ? -1 : 1)) {
    const target = into + path.slice(root.length);
    if (data === null) await mkdir(target, { recursive: true, mode: 0o700 });
    else await writeFile(target, data, { mode: 0o600 });
  }
}

function reachable(names: Map<string, Inode | null>, path: string, root: string): boolean {
  for (let it = path; it !== root; it = dirname(it)) {
    if (!names.has(it)) return false;
  }
  return true;
}

function apply(file: Inode, change: Change): void {
  if ("size" in change) {
    file.kept.fill(0, change.size, file.size);
    grow(file, change.size);
    file.size = change.size;
  } else {
    const end = change.at + change.data.length;
    grow(file, end);
    file.kept.set(change.data, change.at);
    file.size = Math.max(file.size, end);
  }
}

function grow(file: Inode, size: number): void {
  if (size <= file.kept.length) return;
  const larger = new Uint8Array(Math.max(size, file.kept.length * 2));
  larger.set(file.kept.subarray(0, file.size));
  file.kept = larger;
}

/** A write as the sectors it changes. */
function pieces(change: Change): Change[] {
  if ("size" in change) return [change];
  const found: Change[] = [];
  const { at, data } = change;
  for (let from = 0; from < data.length;) {
    const to = Math.min(data.length, from + SECTOR - (at + from) % SECTOR);
    found.push({ at: at + from, data: data.subarray(from, to) });
    from = to;
  }
  return found;
}
