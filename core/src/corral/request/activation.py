"""Lines of a job's script that load modules and activate environments of Python.

What somebody asked for and cannot be had ends the job. The environment of the program itself was asked for by nobody:
its Python is run by its path, and what belongs to it is set up if it is there. That needs no tool on the node: conda,
micromamba and pixi all make environments of the same layout, whose activation is what `_prefix_lines` does.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from corral.errors import InvalidRequest
from corral.host.machine import only_here

#: Environment Modules 3.2 succeeds whatever happens, and says ``ModuleCmd_Load.c(213):ERROR:105: …``. A module may be
#: loaded under another name than was asked for, so what is not listed is asked for again, in a subshell.
_MODULES_CHECK = """\
for corral_module in {modules}; do
    case ":$LOADEDMODULES:" in
        *":$corral_module:"* | *":$corral_module/"*) ;;
        *) if module load "$corral_module" 2>&1 | grep -q ':ERROR:'; then {failed}; fi ;;
    esac
done"""


#: What ``conda env config vars unset`` writes.
_UNSET = "***unset***"


def module_lines(modules: Sequence[str]) -> list[str]:
    """Load these modules; no line if there is none to load."""
    if not modules:
        return []
    # `module` is a shell function that login shells define; a job script is none.
    load = f"module load {shlex.join(modules)}"
    check = _MODULES_CHECK.format(modules=shlex.join(modules), failed=_failed(load))
    return ["type module >/dev/null 2>&1 || . /etc/profile", or_end(load), check]


def conda_lines(environment: str, *, is_here: bool = True) -> list[str]:
    """Activate a conda environment by its name or path; if that cannot be, the job ends.

    Parameters
    ----------
    is_here
        False: jobs are carried to another host, and what this one has says nothing of it.

    Raises
    ------
    InvalidRequest
        It is an environment of another kind.
    """
    if os.sep in environment and is_here:
        prefix = Path(os.path.abspath(os.path.expanduser(environment)))
        if (prefix / "pyvenv.cfg").is_file() and not (prefix / "conda-meta").is_dir():
            python = str(prefix / "bin" / "python")
            raise InvalidRequest("conda_env", f"{environment!r} is a virtual environment: write python={python!r}")
        if (prefix / "conda-meta").is_dir():
            activate = f"conda activate {shlex.quote(environment)}"
            there = f"[ -d {shlex.quote(str(prefix / 'conda-meta'))} ]"
            why = f"corral: {activate} failed: no such environment is on this node"
            return [f"{there} || {{ {_end(why)}; }}", *_activation(prefix, os.environ)]
    *hook, activate = _by_name(environment, os.environ if is_here else {})
    return [*hook, or_end(activate)]


def _by_name(environment: str, environ: Mapping[str, str]) -> list[str]:
    conda, mamba = environ.get("CONDA_EXE", ""), environ.get("MAMBA_EXE", "")
    if os.path.isfile(mamba) and not os.path.isfile(conda):
        # Both of its programs, and each defines a function of its own name.
        function = "micromamba" if "micromamba" in os.path.basename(mamba) else "mamba"
        root = environ.get("MAMBA_ROOT_PREFIX")
        return [
            *([f"export MAMBA_ROOT_PREFIX={shlex.quote(root)}"] if root else []),
            f'eval "$({shlex.quote(mamba)} shell hook --shell bash)"',
            f"{function} activate {shlex.quote(environment)}",
        ]
    # Without either here, modules= may bring one.
    conda = conda if os.path.isfile(conda) else "conda"
    return [f'eval "$({shlex.quote(conda)} shell.bash hook)"', f"conda activate {shlex.quote(environment)}"]


def own_lines(prefix: str, base_prefix: str, environ: Mapping[str, str]) -> list[str]:
    """Activate the environment of a program, whoever made it; no line if it has none of its own.

    Parameters
    ----------
    prefix, base_prefix
        `sys.prefix` and `sys.base_prefix`.
    environ
        The program's.
    """
    lines = []
    # Also below a virtual environment: what its Python is linked with is there.
    for each in dict.fromkeys((base_prefix, prefix)):
        if os.path.isdir(os.path.join(each, "conda-meta")):
            lines += _activation(Path(each), environ)
        elif os.path.isfile(os.path.join(each, "pyvenv.cfg")):
            folder = shlex.quote(os.path.join(each, "bin"))
            lines += [f'export VIRTUAL_ENV={shlex.quote(each)} PATH={folder}:"$PATH"', "unset PYTHONHOME"]
    return lines


def check_reach(executable: str, prefix: str, base_prefix: str) -> None:
    """See that nodes may have the Python of a program.

    Raises
    ------
    InvalidRequest
        They cannot.
    """
    for path in dict.fromkeys((prefix, base_prefix)):
        if why := only_here(Path(path)):
            raise InvalidRequest(
                "python",
                f"jobs would run {executable}, and {path} is on no other host: {why}. Make the environment on a file "
                "system that nodes share, or name a Python that they have with python= or conda_env=. If jobs run on "
                f"this host alone, say python={executable!r}",
            )


def _activation(prefix: Path, environ: Mapping[str, str]) -> list[str]:
    """Activate an environment with this prefix, which is here."""
    lines = _prefix_lines(prefix)
    pixi = environ.get("PIXI_EXE", "")
    if not os.path.isfile(pixi) or not (hook := _pixi_hook(prefix, pixi)):
        return lines
    # A project of pixi's may set more than its environment says. Nothing is installed or solved by a hundred jobs. It
    # speaks bash, and another shell may end at the first word that it does not know.
    condition = f'[ -n "${{BASH_VERSION-}}" ] && [ -x {shlex.quote(pixi)} ] && corral_hook=$({hook})'
    return [
        f'if {condition}; then eval "$corral_hook"; else',
        *(f"    {line}" for line in lines),
        "fi",
    ]


def _pixi_hook(prefix: Path, pixi: str) -> str | None:
    """The command that prints how to activate an environment of pixi's; None if it is another's."""
    try:
        said = json.loads((prefix / "conda-meta" / "pixi").read_text())
        manifest, name = said["manifest_path"], said["environment_name"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    words = [pixi, "shell-hook", "--shell=bash", "--frozen", "--no-install"]
    return shlex.join([*words, f"--manifest-path={manifest}", f"--environment={name}"])


def _prefix_lines(prefix: Path) -> list[str]:
    """What `conda activate` does, and micromamba and pixi: the environment's variables and its packages' scripts."""
    is_named = prefix.parent.name == "envs" and ".pixi" not in prefix.parts
    variables = {
        "CONDA_PREFIX": str(prefix),
        "CONDA_DEFAULT_ENV": "base" if (prefix / "condabin").is_dir() else prefix.name if is_named else str(prefix),
        "CONDA_SHLVL": "1",
        **_said_by(prefix),
    }
    exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
    # Not by a pattern for the shell: zsh ends where none fits.
    scripts = [shlex.quote(str(script)) for script in sorted((prefix / "etc/conda/activate.d").glob("*.sh"))]
    return [
        f'export {exports} PATH={shlex.quote(str(prefix / "bin"))}:"$PATH"',
        *(f"[ ! -r {script} ] || . {script}" for script in scripts),
    ]


def _said_by(prefix: Path) -> dict[str, str]:
    """The variables that an environment sets: its packages', then those of ``conda env config vars set``.

    Their names in capitals, as conda and micromamba export them:
    https://docs.conda.io/projects/conda/en/stable/configuration.html, envvars_force_uppercase.
    """
    found: dict[str, str] = {}
    files = [*sorted((prefix / "etc/conda/env_vars.d").glob("*")), prefix / "conda-meta" / "state"]
    for file in files:
        with suppress(OSError, ValueError, AttributeError):
            said = json.loads(file.read_text())
            said = said.get("env_vars", {}) if file is files[-1] else said
            found |= {name.upper(): value for name, value in said.items() if isinstance(value, str)}
    return {name: value for name, value in found.items() if value != _UNSET and re.fullmatch(r"[A-Z_][A-Z0-9_]*", name)}


def or_end(line: str) -> str:
    """A line of a job's script whose failure ends the job: what follows would be another Python than was meant."""
    return f"{line} || {{ {_failed(line)}; }}"


def _failed(line: str) -> str:
    return _end(f"corral: {line} failed; see above for the reason")


def _end(said: str) -> str:
    return f"echo {shlex.quote(said)} >&2; exit 1"
