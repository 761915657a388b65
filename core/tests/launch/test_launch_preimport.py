"""One import for all workers of a node; and what happens to modules that cannot be had that way."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import pytest

from corral.launch.options import Options
from corral.launch.preimport import Preimport
from corral.request.worker_group import JOB_ENVIRONMENT

if TYPE_CHECKING:
    from core.tests.launch.conftest import Cluster

#: Modules that workers could not be forked with, or that cannot be imported, and what is said of them.
ODD = {
    "threaded": (
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n",
        "its import starts 1 thread, with which workers cannot be forked",
    ),
    "connected": (
        "import socket\npair = socket.socketpair()\n",
        "its import opens socket, with which workers cannot be forked",
    ),
    "parental": (
        "import os, time\nparent = os.getpid()\nif os.fork() == 0:\n    while os.getppid() == parent:\n"
        "        time.sleep(0.05)\n    os._exit(0)\n",
        "its import starts a process, with which workers cannot be forked",
    ),
    "crashing": (
        "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n",
        "importing it ended the process by SIGSEGV",
    ),
    "leaving": ("import os\nos._exit(3)\n", "importing it ended the process with code 3"),
    "exiting": ("raise SystemExit('not today')\n", "SystemExit: not today"),
    "failing": ("raise OSError('libnot.so: cannot be opened')\n", "OSError: libnot.so: cannot be opened"),
    "needing": ("import not_installed_anywhere\n", "it needs 'not_installed_anywhere', which is missing"),
    "nameless": ("raise ModuleNotFoundError('bring torch')\n", "ModuleNotFoundError: bring torch"),
    # In a message, each of these takes twelve bytes.
    "wordy": ("raise ValueError('\U0001f40e' * 9000)\n", f"ValueError: {chr(0x1F40E) * 9000}"[:250]),
}


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A folder of modules, for PYTHONPATH."""
    folder = tmp_path / "modules"
    folder.mkdir()
    for name, (text, _) in ODD.items():
        (folder / f"{name}.py").write_text(text)
    (folder / "plain.py").write_text(
        "import os, numpy.random\nprint('plain was imported', end=' ')\npid = os.getpid()\n"
        "seen = os.environ.get('SEEN_AT_IMPORT')\nrandom = numpy.random\n"
    )
    return folder


def searched(modules: Path) -> str:
    """The search path of a launcher that finds these modules, and what this process finds."""
    return os.pathsep.join(filter(None, [str(modules), os.environ.get("PYTHONPATH")]))


def loaded() -> dict[str, Any]:
    """In a worker: which of these modules it has, and what the plain one saw."""
    plain = sys.modules.get("plain")
    return {
        "names": sorted({*ODD, "plain"} & sys.modules.keys()),
        "pid": getattr(plain, "pid", None),
        "seen": getattr(plain, "seen", None),
    }


async def test_workers_start_with_what_was_imported_once(cluster: Cluster, modules: Path) -> None:
    """All of them have it from the same process, and what it printed is printed once."""
    launched = await cluster.connect(
        "--workers=3", "--preimport=plain", PYTHONPATH=searched(modules), PYTHONUNBUFFERED=""
    )
    async with cluster.client() as client:
        found = list((await client.run(loaded)).values())

    assert len(found) == 3
    assert all(each["names"] == ["plain"] for each in found)
    assert len({each["pid"] for each in found}) == 1
    assert (await cluster.report("ready"))["left_out"] == {}
    launched.signal(signal.SIGTERM)
    _, said = await launched.end()
    assert said.count("plain was imported") == 1


async def test_what_is_always_used_needs_no_name(cluster: Cluster) -> None:
    """Each worker would import the handlers of its HTTP server, and numpy's random numbers, before its first task."""

    def before_fork() -> bool:
        # What was frozen before the fork is not looked at by collections.
        looked_at = {id(each) for each in gc.get_objects()}
        return all(id(sys.modules[name].__dict__) not in looked_at for name in ("prometheus_client", "numpy.random"))

    await cluster.connect("--workers=1")
    async with cluster.client() as client:
        assert list((await client.run(before_fork)).values()) == [True]


