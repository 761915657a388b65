"""What one kind of worker needs: the user's words, checked, and turned into a request for a job.

Long because each argument is described here, once, for Python, the command line, the configuration and the pages.
"""

from __future__ import annotations

import datetime
import inspect
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Self

from attrs import evolve, field, fields, frozen

from corral.environment.surroundings import NOWHERE, Surroundings
from corral.errors import InvalidRequest, counted
from corral.launch.runtimes import Inside
from corral.plugin.values import Job, Resources
from corral.request.activation import conda_lines, module_lines, own_lines
from corral.request.containers import checked_image, checked_prefix
from corral.request.quantities import (
    parse_count,
    parse_duration,
    parse_memory,
    parse_walltime,
    plain_options,
    usual_processes,
)
from corral.request.synonyms import refuse_unknown
from corral.request.texts import (
    check_amounts,
    check_line,
    check_modules,
    check_ports,
    checked_lines,
    class_path,
    inherited_variables,
    path_text,
    python_words,
    variables_of,
)
from corral.request.tracebacks import tells_plainly

#: Exported in every job unless the user's env= says otherwise. PYTHONHASHSEED must be the same on all workers before
#: Python starts, or whatever partitions by hash() is silently wrong; 6640 is Dask's own choice.
JOB_ENVIRONMENT = {
    "PYTHONHASHSEED": "6640",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_TRIM_THRESHOLD_": "65536",
}


