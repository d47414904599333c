/**
 * SHA-256 digests of the default release's archives. An archive of that release is unpacked only if
 * its digest is listed here: checksums from the same place as the archive prove nothing if that
 * place is compromised.
 *
 * Before you add a digest, download the archive, compare its digest with the release's
 * `SHA256SUMS`, and find the same digest in a second place. An archive that is not listed is not
 * installed; on systems with apt, Debian's package, which apt verifies, is used instead.
 *
 * @module
 */

/** Digests by archive name, such as `nats-server-v2.15.1-linux-amd64.tar.gz`. */
export const RELEASE_DIGESTS: Readonly<Record<string, string>> = {};
