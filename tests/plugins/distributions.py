"""The distributions of this workspace as they are published: each built from its folder alone.

`nox -s dists` and `nox -s recipes` begin with this, and tests/test_distributions.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import EntryPoints, PathDistribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from attrs import frozen
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from email.message import Message

ROOT = Path(__file__).parents[2]

#: The folder of each distribution by its name, the core first; then the others by their folders.
FOLDERS: Mapping[str, Path] = {
    "corral": ROOT / "core",
    **{
        f"corral-{path.parent.name}": path.parent
        for kind in ("plugins", "contrib")
        for path in sorted(ROOT.glob(f"{kind}/*/pyproject.toml"))
    },
}

#: What a folder has that is nobody's source.
_MADE = shutil.ignore_patterns("__pycache__", ".*", "dist", "build", "*.egg-info")


@frozen
class Built:
    """A distribution, built."""

    name: str
    sdist: Path
    #: Built from that sdist, not from the folder.
    wheel: Path

    @property
    def _installed(self) -> PathDistribution:
        """As importlib.metadata would see it after an installation."""
        stem = "-".join(self.wheel.name.split("-")[:2])
        return PathDistribution(zipfile.Path(self.wheel, f"{stem}.dist-info/"))

    @property
    def metadata(self) -> Message:
        """The fields of METADATA; its payload is the README."""
        return self._installed.metadata  # type: ignore[return-value]

    @property
    def entry_points(self) -> EntryPoints:
        """Of all groups."""
        return self._installed.entry_points

    @property
    def files(self) -> Sequence[str]:
        """What the wheel installs, and its metadata; by their paths."""
        with zipfile.ZipFile(self.wheel) as archive:
            return archive.namelist()

    def requirements(self, extra: str = "") -> list[Requirement]:
        """What an installation needs; with an extra, also what that adds."""
        found = [Requirement(line) for line in self.metadata.get_all("Requires-Dist") or []]
        return [each for each in found if each.marker is None or each.marker.evaluate({"extra": extra})]


#: Run in a distribution's folder: an sdist, and a wheel from what that unpacks to, by the hooks that installers call.
_BUILD = """
import importlib, os, sys, tarfile, tomllib
into, room = sys.argv[1:]
with open("pyproject.toml", "rb") as file:
    backend = importlib.import_module(tomllib.load(file)["build-system"]["build-backend"])
sdist = backend.build_sdist(into)
with tarfile.open(os.path.join(into, sdist)) as archive:
    archive.extractall(room)
os.chdir(os.path.join(room, sdist.removesuffix(".tar.gz")))
backend.build_wheel(into)
"""


def build(name: str, into: Path) -> Built:
    """An sdist from nothing but the distribution's own folder, and a wheel from that sdist.

    The build backend is this environment's own: one for each would take minutes.
    """
    into.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="alone-") as elsewhere:
        folder = shutil.copytree(FOLDERS[name], Path(elsewhere, "folder"), ignore=_MADE)
        outcome, room = Path(elsewhere, "dist"), Path(elsewhere, "unpacked")
        outcome.mkdir()
        run(sys.executable, "-c", _BUILD, outcome, room, cwd=folder)
        [sdist], [wheel] = outcome.glob("*.tar.gz"), outcome.glob("*.whl")
        return Built(name=name, sdist=_moved(sdist, into), wheel=_moved(wheel, into))


def build_all(names: Sequence[str], into: Path) -> dict[str, Built]:
    """As many at once as there are processors."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(names, pool.map(lambda name: build(name, into), names)))


def closure(name: str, built: Mapping[str, Built], *extras: str) -> Iterator[Built]:
    """The distribution, and all of ours that it needs."""
    wanted = [name]
    for each in wanted:
        yield built[each]
        needed = [found for extra in ("", *extras) for found in built[each].requirements(extra)]
        ours = [canonicalize_name(found.name) for found in needed if canonicalize_name(found.name) in built]
        wanted += [found for found in dict.fromkeys(ours) if found not in wanted]


def run(*command: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """What a command wrote; where it failed, that is what is raised.

    Raises
    ------
    RuntimeError
        It failed.
    """
    done = subprocess.run(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def _moved(path: Path, into: Path) -> Path:
    return Path(shutil.move(path, into / path.name))
