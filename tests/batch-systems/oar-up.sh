#!/usr/bin/env bash
# Installs OAR from Debian's packages and starts one that belongs to the tests alone. Root only; quick to repeat.
#
#   tests/batch-systems/oar-up.sh       # no variables to set; says what it does on standard error
#
# An OAR that answers already is used as it is: then nothing is started. OAR's programs read /etc/oar/oar.conf and no
# other file: a machine has one OAR. Where somebody has written that file this one is not started; oar-down.sh puts the
# package's own back.
#
# Nodes 127.0.0.1, 127.0.0.2 and 127.0.0.3 are this machine, and have 8 cores each (property core), of memcore=4000
# (MB), whatever this machine has; the last one's belong to 2 pretend GPUs (property gpu). Everything listens on
# loopback, the database on a socket alone. Files, logs and sockets are in one folder.
#
# OAR runs a job as the user who submitted it, with the permissions that it finds: a cluster's credentials (mode 0600,
# in folders of 0700) can be read if the tests and their jobs are one user. OAR refuses jobs of root by an admission
# rule, and the tests may be root's: the rule is switched off.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

top=${CORRAL_OAR_TOP:-/var/lib/corral-oar}
port=${CORRAL_OAR_PORT:-17700}    # the server's; the nodes' sshd takes the next
nodes=(127.0.0.1 127.0.0.2 127.0.0.3)
cores=8
conf=/etc/oar/oar.conf
mark="# Written by corral's tests; oar-down.sh removes it."

