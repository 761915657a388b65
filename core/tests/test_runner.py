"""Commands as they are really run."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from corral.batch.client import BatchSystem
from corral.batch.runner import Runner, command_environment
from corral.errors import BatchSystemUnavailable, CommandFailed, CommandNotFound, CommandNotStarted, CommandTimedOut
from corral.plugin import discovery
from corral.plugin.discovery import told_in_jobs
from corral.plugin.facts import BackendFacts
from corral.plugin.values import Command, Completed, Conversation


def run(command: Command, *, timeout: float = 60.0) -> Completed:
    return asyncio.run(Runner(timeout=timeout).run(command))


def test_a_conversation_gets_what_its_commands_print() -> None:
    """Two commands, the second made from the answer of the first; standard input is text."""

    def conversation() -> Conversation[str]:
        first = yield Command(["echo", "Welcome to the cluster\n42"])
        second = yield Command(["cat"], stdin=f"job {first.last_line()}")
        return second.stdout

    assert asyncio.run(Runner().converse(conversation())) == "job 42"


def test_a_failed_command_is_thrown_into_the_conversation() -> None:
    """With all that it printed, so that a hook can read what is left."""

    def conversation() -> Conversation[str]:
        try:
            yield Command(["sh", "-c", "echo row; echo 'no such job' >&2; exit 5"])
        except CommandFailed as error:
            return f"{error.completed.returncode} {error.completed.last_line()} {error.completed.stderr.strip()}"
        return "unreachable"

    assert asyncio.run(Runner().converse(conversation())) == "5 row no such job"


def test_a_program_that_is_not_here_is_named() -> None:
    """The usual cause is a host that is no submit host."""
    with pytest.raises(CommandNotFound, match="no-such-sbatch"):
        run(Command(["no-such-sbatch"]))


async def with_all_files_open(work: Callable[[], Awaitable[object]]) -> None:
    """Do it where this process may open no file more, and so start no other."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as held:
        held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, hard))
        with suppress(OSError):
            while True:
                held.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        await work()


def test_a_host_that_lets_no_process_be_started_may_do_so_later() -> None:
    """On many login nodes a user has few processes and open files; a command of any length never fits."""
    # What is found out now must not be remembered: at other times there is more to find.
    discovery.all_facts.cache_clear()
    discovery.enclosing.cache_clear()
    words = r"Too many open files\. `ulimit -a` says"
    with pytest.raises(CommandNotStarted, match=words):
        asyncio.run(with_all_files_open(lambda: Runner().run(Command(["true"]))))
    batch = BatchSystem(backend="local", manager=discovery.load("local"))
    with pytest.raises(BatchSystemUnavailable, match=words):
        asyncio.run(with_all_files_open(lambda: batch.find("corral-1")))
    assert "SLURM_JOB_ID" not in command_environment({"SLURM_JOB_ID": "7"}, Command(["x"]))
    with pytest.raises(CommandNotStarted, match="Argument list too long$"):
        run(Command(["true", "x" * 1_000_000]))


def test_a_hanging_command_is_ended_with_what_it_started(tmp_path: Path) -> None:
    """Not only the command: its children too, or they would pile up on the login node."""
    pids = tmp_path / "pids"
    with pytest.raises(CommandTimedOut, match=r"no answer within 0\.5 s"):
        run(Command(["sh", "-c", f"sleep 100 & echo $! > {pids}; wait"]), timeout=0.5)
    pid = int(pids.read_text())
    for _ in range(100):
        if not _lives(pid):
            break
        os.sched_yield()
    assert not _lives(pid)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_the_enclosing_job_is_not_seen() -> None:
    """Submitting from inside a job: its memory limit must not become the new job's; configuration stays."""
    environ = {"SLURM_MEM_PER_NODE": "1", "SLURM_JOB_ID": "7", "SLURM_CONF": "/c", "SBATCH_QOS": "q", "PBS_JOBID": "1"}
    assert command_environment(environ, Command(["x"])) == {"SLURM_CONF": "/c", "SBATCH_QOS": "q", "LC_ALL": "C"}


def test_which_jobs_enclose_a_command_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A launcher knows whose job it is in, and need not import what knows of others."""
    for name in ("HERD_JOB", "CORRAL_JOB_ID", "SLURM_JOB_ID"):
        monkeypatch.setenv(name, "7")
    enclosing = told_in_jobs([BackendFacts(enclosing=("HERD_*",))])
    seen = asyncio.run(Runner(enclosing=enclosing).run(Command(["env"]))).stdout
    assert re.findall("^(.*)=7$", seen, re.MULTILINE) == ["SLURM_JOB_ID"]


def test_a_command_may_be_kept_from_the_user_s_secrets() -> None:
    """Some commands pass their environment on to the job."""
    environ = {"TOKEN": "secret", "SBATCH_QOS": "q", "LC_ALL": "de_DE"}
    seen = command_environment(environ, Command(["x"], inherit=("SBATCH_*",), env={"A": "b"}))
    assert seen == {"SBATCH_QOS": "q", "LC_ALL": "C", "A": "b"}


def test_output_that_is_no_utf8_is_kept_readable() -> None:
    """Host names and banners come in all encodings."""
    code = "import sys; sys.stdout.buffer.write(b'caf\\xe9\\n')"
    assert run(Command([sys.executable, "-c", code])).stdout == "caf\ufffd\n"
