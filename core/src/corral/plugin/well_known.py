"""What to install for a name that people are likely to type. All else is said by plugins that are installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from corral.errors import InvalidRequest, UnknownBackend, did_you_mean

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


def no_such(
    name: str, kind: Literal["backend", "site"], known: Sequence[str], plain: Sequence[str]
) -> InvalidRequest | UnknownBackend:
    """The error about a name that no plugin has.

    Parameters
    ----------
    known
        All names that are installed, of which `plain` has each plugin's plainest.
    """
    problem = f"no {kind} named {name!r}. Installed: {', '.join(plain) or 'none'}."
    if kind == "site":
        # Reads Dask's configuration.
        from corral.plugin.written_sites import not_read

        install = f" Install {SITES[name]}" if name in SITES else did_you_mean(name.lower(), [*known, *SITES])
        return InvalidRequest("site", problem + install + not_read())
    if name not in BACKENDS:
        problem += did_you_mean(name.lower(), [*known, *BACKENDS])
    for word, distribution in BACKENDS.items():
        if word not in known and (word == name or problem.endswith(f"Did you mean {word!r}?")):
            problem += f" Install {distribution}"
    return UnknownBackend(problem, name=name, installed=plain)
