"""Names of the arguments of a cluster, in the order in which they are told."""

from __future__ import annotations

from corral.request.worker_group import WorkerGroup

#: Arguments of `Cluster` that end up in a blueprint, beside those of `WorkerGroup`.
CLUSTER_ARGUMENTS = (
    "backend", "site", "site_options", "via", "plugins", "backend_options", "name", "shared_directory",
    "log_directory", "interface", "scheduler_interface", "worker_interface", "scheduler_port", "scheduler_options",
    "security", "groups", "maximum_core_hours", "maximum_gpu_hours", "parked_results", "scheduler", "on_exists",
    "idle_timeout", "shutdown_on_close",
)  # fmt: skip
#: Arguments of `WorkerGroup` that a cluster without groups takes for its only one.
GROUP_ARGUMENTS = tuple(
    name for name in WorkerGroup.argument_names() if name not in ("interface", "backend", "backend_options")
)
#: All that the configuration and a site may say.
KNOWN = (*CLUSTER_ARGUMENTS, *GROUP_ARGUMENTS)
#: What is chosen before a site's defaults are known, or is no matter of the site's.
_NOT_BY_DEFAULT = (
    "backend", "backend_options", "site", "site_options", "via", "plugins", "groups", "name", "scheduler",
    "on_exists", "shutdown_on_close", "security",
)  # fmt: skip
#: Settings of a process that a site may have defaults for.
_SETTINGS = ("polling_interval", "command_timeout", "commands_per_minute")
#: What a site may have defaults for.
SITE_DEFAULTS = tuple(name for name in dict.fromkeys((*KNOWN, *_SETTINGS)) if name not in _NOT_BY_DEFAULT)
