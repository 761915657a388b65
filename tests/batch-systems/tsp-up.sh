#!/usr/bin/env bash
# Installs Task Spooler from Debian's packages. Root only; quick to repeat.
# Whoever calls it first starts its server, so nothing is started, and nothing is to be stopped: each test has its own queue.
set -euo pipefail

if command -v tsp >/dev/null; then
    echo "tsp-up: tsp is there already" >&2
    exit
fi
((EUID == 0)) || { echo "tsp-up: must be root" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
{
    flock -o /var/lib/apt apt-get -q -o DPkg::Lock::Timeout=300 update
    flock -o /var/lib/apt apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends task-spooler
} >"$log" 2>&1 || { tail -n 5 "$log" >&2; echo "tsp-up: cannot install task-spooler" >&2; exit 1; }
rm -f "$log"
