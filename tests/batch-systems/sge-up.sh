#!/usr/bin/env bash
# Installs Grid Engine from Debian's packages and starts one that belongs to the tests alone. Root only; quick to repeat.
#
#   eval "$(tests/batch-systems/sge-up.sh)"     # prints `export SGE_ROOT=…` and more; says the rest on standard error
#
# A Grid Engine that answers already is used as it is: then nothing is started, and nothing printed.
#
# This machine is the only host, and claims 64 slots in each queue, 100 GB and four GPUs, whatever it has. Queue all.q
# takes everything, short.q jobs of at most ten minutes. The parallel environment smp gives slots of one host, mpi-N gives N
# slots of each host (N is 1, 2 or 4). mem_free, per slot, and gpu, per job, are counted; h_vmem is a limit, not counted.
# The daemons have ports of their own and keep their files in one folder: another Grid Engine on the same machine never
# notices. Everything goes by the name of localhost. (Grid Engine has no setting for the address that it listens on; it
# takes requests from the hosts that it knows, and it knows this one.)
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

top=${CORRAL_SGE_TOP:-/var/lib/corral-sge}
port=${CORRAL_SGE_PORT:-17400}    # the master's; the execution daemon's is the next
host=localhost
common=$top/default/common

say() { echo "sge-up: $*" >&2; }
fail() { # WHAT: say it, with the daemons' last words
    tail -n 5 "$top"/*.log "$top"/spool/*/messages "$top"/spool/*/*/messages >&2 2>/dev/null || true
    say "$*"
    exit 1
}

is_running() { # NAME: is the daemon whose pid is in $top/NAME.pid alive?
    local pid
    pid=$(cat "$top/$1.pid" 2>/dev/null) && grep -zFqsx "SGE_ROOT=$top" "/proc/$pid/environ"
}

await() { # WHAT COMMAND...: repeat the command until it succeeds, for half a minute
    local what=$1 deadline=$((SECONDS + 30))
    shift
    until timeout 10 "$@" &>/dev/null; do
        ((SECONDS < deadline)) || fail "no $what within 30 s"
        sleep 0.2
    done
}

