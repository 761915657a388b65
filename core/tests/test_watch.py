"""How often a batch system is asked: one question for all clusters of a user on a host."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from corral.batch.budget import CommandBudget, Entry, Kind, wait_for_room
from corral.batch.polling import Need, Watch
from corral.batch.rhythm import Rhythm
from corral.errors import BatchSystemUnavailable
from corral.host.shared import FORMAT, Shared, era
from corral.plugin.values import JobId, JobState, JobStatus

# --- the rhythm -------------------------------------------------------------------------------------------------


def test_the_rhythm_is_quick_after_a_change_and_slow_at_rest() -> None:
    """2, 5, 10 and 20 s after a change, then every minute."""
    rhythm = Rhythm()
    rhythm.changed(100.0)
    moments = []
    for _ in range(6):
        moments.append(rhythm.due())
        rhythm.polled(moments[-1])
    assert moments == [102.0, 105.0, 110.0, 120.0, 180.0, 240.0]


def test_jobs_that_are_all_connected_are_asked_about_once_in_ten_minutes() -> None:
    """Launchers and workers report by themselves; but what has just changed is seen to its end."""
    rhythm = Rhythm()
    rhythm.is_connected = True
    rhythm.changed(100.0)
    rhythm.polled(110.0)
    assert rhythm.due() == 120.0
    rhythm.polled(120.0)
    assert rhythm.due() == 720.0
    rhythm.is_connected = False
    assert rhythm.due() == 180.0


def test_a_change_starts_the_rhythm_again() -> None:
    """Whatever was polled before it."""
    rhythm = Rhythm()
    rhythm.changed(100.0)
    rhythm.polled(102.0)
    rhythm.changed(103.0)
    assert rhythm.due() == 105.0


def test_an_answer_that_comes_a_little_early_serves() -> None:
    """Clusters that begin a moment apart share each question of their rhythms."""
    rhythm = Rhythm()
    rhythm.changed(100.0)
    rhythm.polled(101.0)
    assert rhythm.due() == 105.0
    assert rhythm.oldest(105.0) == 103.5
    rhythm.polled(103.4)
    assert rhythm.due() == 105.0
    rhythm.polled(130.0)
    assert (rhythm.due(), rhythm.oldest(190.0)) == (190.0, 160.0)


def test_a_poll_that_comes_late_does_not_catch_up() -> None:
    """After a stall one question is enough, not four."""
    rhythm = Rhythm()
    rhythm.changed(100.0)
    rhythm.polled(150.0)
    assert rhythm.due() == 210.0


def test_a_vanished_worker_asks_at_once() -> None:
    """And only once; somebody else's answer serves if it was asked for late enough."""
    rhythm = Rhythm()
    rhythm.changed(0.0)
    rhythm.polled(600.0)
    rhythm.urgent(610.0)
    assert rhythm.due() == 610.0
    assert rhythm.oldest(610.0) == 609.5
    assert rhythm.oldest(630.0) == 609.5
    rhythm.polled(608.0)
    assert rhythm.due() == 610.0
    rhythm.polled(610.0)
    assert rhythm.due() == 670.0


# --- the ledger -------------------------------------------------------------------------------------------------


def entries(kind: Kind, *moments: float, key: str = "") -> list[Entry]:
    return [Entry(moment, kind, key) for moment in moments]


def test_acts_leave_questions_their_share() -> None:
    """A minute full of acts, from before and now: two questions are let through all the same, and not a third."""
    ledger = entries(Kind.ACT, *range(30))
    assert wait_for_room(ledger + entries(Kind.QUESTION, 31.0), 32.0, Kind.QUESTION, 10) == 0.0
    full = ledger + entries(Kind.QUESTION, 31.0, 32.0)
    assert wait_for_room(full, 33.0, Kind.QUESTION, 10) == pytest.approx(52.0, abs=10.0)
    assert wait_for_room(full, 91.5, Kind.QUESTION, 10) == 0.0


