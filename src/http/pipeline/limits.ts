/**
 * How often one address may try.
 *
 * @module
 */

import { RateLimiterMemory, RateLimiterRes } from "rate-limiter-flexible";
import { isIPv6 } from "node:net";
import { Refusal } from "./problem.ts";

/** Takes one of `points` a minute for an address; throws `rate_limited` when there are none left. */
export type Limit = (address: string) => Promise<void>;

/** Makes a limit. */
export function limitOf(points: number, what: string): Limit {
  const limiter = new RateLimiterMemory({ points, duration: 60 });
  return async (address) => {
    try {
      await limiter.consume(groupOf(address));
    } catch (found) {
      if (!(found instanceof RateLimiterRes)) throw found;
      const retryAfter = Math.max(1, Math.ceil(found.msBeforeNext / 1000));
      throw new Refusal("rate_limited", `Too many ${what} from this address`, { retryAfter });
    }
  };
}

/** What counts as one: an IPv4 address, or the /64 of an IPv6 address, which one host may fill. */
export function groupOf(address: string): string {
  if (!isIPv6(address)) return address;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  if (mapped) return mapped[1]!;
  const [head = "", tail] = address.toLowerCase().split("%")[0]!.split("::");
  const front = head.split(":").filter((it) => it !== "");
  const back = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = Array.from({ length: Math.max(0, 8 - front.length - back.length) }, () => "0");
  return [...front, ...zeros, ...back].slice(0, 4).map((it) => parseInt(it, 16).toString(16))
    .join(":");
}
