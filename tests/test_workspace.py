"""Laws of the workspace that no single distribution can keep."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).parent.parent
VERSION_FILE = ROOT / "core/src/corral/_version.py"
MEMBERS = sorted(
    path.parent for pattern in ("core", "plugins/*", "contrib/*") for path in ROOT.glob(f"{pattern}/pyproject.toml")
)

#: Folders in which only one machine keeps this project. (The pattern does not match itself.)
MACHINE_PATH = re.compile(
    r"(?<![\w.~}/*-])/(?:work|root|opt/dev|opt/wheels|opt/pypi|tmp/prompts)(?![\w.-])|\$\w+/[r]oot(?![\w.-])"
)

each_member = pytest.mark.parametrize("member", MEMBERS, ids=[str(member.relative_to(ROOT)) for member in MEMBERS])


def project_of(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git work tree")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for name in names.split("\0") if name and (path := ROOT / name).is_file()]


@each_member
def test_all_distributions_have_one_version(member: Path) -> None:
    """Each says it in its own folder, from which alone it is built; `nox -s version` sets them."""
    project = project_of(member)
    if member.name == "core":
        assert VERSION_FILE == member / project["tool"]["hatch"]["version"]["path"]
    else:
        assert VERSION_FILE.read_text() == f'__version__ = "{project["project"]["version"]}"\n'


@each_member
def test_requirements_of_each_other_say_how_close_they_are(member: Path) -> None:
    """The contract of plugins is kept by every later core; inner names only by those of the same minor version."""
    major, minor, _ = re.findall(r"\d+", VERSION_FILE.read_text())
    project = project_of(member)["project"]
    optional = project.get("optional-dependencies", {})
    lines = [line for name, group in optional.items() if name != "test" for line in group] + project["dependencies"]
    ours = dict(re.findall(r"^(corral(?:-\w+)?)(.*)$", "\n".join(lines), re.MULTILINE))
    inner = {name for name in ours if imports_inner_names(member / "src", name.replace("-", "_"))}
    assert {name for name, bound in ours.items() if bound == f"~={major}.{minor}.0"} == inner
    assert all(re.fullmatch(r">=\d+\.\d+", bound) for name, bound in ours.items() if name not in inner)


def test_uv_takes_what_we_require_of_each_other_from_the_workspace() -> None:
    """It refuses a member that requires another one without an entry in `tool.uv.sources`."""
    projects = [project_of(member)["project"] for member in MEMBERS]
    names = {project["name"] for project in projects}
    groups = [group for each in projects for group in (each.get("optional-dependencies") or {}).values()]
    lines = [line for group in (*groups, *(each["dependencies"] for each in projects)) for line in group]
    required = names & {re.split(r"[<>=~;\[ ]", line)[0] for line in lines}
    assert {name: {"workspace": True} for name in required} == project_of(ROOT)["tool"]["uv"]["sources"]


def imports_inner_names(source: Path, module: str) -> bool:
    """Whether it imports more of this module than the contract: `corral.plugin`, and the kit for what is for tests."""
    for path in source.rglob("*.py"):
        named = re.findall(rf"^ *(?:from|import) ({module}(?:\.\w+)*)(?![\w.])", path.read_text(), re.MULTILINE)
        public = ("corral.plugin", "corral.testing") if path.parent.name == "testing" else ("corral.plugin",)
        if any(not f"{each}.".startswith(tuple(f"{name}." for name in public)) for each in named):
            return True
    return False


@each_member
def test_the_installed_version_is_that_of_the_source(member: Path) -> None:
    """What pip made of the version file is what the file says, for each distribution that is installed."""
    name = project_of(member)["project"]["name"]
    try:
        installed = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed")
    assert f'__version__ = "{installed}"\n' == VERSION_FILE.read_text()


@each_member
def test_a_distribution_is_named_after_its_folder(member: Path) -> None:
    """plugins/slurm is corral-slurm, imported as corral_slurm, typed, and tested in a folder of its own."""
    name = "corral" if member.name == "core" else f"corral-{member.name}"
    package = member / "src" / name.replace("-", "_")
    assert name == project_of(member)["project"]["name"]
    assert (package / "py.typed").is_file()
    assert (member / "tests").is_dir()


@each_member
def test_every_distribution_carries_the_licence(member: Path) -> None:
    """A wheel must hold the licence's text, and can only take it from its own folder: `cp LICENSE plugins/slurm/`."""
    assert (ROOT / "LICENSE").read_text() == (member / "LICENSE").read_text()
    assert project_of(member)["project"]["license"] == "BSD-3-Clause"


def test_every_dependency_of_the_core_has_its_reason() -> None:
    """docs/dependencies.md has one row for each, and no more."""
    required = {re.split(r"[<>=!~;\[ ]", line)[0] for line in project_of(ROOT / "core")["project"]["dependencies"]}
    section = (ROOT / "docs/dependencies.md").read_text().split("## ")[1]
    assert required == set(re.findall(r"^\| \[([\w.-]+)\]", section, flags=re.MULTILINE))