def test_what_is_urgent_has_a_share_of_its_own() -> None:
    """A minute full of routine: that a worker has vanished is followed up all the same, twice."""
    routine = entries(Kind.ACT, *range(6)) + entries(Kind.QUESTION, 6.0, 8.0)
    assert wait_for_room(routine, 20.0, Kind.QUESTION, 10) > 30.0
    routine += entries(Kind.REPLACEMENT, 20.0, 20.0)
    for moment in (20.0, 22.0):
        assert wait_for_room(routine, moment, Kind.URGENT, 10) == 0.0
        routine += entries(Kind.SPARE, moment)
        # What happens to many at once is one question.
        assert wait_for_room(routine, moment + 1, Kind.URGENT, 10) > 0.0
    assert wait_for_room(routine, 24.0, Kind.URGENT, 10) > 30.0


def test_an_act_brings_its_own_question() -> None:
    """Who has just submitted hears what became of it; but acts without end bring no questions without end."""
    before = entries(Kind.REPLACEMENT, *range(20)) + entries(Kind.QUESTION, 21.0, 22.0)
    assert wait_for_room(before, 24.0, Kind.QUESTION, 10) > 30.0
    acted = before + entries(Kind.ACT, 23.0)
    assert wait_for_room(acted, 24.0, Kind.QUESTION, 10) == 0.0
    assert wait_for_room(acted + entries(Kind.QUESTION, 24.0), 25.0, Kind.QUESTION, 10) > 30.0
    endless = acted + entries(Kind.QUESTION, 24.0) + entries(Kind.ACT, 25.0) + entries(Kind.QUESTION, 26.0)
    assert wait_for_room(endless + entries(Kind.ACT, 27.0), 28.0, Kind.QUESTION, 10) > 30.0


def test_acts_never_wait_and_repetitions_do() -> None:
    """A cancellation that waits a minute helps nobody; one that was accepted can."""
    full = entries(Kind.ACT, *range(50))
    assert wait_for_room(full, 50.0, Kind.ACT, 10) == 0.0
    assert wait_for_room(full, 50.0, Kind.REPLACEMENT, 10) == 0.0
    assert wait_for_room(full, 50.0, Kind.AGAIN, 10) > 0.0
    # They leave the questions' share alone.
    assert wait_for_room(entries(Kind.QUESTION, *range(8)), 50.0, Kind.AGAIN, 10) > 0.0


def test_a_low_limit_learns_beside_a_high_one() -> None:
    """Of its own batch system it takes the other's answers; to ask another one it has its share."""
    busy = entries(Kind.QUESTION, *(number / 10 for number in range(600)), key="busy")
    assert wait_for_room(busy, 60.0, Kind.QUESTION, 5, key="mine") == 0.0
    assert wait_for_room(busy + entries(Kind.QUESTION, 59.0, key="mine"), 60.0, Kind.QUESTION, 5, key="mine") > 0.0


def test_the_budget_is_shared_by_processes(tmp_path: Path) -> None:
    """Two ledgers in one folder are two processes: together they get what one would."""
    one, two = (CommandBudget(4, Shared(tmp_path / "host")) for _ in range(2))

    async def ask() -> None:
        await one.wait()
        await two.wait()
        await one.wait(Kind.ACT)
        async with asyncio.timeout(0.3):
            await two.wait()

    with pytest.raises(TimeoutError):
        asyncio.run(ask())


