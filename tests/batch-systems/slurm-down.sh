#!/usr/bin/env bash
# Stops what slurm-up.sh started, by pid, and removes its files. Does nothing if it started nothing.
set -euo pipefail

top=${CORRAL_SLURM_TOP:-/var/lib/corral-slurm}
[[ -e $top/slurm.conf ]] || exit 0

is_running() { # NAME: as in slurm-up.sh; the pid may be another program's by now, or a zombie's
    local pid
    pid=$(cat "$top/$1.pid" 2>/dev/null) && [[ -e /proc/$pid && $(tr '\0' ' ' <"/proc/$pid/cmdline") == *"$top"* ]]
}

signal() { # SIGNAL NAME...: to those daemons that run
    local name
    for name in "${@:2}"; do
        is_running "$name" && kill "-$1" "$(cat "$top/$name.pid")" || true
    done
}

await_end() { # NAME...: for ten seconds at most
    local name
    for _ in {1..100}; do
        for name in "$@"; do
            is_running "$name" && sleep 0.1 && continue 2
        done
        return 0
    done
    signal KILL "$@"
}

# Jobs first, or their processes would outlive the daemons.
for conf in "$top"/{,other/}slurm.conf; do
    [[ -e $conf ]] || continue
    export SLURM_CONF=$conf
    if jobs=$(timeout 10 squeue -h -o %A --local 2>/dev/null) && [[ $jobs ]]; then
        timeout 10 scancel $jobs || true
        for _ in {1..100}; do
            [[ $(timeout 10 squeue -h -o %A --local 2>/dev/null) ]] || break
            sleep 0.1
        done
    fi
done
# Of a changed configuration (CORRAL_SLURM_EDIT), nodes have other names.
mapfile -t nodes < <(scontrol show hostnames "$(sed -n 's/^NodeName=\([^ ]*\).*/\1/p' "$top/slurm.conf" | paste -sd,)")
signal TERM "${nodes[@]}"
await_end "${nodes[@]}"
for daemons in "n1 n2 n3 g1 g2 g3 g4 u1 u2 other/x1" "slurmctld other/slurmctld" slurmdbd mariadb munged; do
    signal TERM $daemons
    await_end $daemons
done
rm -rf "$top"
