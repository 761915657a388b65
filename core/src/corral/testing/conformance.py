"""The laws that every backend keeps, as pytest tests."""

from __future__ import annotations

import contextlib
import fnmatch
import itertools
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, ClassVar

import pluggy
import pytest
from attrs import evolve
from hypothesis import HealthCheck, Phase, assume, example, given, settings
from hypothesis import strategies as st

from corral.errors import CommandError, CommandNotFound, CommandTimedOut, InvalidRequest, ParseError
from corral.plugin import discovery, parsing
from corral.plugin.facts import BackendFacts
from corral.plugin.validation import DEFAULTS, HOOKS
from corral.plugin.values import (
    Command,
    Completed,
    Conversation,
    Failure,
    FailureKind,
    Job,
    JobId,
    JobState,
    JobStatus,
    Resources,
    Script,
)
from corral.testing.driving import Answer, Mismatch, completed_or_error, converse, drive, transcript
from corral.testing.garbage import FOREIGN, HOSTILE, garbled, hostile_texts
from corral.testing.recordings import Finds, GarbledRow, Inside, Polls, Recording, Submits, UnknownWord
from corral.testing.silence import SilentHooks
from corral.testing.site import LoginNode

#: The kernel's limit for one argument; ssh makes one of a whole command.
ARGUMENTS_LIMIT = 128 * 1024

SHELLS = {"sh", "bash", "dash", "ksh", "zsh", "csh", "tcsh"}

#: What can go wrong with any command, and no hook can know beforehand.
TROUBLES: dict[str, Answer] = {
    "time-out": CommandTimedOut,
    "not found": CommandNotFound,
    "unknown failure": Completed(returncode=13, stderr="the dog ate it\n"),
}

#: Prints its arguments and some variables, each with a NUL after it.
SHOW = (
    r"""for word; do printf '%s\0' "$word"; done; for name in ${!HOSTILE_*}; do printf '%s\0' "$name=${!name}"; done"""
)

BANNERS = ["*** 2 GPUs at most per user ***\n", "Job quota: 77 of 500\nJob 12 was yours.\n"]

#: The words in `Job.skip` that are fields of a job, and what it is without each.
FIELDS: dict[str, Callable[[Job], Job]] = {
    "nodes": lambda job: evolve(job, resources=evolve(job.resources, nodes=1)),
    "cores": lambda job: evolve(job, resources=evolve(job.resources, cores=1)),
    "memory": lambda job: evolve(job, resources=evolve(job.resources, memory=None)),
    "gpus": lambda job: evolve(job, resources=evolve(job.resources, gpus=0)),
    "walltime": lambda job: evolve(job, walltime=None),
}

#: Examples of each property. More are slower: `nox -s thorough` tries twenty times as many.
EXAMPLES = int(os.environ.get("CORRAL_EXAMPLES", "25"))

#: So many in each example that 25 of them, alone and through a site, are 500 values at least.
_HOSTILE_TEXTS = st.lists(hostile_texts(), min_size=5, max_size=8)

by_property = settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    report_multiple_bugs=False,
    suppress_health_check=[
        HealthCheck.differing_executors,  # the laws are inherited
        HealthCheck.filter_too_much,  # a backend may refuse much of what it is asked
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,  # some run bash
    ],
)


