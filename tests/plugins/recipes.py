"""Recipes for conda-forge, in its format `recipe.yaml`, from what the distributions say of themselves.

    python tests/plugins/recipes.py [--maintainer NAME ...]

`nox -s recipes` runs this for dist/, after `nox -s dists`: a recipe names the checksum of the sdist that is published,
so none can be kept. What only the release knows (where the project lives, who looks after the recipe) is said then.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from distributions import FOLDERS, ROOT, Built
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

#: What conda-forge calls what PyPI calls otherwise. Every name that is needed is in one of these two.
OTHER_NAMES = {"dask": "dask-core"}
SAME_NAMES = frozenset({
    "attrs", "cattrs", "click", "cryptography", "distributed", "hatchling", "importlib-metadata", "mpi4py",
    "platformdirs", "pluggy", "pyyaml", "rich", "tenacity",
})  # fmt: skip


def recipe(built: Built, maintainers: Sequence[str] = ()) -> dict[str, Any]:
    """What a feedstock's ``recipe.yaml`` says.

    Raises
    ------
    LookupError
        conda-forge's name of a requirement is not known here.
    """
    metadata, name = built.metadata, built.name
    lowest = _lowest_python(metadata["Requires-Python"])
    commands = [f"{each.name} = {each.value}" for each in built.entry_points if each.group == "console_scripts"]
    build: dict[str, Any] = {
        "number": 0,
        "noarch": "python",
        "script": "${{ PYTHON }} -m pip install . -vv --no-deps --no-build-isolation",
    }
    if commands:
        build["python"] = {"entry_points": commands}
    file = built.sdist.name.replace(f"-{metadata['Version']}.", "-${{ version }}.")
    return {
        "schema_version": 1,
        "context": {"version": metadata["Version"], "python_min": lowest},
        "package": {"name": name, "version": "${{ version }}"},
        "source": {
            "url": f"https://pypi.org/packages/source/{name[0]}/{name}/{file}",
            "sha256": hashlib.sha256(built.sdist.read_bytes()).hexdigest(),
        },
        "build": build,
        "requirements": {
            "host": ["python ${{ python_min }}.*", "pip", *map(_conda, _build_requirements(name))],
            "run": ["python >=${{ python_min }}", *map(_conda, built.requirements())],
        },
        "tests": [_python_test(built), *_command_tests(built)],
        "about": {
            "license": metadata["License-Expression"],
            "license_file": metadata.get_all("License-File"),
            "summary": metadata["Summary"],
        },
        "extra": {"recipe-maintainers": list(maintainers)},
    }


def text(said: Mapping[str, Any]) -> str:
    """As it is written in a feedstock."""
    written: str = yaml.safe_dump(dict(said), sort_keys=False, allow_unicode=True, width=120)
    return written


def _lowest_python(bound: str) -> str:
    [low] = [each.version for each in SpecifierSet(bound) if each.operator == ">="]
    return low


def _build_requirements(name: str) -> list[Requirement]:
    project = tomllib.loads((FOLDERS[name] / "pyproject.toml").read_text())
    return [Requirement(line) for line in project["build-system"]["requires"]]


def _conda(needed: Requirement) -> str:
    """A requirement in conda's words."""
    if needed.name in FOLDERS or needed.name in SAME_NAMES:
        name = needed.name
    elif needed.name in OTHER_NAMES:
        name = OTHER_NAMES[needed.name]
    else:
        raise LookupError(f"say in {Path(__file__).relative_to(ROOT)} what conda-forge calls {needed.name!r}")
    return f"{name} {needed.specifier}".rstrip()


def _python_test(built: Built) -> dict[str, Any]:
    """Every module that an entry point names can be imported, and nothing is missing."""
    modules = {built.name.replace("-", "_"), *(each.module for each in built.entry_points)}
    return {"python": {"imports": sorted(modules), "python_version": ["${{ python_min }}.*", "*"], "pip_check": True}}


def _command_tests(built: Built) -> list[dict[str, Any]]:
    commands = [each.name for each in built.entry_points if each.group == "console_scripts"]
    return [{"script": [f"{each} --help" for each in commands]}] if commands else []


def in_folder(folder: Path) -> list[Built]:
    """What has been built there.

    Raises
    ------
    LookupError
        A distribution is missing.
    """
    found = []
    for name in FOLDERS:
        stem = re.sub(r"[-_.]+", "_", name)
        sdists, wheels = list(folder.glob(f"{stem}-[0-9]*.tar.gz")), list(folder.glob(f"{stem}-[0-9]*.whl"))
        if len(sdists) != 1 or len(wheels) != 1:
            raise LookupError(f"{folder} has no sdist and wheel of {name}, or several: nox -s dists")
        found.append(Built(name=name, sdist=sdists[0], wheel=wheels[0]))
    return found


def _render(written: str) -> None:
    """Have conda-forge's own tool make one package of it on paper, or raise what it says."""
    from rattler_build import Stage0Recipe, VariantConfig  # type: ignore[import-not-found] # is in nox -s recipes alone

    [_only] = Stage0Recipe.from_yaml(written).render(VariantConfig())


def main(arguments: Sequence[str] | None = None) -> None:
    """Write them to dist/recipes/NAME/recipe.yaml."""
    parser = argparse.ArgumentParser(prog="nox -s recipes --", description=__doc__.splitlines()[0])
    parser.add_argument("--maintainer", action="append", default=[], help="an account on GitHub; may be repeated")
    said = parser.parse_args(arguments)
    try:
        for built in in_folder(ROOT / "dist"):
            written = text(recipe(built, said.maintainer))
            _render(written)
            path = ROOT / "dist/recipes" / built.name / "recipe.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(written)
            print(path.relative_to(ROOT))
    except LookupError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
