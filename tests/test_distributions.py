"""What would be published: each distribution built from its folder alone, and its recipe for conda-forge.

`nox -s dists` goes on from here: it installs each by itself, and runs its tests.
"""

from __future__ import annotations

import re
import tarfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import recipes
import yaml  # type: ignore[import-untyped]
from distributions import FOLDERS, Built, build_all, closure
from packaging.requirements import Requirement

# Built once.
pytestmark = pytest.mark.xdist_group("distributions")

each_name = pytest.mark.parametrize("name", FOLDERS)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Built]:
    return build_all(list(FOLDERS), tmp_path_factory.mktemp("dist"))


def project_of(name: str) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((FOLDERS[name] / "pyproject.toml").read_text())["project"]
    return project


def sources_of(name: str) -> set[str]:
    """All that a folder has to install, by its paths there."""
    source = FOLDERS[name] / "src"
    return {
        str(path.relative_to(source))
        for path in source.rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }


@each_name
def test_a_wheel_installs_all_of_the_source_and_nothing_else(name: str, built: Mapping[str, Built]) -> None:
    """Recorded answers, templates and the marker of types, too; and beside it the licence."""
    own = {file for file in built[name].files if ".dist-info/" not in file}
    assert sources_of(name) == own
    assert f"{name.replace('-', '_')}/py.typed" in own
    [licence] = [file for file in built[name].files if file.endswith(".dist-info/licenses/LICENSE")]
    assert licence


def shipped_tests(sdist: Path) -> dict[str, str]:
    """The text of each test file."""
    with tarfile.open(sdist) as archive:
        files = {each.partition("/")[2]: archive.extractfile(each) for each in archive.getnames()}
        tests = {name: file for name, file in files.items() if re.fullmatch(r"tests/.*test_\w+\.py", name)}
        return {name: file.read().decode() for name, file in tests.items() if file}


@each_name
def test_an_sdist_has_the_tests_that_can_be_run_from_it(name: str, built: Mapping[str, Built]) -> None:
    """What they import of ours is installed with it: no support that only the workspace has."""
    tests = shipped_tests(built[name].sdist)
    here = {str(path.relative_to(FOLDERS[name])) for path in FOLDERS[name].rglob("tests/**/test_*.py")}
    expected = {path for path in here if not path.endswith("_real.py")}
    assert tests.keys() == expected if name != "corral" else tests.keys() < expected
    support = {path.stem for path in Path(__file__).parent.glob("plugins/*.py")}
    text = "".join(tests.values())
    assert support.isdisjoint(re.findall(r"^ *(?:from|import) (\w+)", text, re.MULTILINE))
    # Nor the workspace's settings: how long an example takes says more of the machine than of what is tested.
    assert text.count("\n@given(") == text.count("\n@settings(deadline=None)\n@given(")
    # The documentation is in no distribution, either.
    assert not re.search(r"\bparents\[[2-9]\]", text)


@each_name
def test_an_sdist_has_all_that_a_build_needs(name: str, built: Mapping[str, Built]) -> None:
    """And what people look for first."""
    with tarfile.open(built[name].sdist) as archive:
        files = {file.partition("/")[2] for file in archive.getnames()}
    assert files >= {"LICENSE", "README.md", "pyproject.toml", "PKG-INFO"}


@each_name
def test_the_metadata_is_complete(name: str, built: Mapping[str, Built]) -> None:
    """What an index shows, and what installers and searches go by."""
    metadata, project = built[name].metadata, project_of(name)
    assert (name, project["description"]) == (metadata["Name"], metadata["Summary"])
    assert project.get("version", built["corral"].metadata["Version"]) == metadata["Version"]
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata["Author"] == "corral developers"
    assert metadata["Requires-Python"] == project["requires-python"]
    assert {"dask", "hpc"} < set(metadata["Keywords"].split(","))
    assert metadata.get_all("Classifier") == project_of("corral")["classifiers"]
    assert set(map(Requirement, project["dependencies"])) == set(built[name].requirements())
    assert metadata.get_all("Provides-Extra") == sorted(project["optional-dependencies"])
    assert "test" in project["optional-dependencies"]


@each_name
def test_a_readme_makes_sense_where_it_is_shown(name: str, built: Mapping[str, Built]) -> None:
    """On an index there are no other files that it could lead to; and it says first what this is."""
    readme = built[name].metadata.get_payload()
    assert isinstance(readme, str)
    assert readme.lstrip().startswith(f"# {name}\n")
    assert [link for link in re.findall(r"\]\(([^)]+)\)", readme) if not link.startswith(("https://", "#"))] == []


@each_name
def test_what_others_start_is_in_the_wheel(name: str, built: Mapping[str, Built]) -> None:
    """The module that each entry point names; and all of ours that it needs can be published with it."""
    for point in built[name].entry_points:
        path = point.module.replace(".", "/")
        assert {f"{path}.py", f"{path}/__init__.py"} & set(built[name].files), point
    assert {each.name for each in closure(name, built, "test")} <= FOLDERS.keys()


@each_name
def test_a_recipe_says_what_the_project_says(name: str, built: Mapping[str, Built]) -> None:
    """Read back as a feedstock's tools read it."""
    project = project_of(name)
    said = yaml.safe_load(recipes.text(recipes.recipe(built[name], ["someone"])))
    assert said["package"] == {"name": name, "version": "${{ version }}"}
    assert said["context"] == {"version": built[name].metadata["Version"], "python_min": "3.11"}
    assert said["about"]["license"] == project["license"]
    needed = {
        recipes.OTHER_NAMES.get(each.name, each.name): each.specifier
        for each in map(Requirement, project["dependencies"])
    }
    assert {f"{each} {bound}".strip() for each, bound in needed.items()} == set(said["requirements"]["run"][1:])
    scripts = [f"{command} = {target}" for command, target in project.get("scripts", {}).items()]
    assert scripts == said["build"].get("python", {}).get("entry_points", [])
    assert name.replace("-", "_") in said["tests"][0]["python"]["imports"]
    assert said["extra"] == {"recipe-maintainers": ["someone"]}


def test_a_requirement_that_conda_forge_may_call_otherwise_is_asked_about(
    built: Mapping[str, Built], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is guessed would install something else, or nothing."""
    monkeypatch.setattr(recipes, "SAME_NAMES", recipes.SAME_NAMES - {"attrs"})
    with pytest.raises(LookupError, match=r"say in tests/plugins/recipes\.py what conda-forge calls 'attrs'"):
        recipes.recipe(built["corral-slurm"])