class BackendConformance:
    """Derive a test class from it, declare what was recorded, and pytest finds the laws. ::

        class TestSlurm(BackendConformance):
            backend = "slurm"
            transcripts = Path(__file__).parent / "transcripts"
            recordings = (
                Submits(["03-array-submit.txt"], ids=["11_0", "11_1"]),
                Polls(["10-squeue.txt"], states={"11_0": JobState.RUNNING}, absent=["11_7"]),
                CancelsGone(["22-scancel-unknown.txt"], ids=["999999_0"]),
                Finds(["13-squeue-name.txt"], name="dask-1", ids=["11_0"]),
                Finds(["14-squeue-me.txt"], name="dask-*", ids=["11_0", "12_0"]),
                Inside(environ="35-env.txt", job_id="11_0", hosts=["n2"], cores=1),
                Detects(["00-version.txt"], version="22.05.8"),
            )
            unknown_word = UnknownWord(["10-squeue.txt"], job_id="11_0", known="|RUNNING|", unknown="|MOLTING|")
            garbled_row = GarbledRow(["10-squeue.txt"], job_id="11_0", known="11_0|RUNNING|", garbled="11_0|RUN")

            def job_ids(self, count):
                return [JobId(f"{11 + i // 1000}_{i % 1000}") for i in range(count)]

    Every law is tried twice: on the backend alone, and through a site that carries all commands over ssh. In all of
    them, a hook that does I/O fails.
    """

    #: The name of the backend's entry point.
    backend: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}
    #: A site through which to try the laws.
    site: ClassVar[str | None] = None
    site_options: ClassVar[Mapping[str, Any]] = {}
    #: The folder of the recorded answers.
    transcripts: ClassVar[Path] = Path()
    #: At least one for every hook that talks; one `Inside` must be of a job that one of the `Submits` returned.
    recordings: ClassVar[Sequence[Recording]] = ()
    unknown_word: ClassVar[UnknownWord]
    #: A row that cannot be read, among others that can.
    garbled_row: ClassVar[GarbledRow]
    #: Transcripts of commands that failed, and what they mean; None: nothing is known of it.
    failures: ClassVar[Mapping[str, FailureKind | None]] = {}
    #: A request that uses as much as the batch system can.
    job: ClassVar[Job] = Job(
        name="dask-conformance",
        command=("true",),
        resources=Resources(nodes=2, cores=4, memory=8 * 2**30),
        walltime=3600,
        queue="batch",
        account="physics",
        log_directory="/scratch/logs",
    )
    #: Native directives that the backend's own never spell.
    extra_directives: ClassVar[Sequence[str]] = ()
    #: How many commands `poll_status` and `cancel` may need for 10,000 jobs.
    most_commands: ClassVar[int] = 4

    def manager(self, *around: object) -> pluggy.PluginManager:
        """Load the backend; `around` are the plugins that wrap it."""
        return discovery.load(
            self.backend, options=self.options, site=self.site, site_options=self.site_options, plugins=around
        )

    def job_ids(self, count: int) -> list[JobId]:
        """As many ids, as jobs that were submitted in the largest arrays would have."""
        raise NotImplementedError(f"define {type(self).__name__}.job_ids(count)")

    def jobs(self) -> st.SearchStrategy[Job]:
        """Requests of all kinds; those that `prepare_job` refuses are left out."""
        words = st.from_regex(r"[a-z][a-z0-9_]{0,15}", fullmatch=True)
        return st.builds(
            Job,
            name=words,
            command=st.just(("true",)),
            resources=st.builds(
                Resources,
                nodes=st.sampled_from([1, 1, 2, 40]),
                processes=st.integers(1, 8),
                cores=st.sampled_from([1, 2, 4, 36, 128]),
                memory=st.none() | st.integers(2**20, 2**42),
                gpus=st.sampled_from([0, 0, 0, 1, 4]),
            ),
            walltime=st.none() | st.integers(60, 10 * 86400),
            queue=st.none() | words,
            account=st.none() | words,
            log_directory=st.none() | words.map(lambda word: f"/scratch/{word}"),
            environment=st.dictionaries(words.map(str.upper), st.text("ab ="), max_size=2),
            prologue=st.lists(st.sampled_from(["module load python", "ulimit -n 4096"]), max_size=2),
            epilogue=st.lists(st.just("echo ended"), max_size=1),
            extra_directives=st.lists(st.sampled_from(self.extra_directives), unique=True)
            if self.extra_directives
            else st.just([]),
        )

    # --- fixtures and parameters -------------------------------------------------------------------------------

    @pytest.fixture(params=["alone", "through a site"])
    def hooks(self, request: pytest.FixtureRequest) -> SilentHooks:
        return SilentHooks(self.manager() if request.param == "alone" else self.manager(LoginNode()))

    @pytest.fixture
    def script(self, hooks: SilentHooks) -> Script:
        script: Script = hooks.render_script(job=hooks.prepare_job(job=self.job))
        return script

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "recording" in metafunc.fixturenames:
            metafunc.parametrize("recording", self.recordings, ids=str)
        if "talk" in metafunc.fixturenames:
            metafunc.parametrize("talk", [each for each in self.recordings if each.answers], ids=str)
        if "inside" in metafunc.fixturenames:
            metafunc.parametrize("inside", self._recorded(Inside), ids=str)

    def _recorded(self, kind: type[Recording]) -> list[Any]:
        return [recording for recording in self.recordings if isinstance(recording, kind)]

    def _ask(self, hooks: SilentHooks, script: Script, recording: Recording) -> Conversation[Any]:
        conversation: Conversation[Any] = recording.ask(hooks, script, self.transcripts)
        return conversation

    # --- the contract ------------------------------------------------------------------------------------------

    def test_the_core_accepts_every_hook(self) -> None:
        """Every hook is there, with the specified arguments, and is a conversation where one is due."""
        assert self.manager().hook.render_script.get_hookimpls()

    def test_every_conversation_is_recorded(self) -> None:
        """No hook that talks goes untested."""
        manager = self.manager()
        own = {
            name
            for name, spec in HOOKS.items()
            for implementation in getattr(manager.hook, name).get_hookimpls()
            if spec.is_conversation and not (implementation.wrapper or implementation.hookwrapper)
            if implementation.plugin_name != DEFAULTS
        }
        assert set() == own - {recording.hook for recording in self.recordings}, "add recordings for these hooks"

    def test_an_answer_means_what_was_recorded(self, hooks: SilentHooks, script: Script, recording: Recording) -> None:
        """Each recorded answer of the real batch system is read as declared."""
        recording.is_right(drive(self._ask(hooks, script, recording), recording.answers_from(self.transcripts)))

    # --- commands ----------------------------------------------------------------------------------------------

    def test_commands_are_argument_lists(self, hooks: SilentHooks, script: Script, talk: Recording) -> None:
        """A command is a program and its arguments: text without NUL, never a line for a shell."""
        answers = iter(talk.answers_from(self.transcripts))
        for command in _commands(self._ask(hooks, script, talk), lambda _: next(answers)):
            _check_command(command)

    @pytest.mark.parametrize("hook", ["poll_status", "cancel"])
    def test_ten_thousand_jobs_need_few_commands(self, hooks: SilentHooks, hook: str) -> None:
        """Batch systems are asked about all jobs at once, with arguments that the kernel takes."""
        conversation = getattr(hooks, hook)(job_ids=self.job_ids(10_000))
        commands = _commands(conversation, lambda _: "")
        assert 1 <= len(commands) <= self.most_commands
        for command in commands:
            _check_command(command)

    @pytest.mark.parametrize("trouble", TROUBLES)
    def test_trouble_is_never_swallowed(
        self, hooks: SilentHooks, script: Script, talk: Recording, trouble: str
    ) -> None:
        """A command that hangs, is missing or fails for unknown reasons is reported, or made up for."""
        answers = talk.answers_from(self.transcripts)
        for healthy in range(len(answers)):
            replies = [*answers[:healthy], *[TROUBLES[trouble]] * 100]
            try:
                result = converse(self._ask(hooks, script, talk), _in_order(replies))
            except CommandError:
                continue
            talk.is_honest(result)

    def test_a_conversation_can_be_left(self, hooks: SilentHooks, script: Script, talk: Recording) -> None:
        """Closing it while a command runs ends it: it asks nothing more."""
        answers = talk.answers_from(self.transcripts)
        for healthy in range(len(answers)):
            conversation = self._ask(hooks, script, talk)
            command = next(conversation)
            for answer in answers[:healthy]:
                reply = completed_or_error(command, answer)
                command = conversation.send(reply) if isinstance(reply, Completed) else conversation.throw(reply)
            conversation.close()

    # --- answers -----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("banner", BANNERS)
    def test_a_banner_never_changes_an_id(self, hooks: SilentHooks, script: Script, banner: str) -> None:
        """Sites wrap the submit command and print what they like before its answer."""
        for submission in self._recorded(Submits):
            answers = [
                evolve(answer, stdout=banner + answer.stdout, stderr=banner + answer.stderr)
                for answer in submission.answers_from(self.transcripts)
            ]
            submission.is_right(drive(self._ask(hooks, script, submission), answers))

    def test_an_unknown_word_is_a_living_job(self, hooks: SilentHooks) -> None:
        """A state that nobody knows is UNKNOWN, and the word is kept."""
        job_id = JobId(self.unknown_word.job_id)
        answers = self.unknown_word.answers_from(self.transcripts)
        status = drive(hooks.poll_status(job_ids=[job_id]), answers)[job_id]
        assert status.state is JobState.UNKNOWN
        assert status.native, "the batch system's own word is lost"
        assert status.native in self.unknown_word.unknown

    def test_a_garbled_row_blinds_no_poll(
        self, hooks: SilentHooks, script: Script, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A row that cannot be read is passed over, and told once; the others mean what they meant."""
        garbled = self.garbled_row
        poll = next(each for each in self._recorded(Polls) if each.answers == garbled.answers)
        spoilt = JobId(garbled.job_id)
        nothing_more: list[Answer] = [""] * 100

        def ask(answers: Sequence[Answer]) -> dict[JobId, JobStatus]:
            found: dict[JobId, JobStatus] = converse(
                self._ask(hooks, script, poll), _in_order([*answers, *nothing_more])
            )
            return found

        before = ask(poll.answers_from(self.transcripts))
        assert spoilt in before, f"{poll} does not find {spoilt}"
        parsing.tell_again()
        found = [ask(garbled.answers_from(self.transcripts)) for _ in range(2)]
        others = {job_id: status for job_id, status in before.items() if job_id != spoilt}
        assert others, f"{poll} finds no other job"
        for after in found:
            status = after.pop(spoilt, None)
            assert status is None or status.state is JobState.UNKNOWN, f"the garbled row is read as {status}"
            assert others == after
        told = [record for record in caplog.records if "passed over" in record.getMessage()]
        assert len(told) == 1, "what is passed over is told once"

    @by_property
    @given(choice=st.data())
    def test_garbage_raises_parse_error_and_nothing_else(
        self, hooks: SilentHooks, script: Script, talk: Recording, choice: st.DataObject
    ) -> None:
        """An answer that was cut, shuffled or replaced is refused, or read as something that could be."""
        answers = talk.answers_from(self.transcripts)
        broken = choice.draw(st.integers(0, len(answers) - 1), label="which answer")
        text = choice.draw(garbled(answers[broken].stdout), label="what it said")
        answers[broken] = evolve(answers[broken], stdout=text, stderr=text if answers[broken].returncode else "")
        try:
            result = converse(self._ask(hooks, script, talk), _in_order([*answers, *[""] * 100]))
        except (ParseError, CommandError):
            return
        talk.is_possible(result)

    @pytest.mark.parametrize("text", FOREIGN)
    @pytest.mark.parametrize("hook", ["submit", "poll_status", "find_jobs"])
    def test_an_answer_without_a_row_is_a_parse_error(
        self, hooks: SilentHooks, script: Script, hook: str, text: str
    ) -> None:
        """What is no answer must not be read as: nothing is there."""
        for recording in self.recordings:
            if recording.hook == hook:
                with pytest.raises(ParseError) as caught:
                    converse(self._ask(hooks, script, recording), lambda _: text)
                assert text.strip() in caught.value.text

    @pytest.mark.parametrize("hook", ["poll_status", "find_jobs"])
    def test_an_empty_answer_is_no_parse_error(self, hooks: SilentHooks, script: Script, hook: str) -> None:
        """An empty table lists no job."""
        for recording in self.recordings:
            if recording.hook == hook:
                assert not converse(self._ask(hooks, script, recording), lambda _: "")

    def test_jobs_are_found_by_their_name_and_by_its_beginning(self, hooks: SilentHooks, script: Script) -> None:
        """After a submission that timed out by the whole name; what a killed cluster left by what its names share."""
        found = [each for each in self._recorded(Finds) if each.ids]
        assert [each for each in found if not each.name.endswith("*")], "record a Finds of a whole name"
        by_beginning = [each for each in found if each.name.endswith("*")]
        assert by_beginning, "record a Finds whose name ends in *"
        for recording in by_beginning:
            # The same answers: what is no such name must not be taken for one.
            answers = recording.answers_from(self.transcripts)
            for other in (recording.name.swapcase(), f"{recording.name[:-1]}\N{SNOWMAN}*", f"x{recording.name}"):
                strangers = converse(hooks.find_jobs(name=other), _in_order([*answers, *[""] * 100]))
                assert not set(strangers) & set(recording.ids), other

    def test_a_submission_without_an_answer_is_a_parse_error(self, hooks: SilentHooks, script: Script) -> None:
        """It was accepted, but nobody knows as what."""
        for submission in self._recorded(Submits):
            with pytest.raises(ParseError):
                converse(self._ask(hooks, script, submission), lambda _: "")

    def test_failures_are_classified_as_recorded(self, hooks: SilentHooks) -> None:
        """What the batch system prints when it fails means what was declared."""
        for name, kind in self.failures.items():
            classified = hooks.classify_failure(completed=transcript(self.transcripts / name))
            assert (name, kind) == (name, classified and classified.kind)

    @by_property
    @given(text=st.text() | st.sampled_from(FOREIGN), code=st.integers(1, 255))
    def test_every_failure_can_be_classified(self, hooks: SilentHooks, text: str, code: int) -> None:
        """Whatever a failed command printed, `classify_failure` does not fail."""
        completed = Completed(argv=["x"], returncode=code, stdout=text, stderr=text)
        assert isinstance(hooks.classify_failure(completed=completed), Failure | None)

    # --- the request -------------------------------------------------------------------------------------------

    @by_property
    @given(choice=st.data())
    def test_parse_reads_what_render_wrote(self, hooks: SilentHooks, choice: st.DataObject) -> None:
        """`parse_resources` is the inverse of `render_script`, but for what no directive says."""
        job = self._prepared(hooks, choice.draw(self.jobs()))
        assert _as_directives_say(job) == _read(hooks, str(hooks.render_script(job=job)))

    @by_property
    @given(choice=st.data())
    def test_preparing_never_gives_less_and_can_be_repeated(self, hooks: SilentHooks, choice: st.DataObject) -> None:
        """Units are rounded up; a prepared job is prepared."""
        job = choice.draw(self.jobs())
        prepared = self._prepared(hooks, job)
        assert prepared == hooks.prepare_job(job=prepared)
        assert job.resources.nodes <= prepared.resources.nodes
        assert job.resources.cores <= prepared.resources.cores
        assert job.resources.gpus <= prepared.resources.gpus
        # None: this batch system cannot be asked for memory, or is not asked for a walltime.
        assert prepared.resources.memory is None or (job.resources.memory or 0) <= prepared.resources.memory
        assert prepared.walltime is None or (job.walltime or 0) <= prepared.walltime

    @by_property
    @given(choice=st.data())
    def test_a_strange_request_raises_parse_error_and_nothing_else(
        self, hooks: SilentHooks, script: Script, choice: st.DataObject
    ) -> None:
        """A native request is a Job, or a ParseError."""
        try:
            job = hooks.parse_resources(text=choice.draw(garbled(str(script))))
        except ParseError:
            return
        assert type(job) is Job

    def test_a_request_cut_short_raises_parse_error_and_nothing_else(self, hooks: SilentHooks) -> None:
        """Wherever it ends: a value may be missing, and its option too."""
        text = str(hooks.render_script(job=self._full_job(hooks)))
        # Of a script what is before its body; of a description everything.
        lines = text.splitlines(keepends=True)
        header = "".join(itertools.takewhile(lambda line: line.startswith("#"), lines)) or text
        for end in range(len(header)):
            with contextlib.suppress(ParseError):
                assert type(hooks.parse_resources(text=header[:end])) is Job, header[:end]

    def test_skipping_a_directive_touches_no_other(self, hooks: SilentHooks) -> None:
        """Leaving out ``-n`` leaves ``-J dask-nightly`` alone, and the user's own lines too."""
        job = self._full_job(hooks)
        directives = hooks.render_script(job=job).directives
        for name in {directive.name for directive in directives} - set(FIELDS):
            skipped = list(hooks.render_script(job=evolve(job, skip={name})).directives)
            # One directive may say ours and the user's together, where the batch system takes but one: that is the
            # user's alone then.
            apart = [each for each in skipped if each in directives or not _is_extra(each.text, job)]
            assert apart == [each for each in directives if each.name != name or _is_extra(each.text, job)]

    @pytest.mark.parametrize("field", FIELDS)
    def test_skipping_a_field_touches_no_other(self, hooks: SilentHooks, field: str) -> None:
        """Every field can be left out, even where one directive carries several."""
        job = self._full_job(hooks)
        skipped = str(hooks.render_script(job=evolve(job, skip={field})))
        assert FIELDS[field](_as_directives_say(job)) == _read(hooks, skipped)

    @pytest.mark.parametrize("field", ["name", "queue", "account", "log_directory"])
    def test_a_hostile_field_is_refused_or_kept(self, hooks: SilentHooks, field: str) -> None:
        """What a person wrote never becomes another directive."""
        for hostile in HOSTILE:
            value = f"/x{hostile}y" if field == "log_directory" else f"x{hostile}y"
            changes: dict[str, Any] = {field: value}
            try:
                script = hooks.render_script(job=hooks.prepare_job(job=evolve(self.job, **changes)))
            except InvalidRequest:
                continue
            assert not [each.text for each in script.directives if len(each.text.splitlines()) != 1]
            assert value == getattr(hooks.parse_resources(text=str(script)), field)

    # --- the script --------------------------------------------------------------------------------------------

    @by_property
    @example(words=["".join(HOSTILE), *HOSTILE], values=["".join(HOSTILE), *HOSTILE])
    @given(words=_HOSTILE_TEXTS, values=_HOSTILE_TEXTS)
    def test_hostile_values_reach_the_job_unchanged(
        self, hooks: SilentHooks, words: list[str], values: list[str]
    ) -> None:
        """Arguments and environment are data: no quote, ``$(…)`` or line break in them does anything."""
        environment = {f"HOSTILE_{number}": value for number, value in enumerate(values)}
        job = evolve(self.job, command=["bash", "-c", SHOW, "show", *words], environment=environment)
        ended = self._run(hooks, job)
        assert (ended.returncode, ended.stderr) == (0, b"")
        shown = ended.stdout.decode().split("\0")[:-1]
        assert words == shown[: len(words)]
        assert environment == dict(variable.split("=", 1) for variable in shown[len(words) :])

    def test_the_job_sees_the_id_that_submit_returned(self, hooks: SilentHooks, inside: Inside) -> None:
        """A worker says its job's id, and the cluster knows it."""
        job = evolve(self.job, command=["printenv", "CORRAL_JOB_ID"])
        ended = self._run(hooks, job, inside.environ_from(self.transcripts))
        assert inside.job_id == ended.stdout.decode().rstrip("\n")

    def test_an_id_was_seen_from_both_sides(self) -> None:
        """One recorded job is known both from its submission and from its inside."""
        returned = {job_id.text for submission in self._recorded(Submits) for job_id in submission.ids}
        assert returned & {inside.job_id for inside in self._recorded(Inside)}, "record one job in Submits and Inside"

    @pytest.mark.parametrize("epilogue", [[], ["echo epilogue"]], ids=["without epilogue", "with epilogue"])
    def test_the_script_ends_as_its_command_did(self, hooks: SilentHooks, epilogue: list[str]) -> None:
        """The batch system hears the command's exit code, whatever surrounds it."""
        command = ["bash", "-c", "echo command; exit 7"]
        ended = self._run(hooks, evolve(self.job, command=command, prologue=["echo prologue"], epilogue=epilogue))
        assert (ended.returncode, ended.stderr) == (7, b"")
        assert ["prologue", "command", "epilogue"][: 2 + len(epilogue)] == ended.stdout.decode().split()

    def test_excluded_hosts_are_asked_for_or_ignored(self, hooks: SilentHooks) -> None:
        """A backend that cannot ask for other hosts writes the same script."""
        job = self._full_job(hooks)
        plain, choosy = (hooks.render_script(job=evolve(job, excluded_hosts=hosts)) for hosts in ([], ["badhost7"]))
        assert plain == choosy or "badhost7" in str(choosy)
        assert (plain.body, plain.log) == (choosy.body, choosy.log)

    def test_what_a_job_is_told_of_itself_is_told_to_no_other(self, hooks: SilentHooks, inside: Inside) -> None:
        """Its variables are among `BackendFacts.enclosing`: without them, what was its environment is no job's."""
        enclosing = self._facts().enclosing
        environ = {
            name: value
            for name, value in inside.environ_from(self.transcripts).items()
            if not any(fnmatch.fnmatchcase(name, pattern) for pattern in enclosing)
        }
        seen = converse(hooks.read_allocation(environ=environ), lambda _: "")
        assert seen is None, f"still taken for a job: {sorted(environ)}"

    def test_what_finds_the_server_is_no_jobs(self) -> None:
        """`BackendFacts.carried` follows a scheduler into its job; what is told of a job does not."""
        facts = self._facts()
        both = [name for name in facts.carried if any(fnmatch.fnmatchcase(name, each) for each in facts.enclosing)]
        assert both == []

    def _facts(self) -> BackendFacts:
        facts: BackendFacts = getattr(self.manager().get_plugin(self.backend), "facts", BackendFacts())
        return facts

    def test_launch_command_reaches_every_host(self, hooks: SilentHooks, inside: Inside) -> None:
        """One list for all hosts or one for each, with the command's words unharmed at its end."""
        answers = inside.answers_from(self.transcripts)
        allocation = drive(self._ask(hooks, Script(name="", body=""), inside), answers)
        command = ["printf", "%s", "two words", "$HOME"]
        launched = hooks.launch_command(allocation=allocation, command=command)
        assert len(launched) in (1, len(allocation.hosts))
        for words in launched:
            assert all(type(word) is str and word for word in words)
            # Some hand a whole line to a shell on the other side.
            assert command in (words[-len(command) :], shlex.split(words[-1])[-len(command) :])
        if len(launched) > 1:
            # The first may be run where it is.
            assert all(host in words for host, words in list(zip(allocation.hosts, launched, strict=True))[1:])

    def _prepared(self, hooks: SilentHooks, job: Job) -> Job:
        try:
            prepared: Job = hooks.prepare_job(job=job)
        except InvalidRequest:
            assume(False)
        return prepared

    def _full_job(self, hooks: SilentHooks) -> Job:
        job: Job = hooks.prepare_job(job=evolve(self.job, extra_directives=self.extra_directives))
        return job

    def _run(
        self, hooks: SilentHooks, job: Job, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a job's script on this machine, as a job with that environment; it must be valid and leave no file."""
        script: Script = hooks.render_script(job=hooks.prepare_job(job=job))
        texts = [f"{script.shebang}\n{script.body}"]
        if all(directive.text.startswith("#") for directive in script.directives):
            texts.append(str(script))
        if environ is None:
            environ = self._recorded(Inside)[0].environ_from(self.transcripts)
        for text in texts:
            checked = subprocess.run(["bash", "-n"], input=text.encode(), capture_output=True, check=False)
            assert (checked.returncode, checked.stderr) == (0, b"")
            with tempfile.TemporaryDirectory() as home:
                ended = subprocess.run(
                    ["bash", "-c", text],
                    env={**environ, "PATH": os.environ["PATH"], "HOME": home},
                    cwd=home,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    check=False,
                    timeout=60,
                )
                assert not list(Path(home).iterdir()), "the script did what no line of it says"
        return ended


def _as_directives_say(job: Job) -> Job:
    """What the directives of a job say of it."""
    plain = Job()
    return evolve(
        job,
        command=plain.command,
        resources=evolve(job.resources, processes=1),
        environment=plain.environment,
        prologue=plain.prologue,
        epilogue=plain.epilogue,
        skip=plain.skip,
        shebang=plain.shebang,
        extra_directives=sorted(job.extra_directives),
    )


def _read(hooks: SilentHooks, text: str) -> Job:
    """What `parse_resources` reads, with the user's own directives in a fixed order: they need not keep theirs.

    It may say that something was skipped.
    """
    job: Job = hooks.parse_resources(text=text)
    return evolve(job, extra_directives=sorted(job.extra_directives), shebang=Job().shebang, skip=Job().skip)


def _is_extra(text: str, job: Job) -> bool:
    return any(text.endswith(directive) for directive in job.extra_directives)


def _commands(conversation: Conversation[Any], answer: Callable[[Command], Answer]) -> list[Command]:
    """The commands that a conversation asks for."""
    asked: list[Command] = []

    def ask(command: Command) -> Answer:
        asked.append(command)
        return answer(command)

    converse(conversation, ask)
    return asked


def _in_order(answers: Sequence[Answer]) -> Callable[[Command], Answer]:
    """Answer in that order; a conversation that wants more never ends."""
    rest = iter(answers)

    def answer(command: Command) -> Answer:
        try:
            return next(rest)
        except StopIteration:
            raise Mismatch(f"the conversation asks without end: {shlex.join(command.argv)}") from None

    return answer


def _check_command(command: Command) -> None:
    assert type(command) is Command
    assert command.argv
    assert all(type(word) is str for word in command.argv)
    assert not [word for word in command.argv if "\0" in word], "an argument has a NUL"
    program = command.argv[0]
    assert len(program.split()) == 1, f"{program!r} is a shell line: give its words one by one"
    is_line = PurePath(program).name in SHELLS and command.argv[1:2] == ("-c",)
    assert not is_line, f"{shlex.join(command.argv)} is a shell line: run the program itself"
    assert sum(len(word.encode()) + 1 for word in command.argv) < ARGUMENTS_LIMIT, "too many arguments"
