#!/usr/bin/env bash
# Installs Slurm from Debian's packages and starts one that belongs to the tests alone. Root only; quick to repeat.
#
#   eval "$(tests/batch-systems/slurm-up.sh)"     # prints `export SLURM_CONF=…`; says the rest on standard error
#
# A Slurm that answers already is used as it is: then nothing is started, and nothing printed.
#
# Nodes n1 n2 n3 are in the partitions batch (default), short (at most 10 minutes) and preempt (gives way to the others
# after 10 s). Node g1, partition gpu, has four pretend GPUs of no maker's, of two shards each: the variables of all
# makers are set as for real ones. In partition makers, g2 has two of NVIDIA's (a100), g3 of AMD's (mi250) and g4 of
# Intel's (max1550), and each sets its maker's: one node must have one kind. Every node claims 64 CPUs and 100 GB,
# whatever this machine has. All daemons listen on loopback ports of their own and keep their files, configuration,
# munge key and socket in one folder: another Slurm on the same machine never notices.
#
# CORRAL_SLURM_WITH="accounting plugins unequal federation noarrays" (or some of them) adds what sites have:
#
#   accounting  slurmdbd on a MariaDB, both of its own: sacct, and QOS with limits. `one` runs one job of a user at a time,
#               `two` takes two, `narrow` runs on two cores, `brief` refuses what is longer than ten minutes.
#   plugins     what plugins of a site do: cli_filter.lua makes sbatch print a line on standard output first;
#               job_submit.lua says something on standard error about a job with --comment=site:…, and refuses
#               site:refuse.
#   unequal     partition unequal of u1 with 7 CPUs and u2 with 1, for jobs of two nodes.
#   federation  a second cluster, `other`, with one node x1, no arrays and a partition `batch` of its own, federated
#               with the first by the same slurmdbd (needs accounting).
#   noarrays    MaxArraySize=0 in the first cluster too.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

here=$(cd "$(dirname "$0")" && pwd)
top=${CORRAL_SLURM_TOP:-/var/lib/corral-slurm}
port=${CORRAL_SLURM_PORT:-17300}    # the controller's; all others take the next twelve
with=" ${CORRAL_SLURM_WITH:-} "
nodes=(n1 n2 n3 g1 g2 g3 g4)
conf=$top/slurm.conf

say() { echo "slurm-up: $*" >&2; }
fail() { # WHAT: say it, with the daemons' last words
    tail -n 5 "$top"/{,other/}*.log >&2 2>/dev/null || true
    say "$*"
    exit 1
}

has() { [[ $with == *" $1 "* ]]; }

