"""Each law about a job's life finds its fault in a backend without arrays, too, and none in a sound one."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PLAIN = ("-p", "no:randomly", "-p", "no:asyncio", "-p", "no:cacheprovider")

LAWS = """
import sys
sys.path.insert(0, {acme!r})

from corral.plugin import Completed, JobId, JobState
from corral.plugin.validation import NamedPlugin, assemble
from corral.testing import BackendConformance, CancelsGone, Inside, Polls, Submits
from single_jobs import FAULTS, Single

class TestSingle(BackendConformance):
    backend = "acme"
    plugin = Single
    recordings = (
        Submits([Completed(stdout=f"accepted: batch {{number}}\\n") for number in (7, 8, 9)], ids=["7", "8", "9"]),
        Polls(
            [Completed(stdout="7|RUN|n1||a\\n8|DONE|n1|0|b\\n")],
            states={{"7": JobState.RUNNING, "8": JobState.COMPLETED}},
        ),
        CancelsGone([Completed(returncode=1, stderr="acdel: 8 is not running\\n")], ids=["8"]),
        Inside(environ={{"AC_BATCH": "7", "AC_HOSTS": "n1 n2"}}, job_id="7", hosts=["n1", "n2"]),
    )

    def job_ids(self, count):
        return [JobId(str(1000 + number)) for number in range(count)]

    def manager(self, *around, **_):
        return assemble(NamedPlugin(name="acme", plugin=self.plugin()), [NamedPlugin.of_user(each) for each in around])

for fault in FAULTS:
    globals()["Test" + fault.__name__] = type("Test" + fault.__name__, (TestSingle,), dict(plugin=fault))
"""


@pytest.fixture(scope="module")
def faults() -> dict[str, str]:
    """The names of the planted faults and of the laws that must find them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE / "acme")
        return {fault.__name__: law for fault, law in importlib.import_module("single_jobs").FAULTS.items()}


def test_each_fault_is_found_and_a_sound_backend_has_none(pytester: pytest.Pytester, faults: dict[str, str]) -> None:
    """A backend with one fault fails the law that is about it; one without keeps all of these."""
    file = pytester.makepyfile(LAWS.format(acme=str(HERE / "acme")))
    names = [f"{file}::Test{fault}::{law}" for fault, law in faults.items()]
    sound = [f"{file}::TestSingle::{law}" for law in sorted(set(faults.values()))]
    run = pytester.inline_run(*PLAIN, *names, *sound)
    failed = {report.nodeid.split("::")[1] for report in run.getfailures() if report.when == "call"}
    assert failed == {f"Test{fault}" for fault in faults}
