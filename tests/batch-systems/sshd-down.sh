#!/usr/bin/env bash
# Stops what sshd-up.sh started, with its sessions, and removes its files. Does nothing if it started nothing.
set -euo pipefail

top=${CORRAL_SSHD_TOP:-/var/lib/corral-sshd}
[[ -e $top/sshd_config ]] || exit 0

# The pid may be another program's by now.
if pid=$(cat "$top/sshd.pid" 2>/dev/null) && [[ -e /proc/$pid && $(tr '\0' ' ' <"/proc/$pid/cmdline") == *"$top"* ]]; then
    sessions=$(ps -o pid= --ppid "$pid" || true)
    kill "$pid" $sessions 2>/dev/null || true
    for _ in {1..50}; do
        [[ -e /proc/$pid ]] || break
        sleep 0.1
    done
fi
rm -rf "$top"