async def test_handlers_of_a_site_are_imported_by_workers(cluster: Cluster, modules: Path) -> None:
    """They may start threads, with which the launcher could not fork."""
    (modules / "site_handlers.py").write_text(ODD["threaded"][0] + "routes = []\n")
    routes = "['distributed.http.health', 'site_handlers']"
    await cluster.connect(
        "--preimport=plain", PYTHONPATH=searched(modules), DASK_DISTRIBUTED__WORKER__HTTP__ROUTES=routes
    )

    assert (await cluster.report("ready"))["left_out"] == {}
    async with cluster.client() as client:
        assert list((await client.run(lambda: "site_handlers" in sys.modules)).values()) == [True]


async def test_modules_that_cannot_be_forked_with_are_left_out(cluster: Cluster, modules: Path) -> None:
    """Each is told with its reason, and workers start with all others."""
    names = ["threaded", "plain", *(name for name in ODD if name != "threaded"), "missing.part"]
    launched = await cluster.connect("--workers=2", f"--preimport={','.join(names)}", PYTHONPATH=searched(modules))

    left_out = (await cluster.report("ready"))["left_out"]
    expected = {name: why for name, (_, why) in ODD.items()} | {"missing.part": "there is no module 'missing'"}
    assert left_out == expected
    async with cluster.client() as client:
        assert [each["names"] for each in (await client.run(loaded)).values()] == [["plain"]] * 2
        # Left out, not forbidden.
        assert set((await client.run(lambda: __import__("connected").__name__)).values()) == {"connected"}
    launched.signal(signal.SIGTERM)
    _, said = await launched.end()
    for name, why in expected.items():
        assert f"corral: {name} was not imported before the workers: {why}" in said
    assert await launched.nothing_is_left()


async def test_chance_is_not_shared_with_what_was_imported(cluster: Cluster, modules: Path) -> None:
    """numpy's generator is seeded when it is imported: copies would all draw the same."""
    await cluster.connect("--workers=3", "--preimport=plain", PYTHONPATH=searched(modules))
    async with cluster.client() as client:
        drawn = await client.run(lambda: sys.modules["plain"].random.rand())  # noqa: PLW0108 - it would draw here

    assert len(set(drawn.values())) == 3


async def test_what_modules_change_stays_changed(cluster: Cluster, modules: Path) -> None:
    """Variables, folders and Dask's configuration, as if the worker had imported them itself."""
    (modules / "meddling.py").write_text(
        "import os, sys\nos.environ['SET_AT_IMPORT'] = 'yes'\ndel os.environ['UNWANTED']\n"
        "sys.path.insert(0, '/first')\nsys.path.append('/last')\n"
        "import dask\ndask.config.set({'dataframe.convert-string': 'meddled', 'array.slicing.split': 'meddled'})\n"
    )
    await cluster.connect("--preimport=meddling", PYTHONPATH=searched(modules), UNWANTED="yes")
    async with cluster.client() as client:
        [found] = (
            await client.run(
                # distributed puts a worker's own folder before all others.
                lambda: (os.environ.get("SET_AT_IMPORT"), os.environ.get("UNWANTED"), sys.path[1], sys.path[-1])
            )
        ).values()
        [configured] = (
            await client.run(
                lambda: [
                    dask.config.get(key)
                    for key in ("dataframe.convert-string", "array.slicing.split", "distributed.worker.memory.spill")
                ]
            )
        ).values()
        # Nor does a restart by the nanny change it.
        await client.restart(timeout=20)
        [again] = (await client.run(lambda: os.environ.get("SET_AT_IMPORT"))).values()

    assert found == ("yes", None, "/first", "/last")
    # With the rest of it as it is configured.
    assert configured == ["meddled", "meddled", 0.7]
    assert again == "yes"


async def test_modules_see_the_variables_that_workers_have(cluster: Cluster, modules: Path) -> None:
    """Some read them once, when they are imported."""
    options = '--worker-options={"env": {"SEEN_AT_IMPORT": "yes"}}'
    await cluster.connect("--preimport=plain", options, PYTHONPATH=searched(modules))
    async with cluster.client() as client:
        assert [each["seen"] for each in (await client.run(loaded)).values()] == ["yes"]


