"""CERN's batch service, as seen from lxplus, as published; read on 2026-11-29, and not tried there.

- Worker ports 10000 to 10100, 1 core with 3 GiB, 20 GB of disk a core, ``MY.SingularityImage``, ``-spool``:
  cernops/dask-lxplus (2025-08-22), ``dask_lxplus/cluster.py`` and ``jobqueue-cern.yaml``.
- That submissions normally use a shared file system (AFS), and which schedds need ``-spool`` (100 jobs a submission,
  500 in all): batchdocs.web.cern.ch, pages Submit Files and Spool only Schedd. That jobs end by ``MaxRuntime`` or
  ``JobFlavour``: the same, Service Limits.
- Names of the login nodes, and flavours: submit files of the centre's users.

A conflict: dask-lxplus always spools, the centre's pages say that only some schedds need it; so it is an option here,
and off. dask-lxplus runs workers in an image of its own, in which corral is not: ``image`` is an option, too.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar

from attrs import evolve

from corral.plugin import (
    Command,
    Conversation,
    DescribedSite,
    Job,
    JobId,
    Script,
    SiteDescription,
    SiteFacts,
    SiteOption,
    hookimpl,
    mapped,
)
from corral.plugin.site_directives import names_of, with_directives

__all__ = ["Lxplus"]

_DISK_OF_A_CORE = 20


class Lxplus(DescribedSite):
    """``queue="workday"`` is a flavour; without one, a job's walltime is what counts."""

    description: ClassVar[SiteDescription] = SiteDescription(
        facts=SiteFacts(
            title="CERN lxplus",
            hosts=("lxplus*.cern.ch",),
            sources=(
                "https://github.com/cernops/dask-lxplus/blob/main/dask_lxplus/cluster.py",
                "https://batchdocs.web.cern.ch/local/submit.html",
                "https://batchdocs.web.cern.ch/local/spool.html",
                "https://batchdocs.web.cern.ch/concepts/service-limits.html",
            ),
            checked="2026-11-29",
        ),
        backend="htcondor",
        backend_options={"queue_attribute": "JobFlavour", "walltime_attribute": "MaxRuntime"},
        defaults={"cores": 1, "memory": "3GiB", "worker_ports": "10000:10100"},
        options={
            "image": SiteOption(
                help="an image, on /cvmfs say, in which whole jobs run; corral and your packages must be in it",
                pattern=r"[\w./:@+-]+",
                directives=('MY.SingularityImage = "{value}"',),
            ),
            "spool": SiteOption(
                help="yes for schedds without shared file systems (module lxbatch/spool), where jobs' logs then stay",
                default="no",
                choices=("no", "yes"),
            ),
        },
        advice=(
            "Workers listen on ports 10000 to 10100: those are open between lxplus and the batch nodes.",
            "A folder on AFS for what is shared: HTCondor's jobs may not write to EOS as your session does.",
        ),
    )

    @property
    def is_spooling(self) -> bool:
        return self.options["spool"] == "yes"

    def complete(self, job: Job) -> Job:
        """With scratch space for each core; and without files of the submitting host, if its schedd sees none."""
        job = super().complete(job)
        more = [f"request_disk = {_DISK_OF_A_CORE * job.resources.cores} GB"]
        if self.is_spooling:
            more += ["should_transfer_files = YES", 'transfer_output_files = ""']
        wanted = [line for line in more if not job.skip & names_of(line)]
        return evolve(job, extra_directives=with_directives(job.extra_directives, wanted))

    @hookimpl(wrapper=True)
    def submit(self, script: Script, count: int) -> Generator[None, Any, Conversation[list[JobId]]]:
        return mapped((yield), self._spooled)

    def _spooled(self, command: Command) -> Command:
        if not self.is_spooling or command.argv[0] != "condor_submit":
            return command
        return evolve(command, argv=("condor_submit", "-spool", *command.argv[1:]))
