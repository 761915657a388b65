"""Before a batch system's tests: does it run a job with the settings that all of them use, and what can it do?

One job, which ends at once; seconds on a system that is free.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import setups
from attrs import field, frozen
from real_jobs import RealJobs, real_jobs
from setups import Setup

from corral.errors import CorralError, PluginError
from corral.plugin import JobId, JobState, Queue, Resources, discovery
from corral.text.durations import in_words
from corral.text.sizes import bytes_in

CURE = (
    "Say what its jobs need in a file, and name it with --batch-system-file or CORRAL_TEST_SYSTEMS: "
    "tests/batch-systems/README.md says how."
)


@frozen(kw_only=True)
class CheckUp:
    """What was found out about a batch system."""

    setup: Setup
    version: str = ""
    #: Why none of its tests can run, and what to do; empty: they can.
    obstacle: str = ""
    #: Whether it is corral that is broken, not the batch system or what is said of it.
    is_our_fault: bool = False
    #: Why it has none of these `setups.ABILITIES`; what a file says comes before what was found.
    lacks: Mapping[str, str] = field(factory=dict)
    #: Seconds from the submission of the job to its end.
    took: float = 0.0

    def __str__(self) -> str:
        if self.obstacle:
            return f"{self.setup.backend}: {self.obstacle}"
        ran = f"{self.setup.backend} {self.version}: ran a job in {self.took:.1f} s"
        lacks = f"; it lacks {', '.join(sorted(self.lacks))}" if self.lacks else ""
        return f"{ran}, made as {self.setup.where} says{lacks}"

    def for_report(self) -> dict[str, Any]:
        """What the reports of its tests say of it, in values that go from process to process."""
        return {"version": self.version, "lacks": sorted(self.lacks), "said": str(self).splitlines()[0]}


def check_up(backend: str) -> CheckUp:
    """Submit a job to a batch system that answers, wait for its end, and ask what there is."""
    setup = setups.of(backend)
    if backend not in {each.name for each in discovery.usable("backend")}:
        return CheckUp(setup=setup, obstacle=f"it answers, but there is no corral-{backend} here", lacks=setup.lacks)
    root = setups.folder()
    try:
        with tempfile.TemporaryDirectory(prefix="corral-check-up-", dir=root, ignore_cleanup_errors=True) as folder:
            return asyncio.run(_check_up(setup, Path(folder)))
    except PluginError as error:
        return CheckUp(setup=setup, obstacle=f"its check-up found a broken plugin: {error}", is_our_fault=True)
    except (CorralError, OSError, pytest.skip.Exception) as error:
        return _refused(setup, f"its check-up failed: {error}")
    except Exception:
        return CheckUp(setup=setup, obstacle=f"its check-up broke corral:\n{traceback.format_exc()}", is_our_fault=True)


def _refused(setup: Setup, words: str) -> CheckUp:
    return CheckUp(setup=setup, obstacle=f"{words}\nThe job was made as {setup.where} says. {CURE}", lacks=setup.lacks)


#: What the job tells of where it runs.
TELLS = "import json, os, socket; print(json.dumps({'host': socket.gethostname(), 'python': os.sys.version}))"


async def _check_up(setup: Setup, folder: Path) -> CheckUp:
    plugin = setup.plugin()
    async with real_jobs(plugin, folder, own_directory=str(folder)) as real:
        detected = await real.talk(plugin.detect())
        if detected is None:
            return _refused(setup, "corral does not see it, though it answers")
        began = time.monotonic()
        small = Resources(memory=bytes_in(setups.USUAL_MEMORY))
        [job] = await real.submit(real.job(sys.executable, "-c", TELLS, resources=small))
        try:
            async with asyncio.timeout(setup.patience):
                [status] = await real.until([job], lambda status: status.state.is_final)
        except TimeoutError:
            why = await _why_it_waits(real, job)
            within = f"a job with these settings did not end within {in_words(setup.patience)}"
            return _refused(setup, f"{within}: {why}. With 'patience:' it gets longer.")
        took = time.monotonic() - began
        printed = await _printed(real.log(job))
        if status.state is not JobState.COMPLETED:
            ended = f"{status.state.value} {status.reason}".strip()
            return _refused(setup, f"a job with these settings ended badly ({ended}): {printed or 'it said nothing'}")
        if not printed:
            return _refused(
                setup, f"a job with these settings ended well, but its log is not in {folder}: does the node have that "
                "folder? 'folder:' names one that it has",
            )  # fmt: skip
        told = json.loads(printed.splitlines()[-1])
        queues = None
        with suppress(CorralError):
            queues = await real.talk(plugin.describe_queues()) if hasattr(plugin, "describe_queues") else None
    found = dict(_lacks(setup, plugin, queues, told["host"]))
    return CheckUp(
        setup=setup, version=detected.version or "of unknown version", lacks={**found, **setup.lacks}, took=took
    )


async def _why_it_waits(real: RealJobs, job: JobId) -> str:
    with suppress(CorralError):
        if words := await real.talk(real.backend.explain_pending(job)):
            return str(words)
    return "nobody says why"


async def _printed(log: Path) -> str:
    """What a job wrote: a file system of the network may show it late, and some batch systems deliver it at the end."""
    for _ in range(50):
        if printed := _read(log):
            return printed
        await asyncio.sleep(0.1)
    return ""


def _read(log: Path) -> str:
    with suppress(OSError):
        return log.read_text().strip()
    return ""


# --- what it can do ---------------------------------------------------------------------------------------------


def _lacks(setup: Setup, plugin: Any, queues: list[Queue] | None, host: str) -> Iterator[tuple[str, str]]:
    """What a batch system is seen not to have. Of what nothing is said, tests find out."""
    ours = [queue for queue in queues or () if queue.name == setup.job.get("queue")] or list(queues or ())
    if ours and not any(queue.gpus for queue in queues or ()):
        yield "gpus", "no queue has any"
    if ours and all(queue.nodes is not None and queue.nodes < 2 for queue in ours):
        yield "nodes", f"queue {ours[0].name!r} has one node"
    if not getattr(plugin, "arrays", True):
        yield "arrays", "backend_options say so: arrays is false"
    if os.geteuid() != 0:
        yield "root", "these tests do not run as root"
    if host != socket.gethostname():
        yield "here", f"jobs run on {host}"
    yield from SPECIAL.get(setup.backend, _other)(setup, plugin)


def _other(setup: Setup, plugin: Any) -> Iterator[tuple[str, str]]:
    if not setup.is_own:
        yield "testbed", f"{setup.where} says that it is another"


def _asked(*command: str) -> str:
    """What a command prints; nothing, if it fails."""
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    return ""


#: The partitions that slurm-up.sh makes.
PARTITIONS = {"batch", "short", "preempt", "gpu", "makers"}


def _slurm(setup: Setup, plugin: Any) -> Iterator[tuple[str, str]]:
    config = dict(re.findall(r"^(\w+)\s*= (.*?)\s*$", _asked("scontrol", "show", "config"), re.MULTILINE))
    if int(config.get("MaxArraySize", "2")) < 2:
        yield "arrays", f"MaxArraySize is {config['MaxArraySize']}"
    if config.get("AccountingStorageType", "(null)") in ("(null)", "accounting_storage/none"):
        yield "accounting", "there is no slurmdbd"
    owner = config.get("SlurmUser", "").partition("(")[0]
    if os.geteuid() != 0 and owner != os.environ.get("USER"):
        yield "control", f"only root and {owner or 'its administrator'} may change it"
    if missing := PARTITIONS - set(_asked("sinfo", "-h", "-o", "%R").split()):
        yield "testbed", f"there is no partition {', '.join(sorted(missing))}"


def _sge(setup: Setup, plugin: Any) -> Iterator[tuple[str, str]]:
    environments = set(_asked("qconf", "-spl").split())
    for ability, option in (("cores", "parallel_environment"), ("nodes", "multi_node_environment")):
        named = getattr(plugin, option)
        if named is None:
            yield ability, f"backend_options name no {option}"
        elif "{" not in named and named not in environments:
            yield ability, f"there is no parallel environment {named!r}: qconf -spl"
    if plugin.gpu_resource is None:
        yield "gpus", "backend_options name no gpu_resource"
    if not setup.is_own or "smp" not in environments:
        yield "testbed", "there is no parallel environment 'smp'"


def _oar(setup: Setup, plugin: Any) -> Iterator[tuple[str, str]]:
    if plugin.gpu_resource is None:
        yield "gpus", "backend_options name no gpu_resource"
    yield from _other(setup, plugin)


SPECIAL: Mapping[str, Callable[[Setup, Any], Iterator[tuple[str, str]]]] = {"oar": _oar, "sge": _sge, "slurm": _slurm}
