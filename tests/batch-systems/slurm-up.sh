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
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

top=${CORRAL_SLURM_TOP:-/var/lib/corral-slurm}
port=${CORRAL_SLURM_PORT:-17300}    # the controller's; the nodes take the next seven
nodes=(n1 n2 n3 g1 g2 g3 g4)
conf=$top/slurm.conf

say() { echo "slurm-up: $*" >&2; }
fail() { # WHAT: say it, with the daemons' last words
    tail -n 5 "$top"/*.log >&2 2>/dev/null || true
    say "$*"
    exit 1
}

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
    local wanted=(munge slurm-client slurm-wlm-basic-plugins slurmctld slurmd) here
    here=$(dpkg-query -W -f '${db:Status-Abbrev}\n' "${wanted[@]}" 2>/dev/null | grep -c '^ii' || true)
    ((here == ${#wanted[@]})) && return
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
        apt-get -q -o DPkg::Lock::Timeout=300 update
        apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${wanted[@]}"
    } >"$top/apt.log" 2>&1 || fail "cannot install ${wanted[*]}"
}

write_configuration() {
    local node=NodeHostname=$(hostname -s) claims="CPUs=64 Sockets=1 CoresPerSocket=64 ThreadsPerCore=1 RealMemory=100000"
    node+=" NodeAddr=127.0.0.1"
    cat >"$conf" <<EOF
ClusterName=corral
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
AuthInfo=socket=$top/munge.socket
StateSaveLocation=$top/state
SlurmdSpoolDir=$top/spool/%n
SlurmctldPidFile=$top/slurmctld.pid
SlurmdPidFile=$top/%n.pid
SlurmctldLogFile=$top/slurmctld.log
SlurmdLogFile=$top/%n.log

# By default the daemons, which run as root, would listen on every interface.
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny

# One machine plays all nodes and claims more than it has, without cgroups.
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu,shard
NodeName=n[1-3] Port=[$((port + 1))-$((port + 3))] $node $claims
NodeName=g1 Port=$((port + 4)) Gres=gpu:4,shard:8 $node $claims
NodeName=g2 Port=$((port + 5)) Gres=gpu:a100:2 $node $claims
NodeName=g3 Port=$((port + 6)) Gres=gpu:mi250:2 $node $claims
NodeName=g4 Port=$((port + 7)) Gres=gpu:max1550:2 $node $claims

# Decide at once: a person waits for the tests.
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,sched_interval=1,bf_interval=5
SlurmctldTimeout=30
# A node that a busy machine keeps waiting is not dead.
SlurmdTimeout=30
KillWait=5
ReturnToService=2

# Large arrays, and ended jobs stay listed as long as Slurm's default says.
MaxArraySize=20001
MaxJobCount=50000
MinJobAge=300

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
    # Nothing here uses control groups, but slurmd would look for the kind that this machine has: a container may have
    # none, or none that can be written. With version 1 it looks no further until something uses them.
    echo 'CgroupPlugin=cgroup/v1' >"$top/cgroup.conf"
    cat >"$top/gres.conf" <<'EOF'
NodeName=g1 Name=gpu File=/dev/tty[0-3]
NodeName=g1 Name=shard Count=8
NodeName=g2 Name=gpu Type=a100 File=/dev/tty[4-5] Flags=nvidia_gpu_env
NodeName=g3 Name=gpu Type=mi250 File=/dev/tty[6-7] Flags=amd_gpu_env
NodeName=g4 Name=gpu Type=max1550 File=/dev/tty[8-9] Flags=intel_gpu_env
EOF
}

start() { # NAME COMMAND...: unless it runs. Every stream is closed: whoever reads our output must not wait for a daemon
    local name=$1
    shift
    is_running "$name" || "$@" </dev/null >>"$top/$name.log" 2>&1 9>&- || fail "$1 did not start"
}

if timeout 10 sinfo --noheader &>/dev/null; then
    say "Slurm answers already; it is left as it is"
    exit
fi
((EUID == 0)) || fail "must be root"
export SLURM_CONF=$conf
install -d -m 755 "$top" "$top/state" "$top/spool"
exec 9>"$top/lock"
flock 9
install_packages
[[ -s $top/munge.key ]] || (umask 077 && head -c 128 /dev/urandom >"$top/munge.key")
write_configuration
if [[ ${CORRAL_SLURM_EDIT:-} ]]; then # a program that changes the configuration in a folder, before anything starts
    "$CORRAL_SLURM_EDIT" "$top"
    mapfile -t nodes < <(scontrol show hostnames "$(sed -n 's/^NodeName=\([^ ]*\).*/\1/p' "$conf" | paste -sd,)")
fi

start munged munged --key-file="$top/munge.key" --socket="$top/munge.socket" --pid-file="$top/munged.pid" \
    --log-file="$top/munged.log" --seed-file="$top/munged.seed" --num-threads=2
start slurmctld slurmctld -f "$conf"
await "answer of slurmctld" scontrol ping
for node in "${nodes[@]}"; do
    start "$node" slurmd -f "$conf" -N "$node"
done
for node in "${nodes[@]}"; do
    await "idle $node" bash -c "sinfo -h -n $node -o %T | grep -Eq '^(idle|mixed|allocated|completing)$'"
done

say "Slurm is up: $(sinfo -h -o '%P %D nodes,' | tr '\n' ' ') files in $top"
echo "export SLURM_CONF=$conf"
