"""dask-jobqueue's classes, arguments and configuration on corral: change the import, keep the script.

- `corral.migration.jobqueue`: dask-jobqueue's own language, and what it is in corral's;
- `job`: what subclasses look at and change, and `differences` what they changed;
- `cluster`: a cluster made of all that; `slurm`, `pbs` and so on: one class each, in modules that are called as there;
- `runner`: one program started by ``srun``.
"""

from __future__ import annotations

from corral.migration.jobqueue.translation import Translation, translate
from corral_jobqueue import config
from corral_jobqueue.cluster import ChangedWarning, JobQueueCluster
from corral_jobqueue.htcondor import HTCondorCluster
from corral_jobqueue.local import LocalCluster
from corral_jobqueue.lsf import LSFCluster
from corral_jobqueue.moab import MoabCluster
from corral_jobqueue.oar import OARCluster
from corral_jobqueue.pbs import PBSCluster
from corral_jobqueue.runner import SLURMRunner
from corral_jobqueue.sge import SGECluster
from corral_jobqueue.slurm import SLURMCluster

__all__ = [
    "ChangedWarning", "HTCondorCluster", "JobQueueCluster", "LSFCluster", "LocalCluster", "MoabCluster", "OARCluster",
    "PBSCluster", "SGECluster", "SLURMCluster", "SLURMRunner", "Translation", "translate",
]  # fmt: skip

config.be_known()
