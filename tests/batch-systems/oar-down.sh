#!/usr/bin/env bash
# Stops what oar-up.sh started, by pid, removes its files and puts the package's own back. Does nothing if it started
# nothing.
set -euo pipefail

top=${CORRAL_OAR_TOP:-/var/lib/corral-oar}
[[ -e $top/oar.conf ]] || exit 0

pid_of() { # NAME: of that daemon, if it runs; the pid may be another program's by now
    local pid
    pid=$(head -n 1 "$top/$1.pid" 2>/dev/null) && [[ -r /proc/$pid/cmdline ]] &&
        tr '\0' ' ' <"/proc/$pid/cmdline" | grep -Eq "$top|Almighty" && echo "$pid"
}

stop() { # NAME SIGNAL [GROUP]: and wait for the end, for ten seconds at most; GROUP: with its children
    local pid
    pid=$(pid_of "$1") || return 0
    kill "-$2" -- "${3:+-}$pid"
    for _ in {1..100}; do
        pid_of "$1" >/dev/null || return 0
        sleep 0.1
    done
    kill -KILL -- "${3:+-}$pid"
}

# Jobs first, or their processes would outlive the daemons.
living="state not in ('Terminated', 'Error')"
if pid_of almighty >/dev/null && [[ $(timeout 10 oarstat --sql "$living") ]]; then
    timeout 60 oardel --sql "$living" >/dev/null || true
    for _ in {1..100}; do
        [[ $(timeout 10 oarstat --sql "$living") ]] || break
        sleep 0.2
    done
fi
stop almighty TERM group
stop sshd TERM
stop database INT
install -o oar -g root -m 600 /usr/share/oar/oar-common/oar.conf /etc/oar/oar.conf
cp -p "$top/batch_job_bashrc" /var/lib/oar/.batch_job_bashrc
rm -rf "$top"
