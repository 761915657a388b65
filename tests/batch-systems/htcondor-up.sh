#!/usr/bin/env bash
# Installs HTCondor from Debian's packages and starts one that belongs to the tests alone. Root only; quick to repeat.
#
#   eval "$(tests/batch-systems/htcondor-up.sh)"     # prints `export CONDOR_CONFIG=…`; says the rest on standard error
#
# An HTCondor that answers already is used as it is: then nothing is started, and nothing printed. Debian 13 has the
# package, Debian 12 has none. HTCondor runs no jobs of root: the tests are to be another user's.
#
# This machine is the only one of the pool, and claims 64 CPUs, 100 GB and four GPUs, whatever it has, for slots of any
# size. It is in the domain of files "corral", as all jobs that are submitted here. One port of loopback serves all
# daemons, which keep configuration, spool and logs in one folder: another HTCondor on the same machine never notices.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

top=${CORRAL_HTCONDOR_TOP:-/var/lib/corral-htcondor}
port=${CORRAL_HTCONDOR_PORT:-17800}
conf=$top/condor_config

say() { echo "htcondor-up: $*" >&2; }
fail() { # WHAT: say it, with the daemons' last words
    tail -n 5 "$top"/log/*Log >&2 2>/dev/null || true
    say "$*"
    exit 1
}

is_running() { # is the master whose pid is in $top/run/master.pid alive?
    local pid
    pid=$(cat "$top/run/master.pid" 2>/dev/null) && [[ -e /proc/$pid && $(tr '\0' ' ' <"/proc/$pid/cmdline") == *"$top"* ]]
}

await() { # WHAT COMMAND...: repeat the command until it succeeds, for half a minute
    local what=$1 deadline=$((SECONDS + 30))
    shift
    until timeout 10 "$@" &>/dev/null; do
        ((SECONDS < deadline)) || fail "no $what within 30 s"
        sleep 0.2
    done
}

install_package() {
    [[ $(dpkg-query -W -f '${db:Status-Abbrev}' condor 2>/dev/null) != "ii " ]] || return 0
    say "installing condor"
    export DEBIAN_FRONTEND=noninteractive
    flock -o /var/lib/apt apt-get -q -o DPkg::Lock::Timeout=300 update >"$top/apt.log" 2>&1 || fail "apt-get update failed"
    [[ $(apt-cache policy condor) == *Candidate:\ [0-9]* ]] ||
        fail "this system has no package condor; Debian 13 has: see tests/batch-systems/README.md"
    # Debian would start daemons with a configuration of its own; ours are started below.
    local policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        trap "rm -f $policy" EXIT
    fi
    flock -o /var/lib/apt apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends condor >>"$top/apt.log" 2>&1 ||
        fail "cannot install condor"
}

write_configuration() {
    cat >"$conf" <<EOF
RELEASE_DIR = /usr
LIB = /usr/lib/condor
LIBEXEC = /usr/libexec/condor
SHARE = /usr/share/condor
LOCAL_DIR = $top
LOG = $top/log
SPOOL = $top/spool
EXECUTE = $top/execute
LOCK = $top/lock
RUN = $top/run
DAEMON_LIST = MASTER COLLECTOR NEGOTIATOR SCHEDD STARTD

NETWORK_INTERFACE = 127.0.0.1
BIND_ALL_INTERFACES = False
CONDOR_HOST = 127.0.0.1
COLLECTOR_HOST = 127.0.0.1:$port
USE_SHARED_PORT = True
SHARED_PORT_PORT = $port
IN_LOWPORT = $((port + 1))
IN_HIGHPORT = $((port + 9))
COLLECTOR_SUPER_ADDRESS_FILE =
SCHEDD_SUPER_ADDRESS_FILE =

# Who somebody is, is seen from a folder that he makes: there is one machine.
SEC_DEFAULT_AUTHENTICATION = REQUIRED
SEC_DEFAULT_AUTHENTICATION_METHODS = FS
ALLOW_READ = *
ALLOW_WRITE = *
ALLOW_DAEMON = condor@* root@*
ALLOW_ADMINISTRATOR = condor@* root@*
UID_DOMAIN = corral
FILESYSTEM_DOMAIN = corral
TRUST_UID_DOMAIN = True

# More than the machine has, in slots of any size; without control groups.
NUM_CPUS = 64
MEMORY = 100000
MACHINE_RESOURCE_GPUs = GPU-0 GPU-1 GPU-2 GPU-3
SLOT_TYPE_1 = 100%
SLOT_TYPE_1_PARTITIONABLE = True
NUM_SLOTS_TYPE_1 = 1
START = True
SUSPEND = False
PREEMPT = False
KILL = False
BASE_CGROUP =

# By default jobs have a /tmp of their own; here those that say +OwnTmp = True, for tests keep their files below /tmp.
MOUNT_UNDER_SCRATCH = ifThenElse(OwnTmp =?= True, "/tmp,/var/tmp", "")

# Decide at once: a person waits for the tests.
NEGOTIATOR_INTERVAL = 1
NEGOTIATOR_MIN_INTERVAL = 1
NEGOTIATOR_CYCLE_DELAY = 1
SCHEDD_INTERVAL = 2
UPDATE_INTERVAL = 5
PERIODIC_EXPR_INTERVAL = 5
EOF
}

start() { # Every stream is closed, and nothing of this shell's environment is left: jobs and readers must not have them
    is_running ||
        env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin CONDOR_CONFIG="$conf" \
            condor_master -pidfile "$top/run/master.pid" </dev/null >>"$top/log/start" 2>&1 9>&- || fail "it did not start"
}

if timeout 10 condor_status -schedd &>/dev/null; then
    say "HTCondor answers already; it is left as it is"
    exit
fi
((EUID == 0)) || fail "must be root"
install -d -m 755 "$top"
exec 9>"$top/lock.up"
flock 9
install_package
export CONDOR_CONFIG=$conf    # not before: the package asks its own for a folder
for folder in log spool execute lock run; do
    install -d -o condor -g condor -m 755 "$top/$folder"
done
write_configuration
start
await "answer of the schedd" bash -c '[[ $(condor_status -schedd -af Name) ]]'
await "machine" bash -c '[[ $(condor_status -af Name) ]]'

version=$(condor_version | sed -n 's/.*CondorVersion: \([0-9.]*\).*/\1/p')
say "HTCondor $version is up: $(condor_status -af Cpus Memory GPUs | xargs printf '%s CPUs, %s MB, %s GPUs,') files in $top"
echo "export CONDOR_CONFIG=$conf"
