"""NCI's Gadi, as published; read on 2026-11-29, and not tried on the machine.

- Queues by memory, ``storage`` and ``project``, 300 jobs: nf-core/configs (2026-08-18), ``conf/nci_gadi.config``,
  ``docs/nci_gadi.md``.
- Nodes: opus.nci.org.au, Queue Structure; that a GPU comes with 12 CPUs, and 382 GiB of a node with GPUs: the same,
  Job Costs.
- That jobs ask for ``-l ncpus``, ``-l mem`` and not for chunks, the interface ``ib0`` and ``$TMPDIR``: NCI's training
  material on Dask, as published.
- 28 cores of the Broadwell nodes, 104 cores and 500 GB of Sapphire Rapids: scripts of the centre's users.
- Host names: output of jobs, as published.

How long a job may run, and how many cores all of a user's may have, is not in what could be read: PBS says it. nf-core
sends all below 128 GB to ``normalbw``, and so does this; the centre's own examples use ``normal``, which is
``queue="normal"``.
"""

from __future__ import annotations

from typing import ClassVar

from attrs import evolve

from corral.plugin import DescribedSite, Job, NodeType, SiteDescription, SiteFacts, SiteOption
from corral.plugin.parsing import in_units
from corral.plugin.site_directives import names_of, with_directives
from corral.plugin.sites import on_node

__all__ = ["Gadi"]

_CPUS_OF_A_GPU = 12


class Gadi(DescribedSite):
    """PBS counts the whole job here, not its nodes; jobs of several nodes have all of them."""

    description: ClassVar[SiteDescription] = SiteDescription(
        facts=SiteFacts(
            title="NCI Gadi",
            hosts=("*.gadi.nci.org.au", "gadi-login-*", "gadi-cpu-*", "gadi-gpu-*"),
            sources=(
                "https://github.com/nf-core/configs/blob/master/conf/nci_gadi.config",
                "https://opus.nci.org.au/pages/viewpage.action?pageId=236880996",
                "https://opus.nci.org.au/spaces/Help/pages/236880942/Job+Costs...",
            ),
            checked="2026-11-29",
        ),
        backend="pbs",
        backend_options={"account_option": "P"},
        defaults={
            "account": "$PROJECT",
            "interface": "ib0",
            "shared_directory": "/scratch/$PROJECT/$USER",
            "local_directory": "$TMPDIR",
        },
        required={"account": "the project that pays, such as ab12; or set PROJECT"},
        options={
            "storage": SiteOption(
                help="what jobs read and write: 'gdata/ab12+scratch/ab12'; your project's scratch must be in it",
                required=True,
                pattern=r"(gdata|scratch|massdata)/\w+(\+(gdata|scratch|massdata)/\w+)*",
                directives=("-l storage={value}",),
            )
        },
        groups={
            "normal": {"queue": "normal", "cores": 48, "memory": "190GiB"},
            "gpu": {"queue": "gpuvolta", "cores": 48, "memory": "382GiB", "gpus": 4},
        },
        nodes=(
            NodeType(name="normalbw", queue="normalbw", cores=28, memory="127GiB"),
            NodeType(name="normal", queue="normal", cores=48, memory="190GiB"),
            NodeType(name="hugemembw", queue="hugemembw", cores=28, memory="1020GiB"),
            NodeType(name="gpuvolta", queue="gpuvolta", cores=48, memory="382GiB", gpus=4),
            NodeType(name="normalsr", queue="normalsr", cores=104, memory="500GiB", named_only=True),
            NodeType(name="express", queue="express", cores=48, memory="190GiB", named_only=True),
        ),
        skip=frozenset({"select"}),
        advice=(
            "At most 300 jobs may be queued.",
            "Nodes do not reach the internet. 1 CPU of normal comes with 4 GiB: more memory is charged as more CPUs.",
        ),
    )

    def complete(self, job: Job) -> Job:
        """The job's sums, in place of chunks."""
        job = super().complete(self._with_cpus(job))
        if job.resources.nodes > 1 and (node := self.choose_node(job)):
            # More than a node are whole nodes.
            job = on_node(job, evolve(node, whole=True))
        has = job.resources
        sums = {"cores": f"-l ncpus={has.nodes * has.cores}"}
        if has.memory is not None:
            sums["memory"] = f"-l mem={in_units(has.nodes * has.memory, 'M')}mb"
        if has.gpus:
            sums["gpus"] = f"-l ngpus={has.nodes * has.gpus}"
        wanted = [line for word, line in sums.items() if not job.skip & {word, *names_of(line)}]
        return evolve(job, extra_directives=with_directives(job.extra_directives, wanted))

    def _with_cpus(self, job: Job) -> Job:
        """With 12 CPUs for each GPU, neither more nor fewer."""
        has = job.resources
        gpus = max(has.gpus, -(-has.cores // _CPUS_OF_A_GPU))
        if not has.gpus or gpus > max(node.gpus for node in self.description.nodes):
            return job
        return evolve(job, resources=evolve(has, gpus=gpus, cores=_CPUS_OF_A_GPU * gpus))
