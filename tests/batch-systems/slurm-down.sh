#!/usr/bin/env bash
# Stops what slurm-up.sh started, by pid, and removes its files. Does nothing if it started nothing.
set -euo pipefail

top=${CORRAL_SLURM_TOP:-/var/lib/corral-slurm}
[[ -e $top/slurm.conf ]] || exit 0

stop() { # NAME: ask its daemon to end, then insist
    local pid
    pid=$(cat "$top/$1.pid" 2>/dev/null) || return 0
    # The pid may be another program's by now: ours has our folder in its command line.
    [[ -e /proc/$pid && $(tr '\0' ' ' <"/proc/$pid/cmdline") == *"$top"* ]] || return 0
    kill "$pid" 2>/dev/null || return 0
    for _ in {1..50}; do
        [[ -e /proc/$pid ]] || return 0
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
}

# Jobs first, or their processes would outlive the daemons.
export SLURM_CONF=$top/slurm.conf
if jobs=$(timeout 10 squeue -h -o %A 2>/dev/null) && [[ $jobs ]]; then
    timeout 10 scancel $jobs || true
    for _ in {1..100}; do
        [[ $(timeout 10 squeue -h -o %A 2>/dev/null) ]] || break
        sleep 0.1
    done
fi
for name in n1 n2 n3 g1 slurmctld munged; do
    stop "$name"
done
rm -rf "$top"
