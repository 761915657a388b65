"""What people write for jobs: read exactly, or refused with the argument's name."""

from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.errors import InvalidRequest
from corral.plugin.scripting import job_body
from corral.plugin.values import Job, Resources
from corral.request.drawing import read_script
from corral.request.quantities import parse_memory, parse_walltime
from corral.request.worker_group import WorkerGroup


@pytest.mark.parametrize(
    ("text", "expected"),
    [("32GB", 32 * 10**9), ("32GiB", 32 * 2**30), ("400 MB", 4 * 10**8), (2**30, 2**30), ("1.5e9", 1_500_000_000)],
)
def test_memory_is_decimal_unless_it_says_otherwise(text: object, expected: int) -> None:
    """GB against GiB has made workers exceed their job's memory before."""
    assert parse_memory("memory", text) == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("02:00:00", 7200),
        ("1-00:00:00", 86400),
        ("100:00:00", 360_000),
        ("2h", 7200),
        ("90 minutes", 5400),
        ("1.5s", 2),
        (600, 600),
        (datetime.timedelta(minutes=3), 180),
    ],
)
def test_walltime_is_seconds_rounded_up(text: object, seconds: int) -> None:
    """Every form that people use and that has one meaning only."""
    assert parse_walltime("walltime", text) == seconds


def test_an_ambiguous_walltime_is_refused_with_both_readings() -> None:
    """Half a minute to one batch system is half an hour to another."""
    with pytest.raises(
        InvalidRequest, match=r"0 min 30 s to Slurm and 0 h 30 min to LSF; write '00:00:30' or '00:30:00'"
    ):
        parse_walltime("walltime", "00:30")


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("memory", "lots"),
        ("memory", 4),
        ("memory", True),
        ("memory", "-1GB"),
        ("memory", "GB"),
        ("memory", float("nan")),
        ("cores", 0),
        ("cores", 1.5),
        ("cores", "4"),
        ("cores", True),
        ("nodes", 0),
        ("gpus", -1),
        ("processes", 0),
        ("processes", 2),
        ("walltime", "00:30"),
        ("walltime", "-02:00:00"),
        ("walltime", -5),
        ("walltime", 0),
        ("walltime", "30"),
        ("walltime", "soon"),
        ("walltime", "01:75:00"),
        ("walltime", float("inf")),
        ("queue", "a\nb"),
        ("queue", " "),
        ("queue", 7),
        ("account", "a\n#SBATCH --uid=0"),
        ("local_directory", "/tmp/a\nb"),
        ("python", "py\0thon"),
        ("shebang", "/bin/bash"),
        ("env", {"A B": "1"}),
        ("env", {"A": "x\0y"}),
        ("env", {"A=B": "1"}),
        ("env", ["A=1"]),
        ("modules", "python"),
        ("modules", ["a\nb"]),
        ("extra_directives", ["--qos=high\n#SBATCH --uid=0"]),
        ("skip_directives", "mem"),
        ("worker_ports", "70000"),
        ("worker_ports", "20:10"),
        ("launcher", "thread"),
        ("preimport", "pandas"),
        ("preimport", ["pandas as pd"]),
        ("preimport", ["numpy,pandas"]),
        ("preimport", ["import"]),
        ("preimport", [""]),
        ("death_timeout", 0),
        ("worker_options", {"a": object()}),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(argument: str, value: object) -> None:
    """Before anything is submitted."""
    with pytest.raises(InvalidRequest) as refusal:
        WorkerGroup(**{"memory": "1GB", argument: value})  # type: ignore[arg-type]
    assert refusal.value.argument == argument


@pytest.mark.parametrize("written", ["numpy, dask.dataframe", "import numpy, dask.dataframe", "numpy dask.dataframe"])
def test_modules_in_one_text_are_refused_as_a_list(written: str) -> None:
    """With what should be written instead."""
    with pytest.raises(InvalidRequest, match=r"write preimport=\['numpy', 'dask\.dataframe'\]"):
        WorkerGroup(memory="1GB", preimport=written)


@pytest.mark.parametrize("value", ["auto", True, False])
def test_what_tasks_will_use_is_not_guessed(value: Any) -> None:
    """Nor is ``auto`` taken for a module."""
    with pytest.raises(InvalidRequest, match=r"is not guessed: write preimport=\['pandas', 'xarray'\]") as refusal:
        WorkerGroup(memory="1GB", preimport=value)
    assert ("preimport=[] for none" in str(refusal.value)) == (value is False)


def test_launchers_are_told_what_to_import() -> None:
    """In one word, and in the order that was written: a module may need what another has changed."""
    group = WorkerGroup(memory="1GB", preimport=["pandas", "dask.dataframe"])
    assert "--preimport=pandas,dask.dataframe" in group.launcher_arguments("default", group.resources, None)
    assert not any("preimport" in word for word in WorkerGroup().launcher_arguments("default", Resources(), None))