@frozen(kw_only=True)
class WorkerGroup:
    """One kind of job, and of worker. cores, memory, processes and gpus are per node; a job is `nodes` times that.

    Parameters
    ----------
    cores
        CPU cores per node. Default: 1.
    memory
        Memory per node: ``"32GB"`` (10^9 bytes), ``"32GiB"`` (2^30), or bytes. Needed, unless your site
        has a default.
    processes
        Dask workers per node. Default: one per GPU; without GPUs ``cores // threads``, or if that is not said 1 below 4
        cores, else about the square root of `cores`.
    threads
        Threads of each worker. Default: ``cores // processes``. Fewer, where cores are asked for because memory comes
        with them.
    nodes
        Nodes per job. Default: 1.
    gpus
        GPUs per node, divided among its processes. Default: none.
    walltime
        How long a job may run: ``"HH:MM:SS"``, ``"D-HH:MM:SS"`` or ``"2h"``; in Python also seconds, or a timedelta.
        Default: an hour.
    task_time
        How long a task takes, where nothing better is known: ``"30 min"``. A task is started only where it can be
        finished; better are ``dask.annotate(expected_duration="30 min")`` and what tasks of its kind took.
    drain_time
        How long before its walltime ends a job stops starting tasks, whatever it could still finish. Default: a tenth
        of the walltime, 10 s to 2 min, and up to another tenth, at most 15 min, so that not all jobs leave together.
    queue
        Queue, or partition, as the batch system names it; or ``"auto"``: the tightest one that takes such a job, as
        `corral queues` lists them. Default: the batch system's own.
    account
        Account, or project, that pays for the jobs.
    extra_directives
        Native directives, verbatim, without the prefix: ``--qos=high``. They do not say what jobs are called.
    skip_directives
        Names of directives to leave out (``mem``), or the words memory, cores, nodes, walltime, gpus.
    env
        Environment variables of the job, taken literally: nothing in them is expanded. Of your own
        environment, it gets only PYTHONPATH, LD_LIBRARY_PATH if this Python needs it, and what `inherit_env` names.
    inherit_env
        Names or patterns of your own environment variables to pass on to jobs: ``HDF5_*``. A pattern never matches what
        looks like a secret.
    modules
        Environment modules to load.
    conda_env
        Name of a conda environment to activate, or path of one that conda, micromamba or pixi made.
    prologue
        Shell lines to run before the workers, once per job: what they export applies to all of its nodes.
    epilogue
        Shell lines to run after the workers.
    python
        The Python that runs the workers, or a command that runs Python, as a list of words. Default: this one, or the
        one of `conda_env`, or with `container` the image's ``python3``.
    container
        Image in which the workers run: ``"image.sif"``, ``"docker://…"``. It must have corral, and what your tasks
        import. The job's script, `modules`, `prologue` and the batch system's commands stay outside, and need this
        Python on the nodes.
    launch_prefix
        Words before the workers' Python, on each node: ``["numactl", "--interleave=all"]``. With `container`, what runs
        the image, and your options for it: ``["podman-hpc", "run"]``, ``["apptainer", "exec", "--bind=/data"]``
        (default: ``["apptainer", "exec"]``). ``$TMPDIR`` and other variables are the node's.
    shebang
        First line of the job script: a shell like sh or bash. Default: ``#!/usr/bin/env bash``.
    interface
        Network interface of the workers (``"ib0"``). Default: the one that reaches the scheduler.
    worker_ports
        Ports that workers may listen on: ``"10000:10100"``. Default: any.
    local_directory
        Where workers spill, on the node; ``$TMPDIR`` and other variables are the node's. It is created if it is
        missing. Default: the node's temporary directory.
    launcher
        ``"fork"`` (default) starts workers from one import per node; ``"spawn"`` is for libraries that cannot be
        forked.
    affinity
        CPUs to which each worker is bound: an even share of the job's own (``"cores"``), or of those near the worker's
        GPUs (``"near-gpu"``). Default: ``"none"``.
    preimport
        Modules that workers will use: ``["pandas", "xarray"]``. Each node imports them once, before its workers are
        forked, which start with them and share their memory. One that starts threads or opens connections when it is
        imported is left out, and one that is missing or takes longer than `death_timeout`, with a message.
    death_timeout
        How long a worker tries to reach the scheduler before its job gives up. Default: ``"60s"``.
    worker_class
        The class of the workers: a subclass of `distributed.Worker`, or its path (``"package.module.Class"``), which
        must be importable in the job.
    worker_options
        Further keyword arguments of `distributed.Worker`; must be expressible in JSON. Its ``resources`` are added to
        those that every worker of the group has: see `worker_resources`.
    backend
        A batch system of its own: the name of another backend than the cluster's, such as ``"local"`` for the cores
        that you have already, beside groups that wait in a queue. Default: the cluster's. See :doc:`several-queues`.
    backend_options
        Options of the backend plugin for this group's jobs, on top of the cluster's; of a `backend` of its own, on top
        of those in the configuration.

    Raises
    ------
    InvalidRequest
        Names the argument that cannot be used.
    """

    cores: int = field(default=1)
    memory: int | str | None = field(default=None)
    processes: int | None = field(default=None)
    threads: int | None = field(default=None)
    nodes: int = field(default=1)
    gpus: int = field(default=0)
    walltime: int | str | float | datetime.timedelta = field(default="01:00:00")
    task_time: int | str | float | datetime.timedelta | None = field(default=None)
    drain_time: int | str | float | datetime.timedelta | None = field(default=None)
    queue: str | None = field(default=None)
    account: str | None = field(default=None)
    extra_directives: Sequence[str] = field(default=())
    skip_directives: Sequence[str] = field(default=())
    env: Mapping[str, str | int | float] = field(factory=dict)
    inherit_env: Sequence[str] = field(default=())
    modules: Sequence[str] = field(default=())
    conda_env: str | os.PathLike[str] | None = field(default=None)
    prologue: Sequence[str] = field(default=())
    epilogue: Sequence[str] = field(default=())
    python: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = field(default=None)
    container: str | os.PathLike[str] | None = field(default=None)
    launch_prefix: Sequence[str] = field(default=())
    shebang: str = field(default="#!/usr/bin/env bash")
    interface: str | None = field(default=None)
    worker_ports: str | None = field(default=None)
    local_directory: str | os.PathLike[str] | None = field(default=None)
    launcher: str = field(default="fork")
    affinity: str = field(default="none")
    preimport: Sequence[str] = field(default=())
    death_timeout: int | str | float | datetime.timedelta = field(default=60.0)
    worker_class: str | type | None = field(default=None)
    worker_options: Mapping[str, Any] = field(factory=dict)
    backend: str | None = field(default=None)
    backend_options: Mapping[str, Any] = field(factory=dict)

    # What the arguments came to.
    resources: Resources = field(init=False, repr=False)
    walltime_seconds: int = field(init=False, repr=False)
    task_seconds: float | None = field(init=False, repr=False)
    drain_seconds: float | None = field(init=False, repr=False)
    #: `inherit_env` and `env` together, as they were when the group was made.
    variables: Mapping[str, str] = field(init=False, repr=False)
    death_seconds: float = field(init=False, repr=False)
    #: The names of the arguments that were given.
    given: frozenset[str] = field(init=False, repr=False, eq=False)

    def __new__(cls, *_: object, **arguments: object) -> Self:
        refuse_unknown(arguments, cls.argument_names(), "WorkerGroup")
        group = super().__new__(cls)
        object.__setattr__(group, "given", frozenset(arguments))
        return group

    def __attrs_post_init__(self) -> None:
        self._check_sizes()
        self._check_times()
        self._check_texts()
        self._check_workers()

    def _set(self, name: str, value: object) -> None:
        """What an argument came to, while the group is made: then it is frozen."""
        object.__setattr__(self, name, value)

    def _check_sizes(self) -> None:
        # Kept as Python's own numbers, whoever counted them: they travel as JSON.
        for name, least in (("cores", 1), ("gpus", 0), ("nodes", 1), ("threads", 1), ("processes", 1)):
            if getattr(self, name) is not None:
                self._set(name, parse_count(name, getattr(self, name), at_least=least))
        cores, processes = self.cores, self.processes
        if processes is None:
            processes = usual_processes(cores, self.gpus, self.threads)
        if processes > cores:
            raise InvalidRequest(
                "processes", f"{processes} processes do not fit on {counted(cores, 'core')}; ask for more cores"
            )
        memory = None if self.memory is None else parse_memory("memory", self.memory)
        if not isinstance(self.memory, str):
            self._set("memory", memory)
        resources = Resources(nodes=self.nodes, processes=processes, cores=cores, memory=memory, gpus=self.gpus)
        self._set("resources", resources)

    def _check_times(self) -> None:
        walltime = parse_walltime("walltime", self.walltime)
        self._set("walltime_seconds", walltime)
        for argument, attribute in (("task_time", "task_seconds"), ("drain_time", "drain_seconds")):
            value = getattr(self, argument)
            seconds = None if value is None else parse_duration(argument, value, least=1.0)
            self._set(attribute, seconds)
            if seconds is not None and seconds >= walltime:
                raise InvalidRequest(
                    argument,
                    f"{value!r} is {seconds:.0f} s, and a job of walltime {self.walltime!r} lasts {walltime} s; ask "
                    "for a longer walltime=",
                )
        self._set("death_seconds", parse_duration("death_timeout", self.death_timeout, least=1.0))
        for argument, number in (
            ("walltime", self.walltime_seconds),
            ("task_time", self.task_seconds),
            ("drain_time", self.drain_seconds),
            ("death_timeout", self.death_seconds),
        ):
            if number is not None and not isinstance(getattr(self, argument), str):
                self._set(argument, number)

    def _check_texts(self) -> None:
        for name in ("conda_env", "python", "launch_prefix", "local_directory"):
            self._set(name, path_text(getattr(self, name)))
        for name in ("queue", "account", "conda_env", "shebang", "interface", "local_directory", "backend"):
            check_line(name, getattr(self, name))
        python_words(self.python)
        self._set("launch_prefix", checked_prefix(self.launch_prefix))
        self._set("container", checked_image(self.container, self.launch_prefix, self.conda_env))
        for name in ("extra_directives", "skip_directives", "modules", "inherit_env"):
            for item in checked_lines(name, getattr(self, name)):
                check_line(name, item)
        for item in self.extra_directives:
            if prefix := re.match(r"#\S*\s*", item):
                rest = item[prefix.end() :]
                raise InvalidRequest("extra_directives", f"{item!r} has a prefix, which corral adds: write {rest!r}")
        for name in ("prologue", "epilogue"):
            for item in checked_lines(name, getattr(self, name)):
                if "\0" in item:
                    raise InvalidRequest(name, "holds a NUL character")
        if not self.shebang.startswith("#!"):
            raise InvalidRequest("shebang", f"{self.shebang!r} does not begin with #!")

    def _check_workers(self) -> None:
        if self.worker_ports is not None:
            check_ports("worker_ports", self.worker_ports, self.resources.processes)
        if self.launcher not in ("fork", "spawn"):
            raise InvalidRequest("launcher", f"{self.launcher!r} is not 'fork' or 'spawn'")
        if self.affinity not in ("none", "cores", "near-gpu"):
            raise InvalidRequest("affinity", f"{self.affinity!r} is not 'none', 'cores' or 'near-gpu'")
        check_modules("preimport", self.preimport)
        self._set("variables", {**inherited_variables(self.inherit_env), **variables_of(self.env)})
        if self.worker_class is not None:
            self._set("worker_class", class_path("worker_class", self.worker_class))
        for name in ("worker_options", "backend_options"):
            self._set(name, plain_options(name, getattr(self, name)))
        check_amounts("worker_options", self.worker_options.get("resources", {}))
        if self.worker_options or self.worker_class is not None:
            # Looks at Dask's own classes, which takes a second to import.
            from corral.request.keywords import check_worker

            check_worker(self.worker_class, self.worker_options)

    @classmethod
    def argument_names(cls) -> tuple[str, ...]:
        return tuple(attribute.name for attribute in fields(cls) if attribute.init)

    def said(self) -> dict[str, Any]:
        """The arguments that were given, and say something."""
        given = {name: getattr(self, name) for name in self.argument_names() if name in self.given}
        if len(given) == len(self.argument_names()):
            # Made from another group, as `attrs.evolve` does: what is as by default was not said by anybody.
            unsaid = WorkerGroup()
            given = {name: value for name, value in given.items() if value != getattr(unsaid, name)}
        return {name: value for name, value in given.items() if value is not None and value not in ((), [], {})}

    def filled(self, shared: Mapping[str, Any]) -> WorkerGroup:
        """The same group, with what it leaves empty as `shared` says."""
        said = self.said()
        return evolve(self, **{name: value for name, value in shared.items() if name not in said and value is not None})

    def threads_of(self, resources: Resources) -> int:
        """Threads of each worker of a job with these resources."""
        return resources.threads if self.threads is None else self.threads

    def shared_out(self, resources: Resources) -> Resources:
        """What a job has, with as many workers as use that: more than was asked for, on nodes that it has whole.

        None of them has less memory than it was to have: a task that needs it all must find it.
        """
        asked, processes = self.resources, resources.processes
        if self.processes is None and (resources.cores, resources.gpus) != (asked.cores, asked.gpus):
            processes = usual_processes(resources.cores, resources.gpus, self.threads)
            if asked.memory and resources.memory:
                processes = min(processes, asked.processes * max(1, resources.memory // asked.memory))
            if self.worker_ports is not None:
                check_ports("worker_ports", self.worker_ports, processes)
        return evolve(resources, processes=min(processes, resources.cores))

    @staticmethod
    def arguments_of(job: Job) -> dict[str, Any]:
        """The arguments that ask for what this job asks for: the inverse of `request`, for parsed job scripts."""
        resources = job.resources
        found = {
            "cores": resources.cores,
            "memory": resources.memory,
            "nodes": resources.nodes,
            "gpus": resources.gpus,
            "walltime": job.walltime,
            "queue": job.queue,
            "account": job.account,
            "extra_directives": list(job.extra_directives),
            "skip_directives": sorted(job.skip),
        }
        return {name: value for name, value in found.items() if value}

    def request(
        self,
        *,
        name: str,
        log_directory: str | None,
        launcher_options: Sequence[str],
        surroundings: Surroundings = NOWHERE,
        own_directory: str | None = None,
    ) -> Job:
        """The job that the core hands to `prepare_job`.

        Parameters
        ----------
        surroundings
            Where its cluster was made.
        own_directory
            A folder of corral's own, which the nodes see, too.
        launcher_options
            Arguments of the launcher that belong to the cluster, not to this group.
        """
        if self.affinity == "near-gpu" and not self.gpus:
            raise InvalidRequest("affinity", "'near-gpu' needs GPUs: ask for some with gpus=, or say affinity='cores'")
        environment_lines, python = self._python(surroundings.python)
        # -P: a random.py in the folder where a job happens to start is no part of Python's library.
        command = (*python, "-P", "-m", "corral.launch", *launcher_options)
        return Job(
            name=name,
            command=command,
            resources=self.resources,
            walltime=self.walltime_seconds,
            queue=self.queue,
            account=self.account,
            log_directory=log_directory,
            directory=surroundings.directory,
            own_directory=own_directory,
            environment={
                **JOB_ENVIRONMENT,
                **surroundings.environment(own_python=self.has_own_python),
                **self.variables,
            },
            prologue=(*module_lines(self.modules), *environment_lines, *self.prologue),
            epilogue=tuple(self.epilogue),
            extra_directives=tuple(self.extra_directives),
            # As they are written, for who tells -t from a word t, and as they are called.
            skip=frozenset(name for said in self.skip_directives for name in (said, said.lstrip("-"))),
            shebang=self.shebang,
        )

    def worker_resources(self, group: str, resources: Resources) -> dict[str, float]:
        """The Dask resources of each worker, by which ``dask.annotate(resources=...)`` chooses where tasks run.

        The group's name, once for each thread: to ask for it says where a task runs, and does not keep others away.
        MEMORY in bytes and GPU, as much as the worker has: tasks that ask for them share them out.
        """
        found: dict[str, float] = {group: self.threads_of(resources)}
        if resources.memory is not None:
            found["MEMORY"] = resources.memory // resources.processes
        if resources.gpus:
            # Fewer GPUs than workers are shared: each worker has one.
            found["GPU"] = max(1, resources.gpus // resources.processes)
        return {**found, **self.worker_options.get("resources", {})}

    def launcher_arguments(self, group: str, resources: Resources, walltime: int | None) -> list[str]:
        """The launcher's arguments for jobs of this size: what was prepared may be more than what was asked for."""
        processes = resources.processes
        arguments = [f"--workers={processes}", f"--threads={self.threads_of(resources)}"]
        # Limits round down: workers must never believe in more than the job has.
        arguments.append(f"--memory-limit={(resources.memory or 0) // processes}")
        if resources.gpus:
            arguments.append(f"--gpus={resources.gpus}")
        if walltime is not None:
            arguments.append(f"--walltime={walltime}")
        if self.drain_seconds is not None:
            arguments.append(f"--lead={self.drain_seconds:g}")
        for option, value in (
            ("interface", self.interface),
            ("worker-ports", self.worker_ports),
            ("local-directory", self.local_directory),
        ):
            if value is not None:
                arguments.append(f"--{option}={value}")
        if self.launcher != "fork":
            arguments.append(f"--launcher={self.launcher}")
        if self.affinity != "none":
            arguments.append(f"--affinity={self.affinity}")
        if self.preimport:
            arguments.append(f"--preimport={','.join(self.preimport)}")
        arguments.append(f"--death-timeout={self.death_seconds:g}")
        options = {**self.worker_options, "resources": self.worker_resources(group, resources)}
        # The launcher shares out the GPUs itself: it knows which there are.
        if "GPU" not in self.worker_options.get("resources", {}):
            options["resources"].pop("GPU", None)
        if self.worker_class is not None:
            options["worker_class"] = self.worker_class
        arguments.append(f"--worker-options={json.dumps(options)}")
        if (inside := self._inside()) is not None:
            arguments.append(f"--inside={json.dumps(inside.written())}")
        return arguments

    @property
    def has_own_python(self) -> bool:
        """True if launchers run the Python of this process."""
        return self._inside() is not None or (self.conda_env is None and self.python in (None, sys.executable))

    @property
    def runs_this_python(self) -> bool:
        """True if jobs run the Python of this process because nobody has named one for them."""
        return self._inside() is not None or (self.python is None and self.conda_env is None)

    def _inside(self) -> Inside | None:
        """What launchers become on their nodes."""
        if self.container is None and not self.launch_prefix:
            return None
        usual = "python3" if self.container is not None else "python" if self.conda_env is not None else sys.executable
        return Inside(
            prefix=self.launch_prefix,
            image=None if self.container is None else os.fspath(self.container),
            python=python_words(self.python) or (usual,),
            variables=(*JOB_ENVIRONMENT, *self.variables),
        )

    def _python(self, elsewhere: tuple[str, ...]) -> tuple[list[str], tuple[str, ...]]:
        """The lines that activate an environment, and the words that run a launcher's Python.

        Parameters
        ----------
        elsewhere
            What is there in the place of this process's Python; empty: jobs are submitted from here.
        """
        usual = elsewhere or (sys.executable,)
        words = usual if self._inside() is not None else python_words(self.python)
        if self.conda_env is not None:
            return conda_lines(os.fspath(self.conda_env), is_here=not elsewhere), words or ("python",)
        if self.container is None and self.python is None and not elsewhere:
            return own_lines(sys.prefix, sys.base_prefix, os.environ), usual
        return [], words or usual


# What is made by attrs is public too.
WorkerGroup.__init__ = tells_plainly(WorkerGroup.__init__)  # type: ignore[method-assign]
WorkerGroup.__new__ = tells_plainly(WorkerGroup.__new__)  # type: ignore[method-assign]
# What it takes is said by its __init__.
WorkerGroup.__new__.__signature__ = inspect.signature(WorkerGroup.__init__)  # type: ignore[attr-defined]
