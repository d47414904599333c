/**
 * `log head`
 *
 * @module
 */

import { StoreError } from "../../../src/core/errors.ts";
import { sourceOf } from "../../../src/core/history/source.ts";
import { switchOf } from "../../../src/core/store/switching.ts";
import { signedEnd } from "../../../src/history/continue.ts";
import { nodeName, signHead } from "../../../src/history/heads.ts";
import { signPubOf } from "../../../src/keys/nkey.ts";
import { command, type CommandUnknownOpts, type Context, withStore } from "../../command.ts";
import { host } from "../../store/actor.ts";
import { withOpenStore } from "../../store/open.ts";
import { print } from "../../terminal/output.ts";
import { serviceKey } from "./keys.ts";

/** Creates the command. */
export function headCommand(context: Context): CommandUnknownOpts {
  return withStore(
    command(
      context,
      "head",
      "Show the head of the history, signed, as a line of JSON. Keep it elsewhere: with it, log verify " +
        "notices later that the history up to it was changed",
      [
        "membershipd log head > kept-head.json",
        "membershipd log head >> /mnt/elsewhere/heads.ndjson",
      ],
    ),
  ).action(async (flags) => {
    await withOpenStore(context, flags, { read: true }, async (store) => {
      const key = await serviceKey(context, flags);
      if (key === null) {
        throw new StoreError(
          "not_found",
          "Signing the head of the history: found no service keys",
          {
            hint: "use --service-keys with --nats-url, or run it on the machine of the server",
          },
        );
      }
      const end = await signedEnd(
        sourceOf(switchOf(store).current),
        signPubOf(key.publicKey),
        context.io.signal,
      );
      const at = new Date().toISOString();
      await print(context, JSON.stringify(signHead(end, { node: nodeName(host()), at, key })));
    });
  }) as CommandUnknownOpts;
}