@pytest.mark.parametrize(("cores", "processes"), [(1, 1), (3, 1), (4, 2), (7, 1), (16, 4), (36, 6), (64, 8), (128, 8)])
def test_processes_divide_the_cores(cores: int, processes: int) -> None:
    """About the square root, and no core left over."""
    assert WorkerGroup(cores=cores, memory="1GB").resources.processes == processes


def test_the_limits_of_workers_round_down() -> None:
    """Workers must never believe in more memory than the job has."""
    group = WorkerGroup(cores=3, processes=3, memory=10**9)
    arguments = group.launcher_arguments("default", group.resources, group.walltime_seconds)
    assert "--memory-limit=333333333" in arguments
    assert "--threads=1" in arguments


def test_a_parsed_request_is_asked_for_again_as_it_was() -> None:
    """What it leaves out is left out again: OAR takes nodes without cores for whole nodes."""
    job = Job(resources=Resources(nodes=2), walltime=60, extra_directives=["-t besteffort"], skip=["cores"])
    asked = WorkerGroup(**WorkerGroup.arguments_of(job)).request(name="a", log_directory=None, launcher_options=[])
    assert (asked.resources.nodes, asked.walltime) == (2, 60)
    assert (asked.extra_directives, asked.skip) == (job.extra_directives, job.skip)


def test_what_a_site_prepares_is_what_workers_use() -> None:
    """A site that hands out whole nodes makes the workers larger, not idle."""
    group = WorkerGroup(cores=2, processes=2, memory="1GB")
    arguments = group.launcher_arguments("default", Resources(cores=128, processes=2, memory=250 * 10**9), 3600)
    assert {"--workers=2", "--threads=64", "--memory-limit=125000000000"} <= set(arguments)


PRINTER = 'for word in "$@"; do printf \'%s\\0\' "$word"; done; printf \'%s\\0\' "$HOSTILE"'

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


@given(words=st.lists(TEXT, max_size=4), value=TEXT)
def test_arguments_and_environment_reach_the_job_byte_for_byte(words: list[str], value: str) -> None:
    """Quotes, dollars, newlines and backticks are data, whatever they look like."""
    job = Job(name="a", command=("bash", "-c", PRINTER, "printer", *words), environment={"HOSTILE": value})
    ran = subprocess.run(["bash", "-c", job_body(job, job_id="1")], capture_output=True, check=True)
    assert ran.stdout.decode().split("\0")[:-1] == [*words, value]


def test_the_epilogue_runs_and_the_exit_code_is_the_command_s(tmp_path: Path) -> None:
    """What cleans up behind the workers must not hide how they ended."""
    job = Job(name="a", command=("bash", "-c", "exit 7"), epilogue=(f"echo after > {tmp_path}/after",))
    assert subprocess.run(["bash", "-c", job_body(job, job_id="1")], check=False).returncode == 7
    assert (tmp_path / "after").read_text() == "after\n"


def test_sigterm_reaches_the_workers_although_there_is_an_epilogue() -> None:
    """The shell hears a signal only between commands: the script must pass it on."""
    command = ("bash", "-c", "trap 'echo heard; exit 3' TERM; echo ready; while :; do sleep 0.05; done")
    body = job_body(Job(name="a", command=command, epilogue=("echo after",)), job_id="1")
    with subprocess.Popen(["bash", "-c", body], stdout=subprocess.PIPE, text=True) as script:
        assert script.stdout is not None
        assert script.stdout.readline() == "ready\n"
        script.terminate()
        assert script.stdout.read() == "heard\nafter\n"
    assert script.returncode == 3


def test_a_module_needs_its_shell_function() -> None:
    """A job script is no login shell: `module` must be made known first."""
    made: Any = WorkerGroup(memory="1GB", modules=["python/3.11", "it's"]).request(
        name="a", log_directory=None, launcher_options=()
    )
    assert made.prologue[0].startswith("type module")
    assert made.prologue[1].startswith("module load python/3.11 'it'\"'\"'s' || {")


def test_a_submit_description_has_no_commands(tmp_path: Path) -> None:
    """It becomes a cluster as a job script does, and nobody is told that its statements are not run."""
    (tmp_path / "job.sub").write_text("executable = analyse.sh\nrequest_cpus = 4\nrequest_memory = 2GB\nqueue\n")
    found, commands = read_script(tmp_path / "job.sub", {"backend": "htcondor"})
    assert (found["cores"], found["memory"], commands) == (4, 2**31, [])


def test_a_script_is_drawn_without_distributed() -> None:
    """It takes longer to import than all else together, and nothing is connected."""
    code = """
import sys
from corral.request.drawing import draw
script = draw({"backend": "slurm", "memory": "1GB", "security": False}).script()
print("#SBATCH" in str(script), "distributed" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"
