#!/usr/bin/env bash
# Removes what debian13.sh keeps. Systems that run end with their commands.
set -euo pipefail

top=${CORRAL_DEBIAN13_TOP:-/var/lib/corral-debian13}
[[ -e $top/lock ]] || exit 0
exec 9>"$top/lock"
flock 9
for system in "$top"/run.*; do
    [[ ! -e /proc/${system##*.} ]] || { echo "debian13-down: a command runs in $system" >&2; exit 1; }
done
rm -rf --one-file-system "$top"
