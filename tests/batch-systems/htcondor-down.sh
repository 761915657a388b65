#!/usr/bin/env bash
# Stops what htcondor-up.sh started, by pid, and removes its files. Does nothing if it started nothing.
set -euo pipefail

top=${CORRAL_HTCONDOR_TOP:-/var/lib/corral-htcondor}
[[ -e $top/condor_config ]] || exit 0
export CONDOR_CONFIG=$top/condor_config

is_running() { # as in htcondor-up.sh; the pid may be another program's by now, or a zombie's
    local pid
    pid=$(cat "$top/run/master.pid" 2>/dev/null) && [[ -e /proc/$pid && $(tr '\0' ' ' <"/proc/$pid/cmdline") == *"$top"* ]]
}

await_end() { # SECONDS
    for ((i = 0; i < 10 * $1; i++)); do
        is_running || return 0
        sleep 0.1
    done
    return 1
}

# QUIT: the jobs end with the daemons, each of which the master ends.
if is_running; then
    master=$(cat "$top/run/master.pid")
    kill -QUIT "$master"
    await_end 20 || kill -KILL "$master"
fi
rm -rf "$top"
