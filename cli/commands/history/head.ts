/**
 * `log head`
 *
 * @module
 */

import { sourceOf } from "../../../src/core/history/source.ts";
import { switchOf } from "../../../src/core/store/switching.ts";
import { signedEnd } from "../../../src/history/continue.ts";
import { nodeName, signHead, unsignedHead } from "../../../src/history/heads.ts";
import { signPubOf } from "../../../src/keys/nkey.ts";
import { command, type CommandUnknownOpts, type Context, withStore } from "../../command.ts";
import { host } from "../../store/actor.ts";
import { withOpenStore } from "../../store/open.ts";
import { print, say } from "../../terminal/output.ts";
import { serviceKey } from "./keys.ts";

/** Creates the command. */
export function headCommand(context: Context): CommandUnknownOpts {
  return withStore(
    command(
      context,
      "head",
      "Show the head of the history as a line of JSON, signed if there are service keys. Keep it elsewhere: " +
        "with it, log verify notices later that the history up to it was changed",
      [
        "membershipd log head > kept-head.json",
        "membershipd log head >> /mnt/elsewhere/heads.ndjson",
      ],
    ),
  ).action(async (flags) => {
    await withOpenStore(context, flags, { read: true }, async (store) => {
      const key = await serviceKey(context, flags);
      const end = await signedEnd(
        sourceOf(switchOf(store).current),
        key && signPubOf(key.publicKey),
        context.io.signal,
      );
      const about = { node: nodeName(host()), at: new Date().toISOString() };
      const head = key === null ? unsignedHead(end, about) : signHead(end, { ...about, key });
      await print(context, JSON.stringify(head));
      if (key === null) {
        await say(
          context,
          "warning: the head is not signed, because there are no service keys here: only where it is kept " +
            "protects it; use --service-keys with --nats-url, or run it on the machine of the server",
        );
      }
    });
  }) as CommandUnknownOpts;
}
