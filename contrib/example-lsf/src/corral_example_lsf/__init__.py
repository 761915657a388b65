"""A machine of the Summit kind: LSF with CSM, whole nodes by ``-nnodes``, workers that ``jsrun`` starts.

Summit itself, at OLCF, was switched off on 15 November 2024: the machine is retired, the pattern is not. This shows
how a site is written for LSF with CSM, wherever that is: copy it, and change what differs. Read on 2026-11-29, and
never tried.

- ``-nnodes``, ``-alloc_flags``, ``-P``, 42 cores and 6 GPUs for jobs, 512 GB: olcf/olcf-user-docs (2026-07-22),
  ``systems/summit_user_guide.rst``.
- ``ib0``, worker ports 50000 to 55000, 60 s for a command: Parsl (2026-08-06), ``parsl/configs/summit.py``.
- ``LMOD_SYSTEM_NAME=summit``: scripts of the centre's users; its hosts did not tell it by their names.
"""

from __future__ import annotations

from typing import ClassVar

from corral.plugin import DescribedSite, NodeType, SiteDescription, SiteFacts, SiteOption

__all__ = ["Summit"]


class Summit(DescribedSite):
    """LSF refuses ``-n``, ``-R`` and ``-M`` beside ``-nnodes``: a job is whole nodes and no more is said of them."""

    description: ClassVar[SiteDescription] = SiteDescription(
        facts=SiteFacts(
            title="OLCF Summit (retired)",
            environment={"LMOD_SYSTEM_NAME": "summit"},
            sources=(
                "https://docs.olcf.ornl.gov/systems/summit_user_guide.html",
                "https://github.com/Parsl/parsl/blob/master/parsl/configs/summit.py",
            ),
            checked="2026-11-29",
        ),
        backend="lsf",
        backend_options={"nnodes": True, "launcher": "jsrun"},
        defaults={"scheduler_interface": "ib0", "worker_ports": "50000:55000", "command_timeout": "60s"},
        required={"account": "your project, such as ABC123"},
        options={
            "alloc_flags": SiteOption(
                help="how nodes are set up, such as 'smt4' or 'gpumps smt1'",
                pattern=r"[\w-]+( [\w-]+)*",
                directives=('-alloc_flags "{value}"',),
            )
        },
        groups={"node": {"cores": 42, "memory": "512GB", "gpus": 6}},
        nodes=(NodeType(name="batch", cores=42, memory="512GB", gpus=6, whole=True),),
    )