install_packages() {
    local wanted=(gridengine-master gridengine-exec gridengine-client) here
    here=$(dpkg-query -W -f '${db:Status-Abbrev}\n' "${wanted[@]}" 2>/dev/null | grep -c '^ii' || true)
    ((here == ${#wanted[@]})) && return
    say "installing ${wanted[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # Debian would set up a Grid Engine of its own and start it; ours is set up below.
    local policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        trap "rm -f $policy" EXIT
    fi
    {
        printf 'gridengine-%s shared/gridengineconfig boolean false\n' common client | debconf-set-selections
        flock -o /var/lib/apt apt-get -q -o DPkg::Lock::Timeout=300 update
        # Grid Engine wants a mail program, and that a mail server; this one is the smallest. Nothing is ever mailed.
        flock -o /var/lib/apt apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends msmtp-mta "${wanted[@]}"
    } >"$top/apt.log" 2>&1 || fail "cannot install ${wanted[*]}"
}

change() { # FILE NAME VALUE...: in a file of "NAME  VALUE" lines
    local file=$1
    shift
    while (($#)); do
        sed -i -E "s#^$1[[:space:]].*#$1 $2#" "$file"
        shift 2
    done
}

make_cell() { # the master's configuration and database, once
    [[ -e $common/made ]] && return
    install -d -m 755 "$common" "$top/spool/qmaster" "$top/spool/execd"
    cat >"$common/bootstrap" <<END
admin_user              none
default_domain          none
ignore_fqdn             false
spooling_method         classic
spooling_lib            libspoolc
spooling_params         $common;$top/spool/qmaster
binary_path             /usr/sbin
qmaster_spool_dir       $top/spool/qmaster
security_mode           none
listener_threads        2
worker_threads          2
scheduler_threads       1
END
    echo "$host" >"$common/act_qmaster"
    # Whatever name a look-up of this machine gives, it is the same host.
    local names
    names=$({ hostname; hostname -f; getent hosts 127.0.0.1 "$(hostname)" "$(hostname -f)"; } 2>/dev/null | tr -s ' ' '\n' \
        | grep -Evx "[0-9.]+|.*:.*|$host" | sort -u | tr '\n' ' ')
    echo "$host $names" >"$common/host_aliases"

    local given=/usr/share/gridengine spool=/usr/lib/gridengine
    cp "$given/default-configuration" "$top/configuration"
    # Root may submit, nobody's profile is read or heard in a job, ends are written down at once, nothing is mailed.
    change "$top/configuration" execd_spool_dir "$top/spool/execd" mailer /bin/true administrator_mail none \
        min_uid 0 min_gid 0 login_shells none load_report_time 00:00:05 reporting_params \
        "accounting=true reporting=false flush_time=00:00:01 accounting_flush_time=00:00:00 joblog=false sharelog=00:00:00"
    "$spool/spoolinit" classic libspoolc "$common;$top/spool/qmaster" init
    "$spool/spooldefaults" configuration "$top/configuration"
    "$spool/spooldefaults" complexes "$given/util/resources/centry"
    "$spool/spooldefaults" usersets "$given/util/resources/usersets"
    "$spool/spooldefaults" managers root

    # Where the shepherd looks for what starts a task of a parallel job (`qrsh -inherit`).
    mkdir "$top/utilbin"
    ln -s /usr/lib/gridengine "$top/utilbin/$($given/util/arch)"
    touch "$common/made"
} &>>"$top/configure.log"

start() { # NAME: unless it runs. Every stream is closed: whoever reads our output must not wait for a daemon
    is_running "$1" && return
    # With nothing of this shell's environment, or jobs would see it.
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        SGE_ROOT="$SGE_ROOT" SGE_CELL="$SGE_CELL" SGE_QMASTER_PORT="$SGE_QMASTER_PORT" SGE_EXECD_PORT="$SGE_EXECD_PORT" \
        SGE_EXECD_PIDFILE="$top/execd.pid" "sge_$1" </dev/null >>"$top/$1.log" 2>&1 9>&- || fail "sge_$1 did not start"
}

put() { # KIND FILE: add it, or replace it if it is there
    qconf "-A$1" "$2" || qconf "-M$1" "$2"
}

configure() { # what a master must be told that runs
    local file=$top/setting environment queue
    qconf -ssconf >"$file"
    # Decide at once: a person waits for the tests.
    change "$file" schedule_interval 0:0:1 flush_submit_sec 1 flush_finish_sec 1 job_load_adjustments NONE \
        schedd_job_info true
    qconf -Msconf "$file"

    qconf -sc >"$file"
    grep -q '^gpu ' "$file" || printf '%s\n' 'memory mem MEMORY <= YES YES 0 0' 'gpu gpu INT <= YES JOB 0 0' >>"$file"
    qconf -Mc "$file"

    qconf -as "$host"
    printf '%s\n' "hostname $host" 'load_scaling NONE' 'complex_values memory=100G,gpu=4' 'user_lists NONE' \
        'xuser_lists NONE' 'projects NONE' 'xprojects NONE' 'usage_scaling NONE' 'report_variables NONE' >"$file"
    put e "$file"

    for environment in smp mpi-1 mpi-2 mpi-4; do
        local rule=${environment#mpi-}
        printf '%s\n' "pe_name $environment" 'slots 9999' 'user_lists NONE' 'xuser_lists NONE' \
            'start_proc_args NONE' 'stop_proc_args NONE' "allocation_rule ${rule/smp/\$pe_slots}" 'control_slaves TRUE' \
            'job_is_first_task FALSE' 'urgency_slots min' 'accounting_summary FALSE' 'qsort_args NONE' >"$file"
        put p "$file"
    done

    for queue in all.q short.q; do
        qconf -sq >"$file"    # a template
        change "$file" qname "$queue" hostlist "$host" slots 64 load_thresholds NONE pe_list 'smp mpi-1 mpi-2 mpi-4'
        [[ $queue == all.q ]] || change "$file" h_rt 00:10:00 seq_no 1
        put q "$file"
    done
    rm "$file"
} &>>"$top/configure.log"

if timeout 10 qhost &>/dev/null; then
    say "Grid Engine answers already; it is left as it is"
    exit
fi
((EUID == 0)) || fail "must be root"
getent hosts "$(hostname)" >/dev/null || fail "the name of this host, $(hostname), has no address"
export SGE_ROOT=$top SGE_CELL=default SGE_QMASTER_PORT=$port SGE_EXECD_PORT=$((port + 1))
install -d -m 755 "$top"
exec 9>"$top/lock"
flock 9
install_packages
make_cell || fail "cannot make its database: $(tail -n 3 "$top/configure.log")"
ln -sfn "$top/spool/qmaster/qmaster.pid" "$top/qmaster.pid"

start qmaster
await "answer of sge_qmaster" qconf -sm
configure || fail "cannot configure it: $(tail -n 3 "$top/configure.log")"
start execd
await "free slots" bash -c 'qstat -f -q all.q | awk '\''/^all.q@/ && $4 != "-NA-" && $6 == "" { up = 1 } END { exit !up }'\'

say "Grid Engine is up: $(qstat -g c | awk 'NR > 2 { print $1, $6, "slots," }' | tr '\n' ' ')files in $top"
echo "export SGE_ROOT=$SGE_ROOT SGE_CELL=$SGE_CELL SGE_QMASTER_PORT=$SGE_QMASTER_PORT SGE_EXECD_PORT=$SGE_EXECD_PORT"
