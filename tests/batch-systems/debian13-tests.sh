#!/usr/bin/env bash
# What is tested on Debian 13, where debian13.sh runs this: the README's first command, the same on Slurm, tests of the
# core and of the Slurm plugin, and those that need a real Slurm, one that has all that sites have (CORRAL_SLURM_WITH
# in slurm-up.sh), HTCondor or OAR. What faults do (tests/faults) takes a quarter of an hour of waiting, and is not asked
# again here.
#
#   tests/batch-systems/debian13.sh tests/batch-systems/debian13-tests.sh [arguments of pytest]
#   tests/batch-systems/debian13.sh env CORRAL_DEBIAN13_ALL=yes tests/batch-systems/debian13-tests.sh    # all of the core's
set -euo pipefail
cd "$(dirname "$0")/../.."

step() { echo "=== $(date +%T) $*"; }

step "$(python3 -c 'import ssl, sys; print("Python", sys.version.split()[0], ssl.OPENSSL_VERSION)')"
mapfile -t commands < <(sed -n '/^```sh$/,/^```$/{/^```/!p}' README.md)
step "${commands[0]}"
bash -c "${commands[0]}"

# First one as people know it; the other prints, refuses and has siblings, which is not for tests of anything else.
all=$CORRAL_SLURM_WITH
export CORRAL_SLURM_WITH=
eval "$(tests/batch-systems/slurm-up.sh)"
trap 'for each in slurm sshd htcondor oar; do tests/batch-systems/$each-down.sh; done' EXIT
step "corral demo --backend slurm, on $(sinfo --version)"
.venv/bin/corral demo --backend slurm

step "tests"
code=0
# Beside this, CI tests the machine itself.
workers=(${CI:+--numprocesses=0})
# CI asks there what another Python, OpenSSL or libc may answer otherwise: processes, their ends and surroundings, files,
# sockets, TLS, ssh, and clusters that live. What corral decides and says, and laws, it asks on the machine itself.
asked=(launch local plugins policy test_{cluster,containers,door,environments,groups,half_open,home,logs,network,nodes,other_users}
    test_{own_systems,parsing,phases,private,recorded,requests,runner,security,settings,surroundings,tls,words,world}
    test_ssh{,_files,_wire})
fast=(plugins/slurm)
for each in "${asked[@]}"; do
    [[ $each == test_* ]] && each+=.py
    fast+=("core/tests/$each")
done
ignored=(--ignore=tests/real/test_real_{symptoms,doctor,ssh,mpi}.py)
[[ ${CORRAL_DEBIAN13_ALL:-} ]] && fast=(core/tests plugins/slurm) ignored=()
# Of hostile values, a few: which ones are tried does not depend on Debian.
CORRAL_EXAMPLES=5 ./test -q "${workers[@]}" "${fast[@]}" -m "not real and not bench and not soak" "$@" || code=$?
tests/batch-systems/sshd-up.sh >/dev/null
step "tests on a real Slurm"
./test -q "${workers[@]}" tests/real plugins/slurm --backend slurm "${ignored[@]}" "$@" || code=$?
tests/batch-systems/slurm-down.sh
export CORRAL_SLURM_WITH=$all
eval "$(tests/batch-systems/slurm-up.sh)"
step "tests on a real Slurm with $CORRAL_SLURM_WITH"
./test -q "${workers[@]}" plugins/slurm/tests/test_slurm_sites_real.py tests/real/test_real_slurm_sites.py \
    tests/real/test_real_batch_mode.py::test_nodes_of_unequal_size --backend slurm "$@" || code=$?
eval "$(tests/batch-systems/htcondor-up.sh)"
step "tests on a real HTCondor, as an ordinary user: it runs no jobs of root"
id tester &>/dev/null || useradd --create-home tester
runuser -u tester -- env HOME=/home/tester USER=tester LOGNAME=tester \
    ./test -q tests/real plugins/htcondor --backend htcondor -p no:cacheprovider "$@" || code=$?
eval "$(tests/batch-systems/oar-up.sh)"
step "tests on a real OAR"
# Those of tests/real would take six minutes more; this one has a folder that OAR 2.6 cannot name.
./test -q plugins/oar tests/real/test_real_surroundings.py::test_a_task_finds_what_the_program_finds --backend oar \
    "$@" || code=$?
step "done"
exit "$code"
