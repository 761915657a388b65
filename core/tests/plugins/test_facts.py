"""What a backend says of its batch system holds for one that nobody here knows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from corral.errors import InvalidRequest, PluginError
from corral.plugin import discovery

ACME = Path(__file__).parent.parent / "testing" / "acme"

HERD = """
from corral.plugin.facts import BackendFacts, RankVariables
from corral_acme import Acme

class Herd(Acme):
    facts = BackendFacts(
        title="Herd",
        commands=("hsub",),
        variables=("HERD_ROOT",),
        files=("/proc/self/status",),
        enclosing=("HERD_JOB*",),
        server=("HERD_*",),
        carried=("HERD_ROOT",),
        job=("HERD_JOB",),
        ranks=RankVariables(rank="HERD_RANK", sizes=("HERD_SIZE",), launch=("HERD_JOB",)),
        node=("HERD_NODE",),
    )
"""


@pytest.fixture
def herd(tmp_path: Path) -> Path:
    """A folder with the plugin of a batch system that is in no list of the core."""
    metadata = tmp_path / "corral_herd-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: corral-herd\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[corral.backends.v1]\nherd = corral_herd:Herd\n")
    (tmp_path / "corral_herd.py").write_text(HERD)
    return tmp_path


def ask(herd: Path, code: str, **environ: str) -> str:
    """What code prints in a fresh interpreter that has the plugin, and these variables."""
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": f"{herd}{os.pathsep}{ACME}", **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stderr) == (0, "")
    return found.stdout.strip()


def test_its_traces_keep_a_login_node_from_becoming_a_compute_node(herd: Path) -> None:
    """A command, a variable or a file: it may be down for a moment."""
    (herd / "hsub").write_text("#!/bin/sh\n")
    (herd / "hsub").chmod(0o755)
    code = "from corral.batch.detection import traces; import os; print(*traces(os.environ))"
    found = ask(herd, code, PATH=str(herd), HERD_ROOT="/herd").split()
    assert {"hsub", "HERD_ROOT", "/proc/self/status"} <= set(found)


def test_what_its_job_says_of_itself_reaches_no_command(herd: Path) -> None:
    """Whichever backend's; what finds its server does."""
    code = """
from corral.batch.runner import command_environment
from corral.plugin.values import Command
environ = {"HERD_JOB": "7", "HERD_JOB_NODES": "n1", "HERD_ROOT": "/herd", "CORRAL_JOB_ID": "7"}
print(command_environment(environ, Command(["x"])))
from corral.environment.surroundings import inherited
print(inherited(["HERD_*"], environ))
"""
    assert ask(herd, code) == "{'HERD_ROOT': '/herd', 'LC_ALL': 'C'}\n{'HERD_ROOT': '/herd'}"


def test_what_finds_its_server_follows_a_scheduler_into_its_job(herd: Path) -> None:
    """By the order, and no other batch system's."""
    code = """
from corral.remote.spec import take
blueprint, order = take({"backend": "herd", "cores": 1, "memory": "1GB", "walltime": "1h"})
print({name: value for name, value in order.environment.items() if name not in ("PATH", "XDG_STATE_HOME")})
"""
    assert ask(herd, code, HERD_ROOT="/herd", SLURM_CONF="/slurm.conf") == "{'HERD_ROOT': '/herd'}"


def test_its_ranks_are_known(herd: Path) -> None:
    """How many, and what they have in common; also below an mpiexec that does not name its launches."""
    code = "from corral.allocation.rank_environment import find_world; import os; print(find_world(os.environ))"
    herds = {"HERD_RANK": "2", "HERD_SIZE": "5", "HERD_JOB": "77"}
    assert ask(herd, code, **herds) == "World(rank=2, size=5, launch='herd-77')"
    hydra = {"PMI_RANK": "1", "PMI_SIZE": "2", "HERD_JOB": "77"}
    assert ask(herd, code, **hydra) == "World(rank=1, size=2, launch='pmi-77')"


