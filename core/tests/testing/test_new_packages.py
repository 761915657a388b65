"""Packages from the templates: discovered at once, and failing just the laws still to be filled in."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from corral.cli import main
from corral.errors import InvalidRequest

#: What a template cannot know: how the batch system answers.
TO_FILL_IN = {
    "test_an_answer_means_what_was_recorded",
    "test_commands_are_argument_lists",
    "test_ten_thousand_jobs_need_few_commands",
    "test_a_banner_never_changes_an_id",
    "test_an_unknown_word_is_a_living_job",
    "test_a_garbled_row_blinds_no_poll",
    "test_an_empty_answer_is_no_parse_error",
    "test_every_state_word_was_seen_or_is_said_not_to_be",
    "test_jobs_are_found_by_their_name_and_by_its_beginning",
}


def write(tmp_path: Path, *words: str) -> Path:
    """A new package, installed as far as Python can see: on the path, beside the metadata that pip would write."""
    place = tmp_path / "package"
    done = CliRunner().invoke(main, [*words, f"--directory={place}"])
    assert done.exit_code == 0, done.output
    project = tomllib.loads((place / "pyproject.toml").read_text())["project"]
    metadata = place / "src" / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1.0\n")
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in project["entry-points"].items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    return place


def python(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(place / "src"), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, *words],
        cwd=place,
        env={**os.environ, "PYTHONPATH": path, "PYTEST_ADDOPTS": "", "CORRAL_EXAMPLES": "5"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_a_new_backend_fails_what_is_to_be_filled_in(tmp_path: Path) -> None:
    """It is listed, its scripts are written, and no law fails that it could keep."""
    place = write(tmp_path, "new-backend", "tide-pool")
    listed = python(place, "-m", "corral.cli", "backends").stdout
    assert [line.split()[1] for line in listed.splitlines() if line.startswith("tide-pool ")] == ["corral-tide-pool"]
    shown = python(place, "-m", "corral.cli", "script", "--backend=tide-pool", "--memory=1GB")
    assert "#TIDE_POOL --memory=954M" in shown.stdout, shown.stderr
    ran = python(place, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "tests")
    failed = {
        line.split("::")[2].split("[")[0].split(" ")[0] for line in ran.stdout.splitlines() if line.startswith("FAILED")
    }
    assert failed == TO_FILL_IN, ran.stdout[-3000:]
    assert " passed" in ran.stdout


def test_a_new_site_fails_what_is_to_be_filled_in(tmp_path: Path) -> None:
    """It completes requests from the first moment; where its facts were read, only its author knows."""
    place = write(tmp_path, "new-site", "lagoon", "--backend=local")
    shown = python(place, "-m", "corral.cli", "script", "--site=lagoon", "--memory=1GB")
    assert "#CORRAL --memory=1GB" in shown.stdout, shown.stderr
    ran = python(place, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "tests")
    failed = {line.split("::")[2].split(" ")[0] for line in ran.stdout.splitlines() if line.startswith("FAILED")}
    assert failed == {"test_facts_say_where_they_were_read_and_when"}, ran.stdout[-3000:]
    module = place / "src" / "corral_lagoon" / "__init__.py"
    module.write_text(module.read_text().replace("sources=()", 'sources=("docs.lagoon.example",)'))
    ran = python(place, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("name", ["Tide", "7seas", "a_b", "../up", ""])
def test_a_name_that_cannot_be_is_refused(name: str, tmp_path: Path) -> None:
    """It names a distribution, a module and a class."""
    with pytest.raises(InvalidRequest, match="lower-case"):
        CliRunner().invoke(main, ["new-backend", name], catch_exceptions=False, env={"CORRAL_TRACEBACK": "1"})


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("work of a week")
    done = CliRunner().invoke(main, ["new-backend", "tide", f"--directory={tmp_path}"])
    assert done.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