say() { echo "oar-up: $*" >&2; }
fail() { # WHAT: say it, with the daemons' last words
    tail -n 5 "$top"/*.log >&2 2>/dev/null || true
    say "$*"
    exit 1
}

is_ours() { grep -qxF "$mark" "$conf" 2>/dev/null; }

is_running() { # NAME: is the daemon whose pid is in $top/NAME.pid alive?
    local pid
    pid=$(head -n 1 "$top/$1.pid" 2>/dev/null) && [[ -r /proc/$pid/cmdline ]] &&
        tr '\0' ' ' <"/proc/$pid/cmdline" | grep -Eq "$top|Almighty"
}

install_packages() {
    local wanted=(oar-server oar-server-pgsql oar-node oar-user oar-user-pgsql libjson-perl postgresql procps) here
    here=$(dpkg-query -W -f '${db:Status-Abbrev}\n' "${wanted[@]}" 2>/dev/null | grep -c '^ii' || true)
    ((here == ${#wanted[@]})) && return
    say "installing ${wanted[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # Debian would start daemons that nobody configured; ours are started below.
    local policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        trap "rm -f $policy" EXIT
    fi
    {
        flock -o /var/lib/apt apt-get -q -o DPkg::Lock::Timeout=300 update
        flock -o /var/lib/apt apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${wanted[@]}"
    } >"$top/apt.log" 2>&1 || fail "cannot install ${wanted[*]}"
}

write_configuration() {
    is_ours || cmp -s "$conf" /usr/share/oar/oar-common/oar.conf ||
        fail "$conf is somebody's own: that OAR does not answer, and is not replaced"
    cat >"$top/oar.conf" <<EOT
$mark
DB_TYPE="Pg"
DB_HOSTNAME="$top/socket"
DB_PORT="5432"
DB_BASE_NAME="oar"
DB_BASE_LOGIN="oar"
DB_BASE_PASSWD="unused"
DB_BASE_LOGIN_RO="oar_ro"
DB_BASE_PASSWD_RO="unused"
# 127.0.0.1, of which OAR would make this machine's name, and that may be another address.
SERVER_HOSTNAME="0x7f000001"
SERVER_PORT="$port"
OPENSSH_CMD="/usr/bin/ssh -p $((port + 1)) -e none"
OAR_RUNTIME_DIRECTORY="$top/runtime"
LOG_FILE="$top/oar.log"
LOG_LEVEL="2"
OARSTAT_DEFAULT_OUTPUT_FORMAT="2"
DETACH_JOB_FROM_SERVER="1"

# A job has a cpuset in name only: oarsh asks for its name, and this machine may have none to give.
JOB_RESOURCE_MANAGER_PROPERTY_DB_FIELD="cpuset"
JOB_RESOURCE_MANAGER_FILE="/etc/oar/job_resource_manager.pl"
OARSH_OARSTAT_CMD="/usr/bin/oarstat"
OARSUB_DEFAULT_RESOURCES="/resource_id=1"
OARSUB_NODES_RESOURCES="network_address"

# Nodes are never suspected: they are this machine.
PINGCHECKER_GENERIC_COMMAND="/bin/true"

# Decide at once: a person waits for the tests.
SCHEDULER_MIN_TIME_BETWEEN_2_CALLS="1"
SCHEDULER_JOB_SECURITY_TIME="1"
SCHEDULER_TIMEOUT="30"
JOBDEL_SOFTWALLTIME="5"
JOBDEL_WALLTIME="20"
SCHEDULER_NB_PROCESSES="1"
SCHEDULER_RESOURCE_ORDER="state_num ASC, network_address ASC, resource_id ASC"
EOT
    cmp -s "$top/oar.conf" "$conf" || install -o oar -g root -m 600 "$top/oar.conf" "$conf"
    # OAR has no word for where its server listens: every interface.
    cat >"$top/Loopback.pm" <<'EOT'
package Loopback;
use IO::Socket::INET;
no warnings 'redefine';
my $configure = \&IO::Socket::INET::configure;
*IO::Socket::INET::configure = sub {
    $_[1]{LocalAddr} //= '127.0.0.1' if $_[1]{Listen};
    return $configure->(@_);
};
1;
EOT
    # Every bash in a job would read the user's ~/.bashrc; where that starts a bash, there would be no end to it.
    [[ -e $top/batch_job_bashrc ]] || cp -p /var/lib/oar/.batch_job_bashrc "$top/batch_job_bashrc"
    echo "$mark" >/var/lib/oar/.batch_job_bashrc
}

start() { # NAME COMMAND...: unless it runs. Every stream is closed: whoever reads our output must not wait for a daemon
    local name=$1
    shift
    is_running "$name" || "$@" </dev/null >>"$top/$name.log" 2>&1 9>&- || fail "$1 did not start"
}

start_server() { # again, if need be: it ends at once where a connection has its port, or had it within a minute
    local deadline=$((SECONDS + 90))
    until is_running almighty && timeout 10 bash -c "exec 3<>/dev/tcp/127.0.0.1/$port" &>/dev/null; do
        ((SECONDS < deadline)) || fail "no answer of the server within 90 s"
        PERL5OPT="-I$top -MLoopback" start almighty bash -c 'setsid Almighty & echo $! >"$0"' "$top/almighty.pid"
        sleep 0.2
    done
}

sql() { psql --quiet --no-align --tuples-only -h "$top/socket" -U postgres -d oar -c "$1"; }

start_database() {
    local programs
    programs=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
    install -d -o postgres -g oar -m 750 "$top/socket"
    if [[ ! -s $top/database/PG_VERSION ]]; then
        install -d -o postgres -m 700 "$top/database"
        runuser -u postgres -- "$programs/initdb" -N -D "$top/database" -A trust -E UTF8 --locale=C >"$top/initdb.log"
    fi
    start database runuser -u postgres -- "$programs/pg_ctl" -D "$top/database" -s -w -o \
        "-c listen_addresses= -c unix_socket_directories=$top/socket -c fsync=off" start
    ln -sf database/postmaster.pid "$top/database.pid"
    if ! oar-database --check &>/dev/null; then
        oar-database --create -y --db-admin-user=postgres --db-admin-pass=unused </dev/null >"$top/create.log" 2>&1 ||
            fail "cannot create the database"
    fi
    sql "update admission_rules set enabled = 'NO' where rule like '%root and oar users are not allowed%'"
}

add_resources() {
    if (($(sql "select count(*) from resources"))); then
        sql "update resources set state = 'Alive', state_num = 1" # tests of faults may have left some otherwise
        return
    fi
    oarproperty -q -a core -a memcore -a gpu
    # oarnodesetting would take a second for each.
    sql "insert into resources (network_address, state, state_num, core, memcore)
         select node, 'Alive', 1, row_number() over (), 4000
         from unnest(string_to_array('${nodes[*]}', ' ')) as node, generate_series(1, $cores);
         update resources set gpu = (core - 1) / 4 where network_address = '${nodes[-1]}'"
}

if ! is_ours && timeout 10 oarnodes -s &>/dev/null; then
    say "OAR answers already; it is left as it is"
    exit
fi
((EUID == 0)) || fail "must be root"
install -d -m 755 "$top"
exec 9>"$top/lock"
flock 9
install_packages
write_configuration
install -d -o oar -g oar -m 755 "$top/runtime"
[[ -e $top/oar.log ]] || install -o oar -g oar -m 644 /dev/null "$top/oar.log"

start_database
install -d -m 755 /run/sshd
# A bash that ssh starts reads ~/.bashrc too, unless there are some around it already.
start sshd /usr/sbin/sshd -f /etc/oar/sshd_config -o PidFile="$top/sshd.pid" -o Port=$((port + 1)) -o SetEnv=SHLVL=5 \
    $(printf -- '-o ListenAddress=%s ' "${nodes[@]}")
start_server
add_resources
say "OAR is up: $(sql "select count(*) from resources where state = 'Alive'") resources alive, files in $top"
