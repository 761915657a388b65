"""New packages from templates: a backend that is discovered and fails just the laws still to be filled in; a site.

A site may be a YAML file as well.
"""

from __future__ import annotations

import os
import re
import shlex
from importlib import resources
from pathlib import Path

import click
import dask.config

from corral._version import __version__
from corral.cli.new_site import MARK, Found, as_python, as_yaml, interfaces, kinds_of, patterns
from corral.cli.tables import say
from corral.errors import CorralError, InvalidRequest
from corral.plugin.site_files import VARIABLE, untrusted

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
    _check(name)
    _write("backend", _BACKEND, name, _empty(directory or Path(f"corral-{name}")), {})


@click.command("new-site")
@click.argument("name")
@click.option(
    "--backend", help="The batch system of this computing centre. Default: the one that answers on this host."
)
@click.option(
    "--yaml", "file", type=click.Path(path_type=Path), help="Write one YAML file instead, for Dask's configuration."
)
@click.option(
    "--directory", type=click.Path(path_type=Path), help="Where to write the package. Default: ./corral-NAME."
)
def new_site(name: str, backend: str | None, file: Path | None, directory: Path | None) -> None:
    """Write a site: what users of a computing centre need not say.

    It is the centre NAME: a package for Python, or a YAML file. What its queues have is asked of the batch system here.
    What nobody but you knows is marked.
    """
    _check(name)
    if file is not None and directory is not None:
        raise InvalidRequest("directory", "is for a package, and --yaml writes none: leave one of them out")
    # Before the batch system is asked: an answer may take long.
    target = _free(file) if file is not None else _empty(directory or Path(f"corral-{name}"))
    found, distribution = _found(name, backend)
    if found.problem:
        say(found.problem, err=True)
    if file is None:
        words = {"backend": found.backend, "distribution": distribution, **as_python(found)}
        _write("site", _SITE, name, target, words)
        return
    text = as_yaml(found)
    # What others may write to is not followed, whatever the umask says.
    for folder in reversed(file.absolute().parents):
        if not folder.exists():
            folder.mkdir(mode=0o755)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(text)
    except BaseException:
        file.unlink()
        raise
    say(f"{file}: the site {name!r}, with {text.count(MARK) - 1} places marked {MARK!r}. {_how_found(file)}")
    say(f"  corral script --site {name} --memory 2GB")
    if (doubt := untrusted(file)) is not None:
        say(f"It will not be followed there: {doubt}", err=True)


def _how_found(file: Path) -> str:
    """Whether Dask reads this file, or what has to be done for that."""
    folders = [os.path.realpath(path) for path in dask.config.paths]
    if os.path.realpath(file.parent) in folders and file.suffix in (".yaml", ".yml"):
        return "Dask reads it from there:"
    place = shlex.quote(str(file.absolute()))
    return f"It is found in ~/.config/dask and /etc/dask, or by a variable:\n  export {VARIABLE}={place}"


def _found(name: str, backend: str | None) -> tuple[Found, str]:
    """What this host says of itself and of its batch system, and the distribution of the backend's plugin."""
    from corral.batch.detection import choose
    from corral.batch.queues import no_queues
    from corral.cli.patience import ask
    from corral.host.names import host_names
    from corral.plugin import discovery
    from corral.request.drawing import batch_system

    if backend is None:
        backend = choose()
        if discovery.facts_of(backend).is_everywhere:
            raise InvalidRequest("backend", f"no batch system answers here. Say which one {name} has: --backend slurm")
    batch, _ = batch_system({"backend": backend, "site": "none"})
    problem = ""
    try:
        kinds = kinds_of(ask(batch.queues()))
        if not kinds:
            problem = f"{no_queues(batch)}: its nodes are yours to describe."
    except CorralError as error:
        kinds, problem = [], f"The queues of {backend} could not be asked, its nodes are yours to describe: {error}"
    distributions = [plugin.distribution for plugin in discovery.installed() if plugin.name == backend]
    host, hosts = patterns(host_names())
    title = " ".join(part.capitalize() for part in name.split("-"))
    found = Found(
        name=name, title=title, backend=backend, host=host, hosts=hosts, interfaces=interfaces(), kinds=kinds,
        problem=" ".join(problem.split()),
    )  # fmt: skip
    return found, distributions[0]


def _check(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        raise InvalidRequest("name", f"{name!r} must be lower-case letters, digits and dashes, beginning with a letter")


def _free(file: Path) -> Path:
    if os.path.lexists(file):
        raise InvalidRequest("yaml", f"{file} already exists; name another")
    return file


def _empty(directory: Path) -> Path:
    if directory.exists() and any(directory.iterdir()):
        raise InvalidRequest("directory", f"{directory} already exists and is not empty; name another")
    return directory


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("-"))


def _write(kind: str, files: dict[str, str], name: str, target: Path, more: dict[str, str]) -> None:
    module = name.replace("-", "_")
    words = {
        "name": name,
        "module": module,
        "Name": _class_name(name),
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
