"""Golden scripts: they were looked at once, and are to stay as they are."""

from __future__ import annotations

import difflib
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen

from corral.plugin.values import Job, Script

#: ``CORRAL_GOLDEN=write pytest`` writes the files instead of comparing with them.
SWITCH = "CORRAL_GOLDEN"


def _mapping(values: Mapping[str, Any]) -> dict[str, Any]:
    return dict(values)


@frozen
class Example:
    """A request, in the words of `Cluster`, that a centre's documentation has, or whose queue its limits decide.

    Its script is in a file. ::

        Example("one-gpu", "https://docs.nersc.gov/jobs/examples/", {"gpus": 1, "cores": 32, "account": "m1234"})
    """

    #: Of the file, without ``.sh``; two examples of a site have two.
    name: str
    #: The page that has it, or has those limits: with which the script is compared once, by who reads it.
    source: str
    #: Arguments of `Cluster`; what the site's test says in `arguments` is given, too.
    arguments: Mapping[str, Any] = field(factory=dict, converter=_mapping)
    site_options: Mapping[str, Any] = field(factory=dict, converter=_mapping, kw_only=True)
    #: A group of the site's from which to start: the part after the dot of ``groups=["perlmutter.gpu"]``.
    group: str | None = field(default=None, kw_only=True)

    def __str__(self) -> str:
        return self.name


def golden_text(example: Example, call: str, script: Script, job: Job) -> str:
    """What an example's file has: the directives, and what runs around the workers; nothing that corral itself adds."""
    exports = [f"export {name}={shlex.quote(value)}" for name, value in job.environment.items()]
    lines = [
        f"# {example.source}",
        f"# {call}",
        script.shebang,
        *(directive.text for directive in script.directives),
        "",
        *exports,
        *job.prologue,
        shlex.join(job.command),
        *job.epilogue,
    ]
    return "\n".join(lines) + "\n"


def compare(path: Path, text: str) -> None:
    """Fail unless the file says this; or write it, if somebody wants that."""
    if os.environ.get(SWITCH) == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return
    if not path.is_file():
        pytest.fail(f"there is no {path}: `{SWITCH}=write pytest` writes it; look at it then", pytrace=False)
    if (golden := path.read_text(encoding="utf-8")) != text:
        told = f"{path} is not what this site writes now. If that is right: `{SWITCH}=write pytest`"
        pytest.fail(f"{told}\n{difference(golden, text, path.name)}", pytrace=False)


def difference(golden: str, text: str, name: str) -> str:
    """Both texts as one, with the lines marked that only one of them has."""
    lines = difflib.unified_diff(golden.splitlines(), text.splitlines(), name, "now", lineterm="", n=100)
    return "\n".join(lines)


def strangers(folder: Path, examples: Sequence[Example]) -> list[str]:
    """Files of no example."""
    known = {f"{example.name}.sh" for example in examples}
    return sorted(path.name for path in folder.glob("*.sh") if path.name not in known)
