/**
 * Which hosts are this machine itself.
 *
 * @module
 */

const IPV4 = /^127(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}$/;

/** Whether a host is this machine's own: 127.0.0.0/8, ::1 and localhost, and nothing else. */
export function isLoopback(host: string): boolean {
  return IPV4.test(host) || host === "::1" || host.toLowerCase() === "localhost";
}

/** {@link isLoopback} of the host in a URL, where an IPv6 address has brackets. */
export function isLoopbackUrl({ hostname }: URL): boolean {
  return isLoopback(hostname.replace(/^\[|\]$/g, ""));
}
