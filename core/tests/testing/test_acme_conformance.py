"""The laws hold for a small backend that keeps them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

import pluggy
import pytest

from corral import JobState
from corral.plugin import Conversation, hookimpl
from corral.plugin.validation import NamedPlugin, assemble
from corral.plugin.values import Command, Completed, FailureKind, Job, JobId, Queue, Resources
from corral.testing import (
    AskedFor,
    BackendConformance,
    CancelsGone,
    DescribesQueues,
    Detects,
    Finds,
    GarbledRow,
    Inside,
    Live,
    Polls,
    Recording,
    Submits,
    UnknownWord,
    one_of_each,
)


class TestAcme(BackendConformance):
    backend = "acme"
    transcripts = Path(__file__).parent / "acme" / "transcripts"
    recordings = (
        Submits(["submit.txt"], ids=["4.0", "4.1", "4.2"]),
        Polls(
            ["poll.txt"],
            states={"1.0": JobState.COMPLETED, "2.0": JobState.FAILED, "4.1": JobState.RUNNING},
            absent=["4.7"],
            exit_codes={"1.0": 0, "2.0": 3, "4.1": None},
        ),
        Polls(["poll-late.txt"], states={"5.0": JobState.TIMEOUT, "6.0": JobState.HELD}),
        Polls(["poll-unknown.txt"], states={}, absent=["99.0"]),
        CancelsGone(["cancel-gone.txt"], ids=["1.0"]),
        Finds(["find.txt"], name="dask-1", ids=["4.1", "4.2"]),
        Finds(["find.txt"], name="dask-*", ids=["4.1", "4.2"]),
        Inside(environ="environment.txt", job_id="4.1", hosts=["node01"]),
        Detects(["version.txt"], version="3.1"),
    )
    units = (
        AskedFor(
            "#AC memory=1000K\n#AC walltime=90",
            Completed(stdout="4.0: 1024000 bytes, 1.5 minutes\n"),
            says=["1024000 bytes", "1.5 minutes"],
            memory=1024000,
            walltime=90,
        ),
    )
    unknown_word = UnknownWord(["poll.txt"], job_id="4.1", known="4.1|RUN|", unknown="4.1|MOLTING|")
    garbled_row = GarbledRow(["poll.txt"], job_id="4.1", known="4.1|RUN|node01||", garbled="4.1|RUN|")
    failures = {"poll-unknown.txt": None, "submit-refused.txt": FailureKind.FATAL}  # noqa: RUF012 - read only
    live = Live(held=["hold=yes"], many=6, tells=["hosts", "exit_code"], patience=20.0)
    job = Job(
        name="dask-1",
        command=("true",),
        resources=Resources(nodes=2, cores=4, memory=8 * 2**30),
        walltime=3600,
        queue="barn",
        account="herd",
        log_directory="/scratch/logs",
    )
    extra_directives = ("mail=never", "after=3.0")

    def job_ids(self, count: int) -> list[JobId]:
        return [JobId(f"{4 + number // 1000}.{number % 1000}") for number in range(count)]

    def poll_answers(self, job_ids: Sequence[JobId]) -> list[Completed]:
        return [Completed(stdout="".join(f"{job_id}|RUN|node01||dask-1\n" for job_id in job_ids))]


def test_jobs_that_are_submitted_alone_have_the_other_recordings_too() -> None:
    """All but those of arrays: another submission, and another job's own environment."""

    class Alone(TestAcme):
        alone = Submits(["submit.txt"], ids=["5"])

    inside = Inside(environ={"AC_BATCH": "5"}, job_id="5", hosts=["node01"])
    told = [each for each in TestAcme.recordings if each.hook not in ("submit", "read_allocation")]
    assert Alone.each_alone(inside) == (Alone.alone, *told, inside)
    with pytest.raises(AssertionError, match="TestAcme.alone"):
        TestAcme.each_alone(inside)


def test_the_limits_of_queues_are_what_was_declared() -> None:
    """Those that are declared are looked at; of others nothing is said."""
    told = DescribesQueues([], names=["barn", "field"], limits={"barn": {"max_walltime": 600, "memory": 2**30}})
    told.is_right([Queue(name="barn", max_walltime=600, memory=2**30, cores=4), Queue(name="field", cores=2)])
    with pytest.raises(AssertionError, match="of queue barn"):
        told.is_right([Queue(name="barn", max_walltime=600, memory=1024), Queue(name="field")])


def test_one_recording_of_each_hook_is_the_first() -> None:
    """Of finding jobs there are two, which are asked for otherwise."""
    found = one_of_each(TestAcme.recordings)
    firsts: dict[tuple[str, bool], Recording] = {}
    for each in reversed(TestAcme.recordings):
        firsts[each.hook, isinstance(each, Finds) and each.name.endswith("*")] = each
    assert set(map(id, found)) == set(map(id, firsts.values()))


def test_cancel_may_look_before_it_cancels() -> None:
    """Then it is shown jobs that live; and what it does with that must be as right as without looking."""
    acme = importlib.import_module("corral_acme")

    class LooksFirst(acme.Acme):  # type: ignore[misc,name-defined]
        """As where cancelling an ended job is an error that looks like any other."""

        @hookimpl
        def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
            found = yield from self.poll_status(job_ids)
            if running := [str(job_id) for job_id, status in found.items() if not status.state.is_final]:
                yield Command(["acdel", *running])

    class CancelsAll(LooksFirst):
        @hookimpl
        def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
            table = yield Command(["acstat"])
            yield Command(["acdel", *(row.partition("|")[0] for row in table.stdout.splitlines())])

    class CancelsAHundred(LooksFirst):
        @hookimpl
        def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
            yield from super().cancel(job_ids[:100])

    def laws_of(plugin: object) -> TestAcme:
        class Laws(TestAcme):
            def manager(self, *around: object, **options: object) -> pluggy.PluginManager:
                return assemble(NamedPlugin(name="acme", plugin=plugin))

        return Laws()

    laws_of(LooksFirst()).test_cancelling_names_its_jobs_and_no_neighbour()
    laws_of(LooksFirst()).test_cancelling_ten_thousand_jobs_leaves_none_out()
    with pytest.raises(AssertionError, match="is the same as cancelling"):
        laws_of(CancelsAll()).test_cancelling_names_its_jobs_and_no_neighbour()
    with pytest.raises(AssertionError, match="is never cancelled"):
        laws_of(CancelsAHundred()).test_cancelling_ten_thousand_jobs_leaves_none_out()