async def test_spawned_workers_share_no_import(cluster: Cluster, modules: Path) -> None:
    """That is said, and they start."""
    await cluster.connect("--preimport=plain", "--launcher=spawn", PYTHONPATH=searched(modules))

    [why] = (await cluster.report("ready"))["left_out"].values()
    assert why == "launcher='spawn': workers are spawned, and share no imports"


async def test_why_workers_are_spawned_is_why_nothing_is_shared(cluster: Cluster, modules: Path) -> None:
    """A thread that the launcher itself has is not the fault of a module that was named."""
    # Python imports this first of all.
    (modules / "sitecustomize.py").write_text(ODD["threaded"][0])
    await cluster.connect("--preimport=plain", PYTHONPATH=searched(modules))

    [why] = (await cluster.report("ready"))["left_out"].values()
    assert why == "2 threads are running: workers are spawned, and share no imports"


def test_an_import_that_does_not_end_is_given_up(modules: Path) -> None:
    """The job's log says what workers wait for, and they start with what else there is."""
    (modules / "hanging.py").write_text("import threading\nthreading.Event().wait()\n")
    code = (
        "import sys\nfrom corral.launch import preimport\npreimport._LONG = 1\n"
        "what = preimport.Preimport(modules=['plain', 'hanging'], patience=5)\n"
        "zygote, left_out = preimport.fork_prepared(print, sys.argv[1], what)\n"
        "print(zygote.kill(), left_out)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(modules / "scratch")], env={**os.environ, **JOB_ENVIRONMENT,
        "PYTHONPATH": searched(modules)}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "{'hanging': 'importing it had not ended after 5 s (death_timeout=)'}" in done.stdout
    assert "corral: importing hanging takes more than 1 s: workers wait for it, for 5 s at most" in done.stderr


def test_an_import_may_take_as_long_as_a_worker_may_to_connect() -> None:
    """A death_timeout for a slow file system holds for imports, too."""
    options = Options.parse(["--credentials=c", "--cluster-created=0", "--death-timeout=300", "--preimport=a,b,a"])
    assert (Preimport.of(options).modules, Preimport.of(options).patience) == (("a", "b"), 300)


def test_modules_start_no_more_threads_than_a_worker_has_cpus() -> None:
    """Whatever is asked for: a bound worker is told the same before it imports anything itself."""
    asked = {"OMP_NUM_THREADS": "8", "MKL_NUM_THREADS": "1", "A": "9"}
    env = json.dumps({"env": asked})
    options = Options.parse(["--credentials=c", "--cluster-created=0", f"--worker-options={env}"])
    assert Preimport.of(options).environ.items() >= asked.items()
    assert Preimport.of(options, cpus=2).environ.items() >= {**asked, "OMP_NUM_THREADS": "2"}.items()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_launcher_can_end_while_a_module_is_imported(
    cluster: Cluster, modules: Path, number: signal.Signals
) -> None:
    """However long an import would take, nothing of the job is left when its launcher has ended."""
    begun = modules / "begun"
    (modules / "endless.py").write_text(
        textwrap.dedent(f"""
            import os, time
            os.mkfifo({str(begun)!r}) if not os.path.exists({str(begun)!r}) else None
            with open({str(begun)!r}, "w") as told:
                told.write(str(os.getpid()))
            time.sleep(600)
        """)
    )
    launched = await cluster.start("--preimport=endless", PYTHONPATH=searched(modules))
    importer = await _first_line(begun)
    family = launched.descendants()
    assert importer in {process.pid for process in family}

    launched.signal(number)
    await launched.end()

    if number == signal.SIGKILL:
        for process in family:
            process.wait(10)
    else:
        assert await launched.nothing_is_left()


async def _first_line(fifo: Path) -> int:
    with contextlib.suppress(FileExistsError):
        os.mkfifo(fifo)
    return int(await asyncio.to_thread(fifo.read_text))
