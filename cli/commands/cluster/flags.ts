/**
 * Flags of the cluster commands.
 *
 * @module
 */

import { adding, type JsonFlag, withJson, withServer } from "../../command.ts";
import type { ClusterFlags } from "./connect.ts";

/** Adds the flags for connecting to a cluster. */
export const withCluster = adding<ClusterFlags & JsonFlag>((parent) =>
  withJson(withServer(
    parent.option(
      "--system-seed-file <file>",
      "seed of a user in the system account, which is needed to list the nodes; also in --service-keys",
    ),
  ))
);
