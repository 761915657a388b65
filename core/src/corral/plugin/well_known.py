"""What to install for a name that people are likely to type. All else is said by plugins that are installed."""

from __future__ import annotations

#: Backends, by name or alias.
BACKENDS = {
    "slurm": "corral-slurm",
    "pbs": "corral-pbs",
    "pbspro": "corral-pbs",
    "openpbs": "corral-pbs",
    "sge": "corral-sge",
    "gridengine": "corral-sge",
    "uge": "corral-sge",
    "lsf": "corral-lsf",
    "htcondor": "corral-htcondor",
    "condor": "corral-htcondor",
    "oar": "corral-oar",
    "flux": "corral-flux",
    "torque": "corral-torque",
    "moab": "corral-moab",
}
#: What centres have published, put together.
SITES = {
    "perlmutter": "corral-nersc",
    "casper": "corral-ncar",
    "derecho": "corral-ncar",
    "polaris": "corral-alcf",
    "expanse": "corral-sdsc",
    "delta": "corral-ncsa",
    "stampede3": "corral-tacc",
    "frontera": "corral-tacc",
    "levante": "corral-dkrz",
    "lumi": "corral-csc",
    "gadi": "corral-nci",
    "narval": "corral-alliance",
    "nibi": "corral-alliance",
    "rorqual": "corral-alliance",
    "fir": "corral-alliance",
    "trillium": "corral-alliance",
    "lxplus": "corral-cern",
    "datarmor": "corral-ifremer",
    "eddie": "corral-edinburgh",
}
