#!/bin/sh
# membershipd @VERSION@ for @PLATFORM@: the program, its runtime and a nats-server in one file.
# It unpacks itself once, into the cache of whoever runs it, and is checked by SHA-256.
set -eu

die() {
  echo "membershipd: $1" >&2
  exit 1
}

sha256() {
  if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi
}

if [ "$(uname -s)-$(uname -m)" != "@PLATFORM@" ]; then
  die "This file is for @PLATFORM@, and this machine is $(uname -s)-$(uname -m)"
fi
# A service has no home: systemd names its cache (CacheDirectory=).
base=${UNIBUS_CACHE_DIR:-${CACHE_DIRECTORY:-}}
if [ -z "$base" ]; then
  base=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
  [ -n "$base" ] || die "Nowhere to unpack to: set HOME or UNIBUS_CACHE_DIR"
  base=$base/unibus
fi

# A directory, not a link to one, that is ours and that nobody else writes to.
ours() {
  case $(ls -ld "$1") in
  d????-??-?*) [ -O "$1" ] ;;
  *) false ;;
  esac
}

old=$(umask)
umask 077
mkdir -p "$base" || die "Cannot unpack to $base: set UNIBUS_CACHE_DIR to a directory of yours"
# Where it leads may be on another disk, and must be ours there.
base=$(cd "$base" && pwd -P) || die "Cannot unpack to $base: it cannot be entered"
# What runs must be ours: a cache that others write to would run their code.
hint="set UNIBUS_CACHE_DIR to a directory of yours, or chmod go-w it if it is"
ours "$base" || die "Other users may write to $base: $hint"
place=$base/@ID@

if [ ! -e "$place" ] && [ ! -L "$place" ]; then
  temporary=$(mktemp -d "$base/.unpack.XXXXXX")
  trap 'rm -rf "$temporary"' EXIT
  trap 'exit 130' INT TERM HUP
  found=$(tail -c +@OFFSET@ "$0" | sha256 | cut -d " " -f 1)
  [ "$found" = "@SHA256@" ] ||
    die "This file is damaged: the SHA-256 of what it holds is $found, not @SHA256@; get it again"
  mkdir "$temporary/it"
  { tail -c +@OFFSET@ "$0" | gzip -dc | tar -xf - -C "$temporary/it"; } 2>/dev/null ||
    die "Cannot unpack to $base: is the disk full?"
  # For root tar keeps the modes of the machine that packed it.
  chmod 700 "$temporary/it"
  sync
  # Another start may have been quicker: then ours went into it, and is removed again.
  mv "$temporary/it" "$place" || [ -d "$place" ] || die "Cannot unpack to $place"
  # Each removes that; what one of them does not find any more is no failure.
  rm -rf "$temporary" "$place/it" 2>/dev/null || :
  trap - EXIT INT TERM HUP
fi
ours "$place" || die "$place is not a directory of yours alone: remove it; it is made again"
umask "$old"

export DENO_DIR="$place/deno-dir" DENO_NO_UPDATE_CHECK=1
exec "$place/deno" run --quiet --allow-all --no-config --no-lock "$place/main.js" "$@"
