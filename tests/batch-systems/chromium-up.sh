#!/usr/bin/env bash
# Installs Chromium and its driver from Debian's packages, for tests that look at the dashboard. Root only; quick to repeat.
# There is no daemon: nothing is started, and nothing is to be stopped.
set -euo pipefail

if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then
    echo "chromium-up: chromium and chromedriver are there already" >&2
    exit
fi
((EUID == 0)) || { echo "chromium-up: must be root" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
{
    flock -o /var/lib/apt apt-get -q -o DPkg::Lock::Timeout=300 update
    flock -o /var/lib/apt apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends chromium chromium-driver fonts-dejavu-core
} >"$log" 2>&1 || { tail -n 5 "$log" >&2; echo "chromium-up: cannot install chromium and chromium-driver" >&2; exit 1; }
rm -f "$log"
