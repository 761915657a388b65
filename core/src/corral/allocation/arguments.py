"""What an allocation is told that its script does not say: by the configuration, and by the site."""

from __future__ import annotations

from typing import Any

from corral.request import settings
from corral.request.arguments import KNOWN
from corral.request.sites import Site

#: Arguments of `WorkerGroup` that mean here what they mean there.
WORKER_ARGUMENTS = (
    "worker_ports", "local_directory", "launcher", "affinity", "preimport", "death_timeout", "worker_class",
    "worker_options",
)  # fmt: skip
#: Arguments that the configuration may give.
CONFIGURABLE = (
    "backend", "backend_options", "shared_directory", "interface", "scheduler_interface", "worker_interface",
    "scheduler_port", "scheduler_options", "security", *WORKER_ARGUMENTS,
)  # fmt: skip


def configured(backend: str | None, site: Site | None) -> dict[str, Any]:
    """What the site has for everybody, and over that, what the configuration says."""
    name = backend or settings.value("backend", None) or (site and site.backend) or ""
    found = {**(site.values if site is not None else {}), **settings.arguments(name, KNOWN)}
    return {key: value for key, value in found.items() if key in CONFIGURABLE}
