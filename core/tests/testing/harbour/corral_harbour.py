"""A made-up centre: the site that docs/writing-a-site.md builds, and that `faulty_sites` breaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import evolve

from corral.plugin import (
    CarriesCommands,
    Command,
    DescribedSite,
    Job,
    NodeType,
    SiteDescription,
    SiteFacts,
    SiteOption,
    over_ssh,
)


class Harbour(DescribedSite):
    """Two hundred nodes, forty of them with GPUs, on Slurm."""

    description: ClassVar[SiteDescription] = SiteDescription(
        facts=SiteFacts(
            title="Harbour",
            hosts=("login*.harbour.example", "node???.harbour.example"),
            environment={"HARBOUR_SYSTEM": "main"},
            sources=("https://docs.harbour.example/jobs",),
            checked="2026-11-29",
        ),
        backend="slurm",
        defaults={"walltime": "2h", "shared_directory": "$SCRATCH", "polling_interval": "2min"},
        required={"account": "`projects` on a login node lists yours"},
        options={
            "licence": SiteOption(
                help="a licence that your jobs use", pattern="[a-z]+", directives=("--licenses={value}",)
            ),
            "tier": SiteOption(help="how urgent it is", choices=("usual", "urgent"), directives=("--qos={value}",)),
        },
        groups={"gpu": {"cores": 16, "memory": "120GB", "gpus": 1}},
        nodes=(
            NodeType(name="shared", queue="shared", cores=32, memory="120GB", max_walltime="24h", max_nodes=1),
            NodeType(
                name="batch", queue="batch", cores=128, memory="500GB", max_walltime="48h", max_nodes=64, whole=True
            ),
            NodeType(name="gpu", queue="gpu", cores=64, memory="480GB", gpus=4, max_walltime="24h", max_nodes=10),
            NodeType(
                name="debug",
                queue="shared",
                cores=32,
                memory="120GB",
                max_walltime="30min",
                max_nodes=1,
                named_only=True,
                directives=("--reservation=debug",),
            ),
        ),
        directives=("--constraint=scratch",),
        skip=("export",),
    )


class Quay(Harbour):
    """The same centre's older machine, where arrays are refused and memory is each core's."""

    @property
    def backend_options(self) -> Mapping[str, Any]:
        return {"arrays": False, "memory_option": "mem-per-cpu"}


FABRIC = "module load fabric"


class Island(CarriesCommands, Harbour):
    """The same centre's machine for large jobs, whose batch commands are on its login node alone."""

    def carry(self, command: Command) -> Command:
        return over_ssh(command, "login1.island.harbour.example")

    def complete(self, job: Job) -> Job:
        job = super().complete(job)
        if job.resources.nodes > 1 and FABRIC not in job.prologue:
            job = evolve(job, prologue=(FABRIC, *job.prologue))
        return job
