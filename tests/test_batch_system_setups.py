"""What batch systems need said, their check-up, and what is recorded of a run: corral's own queue is the real one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import batch_systems
import pytest
import setups
import tried
import yaml  # type: ignore[import-untyped]

from corral.errors import InvalidRequest
from corral.local.plugin import Local
from corral.plugin import Job, Resources

TESTS = """
    import pytest
    import setups

    pytestmark = pytest.mark.real("local")

    def test_of_all():
        print("jobs:", setups.of("local").arguments())

    @pytest.mark.needs("gpus")
    def test_of_gpus():
        pass

    def test_of_many_jobs():
        setups.of("local").allows(jobs=1000)
"""

Run = Callable[..., pytest.RunResult]
Say = Callable[[object], Path]


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Writes a file, which is the one that counts."""

    def write(contents: object) -> Path:
        path = tmp_path / "systems.yaml"
        path.write_text(contents if isinstance(contents, str) else yaml.safe_dump(contents))
        setups.read.cache_clear()
        setups._contents.cache_clear()
        monkeypatch.setenv(setups.VARIABLE, str(path))
        return path

    return write


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the three tests above with these options."""
    monkeypatch.setattr(batch_systems, "SCRIPTS", pytester.mkdir("scripts"))
    monkeypatch.setattr(batch_systems, "PROBES", {"local": ["true"]})
    monkeypatch.delenv("CI", raising=False)
    for name in (setups.VARIABLE, "PYTEST_DEBUG_TEMPROOT"):
        # What the run sets is set back.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    pytester.makeini("[pytest]\nmarkers =\n  real(name): real batch system\n  needs(ability): what it can do\n")
    pytester.makeconftest('pytest_plugins = ["batch_systems", "tried"]')
    pytester.makepyfile(TESTS)
    return lambda *options: pytester.runpytest_inprocess("-rs", "-s", "-p", "no:randomly", "-p", "no:asyncio", *options)


def a_queue(tmp_path: Path, **said: Any) -> dict[str, Any]:
    """What is said of corral's own queue."""
    options = {"directory": str(tmp_path / "queue"), "cores": 2, "memory": "1GB"}
    return {"local": {"job": {"backend-options": options}, "lacks": {"gpus": "nobody bought any"}, **said}}


# --- the file ---------------------------------------------------------------------------------------------------


def test_a_job_gets_what_every_job_needs(say: Say) -> None:
    """What the test says comes second where there may be several, and counts where there is one."""
    job = {"queue": "long", "account": "climate", "extra-directives": ["--qos=low"]}
    say({"slurm": {"job": {**job, "backend-options": {"arrays": False}}, "smallest": {"cores": 2, "memory": "2GB"}}})
    options = {"requeue": True}
    arguments = setups.of("slurm").arguments(queue="short", extra_directives=["--hold"], backend_options=options)
    assert arguments == {
        "backend": "slurm", "queue": "short", "account": "climate", "walltime": "00:10:00", "cores": 2, "processes": 1,
        "memory": 2 * 10**9, "extra_directives": ["--qos=low", "--hold"],
        "backend_options": {"arrays": False, "requeue": True},
    }  # fmt: skip
    assert "--backend-option=arrays=False" in setups.of("slurm").words()
    assert "--extra-directives=--qos=low" in setups.of("slurm").words()


def test_a_job_of_a_plugin_s_own_tests_gets_it_too(say: Say) -> None:
    say({"slurm": {"job": {"queue": "long", "walltime": "2 min", "prologue": ["module load x"], "env": {"A": "1"}}}})
    job = Job(command=("true",), walltime=300, prologue=["echo"], resources=Resources(memory=10))
    fitted = setups.of("slurm").fit(job)
    assert (fitted.queue, fitted.walltime, fitted.environment) == ("long", 120, {"A": "1"})
    assert fitted.prologue == ("module load x", "echo")
    assert fitted.resources == job.resources


def test_what_is_too_large_is_skipped(say: Say) -> None:
    path = say({"slurm": {"largest": {"memory": "1GB", "jobs": 20}}})
    for ask in (
        lambda: setups.of("slurm").arguments(memory="2GB"),
        lambda: setups.of("slurm").allows(jobs=21),
        lambda: setups.of("slurm").fit(Job(resources=Resources(memory=2 * 10**9))),
    ):
        with pytest.raises(pytest.skip.Exception, match=f"and {path} allows"):
            ask()
    setups.of("slurm").allows(jobs=20, memory=None)


def test_what_is_no_size_is_left_for_corral_to_refuse(say: Say) -> None:
    say({"slurm": {"smallest": {"cores": 2}, "largest": {"memory": "1GB"}}})
    arguments = setups.of("slurm").arguments(memory="lots", cores=0)
    assert (arguments["memory"], arguments["cores"]) == ("lots", 0)


