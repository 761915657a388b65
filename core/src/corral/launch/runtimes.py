"""Containers, and whatever else is put before the workers' Python: the words that run it on a node."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import asdict, field, frozen

from corral.host.gpus import GPU_VARIABLES
from corral.launch.ending import Ended, Exit
from corral.text.variables import expanded

#: What has an image run a command, where nobody says what does.
USUAL = ("apptainer", "exec")
#: Its older name, and that of its sibling.
_OTHERWISE = "singularity"
#: These run files, and know the same variables and options.
BY_FILE = (USUAL[0], _OTHERWISE)
#: What it shares with its node by itself.
_ANYWAY = ("/tmp", "/var/tmp")  # noqa: S108 - they are named, not written to
#: Set on the node for this job, and of use inside.
_OF_THE_NODE = ("CORRAL_JOB_ID", "TMPDIR", "NVIDIA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", *sorted(GPU_VARIABLES))
#: Where podman's `--volume=FROM:TO` and `--mount=…,target=TO` mount something.
_MOUNTED = re.compile(r"(?:^|=)/[^:]*:(/[^:]*)|\b(?:dst|destination|target)=([^,]+)")
#: Apptainer has a shell evaluate what it is given by name.
_PLAIN = re.compile(r"[\w.,:/@%+= -]*", re.ASCII)


def _texts(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(values)


@frozen(kw_only=True)
class Inside:
    """What a launcher becomes on its node."""

    #: Words before the rest: what runs the container, with its options. Variables in them are the node's.
    prefix: tuple[str, ...] = field(default=(), converter=_texts)
    #: As the runtime names it; None: the prefix says all.
    image: str | None = None
    #: The words that run Python there.
    python: tuple[str, ...] = field(converter=_texts)
    #: Names of the job's variables that must be the same there.
    variables: tuple[str, ...] = field(default=(), converter=_texts)

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Inside:
        """What `written` gave.

        Raises
        ------
        TypeError
        """
        return cls(**fields)

    def written(self) -> dict[str, Any]:
        """In words that JSON has, without what says nothing."""
        return {name: value for name, value in asdict(self).items() if value}


@frozen(kw_only=True)
class _Needs:
    """What a container must be given on this node."""

    image: str
    #: Folders that are to be found there under the same names.
    folders: Sequence[str]
    directory: str
    #: Names of variables that are set here.
    variables: Sequence[str]
    has_nvidia: bool
    has_amd: bool


# --- runtimes -----------------------------------------------------------------------------------------------------


def _mountable(folders: Sequence[str], separators: str) -> Sequence[str]:
    """These folders, which a runtime is told of in a word that these characters divide."""
    for folder in folders:
        if found := set(folder) & set(separators):
            raise Ended(
                Exit.USAGE,
                f"a container cannot have {folder} because of the {min(found)!r} in its name: name other folders with "
                "shared_directory=, local_directory=, or start your program in one",
            )
    return folders


def _apptainer(needs: _Needs, said: Sequence[str]) -> list[str]:
    folders = [folder for folder in needs.folders if folder not in _ANYWAY]
    words = [f"--bind={folder}" for folder in _mountable(folders, ":,")]
    if needs.has_nvidia and not {"--nv", "--nvccli"} & set(said):
        words.append("--nv")
    if needs.has_amd and "--rocm" not in said:
        words.append("--rocm")
    return [*words, needs.image]


def _podman(needs: _Needs, said: Sequence[str]) -> list[str]:
    words = ["--rm", "--network=host"]
    # It refuses two mounts in one place.
    taken = {(match[1] or match[2]).rstrip("/") for word in said if (match := _MOUNTED.search(word))}
    folders = [folder for folder in dict.fromkeys((*needs.folders, needs.directory)) if folder not in taken]
    words += [f"--volume={folder}:{folder}" for folder in _mountable(folders, ":")]
    # By name alone, because everybody can read command lines.
    words += [f"--env={name}" for name in needs.variables]
    return [*words, f"--workdir={needs.directory}", needs.image]


def _podman_hpc(needs: _Needs, said: Sequence[str]) -> list[str]:
    words = ["--gpu"] if needs.has_nvidia and "--gpu" not in said else []
    return [*words, *_podman(needs, said)]


def _shifter(needs: _Needs, _said: Sequence[str]) -> list[str]:
    # It has the file systems that its site has chosen, and the environment.
    return [f"--image={needs.image}"]


#: For each runtime, the words one of which must follow its name, and what comes after those that were said.
_RUNTIMES: Mapping[str, tuple[tuple[str, ...], Callable[[_Needs, Sequence[str]], list[str]]]] = {
    "apptainer": (("exec", "run"), _apptainer),
    "singularity": (("exec", "run"), _apptainer),
    "podman": (("run",), _podman),
    "podman-hpc": (("run",), _podman_hpc),
    "shifter": ((), _shifter),
}


def runtime_in(prefix: Sequence[str]) -> str | None:
    """The name of the runtime that these words run, if it is known."""
    return next((name for name in map(os.path.basename, prefix) if name in _RUNTIMES), None)


def prefix_problem(prefix: Sequence[str]) -> str | None:
    """Why these words cannot run an image; None if they can."""
    runtime = runtime_in(prefix)
    if runtime is None:
        return (
            f"{list(prefix)} has none of {', '.join(_RUNTIMES)}, to which corral would give the image; write the image "
            "into launch_prefix= where it belongs, and leave container= out"
        )
    verbs, _ = _RUNTIMES[runtime]
    if verbs and not set(verbs) & set(prefix):
        return f"{list(prefix)} does not say what {runtime} is to do; add {verbs[0]!r}"
    return None


# --- on a node ------------------------------------------------------------------------------------------------------

CURE = "load its module with modules=, or name another command with launch_prefix="


def launch_words(
    inside: Inside, folders: Sequence[str], environ: Mapping[str, str], *, gpus: int = 0, devices: Path = Path("/dev")
) -> list[str]:
    """The words that run Python inside, on this node.

    Parameters
    ----------
    folders
        What is needed there under the same names.
    gpus
        Of this node: with some, a container is given what its drivers need.

    Raises
    ------
    Ended
        There is no image, no runtime, a variable in the prefix is not set, or a folder cannot be mounted.
    """
    try:
        prefix = [expanded(word, environ) for word in inside.prefix]
    except ValueError as error:
        raise Ended(
            Exit.USAGE, f"launch_prefix: {error}, on {socket.gethostname()}; prologue= or modules= may set it"
        ) from None
    if inside.image is None:
        return [*prefix, *inside.python]
    prefix = prefix or _usual(environ)
    runtime = runtime_in(prefix)
    assert runtime is not None
    if runtime in BY_FILE and os.path.isabs(inside.image) and not os.path.exists(inside.image):
        raise Ended(
            Exit.FAILED,
            f"{inside.image}, the image of container=, is not on {socket.gethostname()}: put it where all nodes see it",
        )
    needs = _Needs(
        image=inside.image,
        folders=folders,
        directory=os.getcwd(),
        variables=_variables(inside, environ),
        has_nvidia=gpus > 0 and (devices / "nvidiactl").exists(),
        has_amd=gpus > 0 and (devices / "kfd").exists(),
    )
    _, add = _RUNTIMES[runtime]
    return [*prefix, *add(needs, prefix), *inside.python]


def _usual(environ: Mapping[str, str]) -> list[str]:
    for name in (USUAL[0], _OTHERWISE):
        if shutil.which(name, path=environ.get("PATH")):
            return [name, *USUAL[1:]]
    raise Ended(Exit.FAILED, f"{socket.gethostname()} has neither {USUAL[0]} nor {_OTHERWISE} where PATH leads: {CURE}")


def _variables(inside: Inside, environ: Mapping[str, str]) -> list[str]:
    return [name for name in dict.fromkeys((*inside.variables, *_OF_THE_NODE)) if name in environ]


def forced_variables(inside: Inside, words: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """What makes Apptainer prefer the job's variables to those of its image.

    Parameters
    ----------
    words
        Of `launch_words`.
    """
    runtime = None if inside.image is None else runtime_in(words)
    if runtime not in BY_FILE:
        return {}
    return {
        f"{runtime.upper()}ENV_{name}": environ[name]
        for name in _variables(inside, environ)
        if _PLAIN.fullmatch(environ[name])
    }
