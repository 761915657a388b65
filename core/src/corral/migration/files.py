"""What kind of file it is, and who reads it."""

from __future__ import annotations

import ast
import json
import re
from pathlib import PurePath

from attrs import evolve

from corral.errors import InvalidRequest
from corral.migration.configuration import has_section, migrate_configuration
from corral.migration.notebooks import migrate_notebook
from corral.migration.program import migrate_program
from corral.migration.scripts import is_script, migrate_script
from corral.migration.values import Migrated

#: What there is to read, for errors.
_READ = (
    "corral migrate reads Python programs and notebooks that use dask-jobqueue or dask-mpi, YAML with a section "
    "jobqueue, and job scripts"
)
_BY_SUFFIX = {".py": "program", ".ipynb": "notebook", ".yaml": "configuration", ".yml": "configuration"}


def kind_of(text: str, name: str) -> str:
    """``program``, ``notebook``, ``configuration`` or ``script``: by the file's name, else by what is in it.

    Raises
    ------
    InvalidRequest
        It is none of these.
    """
    if kind := _BY_SUFFIX.get(PurePath(name).suffix.lower()):
        return kind
    if text.lstrip().startswith("{") and _is_notebook(text):
        return "notebook"
    if re.search(r"^\s*(from|import)\s.*\b(dask_jobqueue|dask_mpi)\b", text, re.MULTILINE):
        return "program"
    if is_script(text) or (text.startswith("#!") and not _is_python(text)):
        return "script"
    if has_section(text):
        return "configuration"
    raise InvalidRequest("FILE", f"{name} is nothing that is known here. {_READ}")


def migrate(text: str, name: str, *, backend: str | None = None, form: str | None = None) -> Migrated:
    """The file in corral's words.

    Parameters
    ----------
    name
        The file's name, as it is said in remarks.
    backend
        Whose directives a job script has, or whose a section of the configuration is, if they do not say.
    form
        For job scripts: ``"submit"`` or ``"cluster"``.

    Raises
    ------
    InvalidRequest, ParseError, UnknownBackend
        It cannot be read, or there is nothing in it that could be translated.
    """
    ends_as_windows = "\r\n" in text
    text = text.replace("\r\n", "\n")
    kind = kind_of(text, name)
    if kind == "program" and is_script(text) and not re.search(r"\b(dask_jobqueue|dask_mpi)\b", text):
        kind = "script"  # Python under directives
    if form is not None and kind != "script":
        raise InvalidRequest("as", f"{form!r} is for job scripts, and {name} is a {kind}")
    found = None
    if kind == "program":
        found = migrate_program(text, lambda line: f"{name}:{line}")
    elif kind == "notebook":
        found = migrate_notebook(text, name)
    elif kind == "configuration":
        found = migrate_configuration(text, name, backend=backend)
    else:
        found = migrate_script(text, name, backend=backend, form=form)
    if found is None:
        raise InvalidRequest("FILE", f"{name} has nothing of dask-jobqueue's or dask-mpi's in it. {_READ}")
    return evolve(found, text=found.text.replace("\n", "\r\n")) if ends_as_windows else found


def _is_notebook(text: str) -> bool:
    try:
        return "cells" in json.loads(text)
    except ValueError:
        return False


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True
