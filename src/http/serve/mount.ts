/**
 * A control plane below a path of a server: the path that routes go by, and the whole one that is signed.
 *
 * @module
 */

import { getPath } from "hono/utils/url";
import { StoreError } from "../../core/errors.ts";

/** Where a control plane is mounted. */
export interface Mount {
  /** The path, without a slash at its end; empty for none. */
  readonly base: string;
  /** The request with the URL that its client used and signed. */
  whole(request: Request): Request;
  /** The path below the mount. */
  pathOf(request: Request): string;
}

/** The first parts of our own paths, which a base path must not begin with: it would be ambiguous. */
const OURS = /^\/(v1|assets|docs|join|rooms|console|healthz|readyz|metrics|openapi\.json)(\/|$)/;

/** Reads `basePath`. */
export function mountOf(base: string = ""): Mount {
  if (base !== "" && (!/^(\/[\w.~-]+)+$/.test(base) || OURS.test(base))) {
    throw new StoreError(
      "invalid",
      "basePath must look like /bus, without a slash at its end, and not begin with a path of the " +
        "control plane",
      { field: "basePath" },
    );
  }
  const isBelow = (path: string) => path === base || path.startsWith(`${base}/`);
  return {
    base,
    whole(request) {
      if (base === "" || isBelow(getPath(request))) return request;
      // Hono's `mount` and Express's `use` take the base off.
      return new Request(request.url.replace(/^(https?:\/\/[^/?#]+)/, `$1${base}`), request);
    },
    pathOf: (request) => getPath(request).slice(base.length) || "/",
  };
}
