/**
 * `log`: the history of the control plane.
 *
 * @module
 */

import { Option } from "@commander-js/extra-typings";
import type { HistoryEntry, HistoryQuery, Store } from "../../../mod.ts";
import { ACTIONS } from "../../../src/core/history/entry.ts";
import { compareRevisionTexts } from "../../../src/core/history/revision.ts";
import { isWanted } from "../../../src/core/history/source.ts";
import {
  adding,
  command,
  type CommandUnknownOpts,
  type Context,
  type StoreFlags,
  withStore,
} from "../../command.ts";
import { past, wholeNumber } from "../../flags.ts";
import { print, safeJson, say } from "../../terminal/output.ts";
import { headCommand } from "./head.ts";
import { Lines } from "./lines.ts";
import { pruneCommand } from "./prune.ts";
import { verifyLogCommand } from "./verify.ts";
import { readFile } from "node:fs/promises";
import { readIdentity } from "../../../src/keys/identity_file.ts";
import { withOpenStore } from "../../store/open.ts";
import { UsageError } from "../../terminal/failure.ts";
import { type PassphraseFlags, passphraseOf, withPassphrase } from "../../terminal/passphrase.ts";

/** Entries that are shown if no flag says how many. */
const SHOWN = 100;
const PAGE = 1000;

/** Creates the command. */
export function logCommand(context: Context): CommandUnknownOpts {
  const log = command(
    context,
    "log",
    "Show who changed what: the newest entries of the history, the oldest of them first",
    [
      "membershipd log",
      "membershipd log --follow",
      "membershipd log --since 7d --action user.revoked",
      "membershipd log --user KEY --json",
      "membershipd log --url https://bus.example.org:8470 --identity ada.json",
      "membershipd log verify --head kept-head.json",
    ],
  ).enablePositionalOptions();
  withStore(withUrl(
    log.option("--follow", "then show new entries until Ctrl-C")
      .option("--user <key>", "only entries about this user or member")
      .option("--room <id>", "only entries about this room")
      .option("--invite <id>", "only entries about this invite")
      .option("--by <name>", "only changes by this user's key, or name such as cli:ada@host")
      .addOption(new Option("--action <name>", "only this kind of change").choices(ACTIONS))
      .option("--since <time>", "all entries since then: 90m, 12h, 7d, 2w ago, or 2026-01-31", past)
      .option("--after <revision>", "all entries after this one")
      .option("--limit <n>", `at most so many (default: ${SHOWN})`, wholeNumber(1))
      .option("--json", "write one JSON document per line"),
  )).action(async (flags) => {
    await withLog(context, flags, async (store) => {
      const { follow, json } = flags;
      const filters = present(flags);
      const lines = new Lines(store);
      const show = async (entries: readonly HistoryEntry[]) => {
        await print(
          context,
          ...json ? entries.map((it) => safeJson(it)) : await lines.of(entries),
        );
      };
      // What is made from here on is followed.
      const [newest] = (await store.history({ newest: true, limit: 1 })).items;
      const end = newest?.revision ?? null;
      let shown = 0;
      for await (const entries of stored(context, store, filters, flags)) {
        const old = follow ? entries.filter((it) => isUpTo(it, end)) : entries;
        await show(old);
        shown += old.length;
      }
      if (!follow) {
        if (shown === 0) await say(context, "no entries");
        return;
      }
      const { signal } = context.io;
      for await (const entry of store.follow({ after: end, signal })) {
        if (isWanted(entry, filters)) await show([entry]);
      }
      // Ctrl-C is the normal end.
    });
  });
  return log
    .addCommand(verifyLogCommand(context))
    .addCommand(headCommand(context))
    .addCommand(pruneCommand(context)) as CommandUnknownOpts;
}

type Filters = Pick<HistoryQuery, "user" | "room" | "invite" | "by" | "action" | "since">;
type Given = { [K in keyof Filters]: Filters[K] | undefined };

function present({ user, room, invite, by, action, since }: Given): Filters {
  const given = Object.entries({ user, room, invite, by, action, since });
  return Object.fromEntries(given.filter(([, value]) => value !== undefined)) as Filters;
}

/** Reads the entries to show, the oldest first. */
async function* stored(
  context: Context,
  store: LogSource,
  filters: Filters,
  { after, limit, since }: { after?: string; limit?: number; since?: string },
): AsyncGenerator<HistoryEntry[]> {
  const isFromThere = after !== undefined || (since !== undefined && limit === undefined);
  if (!isFromThere) return yield* newestOf(store, filters, limit ?? SHOWN);
  let left = limit ?? Infinity;
  let next: string | null = after ?? null;
  do {
    context.io.signal.throwIfAborted();
    const from = next === null ? {} : { after: next };
    const page = await store.history({ ...filters, ...from, limit: Math.min(PAGE, left) });
    yield page.items;
    left -= page.items.length;
    next = page.next;
  } while (next !== null && left > 0);
}

/** Reads the newest entries, and returns them with the oldest first. */
async function* newestOf(
  store: LogSource,
  filters: Filters,
  limit: number,
): AsyncGenerator<HistoryEntry[]> {
  const found: HistoryEntry[] = [];
  let before: string | null = null;
  do {
    const from: { before?: string } = before === null ? {} : { before };
    const page = await store.history({
      ...filters,
      ...from,
      newest: true,
      limit: Math.min(PAGE, limit - found.length),
    });
    found.push(...page.items);
    before = page.next;
  } while (before !== null && found.length < limit);
  yield found.reverse();
}

function isUpTo({ revision }: HistoryEntry, end: string | null): boolean {
  return end !== null && compareRevisionTexts(revision, end) <= 0;
}

/** What reads a history, and the names of users in it. */
type LogSource = Pick<Store, "history" | "follow" | "getUser">;

/** Flags that select a server. */
type ServerUrlFlags = PassphraseFlags & { url?: string; identity?: string };

/** Adds `--url` and the flags of the caller's identity. */
const withUrl = adding<ServerUrlFlags>((parent) =>
  withPassphrase(
    parent.option("--url <url>", "server to read over HTTP, with --identity, instead of a store")
      .option("--identity <file>", "with --url: key file of an admin"),
    "the key file is encrypted with a passphrase",
  )
);

/** Opens what flags select, runs `work`, and closes it. */
async function withLog(
  context: Context,
  flags: StoreFlags & ServerUrlFlags,
  work: (source: LogSource) => Promise<void>,
): Promise<void> {
  const { url, identity: file } = flags;
  if (url === undefined) {
    if (file !== undefined) throw new UsageError("--identity requires --url");
    return await withOpenStore(context, flags, { read: true }, work);
  }
  if (flags.db !== undefined || flags.natsUrl !== undefined) {
    throw new UsageError("--url reads a server, --db and --nats-url a store; use only one of them");
  }
  if (file === undefined) throw new UsageError("--url requires --identity");
  const passphrase = await passphraseOf(context, flags);
  const identity = await readIdentity(file, passphrase === null ? {} : { passphrase });
  const { createClient } = await import("../../../src/client/node/client.ts");
  const ca = flags.ca === undefined ? {} : { ca: await readFile(flags.ca, "utf8") };
  using client = createClient({ url, identity, ...ca });
  await work({
    history: (query) => client.changes(query),
    follow: (options) => client.follow(options),
    getUser: (signPub) => client.getUser(signPub),
  });
}
