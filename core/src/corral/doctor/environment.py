"""What is installed here, and how this host greets: plugins, versions, the login shell."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from importlib import metadata

from corral.errors import PluginError, excerpt
from corral.plugin import discovery
from corral.plugin.hookspecs import CONTRACT
from corral.plugin.scripting import SHELLS
from corral.plugin.sites_here import survey_sites
from corral.plugin.values import Finding, Verdict

#: Without these no worker works; those of the first row must be of one version everywhere.
ALIKE = ("corral", "dask", "distributed")
NEEDED = (*ALIKE, "cloudpickle", "msgpack", "tornado", "toolz")
#: What tasks often use.
USUAL = ("lz4", "numpy", "pandas", "pyarrow", "xarray", "zarr")

#: A shell that takes longer is slow (s), and one that takes so long is ended.
_SLOW = 2.0
_PATIENCE = 20.0
_OTHER_SHELLS = ("csh", "tcsh", "fish")


def installed(names: Iterable[str]) -> dict[str, str]:
    """The versions of those packages that are here."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def versions() -> Finding:
    """Whether this Python has what a cluster needs."""
    here = installed(NEEDED)
    if missing := [name for name in NEEDED if name not in here]:
        return Finding(
            subject="versions",
            verdict=Verdict.WRONG,
            text=f"{sys.executable} lacks {', '.join(missing)}",
            cure=f"Install them here: python -m pip install {' '.join(missing)}",
        )
    words = ", ".join(f"{name} {here[name]}" for name in ALIKE)
    text = f"{words}; Python {sys.version.split()[0]}, {sys.executable}"
    if here["dask"] != here["distributed"]:
        return Finding(
            subject="versions",
            verdict=Verdict.DOUBTFUL,
            text=f"{text}; dask and distributed of two versions were not made for each other",
            cure=f"python -m pip install 'dask=={here['distributed']}'",
        )
    return Finding(subject="versions", verdict=Verdict.GOOD, text=text)


def plugins() -> Iterator[Finding]:
    """Each plugin that cannot be used, and those that can."""
    good, bad = [], {}
    for plugin in discovery.installed():
        if plugin.kind == "backend":
            try:
                if plugin.contract != CONTRACT:
                    raise discovery.other_contract(plugin)
                _ = plugin.facts
            except PluginError as error:
                bad[plugin] = error.problem
            else:
                good.append(plugin)
    for asked in survey_sites():
        if asked.problem:
            bad[asked.plugin] = asked.problem
        else:
            good.append(asked.plugin)
    for plugin, problem in bad.items():
        yield Finding(
            subject=f"{plugin.kind} {plugin.name}",
            verdict=Verdict.DOUBTFUL,
            text=f"cannot be used: {problem}",
            cure=f"Upgrade {plugin.distribution}, or install it again; or uninstall it, if you do not need it",
        )
    names = ", ".join(
        f"{plugin.name} ({plugin.distribution} {plugin.version})"
        for plugin in [*discovery.usable("backend", good), *discovery.usable("site", good)]
    )
    yield Finding(subject="plugins", verdict=Verdict.GOOD, text=names or "none")


async def login_shell() -> Finding:
    """Whether the user's shell prints something, or is slow, when it starts without a terminal."""
    shell = pwd.getpwuid(os.geteuid()).pw_shell or "/bin/sh"
    name = os.path.basename(shell)
    if name not in (*SHELLS, *_OTHER_SHELLS) or not os.access(shell, os.X_OK):
        return Finding(subject="login shell", verdict=Verdict.GOOD, text=f"{shell} is none that starts anything")
    # csh takes -l alone; what it reads without it is what prints.
    said, seconds = await _started(shell, *(["-c"] if name in ("csh", "tcsh") else ["-l", "-c"]))
    # On a busy host everything is slow: what counts is what the profile adds.
    bare = 0.0 if seconds < _SLOW else (await _started(shell, "-c"))[1]
    figures = {"start_s": seconds}
    if said:
        return Finding(
            subject="login shell",
            verdict=Verdict.DOUBTFUL,
            text=f"{name} prints when it starts, which ends up in front of what commands answer: {excerpt(said, 120)}",
            cure="Have your profile print only in a terminal: put `case $- in *i*) ;; *) return ;; esac` before it",
            figures=figures,
        )
    if seconds - bare > _SLOW:
        took = f"takes {seconds:.1f} s" if seconds < _PATIENCE else f"has not started within {_PATIENCE:.0f} s"
        return Finding(
            subject="login shell",
            verdict=Verdict.DOUBTFUL,
            text=f"{name} {took}",
            cure="Look at what your profile runs, such as `conda init`: many commands and jobs wait for it",
            figures=figures,
        )
    return Finding(
        subject="login shell", verdict=Verdict.GOOD, text=f"{name} starts silently in {seconds:.1f} s", figures=figures
    )


async def _started(shell: str, *options: str) -> tuple[str, float]:
    """What a shell prints that has nothing to do, and how long it takes (s), `_PATIENCE` at most."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        shell,
        *options,
        "exit 0",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    said = b""
    try:
        async with asyncio.timeout(_PATIENCE):
            said, _ = await process.communicate()
    except TimeoutError:
        # With what it has started, which may hold its output open.
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    return said.decode(errors="replace").strip(), time.monotonic() - began