def test_a_node_finds_its_number(herd: Path) -> None:
    """Where host names do not tell the nodes of a job apart."""
    code = """
import asyncio, os
from corral.launch.options import Options
from corral.launch.place import HANDED_DOWN, find_place, handed_down
from corral.plugin import Allocation, JobId
from corral.plugin.discovery import load
allocation = Allocation(job_id=JobId("7"), hosts=["a", "b", "c"])
environ = {**os.environ, HANDED_DOWN: handed_down(allocation, load("herd"))}
print(asyncio.run(find_place(Options.parse(["--credentials=x"]), environ)).node_index)
"""
    assert ask(herd, code, HERD_NODE="2") == "2"


def test_facts_of_another_kind_are_refused_with_the_cure(herd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By who asks for them; who asks for those of all backends goes on without."""
    (herd / "corral_herd.py").write_text("class Herd:\n    facts = {'title': 'Herd'}\n")
    monkeypatch.syspath_prepend(str(herd))
    with pytest.raises(PluginError, match=r"are a dict. Write facts = BackendFacts"):
        discovery.facts_of("herd")


def test_a_backend_without_facts_is_called_by_its_name(herd: Path) -> None:
    """Its variables are likely to begin with that."""
    (herd / "corral_herd.py").write_text("class Herd:\n    pass\n")
    code = """
from corral.plugin.discovery import facts_of
facts = facts_of("herd")
print(facts.title, facts.server, facts.tried)
"""
    assert ask(herd, code) == "herd ('HERD_*',) not said"


def test_of_what_nobody_chose_only_the_facts_are_read(herd: Path) -> None:
    """Backends and sites are imported, and not made."""
    with (herd / "corral_herd.py").open("a") as file:
        file.write("\n    def __init__(self):\n        print('made')\n")
    with (herd / "corral_herd-1.0.dist-info" / "entry_points.txt").open("a") as file:
        file.write("[corral.sites.v1]\nvalley = corral_valley:Valley\n")
    (herd / "corral_valley.py").write_text("class Valley:\n    def __init__(self):\n        print('made')\n")
    code = """
import sys
from corral.plugin.discovery import installed
from corral.request.drawing import draw
draw({"backend": "local", "cores": 1, "memory": "1GB"}).script()
print("valley" in [plugin.name for plugin in installed()], "corral_herd" in sys.modules, "corral_valley" in sys.modules)
"""
    assert ask(herd, code) == "True True True"


def test_no_backend_brings_dask_along() -> None:
    """A launcher loads one before it knows where its program finds Dask."""
    code = "import sys; from corral.plugin import discovery; print({*discovery.all_facts()} >= {'local', 'htcondor'}); "
    code += "print('dask' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\nFalse\n"


def test_jobs_inside_of_jobs_come_first() -> None:
    """A process of a Flux instance in a Slurm job has the variables of both."""
    is_inner = [facts.is_inner for facts in discovery.all_facts().values()]
    assert is_inner == sorted(is_inner, reverse=True)
    assert {True, False} == set(is_inner)


def test_one_backend_is_everywhere() -> None:
    """It is what a machine without a batch system has."""
    assert [discovery.everywhere()] == [name for name, facts in discovery.all_facts().items() if facts.is_everywhere]


@pytest.mark.parametrize(
    ("backend", "option", "words"),
    [
        ("flux", "arrays", "max_array_size of them"),
        ("htcondor", "arrays", "submitted together"),
        ("pbs", "memory_option", "limits of each process"),
        ("pbs", "memory_resource", "limits of each process"),
        ("torque", "memory_option", "memory_resource='pmem'"),
        ("moab", "memory_option", "memory_resource='pmem'"),
        ("sge", "memory_option", "memory_per='job'"),
        ("lsf", "memory_option", "memory_per_slot=True"),
        ("oar", "memory_option", "memory_of='node'"),
    ],
)
def test_an_option_that_people_look_for_is_refused_with_the_reason(backend: str, option: str, words: str) -> None:
    """Other backends have it, so that a list of all options would not help."""
    with pytest.raises(InvalidRequest, match=re.escape(words)):
        discovery.load(backend, options={option: False})