def test_every_package_of_a_group_is_named() -> None:
    """And every group has its row."""
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", (ROOT / "docs/dependencies.md").read_text(), flags=re.MULTILINE))
    groups = project_of(ROOT)["dependency-groups"]
    packages = {
        group: [re.split(r"[<>=!~;\[ ]", line)[0] for line in lines if isinstance(line, str)]
        for group, lines in groups.items()
    }
    assert rows.keys() == packages.keys()
    assert [name for group, names in packages.items() for name in names if name not in rows[group].lower()] == []


def test_no_tracked_file_holds_a_path_of_one_machine() -> None:
    """What works here only because of where it stands works nowhere else."""
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in tracked_files()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if MACHINE_PATH.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    "line", ["cd /" + "work/main", "HOME=/" + "root", '"/' + 'opt/dev/venv"', "$system/" + "root/.cache"]
)
def test_a_path_of_one_machine_is_recognised(line: str) -> None:
    """The test above would find something."""
    assert MACHINE_PATH.search(line)


@pytest.mark.parametrize(
    "line", ["src/" + "work/queue.py", "~/" + "work/data", "/workspace", "https://example.org/work"]
)
def test_other_paths_are_left_alone(line: str) -> None:
    """The test above accuses nobody falsely."""
    assert not MACHINE_PATH.search(line)


def test_nothing_else_stands_at_the_top() -> None:
    """Batch systems write a job's output where it was submitted, which is easily added to a commit."""
    top = {path.relative_to(ROOT).parts[0] for path in tracked_files()}
    assert top <= {
        ".ci", ".gitignore", "LICENSE", "README.md", "changes", "conftest.py", "contrib", "core", "docs", "noxfile.py",
        "plugins", "pyproject.toml", "test", "tests",
        # What people, and the places where they meet a project, look for by just these names.
        "CHANGES.md", "CITATION.cff", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "RELEASING.md", "SECURITY.md",
    }  # fmt: skip


def test_what_stands_at_the_top_for_people_is_found_from_the_readme() -> None:
    """And every link of these pages leads to something that is there."""
    pages = {path.name: path.read_text() for path in ROOT.glob("*.md")}
    links = {name: re.findall(r"\]\((?!https?:)([^)#]+)", text) for name, text in pages.items()}
    assert {*pages, "CITATION.cff", "LICENSE"} - {"README.md"} <= set(links["README.md"])
    assert [f"{name}: {link}" for name in links for link in links[name] if not (ROOT / link).exists()] == []


def test_the_citation_is_what_tools_read() -> None:
    """Citation File Format 1.2.0: what it requires, and this version."""
    said = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert said.keys() >= {"cff-version", "message", "title", "authors"}
    assert said["cff-version"] == "1.2.0"
    assert said["authors"] == project_of(ROOT / "core")["project"]["authors"]
    assert f'__version__ = "{said["version"]}"\n' == VERSION_FILE.read_text()
    assert said["license"] == "BSD-3-Clause"


def test_every_change_is_told_in_a_way_that_towncrier_knows() -> None:
    """A fragment of another kind, or an empty one, would be missing from the notes, or in them as an empty line."""
    settings = project_of(ROOT)["tool"]["towncrier"]
    assert settings["start_string"] in (ROOT / settings["filename"]).read_text()
    kinds = "|".join(each["directory"] for each in settings["type"])
    fragments = [path for path in (ROOT / settings["directory"]).iterdir() if path.name not in settings["ignore"]]
    wrong = [path.name for path in fragments if not re.fullmatch(rf"(\d+|\+[\w-]+)\.({kinds})\.md", path.name)]
    assert wrong == []
    assert [path.name for path in fragments if not path.read_text().strip()] == []


def test_test_files_have_names_of_their_own() -> None:
    """Under --import-mode=importlib two files of one name can still shadow each other's modules in tracebacks."""
    names = [path.name for path in tracked_files() if re.fullmatch(r"test_.*\.py", path.name)]
    assert sorted(set(names)) == sorted(names)


def test_the_readme_has_two_commands() -> None:
    """.ci/run takes the tests' command from the README: it must find exactly these."""
    commands = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(), flags=re.MULTILINE | re.DOTALL)
    assert len(commands) == 2
    assert all(command.count("\n") == 1 for command in commands)
    assert commands[1] == "./test\n"
    assert "corral demo" in commands[0]


@pytest.mark.parametrize(
    "script",
    ["test", ".ci/run", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/batch-systems/*.sh"))],
)
def test_scripts_can_be_run(script: str) -> None:
    """Executable, and without a syntax error."""
    path = ROOT / script
    assert path.stat().st_mode & 0o111
    assert path.read_text().startswith("#!/usr/bin/env bash\n")
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
