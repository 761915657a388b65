"""What a call of dask-jobqueue's is in corral's words: pure, and all that its classes here do with their arguments."""

from __future__ import annotations

import datetime
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import define, field, frozen

from corral.errors import InvalidRequest, did_you_mean
from corral.migration.jobqueue import native, worker_words
from corral.migration.jobqueue.skipping import skipped
from corral.migration.jobqueue.words import JOB_NAME, KINDS, WORKER_COMMAND, Kind, seconds_as, usual_processes
from corral.request.synonyms import MEANINGS, RENAMED, statements

#: Where the batch system knows of no end, jobs are renewed after so long.
_ENDLESS = "7-00:00:00"


@frozen(kw_only=True)
class Translation:
    """A cluster of dask-jobqueue's in corral's words."""

    backend: str
    #: Keyword arguments of `corral.Cluster`, without the backend.
    arguments: dict[str, Any]
    #: Sentences: what is different now.
    changed: tuple[str, ...] = ()
    #: Sentences: what could not be carried over, each with what to do.
    lost: tuple[str, ...] = ()


def translate(
    class_name: str, arguments: Mapping[str, Any], configuration: Mapping[str, Any] | None = None
) -> Translation:
    """Say in corral's words what a call of one of dask-jobqueue's classes says.

    Parameters
    ----------
    class_name
        As dask-jobqueue exports it: ``"SLURMCluster"``.
    arguments
        Keyword arguments of the call. Old names of dask-jobqueue's count, too.
    configuration
        The section ``jobqueue.NAME`` that the call would read; arguments override it. None: there is none.

    Raises
    ------
    InvalidRequest
        There is no such class.
    """
    kind = kind_of(class_name)
    words = _Translating(kind, told(kind, arguments, configuration))
    words.note_unknown(class_name, [name for name in arguments if name not in kind.arguments])
    return words.done()


def kind_of(class_name: str) -> Kind:
    """The class of this name.

    Raises
    ------
    InvalidRequest
    """
    if class_name not in KINDS:
        raise InvalidRequest(
            "class_name",
            f"{class_name!r} is not a cluster of dask-jobqueue's: {', '.join(KINDS)}.{did_you_mean(class_name, KINDS)}",
        )
    return KINDS[class_name]