@pytest.mark.parametrize(
    "content",
    [
        "{half a",
        "[1, 2]",
        '{"format": 99, "commands": []}',
        json.dumps({"format": FORMAT, "era": era(), "commands": [["now", "question"]], "wanted": 3}),
        json.dumps({"format": FORMAT, "era": "another start of this host", "commands": [[1e9, "question", ""]] * 99}),
        json.dumps({"format": FORMAT, "era": era(), "commands": [[1e12, "question", ""]] * 99}),
    ],
)
def test_what_cannot_be_understood_is_begun_anew(tmp_path: Path, content: str) -> None:
    """Half a file, another version's, one from before the host started, or from a future: none is worth an error."""
    shared = Shared(tmp_path / "host")
    with shared.locked() as board:
        board.write("commands.json", {})
    questions = Questions()
    watch = Watch("slurm", CommandBudget(1, shared))
    names = ["commands.json", watch._file, watch._answer_file]
    for name in names:
        (tmp_path / "host" / name).write_text(content)
        (tmp_path / "host" / name).chmod(0o600)
    asyncio.run(asyncio.wait_for(watch.poll(Cluster(), ids("1"), questions, need=since(0.0)), 5))
    assert questions.asked == [ids("1")]


# --- one question for all ---------------------------------------------------------------------------------------


class Cluster:
    """Somebody who asks."""


RUNNING = JobStatus(state=JobState.RUNNING)


def ids(*texts: str) -> list[JobId]:
    return [JobId(text) for text in texts]


def since(moment: float, kind: Kind = Kind.QUESTION) -> Callable[[], Need]:
    """An answer that was asked for at this moment or later."""
    return lambda: Need(moment, kind)


class Questions:
    """A batch system that runs everything, and keeps what it was asked."""

    def __init__(self, error: Exception | None = None, seconds: float = 0.0) -> None:
        self.asked: list[list[JobId]] = []
        self.error = error
        self.seconds = seconds

    async def __call__(self, job_ids: list[JobId]) -> Mapping[JobId, JobStatus]:
        self.asked.append(job_ids)
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return dict.fromkeys(job_ids, RUNNING)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.moment = 1000.0

    def __call__(self) -> float:
        return self.moment


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def process(tmp_path: Path, clock: Clock) -> Callable[[], Watch]:
    """Makes a watch as another process of the same user would have it."""
    return lambda: Watch("slurm", CommandBudget(10, Shared(tmp_path / "host", clock)))


def test_processes_share_one_question(process: Callable[[], Watch], clock: Clock) -> None:
    """The second finds its jobs in the answer to the first, who asked for both."""
    questions = Questions()

    async def both() -> None:
        one, two, mine, other = process(), process(), Cluster(), Cluster()
        await two.poll(other, ids("2"), questions, need=since(clock.moment))
        clock.moment += 5
        assert (answer := await one.poll(mine, ids("1"), questions, need=since(clock.moment))) is not None
        assert answer.jobs == {JobId("1"): RUNNING}
        clock.moment += 5
        assert (answer := await two.poll(other, ids("2"), questions, need=since(0.0))) is not None
        assert (answer.jobs, answer.asked_at) == ({JobId("2"): RUNNING}, 1005.0)
        assert questions.asked == [ids("2"), ids("1", "2")]
        # What was done after the answer must show in the next one.
        await two.poll(other, ids("2"), questions, need=since(clock.moment))
        assert len(questions.asked) == 3
        # A process that ended, or was killed, is not asked for any more.
        one.forget(mine)
        clock.moment += 60
        await two.poll(other, ids("2"), questions, need=since(clock.moment))
        assert questions.asked[-1] == ids("2")

    asyncio.run(both())


def test_jobs_of_a_killed_process_are_forgotten(process: Callable[[], Watch], clock: Clock) -> None:
    """What it wanted to know has an expiry."""
    questions = Questions()

    async def both() -> None:
        await process().poll(Cluster(), ids("1"), questions, need=since(clock.moment))
        clock.moment += 121
        await process().poll(Cluster(), ids("2"), questions, need=since(clock.moment))

    asyncio.run(both())
    assert questions.asked == [ids("1"), ids("2")]