is_running() { # NAME: is the daemon whose pid is in $top/NAME.pid alive?
    local pid
    pid=$(cat "$top/$1.pid" 2>/dev/null) && [[ -e /proc/$pid && $(tr '\0' ' ' <"/proc/$pid/cmdline") == *"$top"* ]]
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
    local wanted=(munge slurm-client slurm-wlm-basic-plugins slurmctld slurmd) found
    ! has accounting || wanted+=(slurmdbd mariadb-server-core mariadb-client-core)
    found=$(dpkg-query -W -f '${db:Status-Abbrev}\n' "${wanted[@]}" 2>/dev/null | grep -c '^ii' || true)
    ((found == ${#wanted[@]})) && return
    say "installing ${wanted[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # Debian would start daemons with a configuration that is not there; ours are started below.
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

write_common() { # CLUSTER PORT FOLDER: what the configurations of all clusters say, in FOLDER
    local cluster=$1 listens=$2 folder=$3
    install -d -m 755 "$folder" "$folder/state" "$folder/spool"
    cat >"$folder/slurm.conf" <<EOF
ClusterName=$cluster
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$listens
SlurmUser=root
AuthInfo=socket=$top/munge.socket
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/%n.log

# By default the daemons, which run as root, would listen on every interface.
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny

# One machine plays all nodes and claims more than it has, without cgroups.
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory

# Decide at once: a person waits for the tests.
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,sched_interval=1,bf_interval=5
SlurmctldTimeout=30
# A node that a busy machine keeps waiting is not dead.
SlurmdTimeout=30
KillWait=5
ReturnToService=2
# Ended jobs stay listed as long as Slurm's default says.
MinJobAge=300
$(write_accounting)
EOF
    # Nothing here uses control groups, but slurmd would look for the kind that this machine has: a container may have
    # none, or none that can be written. With version 1 it looks no further until something uses them.
    echo 'CgroupPlugin=cgroup/v1' >"$folder/cgroup.conf"
}

write_accounting() { # lines of slurm.conf
    if ! has accounting; then
        printf '%s\n' JobAcctGatherType=jobacct_gather/none AccountingStorageType=accounting_storage/none
        return
    fi
    cat <<EOF

AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((port + 8))
# Not a password: the socket to sign with.
AccountingStoragePass=$top/munge.socket
AccountingStorageEnforce=associations,limits,qos
# Of a job that asks for it with --acctg-freq=1, memory is looked at: one that uses too much ends OUT_OF_MEMORY.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=0
JobAcctGatherParams=OverMemoryKill
EOF
}

write_configuration() {
    local node claims arrays=20001
    node="NodeHostname=$(hostname -s) NodeAddr=127.0.0.1"
    claims="$node Sockets=1 ThreadsPerCore=1 RealMemory=100000"
    ! has noarrays || arrays=0
    write_common corral "$port" "$top"
    cat >>"$conf" <<EOF
# Large arrays.
MaxArraySize=$arrays
MaxJobCount=50000

GresTypes=gpu,shard
NodeName=n[1-3] Port=[$((port + 1))-$((port + 3))] CPUs=64 CoresPerSocket=64 $claims
NodeName=g1 Port=$((port + 4)) Gres=gpu:4,shard:8 CPUs=64 CoresPerSocket=64 $claims
NodeName=g2 Port=$((port + 5)) Gres=gpu:a100:2 CPUs=64 CoresPerSocket=64 $claims
NodeName=g3 Port=$((port + 6)) Gres=gpu:mi250:2 CPUs=64 CoresPerSocket=64 $claims
NodeName=g4 Port=$((port + 7)) Gres=gpu:max1550:2 CPUs=64 CoresPerSocket=64 $claims

PreemptType=preempt/partition_prio
PreemptMode=CANCEL
# A script hears of its preemption when the grace time begins, not when it is over.
SlurmctldParameters=preempt_send_user_signal
PartitionName=batch Nodes=n[1-3] Default=YES PriorityTier=10
PartitionName=short Nodes=n[1-3] MaxTime=10 PriorityTier=10
PartitionName=preempt Nodes=n[1-3] PriorityTier=1 GraceTime=10
PartitionName=gpu Nodes=g1 PriorityTier=10
PartitionName=makers Nodes=g[2-4] PriorityTier=10
EOF
    cat >"$top/gres.conf" <<'EOF'
NodeName=g1 Name=gpu File=/dev/tty[0-3]
NodeName=g1 Name=shard Count=8
NodeName=g2 Name=gpu Type=a100 File=/dev/tty[4-5] Flags=nvidia_gpu_env
NodeName=g3 Name=gpu Type=mi250 File=/dev/tty[6-7] Flags=amd_gpu_env
NodeName=g4 Name=gpu Type=max1550 File=/dev/tty[8-9] Flags=intel_gpu_env
EOF
    if has plugins; then
        cp "$here"/slurm/*.lua "$top"
        printf '%s\n' JobSubmitPlugins=lua CliFilterPlugins=lua >>"$conf"
    fi
    if has unequal; then
        cat >>"$conf" <<EOF
NodeName=u1 Port=$((port + 9)) CPUs=7 CoresPerSocket=7 $claims
NodeName=u2 Port=$((port + 10)) CPUs=1 CoresPerSocket=1 $claims
PartitionName=unequal Nodes=u[1-2] MinNodes=2
EOF
    fi
    if has federation; then
        write_common other $((port + 11)) "$top/other"
        cat >>"$top/other/slurm.conf" <<EOF
MaxArraySize=0
NodeName=x1 Port=$((port + 12)) CPUs=64 CoresPerSocket=64 $claims
PartitionName=batch Nodes=x1 Default=YES
EOF
    fi
}

start() { # NAME COMMAND...: unless it runs. Every stream is closed: whoever reads our output must not wait for a daemon
    local name=$1
    shift
    is_running "$name" || "$@" </dev/null >>"$top/$name.log" 2>&1 9>&- || fail "$1 did not start"
}

start_accounting() { # a database on a socket alone, and slurmdbd, which reads the slurmdbd.conf beside slurm.conf
    local sql=(mariadb --no-defaults --socket="$top/mariadb.socket" --user=root)
    [[ -e $top/mariadb/mysql ]] || mariadb-install-db --no-defaults --user=root --datadir="$top/mariadb" \
        --auth-root-authentication-method=socket --skip-test-db >"$top/mariadb.log" 2>&1 || fail "no database"
    if ! is_running mariadb; then # it does not leave the foreground by itself
        mariadbd --no-defaults --user=root --datadir="$top/mariadb" --socket="$top/mariadb.socket" \
            --pid-file="$top/mariadb.pid" --skip-networking --innodb-buffer-pool-size=64M --innodb-log-file-size=8M \
            --innodb-flush-log-at-trx-commit=0 </dev/null >>"$top/mariadb.log" 2>&1 9>&- &
    fi
    await "answer of MariaDB" "${sql[@]}" -e 'create database if not exists slurm'
    (umask 077 && cat >"$top/slurmdbd.conf") <<EOF
AuthType=auth/munge
AuthInfo=socket=$top/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$((port + 8))
CommunicationParameters=NoInAddrAny
SlurmUser=root
PidFile=$top/slurmdbd.pid
LogFile=$top/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm
EOF
    start slurmdbd env MYSQL_UNIX_PORT="$top/mariadb.socket" bash -c 'exec -a "$0/slurmdbd" slurmdbd' "$top"
    await "answer of slurmdbd" sacctmgr -n show cluster
}

fill_accounting() { # clusters and QOS with limits: once
    local clusters=(corral)
    ! has federation || clusters+=(other)
    manage() { sacctmgr -Q -i "$@" >>"$top/sacctmgr.log" 2>&1 || fail "sacctmgr $*: $(tail -n 1 "$top/sacctmgr.log")"; }
    [[ ! $(sacctmgr -n show qos brief format=name) ]] || return 0
    manage add cluster "${clusters[@]}"
    manage add qos one MaxJobsPerUser=1
    manage add qos two MaxSubmitJobsPerUser=2
    manage add qos narrow GrpTRES=cpu=2
    manage add qos brief MaxWall=00:10:00 Flags=DenyOnLimit
    manage modify account root set qos+=one,two,narrow,brief # slurmdbd makes it, with a user root
    ! has federation || manage add federation both clusters=corral,other
}

start_cluster() { # FOLDER NODE...: its controller and nodes; FOLDER is below $top, or empty
    local folder=$1 node
    local -x SLURM_CONF=$top/${folder}slurm.conf
    shift
    start "${folder}slurmctld" slurmctld -f "$SLURM_CONF"
    await "answer of slurmctld" scontrol ping
    for node; do
        start "$folder$node" slurmd -f "$SLURM_CONF" -N "$node"
    done
    for node; do
        await "idle $node" bash -c "sinfo -h -n $node -o %T | grep -Eq '^(idle|mixed|allocated|completing)$'"
    done
}

for word in $with; do
    case $word in accounting | plugins | unequal | federation | noarrays) ;; *) fail "CORRAL_SLURM_WITH has '$word'" ;; esac
done
! has federation || has accounting || fail "CORRAL_SLURM_WITH: federation needs accounting"
if timeout 10 sinfo --noheader &>/dev/null; then
    say "Slurm answers already; it is left as it is"
    exit
fi
((EUID == 0)) || fail "must be root"
export SLURM_CONF=$conf
install -d -m 755 "$top"
exec 9>"$top/lock"
flock 9
install_packages
[[ -s $top/munge.key ]] || (umask 077 && head -c 128 /dev/urandom >"$top/munge.key")
write_configuration
! has unequal || nodes+=(u1 u2)
if [[ ${CORRAL_SLURM_EDIT:-} ]]; then # a program that changes the configuration in a folder, before anything starts
    "$CORRAL_SLURM_EDIT" "$top"
    mapfile -t nodes < <(scontrol show hostnames "$(sed -n 's/^NodeName=\([^ ]*\).*/\1/p' "$conf" | paste -sd,)")
fi

start munged munged --key-file="$top/munge.key" --socket="$top/munge.socket" --pid-file="$top/munged.pid" \
    --log-file="$top/munged.log" --seed-file="$top/munged.seed" --num-threads=2
if has accounting; then
    start_accounting
    fill_accounting
fi
start_cluster "" "${nodes[@]}"
! has federation || start_cluster other/ x1
say "Slurm is up: $(sinfo -h -o '%P %D nodes,' | tr '\n' ' ') files in $top"
echo "export SLURM_CONF=$conf"
[[ ! ${CORRAL_SLURM_WITH:-} ]] || echo "export CORRAL_SLURM_WITH='$CORRAL_SLURM_WITH'"
