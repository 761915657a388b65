"""New packages from templates: a backend that is discovered and fails just the laws still to be filled in; a site."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import click

from corral._version import __version__
from corral.errors import InvalidRequest

_TEMPLATES = resources.files("corral.cli") / "templates"

#: Where each template goes in the new package.
_BACKEND = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "plugin.py.txt": "src/corral_{{module}}/__init__.py",
    "tests/conformance.py.txt": "tests/test_{{module}}_conformance.py",
    "tests/transcripts/README.md.txt": "tests/transcripts/README.md",
}
_SITE = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "plugin.py.txt": "src/corral_{{module}}/__init__.py",
    "tests/test.py.txt": "tests/test_{{module}}.py",
}


@click.command("new-backend")
@click.argument("name")
@click.option("--directory", type=click.Path(path_type=Path), help="Where to write it. Default: ./corral-NAME.")
def new_backend(name: str, directory: Path | None) -> None:
    """Write the package of a new backend plugin.

    It is for the batch system NAME, which corral does not know yet.
    """
    _write("backend", _BACKEND, name, directory, {})


@click.command("new-site")
@click.argument("name")
@click.option("--backend", required=True, help="The batch system of this computing centre.")
@click.option("--directory", type=click.Path(path_type=Path), help="Where to write it. Default: ./corral-NAME.")
def new_site(name: str, backend: str, directory: Path | None) -> None:
    """Write the package of a new site plugin.

    It says what the computing centre NAME does differently.
    """
    _write("site", _SITE, name, directory, {"backend": backend})


def _write(kind: str, files: dict[str, str], name: str, directory: Path | None, more: dict[str, str]) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        raise InvalidRequest("name", f"{name!r} must be lower-case letters, digits and dashes, beginning with a letter")
    target = directory or Path(f"corral-{name}")
    if target.exists() and any(target.iterdir()):
        raise InvalidRequest("directory", f"{target} already exists and is not empty; name another")
    module = name.replace("-", "_")
    words = {
        "name": name,
        "module": module,
        "Name": "".join(part.capitalize() for part in name.split("-")),
        "NAME": module.upper(),
        "version": __version__,
        **more,
    }

    def filled(text: str) -> str:
        return re.sub(r"\{\{(\w+)\}\}", lambda match: words.get(match[1], match[0]), text)

    for template, place in files.items():
        path = target / filled(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(filled((_TEMPLATES / kind).joinpath(*template.split("/")).read_text()))
    (target / f"src/corral_{module}/py.typed").touch()
    click.echo(f"{target}: a package for the {kind} {name!r}. Its README says what to do next.")
