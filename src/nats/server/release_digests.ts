/**
 * SHA-256 digests of the default release's archives. They are the only ground on which an archive of
 * that release is unpacked: checksums that come from where the archive comes from prove nothing when
 * that place is taken over.
 *
 * A digest goes in here only once somebody has downloaded the archive, seen that its digest is the one in
 * the release's `SHA256SUMS`, and seen the same digest in a second place. An archive that is not listed is
 * not installed; Debian's package, which apt verifies, takes its place where there is apt.
 *
 * @module
 */

/** By the archive's name, such as `nats-server-v2.15.1-linux-amd64.tar.gz`. */
export const RELEASE_DIGESTS: Readonly<Record<string, string>> = {};
