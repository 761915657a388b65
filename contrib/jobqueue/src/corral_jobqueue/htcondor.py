"""HTCondor: its jobs and clusters."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from dask.utils import parse_bytes

from corral.migration.jobqueue import native
from corral.migration.jobqueue.translation import listed
from corral_jobqueue.cluster import JobQueueCluster
from corral_jobqueue.job import Job

_TEMPLATE = """\
%(shebang)s

%(job_header)s

Arguments = "%(quoted_arguments)s"
Executable = %(executable)s

Queue
"""


class HTCondorJob(Job):
    """A job of HTCondor. What it asks for is `job_header_dict`, which a subclass may change."""

    submit_command, cancel_command, config_name = "condor_submit", "condor_rm", "htcondor"
    cluster_class = "HTCondorCluster"
    job_id_regexp = r"(?P<job_id>\d+\.\d+)"
    _script_template = _TEMPLATE
    executable = "/bin/sh"

    def _write_header(self) -> None:
        self.job_header = ""
        disk = self.said.get("disk")
        self.worker_disk = None if disk is None else int(parse_bytes(disk))
        header = native.condor_statements({**self.said, "cores": self.worker_cores}, self.name)
        for word in self.job_directives_skip:
            header.pop(word, None)
        self.job_header_dict: dict[str, Any] = {**header, **native.condor_pairs(self.job_extra_directives)}
        for command in ("submit_command", "cancel_command"):
            # Which schedd and pool are options of the backend.
            words = [shlex.quote(word) for word in native.schedd(listed(self.said.get(f"{command}_extra")))[1]]
            setattr(self, command, " ".join([str(getattr(type(self), command)), *words]))

    def _written(self) -> str:
        command = "; ".join([*self._job_script_prologue, self._command_template, *self._job_script_epilogue])
        return self._script_template % {
            "shebang": self.shebang,
            "job_header": "\n".join(f"{key} = {value}" for key, value in self.job_header_dict.items()),
            "quoted_arguments": quote_arguments(["-c", command]),
            "executable": self.executable,
        }


class HTCondorCluster(JobQueueCluster):
    """A cluster on HTCondor."""

    job_cls = HTCondorJob


def quote_arguments(arguments: str | list[str]) -> str:
    """Words as HTCondor's ``arguments`` takes them, between double quotes: condor_submit(1), "new" syntax.

    >>> print(quote_arguments(["3", "two words", 'a"b']))
    3 'two words' a""b
    """
    return " ".join(map(_quoted, [arguments] if isinstance(arguments, str) else arguments))


def quote_environment(environment: Mapping[str, object]) -> str:
    """Variables as HTCondor's ``environment`` takes them, between double quotes.

    >>> print(quote_environment({"A": 1, "B": "two words"}))
    A=1 B='two words'
    """
    if not isinstance(environment, Mapping):
        raise TypeError(f"{environment!r} is not a mapping of names to values")
    return " ".join(f"{name}={_quoted(str(value))}" for name, value in environment.items())


def _quoted(word: str) -> str:
    doubled = word.replace("'", "''").replace('"', '""')
    return f"'{doubled}'" if " " in doubled or "'" in doubled else doubled
