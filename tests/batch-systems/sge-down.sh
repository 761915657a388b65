#!/usr/bin/env bash
# Stops what sge-up.sh started, by pid, and removes its files. Does nothing if it started nothing.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

top=${CORRAL_SGE_TOP:-/var/lib/corral-sge}
port=${CORRAL_SGE_PORT:-17400}
[[ -e $top/default/common/made ]] || exit 0
export SGE_ROOT=$top SGE_CELL=default SGE_QMASTER_PORT=$port SGE_EXECD_PORT=$((port + 1))

is_running() { # NAME: as in sge-up.sh; the pid may be another program's by now, or a zombie's
    local pid
    pid=$(cat "$top/$1.pid" 2>/dev/null) && grep -zFqsx "SGE_ROOT=$top" "/proc/$pid/environ"
}

stop() { # NAME: and wait for its end, for ten seconds at most
    is_running "$1" || return 0
    kill -TERM "$(cat "$top/$1.pid")"
    for _ in {1..100}; do
        is_running "$1" || return 0
        sleep 0.1
    done
    kill -KILL "$(cat "$top/$1.pid")"
}

# Jobs first, or their processes would outlive the daemons.
if [[ $(timeout 10 qstat -u '*' 2>/dev/null) ]]; then
    timeout 10 qdel -u '*' >/dev/null || true
    for _ in {1..100}; do
        [[ $(timeout 10 qstat -u '*' 2>/dev/null) ]] || break
        sleep 0.1
    done
fi
stop execd
stop qmaster
rm -rf "$top"
