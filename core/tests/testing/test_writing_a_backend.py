"""What the guide shows is what runs."""

from __future__ import annotations

import asyncio
import importlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from corral import JobState
from corral.batch.runner import Runner
from corral.plugin import discovery
from corral.plugin.values import Job, JobId, JobStatus, Resources, Script
from corral.testing import drive

HERE = Path(__file__).parent
ACME = HERE / "acme"
GUIDE = (HERE.parents[2] / "docs" / "writing-a-backend.md").read_text()
SCRIPT = Script(name="a", body="true\n")


def snippets(language: str) -> Iterator[str]:
    yield from re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("language", ["python", "toml"])
def test_every_snippet_is_in_a_file_that_is_tested(language: str) -> None:
    """The guide's code is the made-up backend's, to the letter."""
    sources = [*ACME.glob("*.py"), ACME / "pyproject.toml", HERE / "test_acme_conformance.py", Path(__file__)]
    code = "\n".join(path.read_text() for path in sources)
    found = list(snippets(language))
    assert found
    assert not [snippet for snippet in found if snippet not in code]


def test_every_answer_is_a_transcript() -> None:
    """What the guide lets Acme say was recorded."""
    recorded = "".join(path.read_text() for path in (ACME / "transcripts").iterdir())
    lines = [line for session in snippets("console") for line in session.splitlines() if not line.startswith("$ cat")]
    assert not [line for line in lines if line not in recorded]


def test_the_guide_drives_a_conversation() -> None:
    """The last snippet of the guide."""
    Acme = importlib.import_module("corral_acme").Acme  # noqa: N806 - it is a class
    assert [JobId("7.0")] == drive(Acme().submit(SCRIPT, 1), ["accepted: batch 7, 1 jobs\n"])


async def test_acme_runs_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin talks to the three commands as it does to their transcripts."""
    monkeypatch.setenv("PATH", f"{ACME / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("ACME_HOME", str(tmp_path / "acme"))
    (tmp_path / "acme").mkdir()
    hook, converse = discovery.load("acme").hook, Runner().converse

    async def final(job_ids: list[JobId]) -> dict[JobId, JobStatus]:
        while True:
            found: dict[JobId, JobStatus] = await converse(hook.poll_status(job_ids=job_ids))
            if all(status.state.is_final for status in found.values()):
                return found
            await asyncio.sleep(0.05)

    job = Job(
        name="ends",
        command=["bash", "-c", "exit $AC_INDEX"],
        resources=Resources(),
        log_directory=str(tmp_path),
    )
    ids = await converse(hook.submit(script=hook.render_script(job=hook.prepare_job(job=job)), count=2))
    ended = [(status.state, status.exit_code) for status in (await final(ids)).values()]
    assert ended == [(JobState.COMPLETED, 0), (JobState.FAILED, 1)]

    job = Job(name="stays", command=["sleep", "60"], environment={"A": "1"})
    ids = await converse(hook.submit(script=hook.render_script(job=job), count=1))
    assert ids == await converse(hook.find_jobs(name="stays"))
    await converse(hook.cancel(job_ids=[*ids, JobId("1.0")]))
    assert [JobState.CANCELLED] == [status.state for status in (await final(ids)).values()]
    assert [] == await converse(hook.find_jobs(name="stays"))
