/**
 * Entries of the history as lines of text.
 *
 * @module
 */

import type { HistoryEntry, Store } from "../../../mod.ts";
import { isStoreError } from "../../../src/core/errors.ts";
import { printable } from "../../terminal/output.ts";

/** Digits of a key or an invite's ID that are shown. */
const DIGITS = 12;
/** Handles that are remembered. */
const REMEMBERED = 10_000;
const KEY = /^[0-9a-f]{64}$/;

/** Quotes a text that could be taken for more than one value: a name can contain `)  by=`. */
function quoted(text: string): string {
  return /\s\s|["()=]/.test(text) ? JSON.stringify(text) : text;
}

/** Formats entries; users are shown with their handles. */
export class Lines {
  readonly #store: Pick<Store, "getUser">;
  readonly #handles = new Map<string, string | null>();

  constructor(store: Pick<Store, "getUser">) {
    this.#store = store;
  }

  /** Returns a line for each entry. */
  async of(entries: readonly HistoryEntry[]): Promise<string[]> {
    const lines: string[] = [];
    for (const entry of entries) lines.push(await this.#line(entry));
    return lines;
  }

  async #line(entry: HistoryEntry): Promise<string> {
    const { at, revision, action, by, user, room, invite } = entry;
    const told = (entry.after?.handle ?? entry.before?.handle) as string | undefined;
    const about = [
      ...user === null ? [] : [`user=${await this.#person(user, told)}`],
      ...room === null ? [] : [`room=${quoted(room)}`],
      ...invite === null ? [] : [`invite=${invite.slice(0, DIGITS)}`],
      ...await this.#changes(entry),
      `by=${await this.#person(by)}`,
    ];
    return printable(`${at}  ${revision.padEnd(8)}  ${action.padEnd(18)}  ${about.join("  ")}`);
  }

  async #changes({ before, after }: HistoryEntry): Promise<string[]> {
    const names = new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})]);
    names.delete("handle");
    return await Promise.all([...names].map(async (name) => {
      const values = [before?.[name], after?.[name]].filter((it) => it !== undefined);
      const texts = await Promise.all(values.map((it) => this.#person(String(it))));
      return `${name}=${texts.join("→")}`;
    }));
  }

  /** Returns the first digits of a key and the handle of its user, or another text as it is. */
  async #person(text: string, told?: string): Promise<string> {
    if (!KEY.test(text)) return quoted(text);
    const handle = told ?? await this.#handle(text);
    const digits = text.slice(0, DIGITS);
    return handle === null ? digits : `${digits}(${quoted(handle)})`;
  }

  async #handle(key: string): Promise<string | null> {
    const known = this.#handles.get(key);
    if (known !== undefined) return known;
    const found = await this.#store.getUser(key).then((it) => it.handle, (error) => {
      // Deleted since, or none: a head is as long as a key.
      if (isStoreError(error, "not_found") || isStoreError(error, "invalid")) return null;
      throw error;
    });
    if (this.#handles.size >= REMEMBERED) this.#handles.clear();
    this.#handles.set(key, found);
    return found;
  }
}