def told(kind: Kind, arguments: Mapping[str, Any], configuration: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """All that is said, under the names of today: by arguments, else by the configuration, else by dask-jobqueue."""
    given = {name: value for name, value in arguments.items() if value is not None}
    said = {**kind.configured(configuration), **given}
    for old, new in kind.deprecated.items():
        former = said.pop(old, None)
        if former is not None and not said.get(new):
            said[new] = former
    said.setdefault("job_name", JOB_NAME)
    if kind.walltime is not None:
        said.setdefault("walltime", kind.walltime)
    return {name: value for name, value in said.items() if value is not None}


@define
class _Translating:
    """A translation as it comes about; each step takes the words that it understands."""

    kind: Kind
    said: dict[str, Any]
    arguments: dict[str, Any] = field(factory=dict)
    extras: list[str] = field(factory=list)
    skip: list[str] = field(factory=list)
    changed: list[str] = field(factory=list)
    lost: list[str] = field(factory=list)

    def done(self) -> Translation:
        workers = worker_words.read(listed(self.said.get("worker_extra_args")))
        self.changed += workers.changed
        self.lost += workers.lost
        self._names()
        self._size(workers)
        self._times()
        self._directives()
        self._lines()
        self._python()
        self._workers(workers)
        self._network(workers.protocol or self.said.get("protocol"))
        self._batch_system()
        self._program()
        if self.extras:
            self.arguments["extra_directives"] = self.extras
        if self.skip:
            self.arguments["skip_directives"] = list(dict.fromkeys(self.skip))
        return Translation(
            backend=self.kind.backend,
            arguments={name: value for name, value in self.arguments.items() if value is not None},
            changed=tuple(dict.fromkeys(self.changed)),
            lost=tuple(dict.fromkeys(self.lost)),
        )

    def note_unknown(self, class_name: str, names: Iterable[str]) -> None:
        for name in names:
            if name in MEANINGS:
                said = MEANINGS[name]
            else:
                said = "leave it out" + did_you_mean(name, self.kind.arguments)
            self.lost.append(f"{name}= is not an argument of {class_name}: {said}")

    # --- steps --------------------------------------------------------------------------------------------------

    def _names(self) -> None:
        name, job_name = self.said.get("name"), self.said["job_name"]
        directives = _directives(self.kind, self.said.get("job_extra_directives"))
        # By their names corral finds its jobs, so that they are said once.
        others = [other for each in directives if (other := native.other_name(self.kind, each))]
        job_name = next(iter(others), job_name)
        self.arguments["name"] = name if name is not None else job_name
        if name is not None and job_name not in (name, JOB_NAME):
            self.changed.append(f"jobs are called after their cluster: {name}-…, and not {job_name}")
        self.arguments["queue"] = self.said.get("queue") or None
        # Where dask-jobqueue still says project, it is what others call an account.
        account = self.said.get("account") or self.said.get("project")
        if self.kind.backend == "local":
            # Its jobs never had any.
            self.arguments.pop("queue")
            account = None
        self.arguments[RENAMED["project"]] = account or None

    def _size(self, workers: worker_words.WorkerWords) -> None:
        cores, memory = self.said.get("cores"), self.said.get("memory")
        if cores is None or memory is None:
            missing = " and ".join(word for word, value in (("cores", cores), ("memory", memory)) if value is None)
            self.lost.append(f"{missing}: say how much a job has, for example cores=8, memory='24GB'")
        processes = workers.arguments.pop("processes", None) or self.said.get("processes")
        gpus = self._gpus() if "dask_cuda" in str(self.said.get("worker_command")) else None
        if gpus:
            self.arguments["gpus"] = processes = gpus
            self.changed.append("worker_command=dask_cuda: gpus= gives each worker its GPU")
        elif processes is None and cores is not None:
            processes = usual_processes(int(cores))
        asked = self.said.get("job_cpu") or self.said.get("ncpus")
        self.arguments["cores"] = asked or cores
        if asked and cores is not None and asked != cores:
            self.arguments["threads"] = max(1, int(cores) // int(processes or 1))
        self.arguments["processes"] = processes
        self.arguments["memory"] = memory
        if (native := self.said.get("mem")) is not None:
            self.arguments["memory"] = native
            if memory is not None:
                self.changed.append(
                    f"mem={native!r} is what a job has, and what its workers share: memory= is not heeded"
                )

    def _gpus(self) -> int | None:
        """How many GPUs the user's own directives ask for, as far as they can be understood."""
        text = " ".join(
            [*_directives(self.kind, self.said.get("job_extra_directives")), str(self.said.get("resource_spec", ""))]
        )
        counts = re.findall(r"gpus?(?:[-_]per[-_]node)?(?:[:=][a-z]\w*)?[:= ]+(\d+)", text, re.IGNORECASE)
        if not counts:
            self.lost.append(
                "worker_command=dask_cuda: nothing here says how many GPUs a job has: say it in job_extra_directives=, "
                "such as '--gres=gpu:2'; or in corral's own words, gpus=2"
            )
            return None
        return int(counts[-1])

    def _times(self) -> None:
        if self.said.get("death_timeout") not in (None, 60, "60"):
            self.arguments["death_timeout"] = self.said["death_timeout"]
        walltime = self.said.get("walltime")
        if self.kind.walltime is None or walltime is None:
            self.arguments["walltime"] = _ENDLESS
            if self.kind.backend != "local":
                self.skip.append("walltime")
                self.changed.append(
                    "jobs that had no time limit are renewed after a week; corral.Cluster(walltime=…) says when"
                )
            return
        if isinstance(walltime, datetime.timedelta):
            self.arguments["walltime"] = walltime
            return
        self.arguments["walltime"] = written = seconds_as(self.kind, str(walltime))
        if not re.fullmatch(r"(\d+-)?\d+:\d\d:\d\d", written):
            self.lost.append(f"walltime={walltime!r} is not a length of time; write for example walltime='02:00:00'")

    def _directives(self) -> None:
        words = listed(self.said.get("job_directives_skip"))
        left_out = skipped(self.kind, self.said, words)
        if (spec := self.said.get("resource_spec")) is not None and not left_out.has_spec:
            self._spec(str(spec))
        if (memory := self.said.get("job_mem")) is not None and "memory" not in left_out.names:
            self.extras.insert(0, f"--mem={memory}")
        if "walltime" in left_out.names and self.said.get("walltime") == self.kind.walltime:
            # Nobody meant this one: the queue's own counts.
            self.arguments["walltime"] = _ENDLESS
        its_name = native.NAME.get(self.kind.backend)
        self.skip += [each for each in left_out.names if each != its_name]
        if its_name in left_out.names:
            self.changed.append("the names of jobs are not left out: corral finds its jobs by them")
        self.changed += left_out.spared
        for each in _directives(self.kind, self.said.get("job_extra_directives")):
            if self.kind.backend == "pbs" and each.split() == ["-r", "n"]:
                self.changed.append("-r n is left out: PBS takes no array of jobs that may not be rerun")
            elif each.strip() and not native.other_name(self.kind, each):
                self.extras.append(each)

    def _spec(self, spec: str) -> None:
        if self.kind.backend == "local":
            return
        if self.kind.backend == "oar":
            # All of it is one directive: two would be alternatives.
            spec = f"{spec},walltime={self.arguments['walltime']}"
        self.extras.insert(0, f"-l {spec}")

    def _lines(self) -> None:
        for word in ("job_script_prologue", "job_script_epilogue"):
            if lines := [line for line in listed(self.said.get(word)) if line]:
                self.arguments[RENAMED[word]] = lines
        shebang = self.said.get("shebang")
        if shebang and shebang != "#!/usr/bin/env bash" and self.kind.backend not in ("htcondor", "local"):
            self.arguments["shebang"] = shebang

    def _python(self) -> None:
        python = self.said.get("python")
        if python is None:
            return
        if re.search(r"[$~`*;|&<>]", str(python)):
            # A shell has read it: this one does, too.
            self.arguments["python"] = ["sh", "-c", f'exec {python} "$@"', "python"]
        else:
            words = shlex.split(str(python))
            self.arguments["python"] = words[0] if len(words) == 1 else words
        if " " in str(python):
            self.changed.append(f"python={python!r} runs corral's launcher: what it runs must have corral installed")

    def _workers(self, workers: worker_words.WorkerWords) -> None:
        command = str(self.said.get("worker_command") or WORKER_COMMAND)
        if command != WORKER_COMMAND and "dask_cuda" not in command:
            self.lost.append(
                f"worker_command={command!r} is not run by corral's jobs: a class of workers is "
                "Cluster(worker_class='package.module.Class'), what must run beside them goes into job_script_prologue="
            )
        if self.said.get("nanny") is False:
            self.changed.append("nanny=False is left out: every worker has a nanny, which restarts it")
        if self.said.get("local_directory") is not None:
            self.arguments["local_directory"] = self.said["local_directory"]
        self.arguments |= workers.arguments
        if workers.options:
            self.arguments["worker_options"] = workers.options

    def _network(self, protocol: str | None) -> None:
        options = dict(self.said.get("scheduler_options") or {})
        interface = self.said.get("interface")
        own = options.pop("interface", None)
        host = str(options.get("host") or "")
        if match := re.fullmatch(r"([^:]+):(\d+)", host):
            options["host"] = match[1]
            self.arguments["scheduler_port"] = int(match[2])
        if host:
            # It stands for the interface, too: the workers' may not be one of this host.
            self.arguments["worker_interface"] = self.arguments.get("worker_interface", interface)
        elif own is not None:
            self.arguments["scheduler_interface"] = own
            self.arguments["worker_interface"] = self.arguments.get("worker_interface", interface)
        else:
            self.arguments["interface"] = interface
        self.arguments["scheduler_port"] = options.pop("port", self.arguments.get("scheduler_port"))
        protocol = options.pop("protocol", None) or protocol
        security = options.pop("security", None) or self.said.get("security")
        scheme = protocol.rstrip(":/") if protocol else None
        self.arguments["security"] = security
        if scheme not in (None, "tls") and security in (None, False):
            self.arguments["security"] = False
        elif security is None and scheme is None:
            self.changed.append(
                "connections are TLS with certificates made for this cluster; protocol='tcp' is plain TCP, open to "
                "everybody on the network"
            )
        if scheme not in (None, "tls", "tcp"):
            options["protocol"] = protocol
        if "dashboard_address" not in options:
            self.changed.append(
                "the dashboard listens on loopback, where cluster.dashboard_link finds it; "
                "scheduler_options={'dashboard_address': ':8787'} opens it to the network"
            )
        self.arguments["scheduler_options"] = options or None
        for word in ("host", "dashboard_address"):
            if self.said.get(word) is not None:
                self.lost.append(f"{word}= goes into scheduler_options={{{word!r}: {self.said[word]!r}}}")

    def _batch_system(self) -> None:
        options: dict[str, Any] = {}
        if (disk := self.said.get("disk")) is not None:
            options["disk"] = disk
        if (units := self.said.get("lsf_units")) is not None:
            if (unit := f"{units}B".upper()[:1] + "B") in ("KB", "MB", "GB", "TB"):
                options["memory_unit"] = unit
            else:
                self.lost.append(f"lsf_units={units!r}: corral counts memory in kb, mb, gb or tb")
        where = self.said.get("memory_per_core_property_name")
        if where not in (None, "not_applicable"):
            options |= {"memory_property": where, "memory_of": "core"}
        elif self.kind.backend == "oar":
            # As before.
            self.skip.append("memory")
            if where is None:
                self.changed.append(
                    "OAR is not asked for memory, as before: memory_per_core_property_name= names its property for that"
                )
        if self.kind.backend == "sge":
            # Each site has words of its own for both, which were and are resource_spec= and job_extra_directives=.
            self.skip += ["cores", "memory"]
        options |= self._schedd()
        self.arguments["backend_options"] = options or None
        if self.kind.backend in ("slurm", "lsf"):
            self.changed.append(
                "jobs get of your environment only what they need to run Python: export in job_script_prologue= what "
                "tasks read from it"
            )

    def _schedd(self) -> dict[str, str]:
        """Which of HTCondor's queues and pools, from words for condor_submit and condor_rm."""
        found: dict[str, str] = {}
        for argument in ("submit_command_extra", "cancel_command_extra"):
            where, rest = native.schedd(listed(self.said.get(argument)))
            found |= where
            if rest:
                self.lost.append(
                    f"{argument}: {' '.join(rest)} is nothing that corral gives to HTCondor's commands; a plugin of "
                    "yours can, Cluster(plugins=[…])"
                )
        return found

    def _program(self) -> None:
        for word in ("log_directory", "shared_temp_directory", "n_workers", "silence_logs", "asynchronous", "loop"):
            value = self.said.get(word)
            if value is not None and value is not False and (word, value) != ("n_workers", 0):
                self.arguments[RENAMED.get(word, word)] = value
        for word in ("scheduler_cls", "job_cls"):
            if self.said.get(word) is not None:
                self.lost.append(f"{word}= is not carried over: a plugin of your own is Cluster(plugins=[…])")


def listed(value: Any) -> list[Any]:
    """What dask-jobqueue takes as a list; one text is a list of one."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def _directives(kind: Kind, value: Any) -> list[str]:
    """The user's own directives. HTCondor's are a mapping; of others', ``{-C haswell}`` in YAML makes one of keys."""
    if isinstance(value, Mapping) and kind.backend == "htcondor":
        return statements(value)
    return [str(each) for each in listed(value)]
