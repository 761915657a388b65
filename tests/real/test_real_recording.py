"""What `corral record` writes on real batch systems is what the laws take, as it was pasted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from click.testing import CliRunner
from operators import Operator

import corral.plugin
import corral.testing
from corral.cli import main
from corral.testing import BackendConformance, Finds, Recording, Submits, drive
from corral.testing.shipped import laws_of
from corral.testing.silence import SilentHooks


def test_what_is_recorded_means_what_is_declared(
    operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each conversation is held again on the files, which name neither this host nor its user."""
    # Ten commands a minute, as usual, would take minutes.
    monkeypatch.setenv("DASK_CORRAL__COMMANDS_PER_MINUTE", "600")
    # No worker listens on an interface: these jobs are no cluster.
    arguments = {name: value for name, value in operator.setup.job.items() if name != "interface"}
    options = arguments.pop("backend_options", {})
    words = [f"--{name.replace('_', '-')}={value}" for name, value in arguments.items()]
    words += [f"--backend-option={name}={json.dumps(value)}" for name, value in options.items()]
    target = tmp_path / "transcripts"
    command = ["record", f"--backend={operator.backend}", "--site=none", "--memory=400MB", f"--output={target}", *words]
    done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    declared: dict[str, Any] = {}
    exec(done.stdout, {**vars(corral.plugin), **vars(corral.testing)}, declared)
    shipped = laws_of(operator.backend, options) or BackendConformance
    # What the backend's own laws ask for may need options that are not said of this system.
    job = evolve(shipped.job, queue=None, resources=evolve(shipped.job.resources, nodes=1, gpus=0))
    body = {
        "failures": {},
        **declared,
        "backend": operator.backend,
        "transcripts": target,
        "options": options,
        "job": job,
    }
    laws = type("Pasted", (shipped,), body)()
    hooks = SilentHooks(laws.manager())
    script = hooks.render_script(job=hooks.prepare_job(job=laws.job))
    recordings: list[Recording] = list(laws.recordings)
    for recording in recordings:
        recording.is_right(drive(recording.ask(hooks, script, target), recording.answers_from(target)))
    assert {recording.hook for recording in recordings} >= {
        "submit", "poll_status", "cancel", "find_jobs", "read_allocation", "detect",
    }  # fmt: skip
    assert next(len(each.ids) for each in recordings if isinstance(each, Submits)) == 1
    assert {each.name.endswith("*") for each in recordings if isinstance(each, Finds)} == {True, False}
    # HTCondor takes any job, and lets it wait.
    assert laws.failures or operator.backend == "htcondor"
    laws.test_failures_are_classified_as_recorded(hooks)
    if "unknown_word" in declared:
        laws.test_an_unknown_word_is_a_living_job(hooks)
    assert operator.count("dask-rec-") == 0
