/**
 * Flags of the cluster commands.
 *
 * @module
 */

import { adding, type JsonFlag, withJson, withNats } from "../../command.ts";
import type { ClusterFlags } from "./connect.ts";

/** Adds the flags for connecting to a cluster. */
export const withCluster = adding<ClusterFlags & JsonFlag>((parent) =>
  withJson(withNats(
    parent.option(
      "--system-seed-file <file>",
      "seed of a user in the system account, which is needed to list the nodes; also in --service-keys",
    ),
  ))
);
