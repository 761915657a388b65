"""RAPIDS without a GPU: dask-cuda, rmm and distributed-ucxx are stood in for by what they are called and how.

The plugins' arguments and the preload's option are those of dask-cuda 26.08; UCX is TCP by another name.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed.comm import registry

from corral.errors import InvalidRequest
from corral.request.drawing import draw

DOCS = Path(__file__).parent.parent / "docs"

STAND_INS = {
    "dask_cuda/__init__.py": "",
    "dask_cuda/initialize.py": """
        import click
        import os
        from distributed import Worker

        @click.command()
        @click.option("--create-cuda-context/--no-create-cuda-context", default=False)
        def dask_setup(worker, create_cuda_context):
            # In the worker, not in its nanny, and on a device of its own.
            assert isinstance(worker, Worker) and create_cuda_context
            os.environ["CONTEXT_ON"] = os.environ["CUDA_VISIBLE_DEVICES"]
        """,
    "dask_cuda/plugins.py": """
        import os
        from distributed import WorkerPlugin

        class CUDFSetup(WorkerPlugin):
            def __init__(self, spill, spill_stats):
                self.spill = spill

        class RMMSetup(WorkerPlugin):
            def __init__(
                self, initial_pool_size, maximum_pool_size, managed_memory, async_alloc, release_threshold,
                log_directory, track_allocations, external_lib_list,
            ):
                self.initial_pool_size = initial_pool_size

            def setup(self, worker=None):
                import rmm

                assert os.environ["CONTEXT_ON"] == os.environ["CUDA_VISIBLE_DEVICES"]
                rmm.reinitialize(pool_allocator=True, initial_pool_size=self.initial_pool_size)
        """,
    "rmm/__init__.py": """
        from rmm import mr

        def reinitialize(pool_allocator, initial_pool_size):
            mr.current = mr.PoolMemoryResource()
        """,
    "rmm/mr.py": """
        class CudaMemoryResource: pass
        class PoolMemoryResource: pass

        current = CudaMemoryResource()

        def get_current_device_resource():
            return current
        """,
    "distributed_ucxx.py": """
        from distributed.comm.tcp import TCPBackend, TCPConnector, TCPListener

        class Connector(TCPConnector):
            prefix = "ucxx://"

        class Listener(TCPListener):
            prefix = "ucxx://"

        class UCXXBackend(TCPBackend):
            _connector_class = Connector
            _listener_class = Listener
        """,
    "distributed_ucxx-1.dist-info/METADATA": "Name: distributed-ucxx\nVersion: 1\n",
    "distributed_ucxx-1.dist-info/entry_points.txt": """
        [distributed.comm.backends]
        ucxx = distributed_ucxx:UCXXBackend
        """,
}


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of packages, for this process and those that it starts."""
    folder = tmp_path / "stand-ins"
    for name, text in STAND_INS.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip())
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])))
    monkeypatch.setattr(registry, "backends", dict(registry.backends))
    # Whoever comes next has a folder of its own.
    monkeypatch.delitem(sys.modules, "distributed_ucxx", raising=False)
    yield folder
    sys.modules.pop("distributed_ucxx", None)


def printed(tmp_path: Path, *changes: tuple[str, str]) -> str:
    """What the recipe prints, with these changes."""
    text = (DOCS / "examples" / "rapids.py").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    script = tmp_path / "rapids.py"
    script.write_text(text)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=150)
    assert done.returncode == 0, done.stderr
    return done.stdout


def is_as_promised(output: str) -> bool:
    """Two workers, one for each GPU, over UCX, with memory from a pool."""
    pattern = r"over \['ucxx'\]\non \[\('(\d)', 'PoolMemoryResource'\), \('(\d)', 'PoolMemoryResource'\)\]\n"
    match = re.fullmatch(pattern, output)
    return match is not None and len(set(match.groups())) == 2


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("stand_ins", "state_directory")
def test_the_recipe_on_the_embedded_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives no devices: they are handed in, as a batch system does."""
    monkeypatch.setenv("DASK_CORRAL__COMMANDS_PER_MINUTE", "1000")
    options = {"directory": str(tmp_path / "q"), "cores": 4, "memory": "8GB", "gpus": 2}
    queue = f'interface="lo", backend_options={options!r},'
    output = printed(tmp_path, ('backend="slurm",', 'backend="local",'), ('queue="gpu",', queue))
    assert is_as_promised(output), output


@pytest.mark.real("slurm")
@pytest.mark.needs("testbed")
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("stand_ins", "state_directory", "leaves_nothing")
def test_the_recipe_on_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands."""
    monkeypatch.setenv("DASK_CORRAL__COMMANDS_PER_MINUTE", "1000")
    output = printed(tmp_path)
    assert is_as_promised(output), output


@pytest.mark.parametrize(
    ("protocol", "security", "words"),
    [
        ("ucxx", True, "security=False"),
        ("ucxx", None, "security=False"),
        ("tls", False, "leave security= out"),
        ("wss", False, "needs certificates"),
        ("inproc", False, "reaches nobody outside of this process"),
        ("ucxy", False, "has to be installed"),
    ],
)
@pytest.mark.usefixtures("stand_ins")
def test_protocols_that_cannot_be(protocol: str, security: bool | None, words: str) -> None:
    """Before anything is submitted, with the cure."""
    with pytest.raises(InvalidRequest, match="(?i)" + re.escape(words)) as refusal:
        draw({"backend": "local", "memory": "1GB", "security": security, "scheduler_options": {"protocol": protocol}})
    assert refusal.value.argument == "scheduler_options"


@pytest.mark.usefixtures("stand_ins")
def test_a_protocol_that_cannot_be_loaded(stand_ins: Path) -> None:
    """The reason is its own."""
    (stand_ins / "distributed_ucxx.py").write_text("raise ImportError('libucp.so.0: cannot open shared object file')")
    with pytest.raises(InvalidRequest, match="libucp.so.0"):
        draw({"backend": "local", "memory": "1GB", "security": False, "scheduler_options": {"protocol": "ucxx"}})


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("protocol", ["tcp", "tcp://", "ws", "ucxx", "ucxx://"])
def test_protocols_without_certificates(protocol: str) -> None:
    """All that there are."""
    draw({"backend": "local", "memory": "1GB", "security": False, "scheduler_options": {"protocol": protocol}})