def test_a_batch_system_that_is_not_in_the_file_is_taken_for_our_own(say: Say) -> None:
    say({"slurm": None})
    assert not setups.of("slurm").is_own
    assert setups.of("slurm").job == {}
    assert setups.of("oar").is_own
    assert setups.of("oar").job["backend_options"] == {"memory_property": "memcore", "gpu_resource": "gpu"}


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ("", "must be a table"),
        ("- slurm", "must be a table"),
        ("slurm: {", "cannot be read"),
        ({"slrum": {}}, "'slrum' is no backend that is installed here: .*slurm"),
        ({"slurm": "long"}, "slurm must be a table"),
        ({"slurm": {"jobs": {}}}, "slurm: nobody knows 'jobs': job, lacks"),
        ({"slurm": {"job": {"que": "x"}}}, "slurm: job: nobody knows 'que'"),
        ({"slurm": {"job": {"queue": 3}}}, "slurm: job: queue must be a text"),
        ({"slurm": {"job": {"extra-directives": "--x"}}}, "extra-directives must be a list of texts"),
        ({"slurm": {"job": {"backend-options": []}}}, "backend-options must be a table"),
        ({"slurm": {"lacks": {"gpu": "x"}}}, "lacks: nobody knows 'gpu': accounting"),
        ({"slurm": {"lacks": {"gpus": True}}}, "lacks: gpus: say why"),
        ({"slurm": {"lacks": {"gpus": " "}}}, "lacks: gpus: say why"),
        ({"slurm": {"largest": {"cores": "many"}}}, "'many' is no number of cores"),
        ({"slurm": {"smallest": {"memory": "lots"}}}, "'lots' is no amount of memory"),
        ({"slurm": {"patience": "a while"}}, "a while"),
    ],
)  # fmt: skip
def test_a_file_that_nobody_understands(say: Say, contents: object, words: str) -> None:
    """With its name and the place."""
    path = say(contents)
    with pytest.raises(pytest.UsageError, match=f"(?s)^{path}.*{words}"):
        setups.of("slurm")


