"""The rooms of the house are those in its folders, and a wrong import is found in each."""

from __future__ import annotations

import ast
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "core" / "src" / "corral"
CONTRACTS = {
    each["id"]: each
    for each in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}
LAYERS = CONTRACTS["rooms"]["layers"]
#: From the ground up.
ROOMS = [room for layer in reversed(LAYERS) for room in layer.split(" | ")]
BACKENDS = sorted(path.name for path in (ROOT / "plugins").iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which every room, and every backend, has an import that it must not have."""
    house = tmp_path_factory.mktemp("house")
    shutil.copy(ROOT / "pyproject.toml", house)
    sources = [*ROOT.glob("plugins/*/src/*"), *ROOT.glob("contrib/*/src/*"), CORE]
    for source in sources:
        shutil.copytree(source, house / source.name, ignore=shutil.ignore_patterns("__pycache__", "*.txt", "*.toml"))
    for room in ROOMS[:-1]:
        path = house / "corral" / room / "__init__.py"
        path = path if path.parent.is_dir() else house / "corral" / f"{room}.py"
        path.write_text(path.read_text() + "\nimport corral.cli.wrong\n")
    (house / "corral" / "cli" / "wrong.py").write_text("import corral.local\n")
    for name in BACKENDS:
        with (house / f"corral_{name}" / "__init__.py").open("a") as file:
            file.write("\nimport corral.batch.runner\n")
    with (house / "corral_mpi" / "__init__.py").open("a") as file:
        file.write("\nimport corral.cluster.engine\nimport corral.allocation.rank_parts\n")
    with (house / "corral_jobqueue" / "__init__.py").open("a") as file:
        file.write("\nimport corral.cluster.engine\n")
    return house


@pytest.fixture(scope="module")
def findings(house: Path) -> str:
    """What `nox -s lint` says of it."""
    linter = shutil.which("lint-imports", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert linter is not None
    done = subprocess.run(
        [linter, "--no-cache"],
        cwd=house,
        env={**os.environ, "PYTHONPATH": str(house), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    return done.stdout


@pytest.mark.parametrize("room", ROOMS[:-1])
def test_a_wrong_import_is_found_in_each_room(findings: str, room: str) -> None:
    """Of the command line, which is above everything."""
    assert re.search(rf"corral\.{room}(\.\S+)? -> corral\.cli\.wrong", findings)


def test_nothing_imports_the_embedded_queue(findings: str) -> None:
    """Not even the command line, which may import everything else."""
    assert "corral.cli.wrong -> corral.local" in findings


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_that_reaches_behind_its_contract_is_found(findings: str, backend: str) -> None:
    """`corral.plugin` is all that it imports of corral."""
    assert f"corral_{backend} -> corral.batch.runner" in findings


def modules(folder: Path) -> set[str]:
    """The names of what is in a package of the core."""
    package = "corral." + folder.relative_to(CORE).as_posix()
    return {f"{package}.{path.stem}" for path in folder.glob("*.py") if path.stem != "__init__"}


def test_what_is_new_is_forbidden_too() -> None:
    """Those who may import little may not import a room, or a module of a room that they share, because it is new."""
    rooms = {f"corral.{room}" for room in ROOMS}
    assert rooms - {"corral.plugin"} <= set(CONTRACTS["plugins"]["forbidden_modules"])
    others = rooms - {"corral.allocation", "corral.errors"} | modules(CORE / "allocation")
    assert others - {"corral.allocation.ranks"} == set(CONTRACTS["mpi"]["forbidden_modules"])
    allowed = {"corral.allocation", "corral.errors", "corral.migration", "corral.plugin", "corral.request"}
    assert rooms - allowed == set(CONTRACTS["jobqueue"]["forbidden_modules"])


def test_ranks_reach_into_no_cluster(findings: str) -> None:
    """What starts ranks by MPI has one file for that, and nothing behind it."""
    assert "corral_mpi -> corral.cluster.engine" in findings
    assert "corral_mpi -> corral.allocation.rank_parts" in findings


def test_old_names_reach_into_no_cluster(findings: str) -> None:
    """dask-jobqueue's classes are made of what everybody can import, and of requests."""
    assert "corral_jobqueue -> corral.cluster.engine" in findings


def test_tests_of_plugins_use_the_kit() -> None:
    """`corral.testing`, `corral.plugin` and what users import: a stranger's tests have nothing else."""
    wrong = []
    for path in [*ROOT.glob("plugins/*/tests/**/*.py"), *CORE.glob("cli/templates/**/*.py.txt")]:
        # What is filled in later is a name.
        tree = ast.parse(re.sub(r"\{\{(\w+)\}\}", r"\1", path.read_text()))
        found = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        found += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        wrong += [
            f"{path.relative_to(ROOT)}: {name}"
            for name in found
            if name.startswith("corral.") and not re.match(r"corral\.(plugin|testing)(\.|$)", name)
        ]
    assert wrong == []


def test_every_folder_is_a_room() -> None:
    """Beside the rooms there is what starts the package, and its version."""
    found = {path.stem for path in CORE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert found == {*ROOMS, "__init__", "__main__", "_version"}


def test_the_design_tells_of_the_rooms_that_there_are() -> None:
    """Its table has each of them, in the order that is held."""
    design = (ROOT / "docs" / "design.md").read_text()
    table = design[design.index("| room | holds |") :].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == ROOMS


def test_the_design_names_files_that_there_are() -> None:
    """Those to read first, and where each thing lives."""
    design = (ROOT / "docs" / "design.md").read_text()
    rooms = design[design.index("## Rooms") : design.index("## Decisions")]
    named = re.findall(r"`([\w/]+\.py)`", rooms)
    assert len(named) >= 14
    # In decisions, a name without a folder may be somebody else's.
    named += re.findall(r"`(\w+/[\w/]+\.py)`", design)
    assert [name for name in named if not (CORE / name).exists() and not (ROOT / name).exists()] == []


#: How many lines a file and a function of the core may have, and what begins the reason of one that has more.
FILE, FUNCTION, REASON = 400, 60, "Long because"


def is_excused(lines: list[str], docstring: str) -> bool:
    """A reason is a sentence of the docstring, or a comment of its own."""
    return bool(re.search(rf"(^|\.\s+){REASON} \w", docstring)) or any(
        re.match(rf"\s*# {REASON} \w", line) for line in lines
    )


def test_a_long_file_says_why_it_is() -> None:
    """It holds one idea, and its docstring says what makes that so long."""
    found = {path.relative_to(CORE).as_posix(): path.read_text() for path in CORE.rglob("*.py")}
    long = {name: text for name, text in found.items() if len(text.splitlines()) > FILE}
    inexcusable = {name for name, text in long.items() if not is_excused([], ast.get_docstring(ast.parse(text)) or "")}
    assert inexcusable == set()


def test_a_long_function_says_why_it_is() -> None:
    """So does what is more than a screen."""
    inexcusable = set()
    for path in CORE.rglob("*.py"):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = text.splitlines()[node.lineno - 1 : node.end_lineno]
                if len(lines) > FUNCTION and not is_excused(lines, ast.get_docstring(node) or ""):
                    inexcusable.add(f"{path.relative_to(CORE).as_posix()}: {node.name}")
    assert inexcusable == set()


#: What begins with `corral.` and is no Python: a file, entry points, keys of the configuration.
ELSEWHERE = re.compile(r"corral\.(yaml|backends|sites|groups|exit)\b")


def spoken(path: Path) -> str:
    """The text in which names stand: a page, or the docstrings of a module."""
    text = path.read_text()
    if path.suffix != ".py":
        return text
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return "\n".join(
        ast.get_docstring(node) or "" for node in ast.walk(ast.parse(text)) if isinstance(node, documented)
    )


def is_there(name: str) -> bool:
    """Whether a dotted path leads to a module, or to something in one."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


@pytest.mark.parametrize(
    "path",
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("changes/+*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("*/README.md"),
        *ROOT.glob("*/*/README.md"),
        *CORE.rglob("*.py"),
        *ROOT.glob("plugins/*/src/**/*.py"),
        *ROOT.glob("contrib/*/src/**/*.py"),
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_names_of_corral_lead_somewhere(path: Path) -> None:
    """Pages and docstrings name modules, classes and functions where they are now."""
    names = set(re.findall(r"(?<![\w./@-])corral(?:\.[A-Za-z_]\w*)+", spoken(path)))
    assert sorted(name for name in names if not ELSEWHERE.match(name) and not is_there(name)) == []
