"""The tables of docs/coming-from-dask-jobqueue.md that the code makes: what each word of dask-jobqueue's is here.

``python tests/plugins/argument_table.py`` writes them into the page; a test compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from corral.migration.jobqueue import worker_words
from corral.migration.jobqueue.words import CLUSTER_ARGUMENTS, JOB_ARGUMENTS, KINDS
from corral.migration.words import RUNNER, in_our_words
from corral.migration.writing import expression
from corral.request.synonyms import MEANINGS

PAGE = Path(__file__).parents[2] / "docs/coming-from-dask-jobqueue.md"

#: An example of each argument.
EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "cores": {"cores": 8}, "memory": {"memory": "32GB"}, "processes": {"processes": 2}, "queue": {"queue": "long"},
    "account": {"account": "bio"}, "project": {"project": "bio"}, "walltime": {"walltime": "02:00:00"},
    "resource_spec": {"resource_spec": "select=1:ncpus=8:mem=32GB"},
    "job_extra_directives": {"job_extra_directives": ["--qos=high"]}, "job_extra": {"job_extra": ["--qos=high"]},
    "job_directives_skip": {"job_directives_skip": ["--mem"]}, "header_skip": {"header_skip": ["--mem"]},
    "job_script_prologue": {"job_script_prologue": ["module load gcc"]},
    "env_extra": {"env_extra": ["module load gcc"]}, "job_script_epilogue": {"job_script_epilogue": ["date"]},
    "worker_extra_args": {"worker_extra_args": ["--resources", "GPU=1"]}, "extra": {"extra": ["--resources GPU=1"]},
    "worker_command": {"worker_command": "my.worker"}, "name": {"name": "climate"}, "job_name": {"job_name": "climate"},
    "nanny": {"nanny": False}, "protocol": {"protocol": "tcp"}, "security": {"security": True},
    "interface": {"interface": "ib0"}, "death_timeout": {"death_timeout": 240},
    "local_directory": {"local_directory": "$TMPDIR"}, "log_directory": {"log_directory": "logs"},
    "shebang": {"shebang": "#!/usr/bin/env zsh"}, "python": {"python": "/opt/bin/python"},
    "config_name": {"config_name": "gpu"}, "n_workers": {"n_workers": 4}, "asynchronous": {"asynchronous": True},
    "loop": {"loop": "loop"}, "silence_logs": {"silence_logs": "error"},
    "shared_temp_directory": {"shared_temp_directory": "/scratch/me"},
    "scheduler_options": {"scheduler_options": {"dashboard_address": ":8787", "port": 8786}},
    "dashboard_address": {"dashboard_address": ":8787"}, "host": {"host": "10.0.0.1"},
    "job_cls": {"job_cls": "MyJob"}, "scheduler_cls": {"scheduler_cls": "MyScheduler"},
    "job_cpu": {"job_cpu": 16}, "job_mem": {"job_mem": "40GB"}, "ncpus": {"ncpus": 16}, "mem": {"mem": 40_000_000_000},
    "lsf_units": {"lsf_units": "mb"}, "use_stdin": {"use_stdin": True}, "disk": {"disk": "20GB"},
    "submit_command_extra": {"submit_command_extra": ["-name", "schedd1"]},
    "cancel_command_extra": {"cancel_command_extra": ["-pool", "pool1"]},
    "memory_per_core_property_name": {"memory_per_core_property_name": "memcore"},
    "scheduler_file": {"scheduler_file": "scheduler-{job_id}.json"},
}  # fmt: skip
#: Examples for those that mean something else to one class.
OTHERS: Sequence[tuple[str, Mapping[str, Any]]] = (
    ("LSFCluster", {"walltime": "01:30"}),
    ("SLURMCluster", {"walltime": "90"}),
    ("HTCondorCluster", {"job_extra_directives": {"+Flavour": '"long"'}}),
)
SIZE = {"cores": 4, "memory": "16GB", "processes": 1}
ONLY_SLURMS = ("job_cpu", "job_mem")
#: Options of ``dask worker``, each with a value where it takes one.
OPTIONS = (
    "--resources A=1", "--nthreads 2", "--nworkers 2", "--memory-limit 4GB", "--lifetime 55m", "--lifetime-stagger 5m",
    "--worker-port 10000:10100", "--nanny-port 10000:10100", "--interface ib0", "--local-directory /tmp",
    "--death-timeout 240", "--preload my.module", "--worker-class my.Worker", "--protocol tcp", "--no-dashboard",
    "--dashboard-address :0", "--no-nanny", "--name x", "--scheduler-file s.json", "--host 10.0.0.1",
    "--tls-cert cert.pem",
)  # fmt: skip


def arguments() -> list[str]:
    """Every argument of every class, in the order in which dask-jobqueue has them."""
    own = [word for kind in KINDS.values() for word in kind.own]
    every = [*JOB_ARGUMENTS, *own, *CLUSTER_ARGUMENTS, "scheduler_file"]
    return list(dict.fromkeys(sorted(every, key=lambda word: list(EXAMPLES).index(word))))


def class_of(argument: str) -> str:
    """The first class that has it."""
    if argument == "scheduler_file":
        return RUNNER
    return next(name for name, kind in KINDS.items() if argument in {*kind.arguments, *kind.own})


def row(class_name: str, said: Mapping[str, Any], *, is_other: bool = False) -> str:
    """What an argument is here, by what it changes in a call."""
    size = {} if class_name == RUNNER else {**SIZE, **({"disk": "4GB"} if class_name == "HTCondorCluster" else {})}
    before, after = in_our_words(class_name, size), in_our_words(class_name, {**size, **said})
    changed = [
        f"{name}={expression(_new(value, before.arguments.get(name)))}"
        for name, value in after.arguments.items()
        if before.arguments.get(name, ...) != value
    ]
    told = [each for each in (*after.lost, *after.changed) if each not in (*before.lost, *before.changed)]
    [(argument, value)] = said.items()
    there = f"{argument}={expression(value)}"
    here = "the same" if changed == [there] else ", ".join(f"`{each}`" for each in changed)
    prose = "; ".join(filter(None, (_as_prose(each, argument) for each in told)))
    if not here and not prose:
        prose = _as_prose(MEANINGS[argument], argument)
    is_general = class_name in ("SLURMCluster", "PBSCluster") and argument not in ONLY_SLURMS and not is_other
    whose = "" if is_general else f" ({class_name.removesuffix('Cluster')})"
    return f"| `{there}`{whose} | {'; '.join(filter(None, (here, prose)))} |"


def _new(value: object, before: object) -> object:
    """What a mapping has more than before."""
    if not isinstance(value, Mapping) or not isinstance(before, Mapping):
        return value
    return {key: each for key, each in value.items() if before.get(key, ...) != each}


def _as_prose(sentence: str, argument: str) -> str:
    """A sentence without what the row has said."""
    said = re.sub(rf"^{argument}(='[^']*'|=\S+|=|:)?:?\s+(is (?=left))?", "", sentence)
    code = r"(?<![\w`'{])(\w+=(?:distributed\.Security\(…\)|\{[^}]*\}|'[^']*'|\w+)?|Cluster\([^)]*\))"
    return re.sub(code, r"`\1`", said.strip()).replace("|", "\\|")


def argument_rows() -> Iterator[str]:
    """Those that mean the same in one row, before all others."""
    rows = []
    for argument in arguments():
        rows.append(row(class_of(argument), EXAMPLES[argument]))
        rows += [row(name, said, is_other=True) for name, said in OTHERS if argument in said]
    same = [match[1] for each in rows if (match := re.fullmatch(r"\| `(\w+)=.*`.* \| the same \|", each))]
    yield "| dask-jobqueue | corral |"
    yield "| --- | --- |"
    yield f"| {', '.join(f'`{word}`' for word in same)} | the same |"
    yield from (each for each in rows if not each.endswith(" | the same |"))


def option_rows() -> Iterator[str]:
    yield "| `dask worker` | corral |"
    yield "| --- | --- |"
    for option in OPTIONS:
        found = worker_words.read([option])
        words = {**found.arguments, **({"worker_options": found.options} if found.options else {})}
        if found.protocol:
            words["security"] = False
        here = ", ".join(f"`{name}={expression(value)}`" for name, value in words.items())
        told = "; ".join(
            _as_prose(
                re.sub(r"^worker_extra_args: --\S+ (is left out|cannot be said of corral's workers): ", "", each), "-"
            )
            for each in (*found.changed, *found.lost)
        )
        yield f"| `{option}` | {'; '.join(filter(None, (here, told)))} |"


def page(text: str) -> str:
    """The page with its tables as the code makes them."""
    for name, rows in (("arguments", argument_rows()), ("options", option_rows())):
        begin, end = f"<!-- made by the code: {name} -->\n", f"<!-- end of {name} -->"
        head, found, rest = text.partition(begin)
        assert found, f"{PAGE} has no {begin}"
        text = head + begin + "\n".join(rows) + "\n" + end + rest.partition(end)[2]
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
