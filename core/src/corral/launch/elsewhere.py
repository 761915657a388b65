"""What a job's script has set up on its first node, for the launchers on the others.

Parallel launchers such as srun take the environment along; remote shells (pbs_tmrsh, pbsdsh, qrsh, oarsh) begin with
one of their own. So the script notes its environment before and after its own lines, and the first launcher writes the
difference down: what `env`, `inherit_env`, `modules`, `conda_env` and the prologue have done, once for the job. The
rest, such as a node's own scratch folder or GPUs, is what the batch system says there.

It travels as a shell script in the private folder of the credentials, because command lines can be read by everybody
on a node. Each node runs it; the words that run Python are those of the job's script, a container's for example.
"""

from __future__ import annotations

import base64
import os
import re
import shlex
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from corral.errors import NotPrivate
from corral.host.private import open_private_folder
from corral.launch.ending import say
from corral.plugin.scripting import AFTER, BEFORE, COMMAND
from corral.plugin.values import JobId

#: Those that say where this shell is, and those that brought the rest here.
_OWN = frozenset({"_", "SHLVL", "PWD", "OLDPWD", BEFORE, AFTER, COMMAND})
#: Where programs and libraries are is the same on all nodes of a job, whoever has said it.
_ALWAYS = frozenset({"PATH", "LD_LIBRARY_PATH", "PYTHONPATH"})


def taken_environment(environ: Mapping[str, str]) -> tuple[dict[str, str], set[str]] | None:
    """What the job's script has set, and what it has taken away; None if it did not say.

    Parameters
    ----------
    environ
        This process's. Where the script runs Python in a container, that has changed it: other nodes are to have what
        was there outside.
    """
    try:
        before, after = _noted(environ[BEFORE]), _noted(environ[AFTER])
    except (KeyError, ValueError, zlib.error):
        return None
    changed = {
        name: value
        for name, value in after.items()
        if name in _ALWAYS or before.get(name) != value or environ.get(name) != value
    }
    gone = (before.keys() | environ.keys()) - after.keys()
    return {name: changed[name] for name in changed if _may_travel(name)}, set(filter(_may_travel, gone))


def _noted(text: str) -> dict[str, str]:
    lines = os.fsdecode(zlib.decompress(base64.b64decode(text), wbits=zlib.MAX_WBITS | 16)).split("\0")
    return {name: value for name, has_value, value in (line.partition("=") for line in lines) if has_value}


def _may_travel(name: str) -> bool:
    # bash exports functions under names that no shell takes: BASH_FUNC_module%%.
    return name not in _OWN and re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) is not None


def python_words(environ: Mapping[str, str], arguments: Sequence[str], otherwise: Sequence[str]) -> list[str]:
    """What ran this launcher in the job's script: all words before its arguments."""
    words = shlex.split(environ.get(COMMAND, ""))
    count = len(words) - len(arguments)
    return words[:count] if count > 0 and words[count:] == list(arguments) else list(otherwise)


@contextmanager
def written_for_other_nodes(
    credentials: str, job_id: JobId, handed_down: Mapping[str, str], command: Sequence[str], environ: Mapping[str, str]
) -> Iterator[list[str] | None]:
    """Have a private script that runs `command` as it would run here; None: there is none, and the log says why.

    Yields
    ------
    list[str] | None
        The command that runs the script on any node.
    """
    taken = taken_environment(environ)
    if taken is None:
        if COMMAND in environ:
            say("what the job's script has set up is too large to pass on: other nodes get only part of it")
        yield None
        return
    variables, gone = taken
    lines = [f"unset -v {name}" for name in sorted({*gone, BEFORE, AFTER, COMMAND})]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in {**variables, **handed_down}.items()]
    lines += [f"cd {shlex.quote(os.getcwd())} 2>/dev/null", f'exec {shlex.join(command)} "$@"']
    # It matches corral.host.home.NODE_SCRIPT.
    job = re.sub(r"[^\w.-]", "_", str(job_id), flags=re.ASCII)
    folder, name = Path(credentials).parent, f"node-{job}.sh"
    try:
        with open_private_folder(folder) as private:
            private.replace(name, "\n".join([*lines, ""]))
    except (NotPrivate, OSError) as error:
        say(f"other nodes get only part of what the job's script has set up: {error}")
        yield None
        return
    try:
        yield ["/bin/sh", str(folder / name)]
    finally:
        with suppress(NotPrivate, OSError), open_private_folder(folder) as private:
            private.remove(name)