@pytest.mark.parametrize("name", ["example", "own", "slurm-otherwise"])
def test_the_project_s_files_are_understood(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = setups.OWN.with_name(f"{name}.yaml")
    monkeypatch.setenv(setups.VARIABLE, str(path))
    assert setups.of("slurm").job["queue"]
    assert setups.of("slurm").plugin().facts.title == "Slurm"


def test_the_example_names_every_ability() -> None:
    """In the words that a skip has."""
    text = setups.OWN.with_name("example.yaml").read_text()
    assert [name for name in setups.ABILITIES if f"  {name}: " not in text and f"# {name}: " not in text] == []


# --- the check-up -----------------------------------------------------------------------------------------------


def test_what_runs_a_job_is_used_and_what_it_lacks_is_skipped(run: Run, say: Say, tmp_path: Path) -> None:
    """With the reason, and one line about the batch system."""
    path = say(a_queue(tmp_path, largest={"jobs": 20}))
    outcome = run(f"--batch-system-file={path}")
    outcome.assert_outcomes(passed=1, skipped=2)
    outcome.stdout.fnmatch_lines([
        "*jobs: {'backend': 'local', *'backend_options': {*",
        "*local lacks gpus (GPUs): nobody bought any",
        f"*local: the test asks for jobs=1000, and {path} allows 20",
    ])  # fmt: skip
    outcome.stdout.fnmatch_lines(f"local *: ran a job in * s, made as {path} says; it lacks gpus, nodes, testbed")


def test_a_relative_file_is_found_by_programs_that_tests_start(
    run: Run, say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may have another working directory."""
    path = say(a_queue(tmp_path))
    monkeypatch.chdir(tmp_path)
    run("--batch-system-file=systems.yaml", "-k", "nothing")
    assert setups.of("local").source == str(path)


def test_its_folder_is_where_tests_put_their_files(
    run: Run, say: Say, tmp_path: Path, pytester: pytest.Pytester
) -> None:
    (tmp_path / "shared").mkdir()
    path = say({**a_queue(tmp_path), "folder": str(tmp_path / "shared")})
    pytester.makepyfile(test_here="def test_here(tmp_path): print('in', tmp_path)")
    run(f"--batch-system-file={path}", "test_here.py").stdout.fnmatch_lines(f"*in {tmp_path}/shared/*")


def test_after_a_bad_check_up_every_test_is_skipped_with_the_cure(run: Run, say: Say, tmp_path: Path) -> None:
    """What the batch system said, whose settings they were, and what to do."""
    path = say(a_queue(tmp_path, smallest={"memory": "64GB"}))
    outcome = run(f"--batch-system-file={path}")
    outcome.assert_outcomes(skipped=3)
    outcome.stdout.fnmatch_lines([
        "*local: its check-up failed: *64*", f"The job was made as {path} says. *--batch-system-file *README.md*",
    ])  # fmt: skip


def test_a_job_that_only_waits_is_cancelled_and_explained(run: Run, say: Say, tmp_path: Path) -> None:
    """After the time that the file gives it."""
    said = a_queue(tmp_path, patience="1 s")
    said["local"]["job"]["prologue"] = ["sleep 60"]
    outcome = run(f"--batch-system-file={say(said)}")
    outcome.assert_outcomes(skipped=3)
    outcome.stdout.fnmatch_lines("*local: a job with these settings did not end within 1 s: *. With 'patience:' *")


def test_a_job_that_fails_says_what_it_printed(run: Run, say: Say, tmp_path: Path) -> None:
    said = a_queue(tmp_path)
    said["local"]["job"]["prologue"] = ["echo no module python; exit 3"]
    outcome = run(f"--batch-system-file={say(said)}")
    outcome.assert_outcomes(skipped=3)
    outcome.stdout.fnmatch_lines("*local: a job with these settings ended badly (failed*): no module python")


def test_in_ci_a_bad_check_up_is_one_failure(
    run: Run, say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which says it for all."""
    path = say(a_queue(tmp_path, smallest={"memory": "64GB"}))
    monkeypatch.setenv("CI", "true")
    outcome = run(f"--batch-system-file={path}")
    outcome.assert_outcomes(errors=1, skipped=2)
    outcome.stdout.fnmatch_lines(["local: its check-up failed: *", "In CI this test must run*"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("submit", ["local: its check-up broke corral:", "*ZeroDivisionError*"]),
        ("__init__", ["local: its check-up found a broken plugin: *ZeroDivisionError*"]),
    ],
)
def test_a_check_up_that_breaks_corral_is_a_failure_everywhere(
    run: Run, say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: list[str]
) -> None:
    """A skip would hide it."""
    path = say(a_queue(tmp_path))
    monkeypatch.setattr(Local, name, lambda *_, **__: 1 / 0)
    outcome = run(f"--batch-system-file={path}")
    outcome.assert_outcomes(errors=1, skipped=2)
    outcome.stdout.fnmatch_lines(words)


def test_what_a_script_could_have_made_possible_is_a_failure_in_ci(
    run: Run, say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As any other skip."""
    path = say(a_queue(tmp_path))
    (batch_systems.SCRIPTS / "local-up.sh").touch()
    monkeypatch.setenv("CI", "true")
    outcome = run(f"--batch-system-file={path}")
    outcome.assert_outcomes(passed=2, errors=1)
    outcome.stdout.fnmatch_lines("local lacks gpus (GPUs): nobody bought any")


# --- what was tried ---------------------------------------------------------------------------------------------


def test_a_run_is_recorded(run: Run, say: Say, tmp_path: Path, pytester: pytest.Pytester) -> None:
    """A line for each batch system, after those that are there; nothing tells whose machine it was."""
    path = say(a_queue(tmp_path))
    record = tmp_path / "tried.jsonl"
    record.write_text(json.dumps(entry()) + "\n")
    run(f"--batch-system-file={path}", f"--record-tried={record}", "--tried-by=Prairie Computing Centre")
    _, first = tried.read(record)
    assert (first.backend, first.passed, first.failed, first.skipped) == ("local", 2, 0, 1)
    assert (first.by, first.lacks) == ("Prairie Computing Centre", ("gpus", "nodes", "testbed"))
    assert first.python
    assert first.version
    assert first.tests == (".",)


def test_a_batch_system_that_ran_nothing_is_not_recorded(run: Run, say: Say, tmp_path: Path) -> None:
    path = say(a_queue(tmp_path, smallest={"memory": "64GB"}))
    run(f"--batch-system-file={path}", f"--record-tried={tmp_path / 'tried.jsonl'}")
    assert (tmp_path / "tried.jsonl").read_text() == ""


def entry(**said: Any) -> Mapping[str, Any]:
    usual = {"backend": "slurm", "batch_system": "Slurm", "version": "22.05.8", "tests": ["tests/real"]}
    return {**usual, "date": "2026-11-30", "by": "CI", **said}


def test_versions_are_put_into_words() -> None:
    runs = [tried.Run(**entry(version=version)) for version in ("22.05.8", "24.11.5", "22.05.8")]
    assert tried.in_words(runs) == "Slurm 22.05.8 and 24.11.5"


@pytest.mark.parametrize("line", ["", "{}", "[]", "{", json.dumps(entry(colour="red"))])
def test_a_line_that_is_no_run_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "tried.jsonl"
    path.write_text(f"{json.dumps(entry())}\n{line}\n")
    with pytest.raises(InvalidRequest, match=f"line 2 of {path} is no run"):
        tried.read(path)
