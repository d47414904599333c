/**
 * What `membershipd` beside a node answers, without the rest of it.
 *
 * @module
 */

import { answerPresence, type Presence } from "../../cli/cluster/reach/presence.ts";
import { connectNats } from "../../src/nats/connection/connect.ts";

/** Answers beside the node at `url`, until it is disposed of. */
export async function present(
  url: string,
  nkeySeed: string,
  answer: Partial<Presence> = {},
): Promise<AsyncDisposable> {
  const connection = await connectNats({ servers: url, nkeySeed, bootstrapTimeout: 30_000 });
  const node = connection.info!.server_name;
  answerPresence(connection, { node, bucket: "UNIBUS", keys: "same", ...answer });
  await connection.flush();
  return { [Symbol.asyncDispose]: () => connection.close() };
}
