#!/usr/bin/env bash
# Makes a stranger's of the configuration that slurm-up.sh wrote in FOLDER: other names of nodes, which are small; one
# partition, which must be named; no job without an account or a walltime; no arrays, no GPUs.
#
#   export CORRAL_SLURM_EDIT=tests/batch-systems/slurm-otherwise.sh
#   eval "$(tests/batch-systems/slurm-up.sh)"
#   ./test tests/real plugins/slurm --backend=slurm --batch-system-file=tests/batch-systems/slurm-otherwise.yaml
set -euo pipefail
cd "$1"
sed -E -i -f - slurm.conf <<'EDIT'
s/^NodeName=n\[1-3\]/NodeName=c[1-3]/
/^NodeName=c/s/=64/=8/g
/^NodeName=c/s/RealMemory=[0-9]+/RealMemory=8000/
/^(NodeName=g|GresTypes|PartitionName=(short|preempt|gpu|makers))/d
s/^MaxArraySize=.*/MaxArraySize=0/
s/^PartitionName=batch .*/PartitionName=long Nodes=c[1-3] MaxTime=60/
EDIT
echo JobSubmitPlugins=require_timelimit,lua >>slurm.conf
rm -f gres.conf
cat >job_submit.lua <<'EDIT'
function slurm_job_submit(job, partitions, uid)
    if job.account ~= "climate" then
        slurm.log_user("say which project pays: --account")
        return slurm.ERROR
    end
    return slurm.SUCCESS
end

function slurm_job_modify(job, record, partitions, uid)
    return slurm.SUCCESS
end
EDIT
