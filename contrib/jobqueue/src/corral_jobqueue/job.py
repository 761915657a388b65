"""dask-jobqueue's jobs, for the sake of subclasses: what they are given and what they change is asked of corral.

A job here is never started. It holds the arguments that reached it, and writes the script that dask-jobqueue would
write, because that is what subclasses look at and change: `differences` says what they changed.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Mapping
from types import FrameType
from typing import Any, ClassVar

import dask.config
from dask.utils import format_bytes, parse_bytes

from corral.errors import InvalidRequest
from corral.migration.jobqueue import native
from corral.migration.jobqueue.translation import listed, told
from corral.migration.jobqueue.words import JOB_ARGUMENTS, JOB_NAME, KINDS, WORKER_COMMAND, Kind, usual_processes
from corral.request.synonyms import meaning

#: What dask-jobqueue writes where a scheduler has no address yet.
NO_ADDRESS = "tcp://<insert-scheduler-address-here>:8786"

_RENAMED = (
    "{old} has been renamed to {new}. You are still using it (even if only set to []; please also check config files). "
    "If you did not set {new} yet, {old} is respected; if you did, {old} is ignored and you can remove it."
)
_TEMPLATE = """\
%(shebang)s

%(job_header)s
%(job_script_prologue)s
%(worker_command)s
%(job_script_epilogue)s
"""


def section_of(config_name: str) -> dict[str, Any]:
    """What the configuration says under ``jobqueue.NAME``, with underscores.

    Raises
    ------
    InvalidRequest
        It is no section.
    """
    found = dask.config.get(f"jobqueue.{config_name}", default=None)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise InvalidRequest("config_name", f"jobqueue.{config_name} in the configuration is not a section with keys")
    return {str(key).replace("-", "_"): value for key, value in found.items()}


def level_outside() -> int:
    """The `stacklevel` of whoever called into this package, seen from the caller of this function."""
    level = 1
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the way warnings are told where they belong
    while frame is not None and frame.f_globals.get("__name__", "").startswith("corral_jobqueue."):
        level, frame = level + 1, frame.f_back
    return level


class Job:
    """What all of dask-jobqueue's jobs have. Use the one of your batch system, such as `SLURMJob`."""

    #: The command that submits, and the one that cancels; a subclass may say others that take the same words.
    submit_command: str | None = None
    cancel_command: str | None = None
    #: The section of the configuration.
    config_name: str | None = None
    job_id_regexp = r"(?P<job_id>\d+)"
    _script_template = _TEMPLATE
    #: The class of dask-jobqueue's whose jobs these are.
    cluster_class: ClassVar[str] = ""

    def __init__(
        self, scheduler: str | None = None, name: object = None, *, config_name: str | None = None, **arguments: Any
    ) -> None:
        self.scheduler = scheduler
        self.name = name
        self.job_id: str | None = None
        self.config_name = self.default_config_name() if config_name is None else config_name
        kind = self.kind
        self._refuse_unknown(arguments)
        section = section_of(self.config_name)
        _warn_of_old_words(kind, arguments, section)
        #: What was said of it, under the names of today.
        self.said = told(kind, {**arguments, "name": name}, section)
        self._refuse_without_size()
        self._be_as_said()
        self._write_header()
        #: The script as nobody has changed it yet.
        self.first_script = self._written()
        self.first_command = self._command_template

    @property
    def kind(self) -> Kind:
        """The class of dask-jobqueue's whose jobs these are.

        Raises
        ------
        InvalidRequest
            None of them.
        """
        if not self.cluster_class:
            raise InvalidRequest(
                "job_cls",
                f"{type(self).__name__} derives from Job itself, and corral does not know its batch system: derive "
                f"from the job of a class that there is ({', '.join(KINDS)}), or write a backend",
            )
        return KINDS[self.cluster_class]

    @classmethod
    def default_config_name(cls) -> str:
        """The section of the configuration, if none is named.

        Raises
        ------
        ValueError
            The class has none.
        """
        if cls.config_name is None:
            raise ValueError(f"a 'config_name' is missing: give it to the class {cls}")
        return cls.config_name

    def _refuse_unknown(self, arguments: Mapping[str, Any]) -> None:
        known = {*JOB_ARGUMENTS, *self.kind.own} - {"name", "config_name"}
        for argument in arguments:
            if argument not in known:
                raise TypeError(
                    f"{type(self).__name__}.__init__() got an unexpected keyword argument {argument!r}."
                    f"{meaning(argument, known)}"
                )

    def _refuse_without_size(self) -> None:
        cores, memory = self.said.get("cores"), self.said.get("memory")
        if cores is None or memory is None:
            class_name = type(self).__name__.replace("Job", "Cluster")
            raise ValueError(
                "say how many cores and how much memory a job has, for example\n"
                f"cluster = {class_name}(cores={cores or 8}, memory={memory or '24GB'!r})"
            )

    def _be_as_said(self) -> None:
        """The attributes that dask-jobqueue's jobs have."""
        said = self.said
        self.worker_cores = said["cores"]
        self.worker_memory = int(parse_bytes(said["memory"]))
        self.worker_processes = said.get("processes") or usual_processes(int(said["cores"]))
        self.job_name = said.get("job_name", JOB_NAME)
        self.shebang = said.get("shebang", "#!/usr/bin/env bash")
        self.log_directory = said.get("log_directory")
        self.job_extra_directives = said.get("job_extra_directives", [])
        self.job_directives_skip = set(listed(said.get("job_directives_skip")))
        self._job_script_prologue = listed(said.get("job_script_prologue"))
        self._job_script_epilogue = listed(said.get("job_script_epilogue"))
        self._command_template = self._command()

    @property
    def worker_process_threads(self) -> int:
        return int(self.worker_cores / self.worker_processes)

    @property
    def worker_process_memory(self) -> str:
        return format_bytes(self.worker_memory // self.worker_processes).replace(" ", "")

    def _command(self) -> str:
        said = self.said
        module = said.get("worker_command", WORKER_COMMAND)
        words = [
            f"{said.get('python', sys.executable)} -m {module}", self.scheduler, "--name", self.name,
            "--nthreads", self.worker_process_threads, "--memory-limit", self.worker_process_memory,
        ]  # fmt: skip
        if module == WORKER_COMMAND:
            words += ["--nworkers", self.worker_processes] if self.worker_processes > 1 else []
            words.append("--nanny" if said.get("nanny", True) else "--no-nanny")
        words += ["--death-timeout", said.get("death_timeout", 60)]
        if said.get("local_directory") is not None:
            words += ["--local-directory", said["local_directory"]]
        words += listed(said.get("worker_extra_args"))
        for option in ("interface", "protocol"):
            if said.get(option):
                words += [f"--{option}", said[option]]
        if (security := said.get("security")) and security is not True:
            for key, value in security.get_tls_config_for_role("worker").items():
                if key != "ciphers" and value is not None:
                    words += [f"--tls-{key.replace('_', '-')}", value]
        return " ".join(map(str, words))

    @property
    def command(self) -> str:
        """What starts the workers, as dask-jobqueue writes it and subclasses change it."""
        return self._command_template

    def lines_of(self, word: str) -> list[str]:
        """The lines of ``job_script_prologue`` or ``job_script_epilogue``, as subclasses have changed them."""
        return list(self._job_script_prologue if word == "job_script_prologue" else self._job_script_epilogue)

    def _write_header(self) -> None:
        said = {**self.said, "name": self.name}
        lines = [line.text for line in native.lines(self.kind, said)]
        lines = [line for line in lines if not any(word in line for word in self.job_directives_skip)]
        self.job_header = "\n".join([*lines, *native.extra_lines(self.kind, said)])

    def _written(self) -> str:
        pieces = {
            "shebang": self.shebang,
            "job_header": self.job_header,
            "job_script_prologue": "\n".join(filter(None, self._job_script_prologue)),
            "worker_command": self._command_template,
            "job_script_epilogue": "\n".join(filter(None, self._job_script_epilogue)),
        }
        return self._script_template % pieces

    def job_script(self) -> str:
        """The script that dask-jobqueue would submit. What corral submits is `JobQueueCluster.job_script`."""
        return self._written()

    def _job_id_from_submit_output(self, out: str) -> str:
        """The id in what dask-jobqueue's submit commands print; corral's backends read it themselves."""
        match = re.search(self.job_id_regexp, out)
        if match is None:
            raise ValueError(f"Could not parse job id from {out!r} by {self.job_id_regexp!r}")
        if (job_id := match.groupdict().get("job_id")) is None:
            raise ValueError(f"You need to use a 'job_id' named group: there is none in {self.job_id_regexp!r}")
        return job_id

    async def start(self) -> None:
        """Never called: corral submits.

        Raises
        ------
        InvalidRequest
        """
        raise InvalidRequest("job_cls", f"a {type(self).__name__} is not started by itself: cluster.scale(jobs=1)")

    async def close(self) -> None:
        """Never called: corral cancels."""

    async def _submit_job(self, script_filename: str) -> str:
        raise InvalidRequest("job_cls", f"a {type(self).__name__} is not submitted by itself: cluster.scale(jobs=1)")

    @classmethod
    async def _close_job(cls, job_id: str, cancel_command: str) -> None:
        """Never called: corral cancels."""


def _warn_of_old_words(kind: Kind, arguments: Mapping[str, Any], section: Mapping[str, Any]) -> None:
    for old, new in kind.deprecated.items():
        if arguments.get(old) is not None or section.get(old) is not None:
            warnings.warn(_RENAMED.format(old=old, new=new), FutureWarning, stacklevel=level_outside())
