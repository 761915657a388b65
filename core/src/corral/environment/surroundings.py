"""What a cluster has around it where it is made, and its jobs need too: a folder, and some of the environment.

A job sees what is named, and nothing else of the submitting environment: what happens to be set in one shell must not
decide what a hundred jobs compute. What always travels is what decides which code runs.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from attrs import field, frozen

from corral.host.gpus import GPU_VARIABLES
from corral.plugin import discovery
from corral.plugin.values import Job
from corral.text.logs import logger_of

logger = logger_of()

#: Variables that change results or speed, and that people export without thinking of them again. Proxies are not among
#: them: sites set them for everybody.
MATTERING = (
    "OMP_*", "MKL_*", "OPENBLAS_*", "BLIS_*", "KMP_*", "GOMP_*", "NUMEXPR_*", "NUMBA_*", "LD_LIBRARY_PATH",
    "LD_PRELOAD", "HDF5_*", "NETCDF*", "NCDF*", "PROJ_*", "GDAL_*", "OGR_*", "CPL_*", "ECCODES_*", "GRIB_*", "ESMF*",
    "UDUNITS*", "CARTOPY_*", "UCX_*", "NCCL_*", "OMPI_MCA_*", "I_MPI_*", "MPICH_*", "FI_*", "XLA_*", "PYTORCH_*",
)  # fmt: skip

#: What a pattern never means, beside what an enclosing job says of itself: what a rank is told, and what each host
#: has of its own.
_NEVER_MEANT = (
    "PMI_*", "PMIX_*", "OMPI_COMM_*", "PWD", "OLDPWD", "SHLVL", "_", "HOME", "HOST", "HOSTNAME",
    "TMPDIR", "TMP", "TEMP", "TERM", "TERM_*", "DISPLAY", "WAYLAND_DISPLAY", "SSH_*", "XDG_RUNTIME_DIR",
    "XDG_SESSION_*", "DBUS_*", "NVIDIA_VISIBLE_DEVICES", *GPU_VARIABLES, "PYTHONHASHSEED",
)  # fmt: skip

_SECRET_NAME = re.compile(
    r"TOKEN|SECRET|PASSW|PASSPHRASE|(^|_)PASS(_|$)|CREDENTIAL|AUTH|KEY|COOKIE|PRIVATE|JWT|PWD(_|$)|(^|_)(PAT|PIN)(_|$)",
    re.IGNORECASE,
)
#: ``http://me:secret@proxy:8080``
_SECRET_VALUE = re.compile(r"://[^/\s@]*:[^/\s@]+@")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


@frozen(kw_only=True)
class Surroundings:
    """Where a cluster was made."""

    #: The folder; None: nothing is known of one.
    directory: str | None = None
    #: PYTHONPATH.
    python_path: str | None = None
    #: LD_LIBRARY_PATH, if this very Python has code from there.
    library_path: str | None = None
    #: Variables that commonly matter, by which jobs may differ from this process.
    mattering: Mapping[str, str] = field(factory=dict, repr=False)
    #: Environment modules that were loaded before this process began.
    modules: tuple[str, ...] = field(default=(), converter=_texts)
    #: Of the host to which jobs are carried, what runs corral there; empty: this process's own Python.
    python: tuple[str, ...] = field(default=(), converter=_texts)

    @classmethod
    def here(cls) -> Self:
        """Those of this process."""
        libraries = os.environ.get("LD_LIBRARY_PATH")
        return cls(
            directory=working_directory(),
            python_path=os.environ.get("PYTHONPATH"),
            library_path=libraries if libraries and is_needed(libraries, loaded_files()) else None,
            modules=filter(None, os.environ.get("LOADEDMODULES", "").split(":")),
            mattering={name: value for name, value in os.environ.items() if _meant(name, value, MATTERING)},
        )

    def environment(self, *, own_python: bool) -> dict[str, str]:
        """What jobs have of it by themselves.

        Parameters
        ----------
        own_python
            Their Python is the one of this process.
        """
        found = {"PYTHONPATH": self.python_path, "LD_LIBRARY_PATH": self.library_path if own_python else None}
        return {name: value for name, value in found.items() if value is not None}

    def tell_left_out(self, job: Job) -> None:
        """Name what commonly matters and such jobs do not have, variables and loaded modules; once."""
        names = sorted(name for name, value in self.mattering.items() if job.environment.get(name) != value)
        modules = [] if any("module " in line for line in job.prologue) else list(self.modules)
        left_out = []
        if names:
            left_out.append(
                f"jobs do not have these variables of yours, or not your values: {', '.join(names)}; "
                f"if they need them: inherit_env={names}"
            )
        if modules:
            left_out.append(f"jobs do not load the modules that you have loaded; if they need them: modules={modules}")
        line = ". ".join(left_out)
        if line and line not in _told:
            _told.add(line)
            logger.warning("%s", line)


#: Nothing is known of where the cluster was made.
NOWHERE = Surroundings()

#: What was told before, by this process.
_told: set[str] = set()


def working_directory() -> str | None:
    """This process's, by the name that its user has for it: links of this host may lead where nodes have nothing."""
    try:
        real = os.getcwd()
    except FileNotFoundError:
        return None
    named = os.environ.get("PWD", "")
    try:
        return named if os.path.isabs(named) and os.path.samefile(named, real) else real
    except OSError:
        return real


def inherited(patterns: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that these names and patterns mean.

    A pattern never means what looks like a secret, what an enclosing job says of itself, or what each host has of its
    own; a name means just what it says.

    Raises
    ------
    ValueError
        A name is not set.
    """
    found = {}
    for pattern in patterns:
        if _NAME.fullmatch(pattern):
            if pattern not in environ:
                raise ValueError(f"{pattern} is not set here; write {pattern + '*'!r} for what may be missing")
            found[pattern] = environ[pattern]
        else:
            found |= {name: value for name, value in environ.items() if _meant(name, value, (pattern,))}
    return found


def _meant(name: str, value: str, patterns: Sequence[str]) -> bool:
    return (
        _NAME.fullmatch(name) is not None
        and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
        and not any(fnmatch.fnmatchcase(name, pattern) for pattern in _NEVER_MEANT)
        and not discovery.enclosing().match(name)
        and not looks_secret(name, value)
    )


def looks_secret(name: str, value: str) -> bool:
    """True if a variable is likely to be for nobody else, by its name or its value."""
    return bool(_SECRET_NAME.search(name) or _SECRET_VALUE.search(value))


# --- libraries --------------------------------------------------------------------------------------------------


def is_needed(library_path: str, files: Sequence[str]) -> bool:
    """Whether any of these files comes from a folder of an LD_LIBRARY_PATH.

    Where Python's own library, or one that its modules are linked with, was found there, it is not found without. The
    folder may hold no more than links to the files.
    """
    folders = [folder for folder in library_path.split(":") if folder]
    real = {os.path.realpath(folder) for folder in folders}
    if any(os.path.dirname(file) in real for file in files):
        return True
    links = ((os.path.join(folder, os.path.basename(file)), file) for folder in folders for file in files)
    return any(os.path.islink(link) and os.path.realpath(link) == file for link, file in links)


def loaded_files() -> list[str]:
    """The shared objects that this process has loaded; empty where that is not known."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []
    # Its sixth column; a path may have blanks.
    paths = dict.fromkeys(line.split(maxsplit=5)[5] for line in lines if line.count("/"))
    return [path for path in paths if re.search(r"\.so(\.|$)", os.path.basename(path))]
