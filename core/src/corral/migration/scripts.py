"""Job scripts: their directives as a request, and their commands as far as they are plain."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from corral.errors import CorralError, InvalidRequest, UnknownBackend
from corral.migration import shell
from corral.migration.values import Migrated, Remark
from corral.migration.writing import Argument, call, command, expression, options
from corral.plugin import discovery
from corral.plugin.values import Job
from corral.request.drawing import WHOLE_NODES, draw, parsed_script
from corral.request.worker_group import WorkerGroup

#: Whose directives they are, where no plugin is installed that knows.
_WELL_KNOWN = {
    r"#SBATCH\b": "slurm", r"#PBS\b": "pbs", r"#\$\s+-": "sge", r"#\s*BSUB\b": "lsf", r"#OAR\b": "oar",
    r"#MSUB\b": "moab", r"#[^\w\n]*(?:flux|FLUX):": "flux", r"(?i:queue(\s+\d+)?\s*$)": "htcondor",
}  # fmt: skip

_ENVIRONMENT = "of your environment, jobs get only what is named: --env, --inherit-env, or env= and inherit_env="


def batch_systems(text: str) -> list[str]:
    """The backends whose job scripts have such lines."""
    lines = text.splitlines()
    return [
        name
        for name, facts in sorted(discovery.all_facts().items())
        if any(re.match(pattern, line) for pattern in facts.directives for line in lines)
    ]


def is_script(text: str) -> bool:
    """True if it has directives of some batch system, whether a plugin for it is installed or not."""
    return bool(batch_systems(text)) or _well_known(text) is not None


def _well_known(text: str) -> str | None:
    found = (name for pattern, name in _WELL_KNOWN.items() for line in text.splitlines() if re.match(pattern, line))
    return next(found, None)


def migrate_script(text: str, name: str, *, backend: str | None = None, form: str | None = None) -> Migrated:
    """A job script as a ``corral submit`` of the Python program that it runs, or as a `Cluster`.

    Parameters
    ----------
    backend
        Whose directives they are, if they do not say.
    form
        ``"submit"`` or ``"cluster"``; None: the former if it runs one Python program and nothing else of note.

    Raises
    ------
    InvalidRequest, ParseError, UnknownBackend
    """
    reading = _Reading(text, name)
    chosen = reading.choose(backend)
    _, job = parsed_script(text, {"backend": chosen})
    commands = list(shell.lines(text)) if text.startswith("#!") or _has_prefix(text) else []
    body = shell.read(commands)
    arguments = {"backend": chosen, **reading.asked(job), **body.arguments}
    if form is None:
        form = "submit" if len(body.programs) == 1 else "cluster"
    if form == "submit" and not body.programs:
        raise InvalidRequest("as", f"{name} runs no Python script by its name; print a cluster: --as=cluster")
    reading.remark(1, _ENVIRONMENT, is_lost=False)
    reading.arrays(chosen)
    reading.commands(body, arguments, form)
    arguments = reading.checked(arguments)
    text = _submit(arguments, body) if form == "submit" else _cluster(arguments)
    return Migrated(text=text, remarks=reading.remarks)


def _has_prefix(text: str) -> bool:
    """True if it is a script, not a description: its directives are comments."""
    return any(re.match(r"\s*#\S", line) for line in text.splitlines())


class _Reading:
    """What is noticed on the way."""

    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        self.remarks: list[Remark] = []

    def remark(self, line: int, said: str, *, is_lost: bool = True) -> None:
        self.remarks.append(Remark(place=f"{self._name}:{line}", said=said, is_lost=is_lost, line=line))

    def choose(self, backend: str | None) -> str:
        """Whose directives they are."""
        if backend is not None:
            return backend
        found = batch_systems(self._text)
        if not found:
            known = _well_known(self._text)
            if known is not None:
                raise UnknownBackend(
                    f"{self._name} is a script for {known}, and its plugin is not installed: pip install corral-{known}"
                )
            raise InvalidRequest(
                "FILE", f"{self._name} has no directives of a batch system; say whose it is: --backend=slurm"
            )
        if len(found) > 1:
            others = " or ".join(f"--backend={each}" for each in found[1:])
            line = self._line_of(discovery.all_facts()[found[0]].directives)
            said = f"these directives are taken for {found[0]}'s; if they are another's, say {others}"
            self.remark(line, said, is_lost=False)
        return found[0]

    def asked(self, job: Job) -> dict[str, Any]:
        """Arguments that ask for what the directives ask for."""
        if "cores" in job.skip:
            self.remark(1, f"it {WHOLE_NODES}", is_lost=True)
        found = WorkerGroup.arguments_of(job)
        if job.resources.nodes == 1:
            del found["nodes"]
        if job.walltime is not None:
            hours, rest = divmod(job.walltime, 3600)
            found["walltime"] = f"{hours:02}:{rest // 60:02}:{rest % 60:02}"
        if job.resources.memory is not None:
            found["memory"] = _memory(job.resources.memory)
        own = {"name": job.name or None, "log_directory": job.log_directory}
        if job.shebang not in ("#!/usr/bin/env bash", "#!/bin/bash", "#!/bin/sh"):
            own["shebang"] = job.shebang
        return {**{name: value for name, value in own.items() if value}, **found}

    def arrays(self, backend: str) -> None:
        """A script that runs many times is carried over as one that runs once."""
        facts = discovery.facts_of(backend)
        for number, line in enumerate(self._text.splitlines(), 1):
            begins = any(re.match(pattern, line) for pattern in facts.directives)
            if facts.array and begins and re.search(facts.array, line):
                self.remark(
                    number,
                    f"{line.strip()}: an array runs the program once for each index; corral runs it once, and "
                    "client.map() in it calls a function for each",
                )

    def commands(self, body: shell.Body, arguments: dict[str, Any], form: str) -> None:
        """Add the lines of shell to the arguments, and say what becomes of the rest."""
        for line in body.needless:
            self.remark(line.number, f"{line.text}: not needed, since conda_env= finds conda by itself", is_lost=False)
        if body.before:
            arguments["prologue"] = [line.text for line in body.before]
        if body.after:
            arguments["epilogue"] = [line.text for line in body.after]
        for line in body.dask:
            said = f"{_begun(line.text)}: left out, since corral starts Dask itself; in the program, Client() finds it"
            self.remark(line.number, said, is_lost=False)
        for line in body.others:
            said = (
                "it is not carried over; if it prepares workers, add it as prologue=, and if it is the job's work, run "
                "it in a job of its own"
            )
            self.remark(line.number, f"{_begun(line.text)}: {said}")
        if form == "cluster":
            for program in body.programs:
                said = "a cluster's jobs run workers; run it where you make the Cluster, or submit it: --as=submit"
                self.remark(program.line.number, f"{program.line.text}: {said}")
            return
        first, *others = body.programs
        if "/" in first.python:
            arguments["python"] = first.python
        if first.starter:
            said = f"{first.starter} starts it once for each task; corral submit runs it once, beside Dask's workers"
            self.remark(first.line.number, said, is_lost=False)
        for program in others:
            self.remark(program.line.number, f"{program.line.text}: a second program; submit it as a job of its own")

    def checked(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """What corral takes of it; what it refuses is told with the cure."""
        arguments = dict(arguments)
        while True:
            try:
                draw({**arguments, "security": False})
            except InvalidRequest as error:
                if not self._without(arguments, error):
                    return arguments
            except CorralError:
                return arguments  # what is wrong with the plugin is told by whoever uses it
            else:
                return arguments

    def _without(self, arguments: dict[str, Any], error: InvalidRequest) -> bool:
        """Take out what was refused; False if nothing can be."""
        line = 1
        given = arguments.get(error.argument)
        if error.argument == "extra_directives" and isinstance(given, list):
            refused = [each for each in given if each in error.problem or repr(each) in error.problem]
            for each in refused:
                line = self._line_with(each)
                given.remove(each)
            if not given:
                del arguments["extra_directives"]
            self.remark(line, str(error))
            return bool(refused)
        self.remark(line, str(error))
        return arguments.pop(error.argument, None) is not None

    def _line_of(self, patterns: Sequence[str]) -> int:
        lines = enumerate(self._text.splitlines(), 1)
        return next((number for number, line in lines if any(re.match(pattern, line) for pattern in patterns)), 1)

    def _line_with(self, directive: str) -> int:
        lines = enumerate(self._text.splitlines(), 1)
        return next((number for number, line in lines if directive in line), 1)


def _begun(text: str) -> str:
    """A command, or the first line of several."""
    first, more, _ = text.partition("\n")
    return f"{first} …" if more else first


def _memory(amount: int) -> str | int:
    for unit, size in (("GiB", 2**30), ("GB", 10**9), ("MiB", 2**20), ("MB", 10**6)):
        if amount % size == 0:
            return f"{amount // size}{unit}"
    return amount


def _submit(arguments: Mapping[str, Any], body: shell.Body) -> str:
    words = ["corral", "submit", *options(arguments), *body.programs[0].words]
    return f"{command(words)}\n"


def _cluster(arguments: Mapping[str, Any]) -> str:
    written = [Argument(name=name, text=expression(value)) for name, value in arguments.items()]
    return f"from corral import Cluster\n\ncluster = {call('Cluster', written, before=1000)}\n"
