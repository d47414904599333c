#!/usr/bin/env bash
# A signed request with nothing but curl and openssl (RFC 9421, RFC 9530).
#
#   openssl genpkey -algorithm ed25519 -out key.pem
#   examples/curl.sh key.pem GET http://127.0.0.1:8470/v1/me
#   examples/curl.sh key.pem POST http://127.0.0.1:8470/v1/rooms '{"id":"lobby","encrypted":false}'
#
# What follows the body goes to curl: --cacert ca.pem, -i.
set -euo pipefail
key=$1 method=$2 url=$3 body=${4-}
if [ $# -gt 4 ]; then shift 4; else shift $#; fi

base64() { openssl base64 -A; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# An Ed25519 public key is the last 32 bytes of its DER form.
keyid=$(openssl pkey -in "$key" -pubout -outform DER | tail -c 32 | od -An -vtx1 | tr -d ' \n')
authority=$(sed -E 's#^https?://([^/]*).*#\1#' <<<"$url" | tr '[:upper:]' '[:lower:]')
target=$(sed -E 's#^https?://[^/]*##' <<<"$url")
nonce=$(openssl rand -hex 16)
covered='"@method" "@authority" "@request-target"'
base=$(printf '"@method": %s\n"@authority": %s\n"@request-target": %s' \
  "$method" "$authority" "${target:-/}")
headers=()
if [ -n "$body" ]; then
  digest="sha-256=:$(printf %s "$body" | openssl dgst -sha256 -binary | base64):"
  covered="$covered \"content-digest\""
  base=$(printf '%s\n"content-digest": %s' "$base" "$digest")
  headers+=(-H "content-type: application/json" -H "content-digest: $digest" --data-binary "$body")
fi
params="($covered);created=$(date +%s);nonce=\"$nonce\";keyid=\"$keyid\";alg=\"ed25519\""
printf '%s\n"@signature-params": %s' "$base" "$params" >"$work/base"
openssl pkeyutl -sign -rawin -inkey "$key" -in "$work/base" -out "$work/signature"

curl --silent --show-error --request "$method" "$url" \
  -H "signature-input: sig=$params" \
  -H "signature: sig=:$(base64 <"$work/signature"):" \
  "${headers[@]}" "$@"
echo