def test_everybody_hears_of_an_answer(process: Callable[[], Watch], clock: Clock) -> None:
    """Also who has not asked: once for each answer, and never of jobs that were not asked about."""
    questions = Questions()

    async def both() -> None:
        one, two, mine, other = process(), process(), Cluster(), Cluster()
        assert await two.news(other, ids("2")) is None
        await one.poll(mine, ids("1"), questions, need=since(clock.moment))
        news = await two.news(other, ids("2", "3"))
        assert news is not None
        assert news.jobs == {JobId("2"): RUNNING}
        assert news.asked == frozenset(ids("2"))
        assert await two.news(other, ids("2", "3")) is None

    asyncio.run(both())
    assert questions.asked == [ids("1", "2")]


def test_nobody_asks_while_somebody_does(tmp_path: Path) -> None:
    """Six at the same moment cost one question."""
    questions = Questions(seconds=0.5)

    async def six() -> None:
        watches = [Watch("slurm", CommandBudget(10, Shared(tmp_path / "host"))) for _ in range(6)]
        owners = [Cluster() for _ in watches]
        began = watches[0].now()
        for number, (watch, owner) in enumerate(zip(watches, owners, strict=True)):
            await watch.news(owner, ids(str(number)))
        answers = await asyncio.gather(
            *(
                watch.poll(owner, ids(str(number)), questions, need=since(began))
                for number, (watch, owner) in enumerate(zip(watches, owners, strict=True))
            )
        )
        assert [answer and len(answer.jobs) for answer in answers] == [1] * 6

    asyncio.run(six())
    assert len(questions.asked) == 1


def test_a_failure_is_shared_like_an_answer(process: Callable[[], Watch]) -> None:
    """A controller that is away is not asked by everybody; the next question of its asker is for its own jobs alone."""
    failing = Questions(BatchSystemUnavailable("no controller"))

    async def both() -> None:
        one, two, mine = process(), process(), Cluster()
        await two.news(other := Cluster(), ids("2"))
        with pytest.raises(BatchSystemUnavailable):
            await one.poll(mine, ids("1"), failing, need=since(1000.0))
        with pytest.raises(BatchSystemUnavailable, match="no controller"):
            await two.poll(other, ids("2"), failing, need=since(990.0))
        assert failing.asked == [ids("1", "2")]
        with pytest.raises(BatchSystemUnavailable):
            await one.poll(mine, ids("1"), failing, need=since(1000.1))

    asyncio.run(both())
    assert failing.asked == [ids("1", "2"), ids("1")]


def test_batch_systems_share_nothing(tmp_path: Path) -> None:
    """An answer of one says nothing of the jobs of another."""
    questions = Questions()

    async def both() -> None:
        shared = Shared(tmp_path / "host")
        await Watch("slurm", CommandBudget(9, shared)).poll(Cluster(), ids("1"), questions, need=since(0.0))
        await Watch("slurm on b", CommandBudget(9, shared)).poll(Cluster(), ids("1"), questions, need=since(0.0))

    asyncio.run(both())
    assert questions.asked == [ids("1"), ids("1")]


