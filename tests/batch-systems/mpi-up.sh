#!/usr/bin/env bash
# Installs Open MPI from Debian's packages, for tests of programs that mpiexec starts. Root only; quick to repeat.
# There is no daemon: nothing is started, and nothing is to be stopped.
set -euo pipefail

if command -v mpiexec >/dev/null; then
    echo "mpi-up: mpiexec is there already" >&2
    exit
fi
((EUID == 0)) || { echo "mpi-up: must be root" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
{
    flock -o /var/lib/apt apt-get -q -o DPkg::Lock::Timeout=300 update
    flock -o /var/lib/apt apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends openmpi-bin
} >"$log" 2>&1 || { tail -n 5 "$log" >&2; echo "mpi-up: cannot install openmpi-bin" >&2; exit 1; }
rm -f "$log"
