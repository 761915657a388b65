"""The sections ``jobqueue.NAME`` as they are if nobody wrote one: code of computing centres reads and extends them."""

from __future__ import annotations

from typing import Any

import dask.config

from corral.migration.jobqueue.words import JOB_NAME, KINDS, WORKER_COMMAND, Kind


def defaults() -> dict[str, Any]:
    """All sections, with every key that is read."""
    return {"jobqueue": {kind.section: section(kind) for kind in KINDS.values()}}


def section(kind: Kind) -> dict[str, Any]:
    """One of them."""
    nothing = dict.fromkeys(kind.own)
    found: dict[str, Any] = {
        "name": JOB_NAME, "cores": None, "memory": None, "processes": None, "python": None, "interface": None,
        "death-timeout": 60, "local-directory": None, "shared-temp-directory": None, "extra": None,
        "worker-command": WORKER_COMMAND, "worker-extra-args": [], "shebang": "#!/usr/bin/env bash", "env-extra": None,
        "job-script-prologue": [], "job-script-epilogue": [], "job-extra": None, "job-extra-directives": [],
        "job-directives-skip": [], "log-directory": None, "scheduler-options": {},
        **{word.replace("_", "-"): value for word, value in nothing.items()},
    }  # fmt: skip
    if "account" in kind.own:
        del found["project"]
    if kind.walltime is not None:
        found["walltime"] = kind.walltime
    if kind.section == "htcondor":
        found |= {
            "job-extra-directives": {}, "shebang": "#!/usr/bin/env condor_submit", "submit-command-extra": [],
            "cancel-command-extra": [],
        }  # fmt: skip
    if kind.section == "lsf":
        found["use-stdin"] = True
    return found


def be_known() -> None:
    """Let Dask know them, in memory alone: whatever anybody wrote counts before them."""
    dask.config.update_defaults(defaults())


#: As dask-jobqueue calls it.
reconfigure = be_known
