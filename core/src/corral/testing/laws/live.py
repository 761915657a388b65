"""Laws about the real thing: what a plugin says happens on the batch system that answers here. ``pytest --live``."""

from __future__ import annotations

import fnmatch
import os
import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pluggy
import pytest

from corral.errors import CommandFailed, InvalidRequest
from corral.plugin import discovery
from corral.plugin.validation import DEFAULTS
from corral.plugin.values import Detected, FailureKind, JobId, JobState, Queue, Resources
from corral.testing.laws.declared import Laws
from corral.testing.life import HOSTILE, ONE, SECRETS, THREE, Life
from corral.testing.live_jobs import Live, LiveJobs
from corral.testing.recordings import Inside

#: What a class of laws lives through, once.
_LIFE = pytest.StashKey[Life]()

#: The jobs that exceed their walltime, of each class.
_LATE = pytest.StashKey[dict[type, LiveJobs | Exception]]()

#: Set in a test that was skipped because its class declares that the system cannot do it.
DECLARED = pytest.StashKey[bool]()

PREFIX = "test_live_"


class LiveLaws(Laws):
    """Of all hooks that talk, and of the scripts. No command is made up, and no answer."""

    #: What is to be known of the batch system that answers here; None: this class has no live laws.
    live: ClassVar[Live | None] = Live()

    def live_manager(self, live: Live, folder: Path) -> pluggy.PluginManager:
        """The backend as it talks to the live system; `folder` is for the files of one class's jobs."""
        return self.manager() if live.options is None else discovery.load(self.backend, options=live.options)

    def unknown_id(self, known: JobId) -> JobId:
        """An id that the batch system does not know, made of one that it does."""
        assert re.search(r"\d", known.text), f"define {type(self).__name__}.unknown_id for ids such as {known}"
        return JobId(re.sub(r"\d+", lambda number: str(int(number[0]) + 5_000_000), known.text, count=1))

    # --- fixtures -------------------------------------------------------------------------------------------------

    @pytest.fixture
    def life(self, request: pytest.FixtureRequest) -> Life:
        live = self._asked_for(request.node)
        node = request.node.getparent(pytest.Class)
        assert node is not None
        if _LIFE not in node.stash:
            if any(is_of_walltime(item) and getattr(item, "cls", None) is type(self) for item in request.session.items):
                self._late(request.session, live)
            node.stash[_LIFE] = Life(
                LiveJobs(live, partial(self.live_manager, live)), dict(self._told_to_another_job()), self.unknown_id
            )
            # Not of this test: the next ones look at the same jobs.
            node.addfinalizer(node.stash[_LIFE].jobs.close)
        life: Life = node.stash[_LIFE]
        return life

    @pytest.fixture
    def late(self, request: pytest.FixtureRequest) -> LiveJobs:
        """Jobs of their own: they begin with the first law of the class, and are looked at when all else is done."""
        late = self._late(request.session, self._asked_for(request.node))
        if isinstance(late, Exception):
            raise late
        return late

    def _asked_for(self, node: pytest.Item) -> Live:
        """What is declared, unless this law is to be skipped."""
        live = self.live
        if not is_wanted(node.config):
            pytest.skip(f"on a live {self.backend}: pytest -p corral.testing.live --live")
        if live is None:
            node.stash[DECLARED] = True
            pytest.skip(f"{type(self).__name__} has no live laws: live = None")
        live = node.config.hook.pytest_corral_live(laws=type(self), live=live) or live
        known = {name.removeprefix(PREFIX) for name in dir(LiveLaws) if name.startswith(PREFIX)}
        assert set(live.cannot) <= known, f"Live.cannot names no law: {set(live.cannot) - known}; laws: {sorted(known)}"
        if reason := live.cannot.get(getattr(node, "originalname", "").removeprefix(PREFIX)):
            node.stash[DECLARED] = True
            pytest.skip(f"{self.backend}: {reason}")
        return live

    def _late(self, session: pytest.Session, live: Live) -> LiveJobs | Exception:
        """The job that exceeds its walltime, or why it could not be submitted."""
        begun = session.stash.setdefault(_LATE, {})
        if type(self) not in begun and "too_long" not in live.cannot:
            jobs = begun[type(self)] = LiveJobs(live, partial(self.live_manager, live))
            session.addfinalizer(jobs.close)
            try:
                jobs.submit("late", jobs.job("late", "late", walltime=live.walltime))
            except Exception as error:
                begun[type(self)] = error
        return begun.get(type(self), AssertionError("it was not begun"))

    def _told_to_another_job(self) -> Iterator[tuple[str, str]]:
        """What a recorded job had in its environment of itself, but nothing that leads to a server."""
        facts = self._facts()
        for inside in self._recorded(Inside):
            for name, value in inside.environ_from(self.transcripts).items():
                enclosed, kept = (
                    any(fnmatch.fnmatchcase(name, each) for each in patterns)
                    for patterns in (facts.enclosing, (*facts.carried, *facts.server))
                )
                if enclosed and not kept:
                    yield name, value

    # --- the batch system -----------------------------------------------------------------------------------------

    def test_live_it_is_detected(self, life: Life) -> None:
        """`detect` says yes, and which version."""
        seen = life.jobs.talk(life.jobs.hook.detect())
        assert type(seen) is Detected, f"detect says {seen!r}: {self.backend} is not here"
        assert seen.version, "detect knows no version"

    def test_live_queues_are_described(self, life: Life) -> None:
        """`describe_queues` lists the one that the jobs go to, and nothing of no size."""
        queues = life.jobs.talk(life.jobs.hook.describe_queues())
        assert all(type(each) is Queue and each.name for each in queues)
        answering = [each for each in life.jobs.hook.describe_queues.get_hookimpls() if not each.wrapper]
        if not self._facts().no_queues and any(each.plugin_name != DEFAULTS for each in answering):
            assert queues, "describe_queues lists none; if there are none by nature, say so in facts.no_queues"
        names = [each.name for each in queues]
        assert len(set(names)) == len(names), f"a queue is listed twice: {names}"
        wanted = life.jobs.live.job.queue
        assert not queues or wanted is None or wanted in names, f"{wanted!r} takes jobs, and is not among {names}"
        empty = [each for each in queues if each.accepts_jobs and 0 in (each.nodes, each.cores, each.memory)]
        assert not empty, f"these queues take jobs, and have nothing to run them on: {empty}"

    def test_live_a_refusal_is_known(self, life: Life) -> None:
        """A request that is refused raises `CommandFailed`, which `classify_failure` knows for what it is."""
        changes = dict(life.jobs.live.refused)
        refusal: Exception | None = None
        try:
            life.jobs.submit("refused", life.jobs.job("refused", "refused", **changes))
        except (CommandFailed, InvalidRequest) as error:
            refusal = error
        assert refusal is not None, f"a job with {changes} was taken: say in `live` what is `refused`"
        if isinstance(refusal, CommandFailed):
            failure = life.jobs.hook.classify_failure(completed=refusal.completed)
            assert failure is not None, f"classify_failure does not know what was refused: {refusal}"
            assert failure.kind is FailureKind.FATAL, f"{failure} is no reason to try again"
            assert failure.message.strip(), f"classify_failure leaves out what was said: {refusal}"

    # --- inside ---------------------------------------------------------------------------------------------------

    def test_live_a_job_knows_its_id(self, life: Life) -> None:
        """``CORRAL_JOB_ID`` is what `submit` returned, in a job alone and in each of an array."""
        for role, agents in life.reach("running").items():
            assert [agent.job_id for agent in agents] == [job_id.text for job_id in life.ids(role)]

    def test_live_a_job_reads_what_it_was_granted(self, life: Life) -> None:
        """`read_allocation`, in the job, agrees with `submit` and with what was asked for."""
        now = time.time()
        for job_id, allocation in life.reach("granted").items():
            role = ONE if job_id in life.ids(ONE) else THREE
            job = life.batch(role).job
            asked = job.resources
            assert allocation is not None, f"read_allocation takes job {job_id} for none"
            assert allocation.job_id == job_id, f"read_allocation takes job {job_id} for {allocation.job_id}"
            assert allocation.attempt == 0, f"job {job_id} runs for the first time: {allocation}"
            assert len(allocation.hosts) == asked.nodes, f"{asked.nodes} nodes were asked for: {allocation}"
            for name in ("cores", "memory"):
                has, least = getattr(allocation, name), getattr(asked, name) or 0
                assert has is None or has >= least, f"{name}: {least} were asked for, a node: {allocation}"
            assert len(allocation.gpus) >= asked.gpus, f"{asked.gpus} GPUs were asked for: {allocation}"
            latest = now + (job.walltime or 0) + 90
            assert allocation.ends is None or now < allocation.ends <= latest, (
                f"it ends in {(allocation.ends or 0) - now:.0f} s, and asked for {job.walltime} s"
            )

    def test_live_values_survive_and_no_others_come(self, life: Life) -> None:
        """Arguments and `env` reach the job as they are, and of the submitter's environment nothing does.

        Beside that, it was submitted with what another job is told of itself: `read_allocation` must not see that.
        """
        [agent] = life.reach("running")[ONE]
        assert agent.arguments[2:] == [HOSTILE]
        assert agent.environ.get("HOSTILE") == HOSTILE
        leaked = {name: agent.environ[name] for name, value in SECRETS.items() if agent.environ.get(name) == value}
        assert not leaked, f"the job sees variables of whoever submitted it: {leaked}"
        assert agent.environ.get("LC_ALL") != "C", "the job has the environment of the command that submitted it"
        assert agent.starting_folder == os.path.realpath(life.batch(ONE).job.directory or "")

    def test_live_a_command_starts_once_on_each_host(self, life: Life) -> None:
        """`launch_command`, in the job: every host is reached, once, and the words arrive as they are."""
        launched = life.reach("launched")
        hosts = life.reach("granted")[life.ids(ONE)[0]].hosts
        assert len(launched) == len(hosts), f"{len(launched)} processes were started on {hosts}"
        for each in launched:
            assert each["words"] == ["two words", "$HOME", HOSTILE]

    def test_live_the_log_is_where_it_is_said_to_be(self, life: Life) -> None:
        """`Script.log`, with the id in the place of ``{id}``, has what the job printed."""
        # Some batch systems bring it when the job has ended.
        life.reach("ended")
        for role in (ONE, THREE):
            for job_id in life.batch(role).ids:
                log = life.jobs.log(life.batch(role), job_id)
                life.jobs.await_lines(log, [f"job {job_id} on standard {each}" for each in ("output", "error")])

    # --- its life -------------------------------------------------------------------------------------------------

    def test_live_jobs_pass_through_their_states(self, life: Life) -> None:
        """Each waits, runs and ends, in this order; meanwhile it is listed, with words that the plugin knows."""
        life.reach("running")
        for name in ("cancelled", "ended"):
            life.reach(name)
        for job_id in life.ids():
            seen = life.jobs.seen[job_id]
            words = ", ".join("not listed" if each is None else f"{each.state.name} ({each.native})" for each in seen)
            alive = [index for index, each in enumerate(seen) if each is not None and not each.state.is_final]
            assert None not in seen[min(alive) : max(alive)], f"job {job_id} was lost for a while: {words}"
            states = [each.state for each in seen if each is not None]
            assert JobState.UNKNOWN not in states, f"job {job_id} is in a state that the plugin does not know: {words}"
            order = [0 if each.is_waiting else 2 if each.is_final else 1 for each in states]
            assert order == sorted(order), f"job {job_id} went back: {words}"
            assert JobState.RUNNING in states, f"job {job_id} ran, and was never said to: {words}"

    def test_live_names_find_their_jobs_and_no_others(self, life: Life) -> None:
        """By a whole name, which is the beginning of another one; and by a beginning and a star."""
        token, names = life.jobs.token, {role: life.batch(role).script.name for role in ("one", "three", "pair")}
        expected = {name: life.ids(role) for role, name in names.items()}
        expected[f"{token}-*"] = life.ids()
        expected[f"{names[THREE]}*"] = life.ids(THREE, "pair")
        for name, found in life.reach("found").items():
            wanted = expected.get(name, [])
            assert sorted(found) == sorted(wanted), (
                f"find_jobs({name!r}) finds {[each.text for each in found]}; {[each.text for each in wanted]} have it"
            )

    def test_live_unknown_ids_do_not_disturb(self, life: Life) -> None:
        """They are not listed, a job beside them is, and cancelling them is no error."""
        unknown, alone, together = life.reach("strangers")
        known = life.ids(ONE)
        assert not alone, f"poll_status of {unknown} alone answers {alone}"
        assert list(together) == known, f"poll_status of {unknown} and {known[0]} answers {together}"

    def test_live_one_of_three_is_cancelled(self, life: Life) -> None:
        """It ends as cancelled; its neighbours run on."""
        seen = life.reach("cancelled")
        for job_id in (life.ids(THREE)[0], life.ids(THREE)[2]):
            status = seen.neighbours.get(job_id)
            assert status is not None and status.state is JobState.RUNNING, (  # noqa: PT018 - one thing
                f"{seen.job_id} was cancelled, and {job_id} beside it is {status}"
            )
            assert job_id in seen.answering, f"{seen.job_id} was cancelled, and {job_id} beside it is silent"
        if not life.jobs.live.forgets:
            assert seen.status is not None
            assert seen.status.state is JobState.CANCELLED, f"{seen.job_id} was cancelled, and ended as {seen.status}"

    def test_live_ends_are_told_apart(self, life: Life) -> None:
        """A success, two exit codes and a signal; none of them was cancelled."""
        ended, live = life.reach("ended"), life.jobs.live
        for job_id, how in life.ways().items():
            if (status := ended.get(job_id)) is None:
                batch = next(each for each in life.jobs.batches.values() if job_id in each.ids)
                assert "signal" in how or life.jobs.noted_code(batch, job_id) == how["exit"]
                continue
            wanted = JobState.COMPLETED if how == {"exit": 0} else JobState.FAILED
            assert status.state is wanted, f"job {job_id} ended with {dict(how)}, and is said to be {status}"
            by_signal = status.signal if status.exit_code is None else status.exit_code - 128
            told = {"exit_code": status.exit_code} if "exit" in how else {"signal": by_signal}
            for name, value in told.items():
                expected = how["exit" if name == "exit_code" else "signal"]
                # Slurm's accounting has seven bits of a code: 15 for 143.
                assert value in (expected, expected & 0x7F) or (value is None and name not in live.tells), (
                    f"{name}: {status}"
                )
            for name in live.tells - {"exit_code", "signal"}:
                assert getattr(status, name), f"job {job_id} has ended, and its {name} is not told: {status}"
            nodes = life.batch(ONE).job.resources.nodes if job_id in life.ids(ONE) else 1
            assert len(status.hosts) in (0, nodes), f"job {job_id} was on {nodes} nodes: {status}"
            moments = [each for each in (status.submitted, status.started, status.ends) if each is not None]
            assert moments == sorted(moments), f"job {job_id} ended before it began: {status}"

    def test_live_ended_jobs_are_not_found(self, life: Life) -> None:
        """`find_jobs` is asked whether a submission came through: what has ended is not meant."""
        assert life.reach("lost") == [], "find_jobs finds jobs that have ended"

    # --- limits ---------------------------------------------------------------------------------------------------

    def test_live_too_long(self, late: LiveJobs) -> None:
        """A job that exceeds its walltime is ended, and told to have."""
        batch, live = late.batches["late"], late.live
        patience = live.patience + live.walltime + live.lateness
        ended = late.until_ended(batch.ids, f"its walltime is {batch.job.walltime} s, and it runs on", patience)
        for job_id in batch.ids:
            status = ended.get(job_id)
            assert status is not None, f"job {job_id} is not listed after its walltime"
            assert status.state is JobState.TIMEOUT, f"job {job_id} took longer than its walltime, and is {status}"

    def test_live_many_that_wait(self, life: Life) -> None:
        """Every second one of many is cancelled while they wait; the others stay, to the last."""
        jobs, live = life.jobs, life.jobs.live
        if not live.held:
            pytest.skip("say in `live` with which directives a job waits for good: held=[…]")
        usual = live.job.extra_directives
        job = jobs.job(
            "many", "many", extra_directives=[*usual, *live.held], resources=Resources(memory=live.job.resources.memory)
        )
        ids = jobs.submit("many", job, live.many).ids
        jobs.until(ids, lambda each: each is not None and each.state.is_waiting, "was to wait")
        told: Any = jobs.talk(jobs.hook.explain_pending(job_id=ids[live.many // 2]))
        assert type(told) is str
        jobs.talk(jobs.hook.cancel(job_ids=ids[::2]))
        name = jobs.batches["many"].script.name
        jobs.until(ids[::2], lambda each: each is None or each.state.is_final, "was cancelled while it waited")
        found = jobs.poll(ids)
        ended = {each.state for job_id, each in found.items() if job_id in set(ids[::2])}
        assert ended <= {JobState.CANCELLED}, f"cancelled while they waited, jobs are {ended}"
        waiting = {job_id for job_id, each in found.items() if each.state.is_waiting}
        assert waiting == set(ids[1::2]), f"every second job was cancelled, and not {sorted(set(ids[1::2]) ^ waiting)}"
        assert sorted(jobs.talk(jobs.hook.find_jobs(name=name))) == sorted(ids[1::2])
        # Some of them for the second time.
        jobs.talk(jobs.hook.cancel(job_ids=ids))
        jobs.until(ids, lambda each: each is None or each.state.is_final, "was cancelled while it waited")
        assert jobs.talk(jobs.hook.find_jobs(name=name)) == []


def is_law(item: pytest.Item) -> bool:
    """Whether this test is one of them."""
    name = getattr(item, "originalname", "")
    return bool(name.startswith(PREFIX) and getattr(LiveLaws, name, None) is not None)


def is_wanted(config: pytest.Config) -> bool:
    """``pytest --live``; without the plugin that has this option, nobody wants them."""
    return bool(config.getoption("--live", default=False))


def is_of_walltime(item: pytest.Item) -> bool:
    """Whether this is the law that waits for the end of a walltime."""
    return getattr(item, "originalname", "") == "test_live_too_long"