def test_a_question_that_waits_for_long_is_told(tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """With the reason, once in the log and for as long as it lasts to whoever looks."""
    shared = Shared(tmp_path / "host", clock)
    watch, owner, questions = Watch("slurm", CommandBudget(1, shared)), Cluster(), Questions()

    async def wait() -> str:
        await watch.news(Cluster(), ids("7"))
        await Watch("slurm", CommandBudget(1, shared)).news(Cluster(), ids("8"))
        await watch.poll(owner, ids("1"), questions, need=since(clock.moment))
        clock.moment += 1
        waiting = asyncio.create_task(watch.poll(owner, ids("1"), questions, need=since(clock.moment)))
        while not watch._waiting:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
        assert watch.delay(owner) == ""
        clock.moment += 25
        with caplog.at_level(logging.WARNING, "corral.batch.polling"):
            while not caplog.messages:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        said = watch.delay(owner)
        clock.moment += 60
        await waiting
        assert watch.delay(owner) == ""
        return said

    said = asyncio.run(asyncio.wait_for(wait(), 30))
    assert said == (
        "a query to the batch system has waited 25 s for the command budget (1 a minute), which it shares with "
        "your 2 other clusters on this host"
    )
    assert caplog.messages == [said]


# --- processes that are stopped, killed, and many ---------------------------------------------------------------

HOLDER = """
import sys
from pathlib import Path
from corral.host.shared import Shared
with Shared(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_stopped_process_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It holds the lock for ever: acts wait a second each, then for nothing, a question is asked; and it is told."""
    folder = tmp_path / "host"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGSTOP)
        budget, questions = CommandBudget(10, Shared(folder)), Questions()
        began = time.monotonic()
        asyncio.run(budget.wait(Kind.ACT))
        assert 0.9 < time.monotonic() - began < 5
        watch = Watch("slurm", budget)
        asyncio.run(asyncio.wait_for(watch.poll(Cluster(), ids("1"), questions, need=since(watch.now())), 20))
        assert questions.asked == [ids("1")]
        began = time.monotonic()
        asyncio.run(budget.wait(Kind.ACT))
        assert time.monotonic() - began < 0.9
        assert "as if it were your only one" in caplog.text
        holder.send_signal(signal.SIGCONT)
        holder.communicate("")


def test_who_was_stopped_while_asking_is_not_waited_for(process: Callable[[], Watch], clock: Clock) -> None:
    """Another process asks in its place after some seconds."""
    questions = Questions()

    async def both() -> None:
        one, two = process(), process()
        assert not isinstance(one._turn(Cluster(), frozenset(ids("1")), Need(0.0)), float)
        other = Cluster()
        assert isinstance(two._turn(other, frozenset(ids("2")), Need(clock())), float)
        clock.moment += 7
        await two.poll(other, ids("2"), questions, need=since(clock.moment))

    asyncio.run(asyncio.wait_for(both(), 20))
    assert questions.asked == [ids("1", "2")]


def _live(folder: str, number: int, seconds: float, begin: Any, asked: Any) -> None:
    """One process with one job, which asks in its rhythm for some time."""
    watch, owner = Watch("slurm", CommandBudget(600, Shared(Path(folder)))), Cluster()
    rhythm = Rhythm(after_change=(0.5,), at_rest=2.0, all_connected=2.0)

    async def ask(job_ids: list[JobId]) -> Mapping[JobId, JobStatus]:
        asked.put((watch.now(), len(job_ids)))
        return dict.fromkeys(job_ids, RUNNING)

    def need() -> Need | None:
        now = watch.now()
        return None if rhythm.due() > now else Need(rhythm.oldest(now))

    async def live() -> None:
        await watch.news(owner, ids(str(number)))
        begin.wait(60)
        rhythm.changed(watch.now())
        end = watch.now() + seconds
        while watch.now() < end:
            if (answer := await watch.news(owner, ids(str(number)))) is not None:
                rhythm.polled(answer.asked_at)
            if need() is not None:
                answer = await watch.poll(owner, ids(str(number)), ask, need=need)
                if answer is not None:
                    rhythm.polled(answer.asked_at)
            await asyncio.sleep(0.2)

    asyncio.run(live())


def test_thirty_processes_ask_no_more_often_than_one(tmp_path: Path) -> None:
    """Each learns, and together they ask once in a round; what a round is, is here two seconds."""
    context = multiprocessing.get_context("fork")
    counts = []
    for number in (1, 30):
        asked: Any = context.Queue()
        folder = tmp_path / f"host{number}"
        begin = context.Barrier(number)
        processes = [
            context.Process(target=_live, args=(str(folder), each, 9.0, begin, asked)) for each in range(number)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
            assert process.exitcode == 0
        questions = []
        while not asked.empty():
            questions.append(asked.get())
        counts.append(len(questions))
        assert max(size for _, size in questions) == number
    one, thirty = counts
    # A slow machine may let two begin a round at nearly the same moment, or lose a round.
    assert thirty <= one + 2
