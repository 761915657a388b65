"""What a plugin's test declares, and what every law begins with."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pluggy
import pytest
from attrs import evolve
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from corral.errors import InvalidRequest
from corral.plugin import discovery
from corral.plugin.facts import BackendFacts
from corral.plugin.values import Conversation, FailureKind, Job, JobId, Resources, Script
from corral.testing.installed import installed_plugins
from corral.testing.recordings import AskedFor, GarbledRow, Inside, Recording, Submits, UnknownWord
from corral.testing.silence import SilentHooks
from corral.testing.site import LoginNode

#: Examples of each property. More are slower: `nox -s thorough` tries twenty times as many.
EXAMPLES = int(os.environ.get("CORRAL_EXAMPLES", "25"))

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


class Laws:
    """What is declared, and the fixtures. Classes of laws derive from it, and `BackendConformance` from them."""

    #: The name of the backend's entry point.
    backend: ClassVar[str]
    #: Options of its plugin with which all laws are tried.
    options: ClassVar[Mapping[str, Any]] = {}
    #: A site through which to try the laws.
    site: ClassVar[str | None] = None
    #: Options of that site.
    site_options: ClassVar[Mapping[str, Any]] = {}
    #: The folder of the recorded answers; `corral record` fills one.
    transcripts: ClassVar[Path] = Path()
    #: At least one for every hook that talks; one `Inside` must be of a job that one of the `Submits` returned.
    recordings: ClassVar[Sequence[Recording]] = ()
    #: Two jobs where arrays are refused, an answer for each; None: the backend has no option ``arrays``. A class whose
    #: options refuse them has `each_alone` as its recordings.
    alone: ClassVar[Submits | None] = None
    #: A recorded poll with a word for a state that nobody knows: the job is alive, and the word is kept.
    unknown_word: ClassVar[UnknownWord]
    #: Words for states that are in none of the plugin's tables (mappings to `JobState`); each is `JobStatus.native`.
    state_words: ClassVar[Collection[str]] = ()
    #: Words for states that the plugin knows, from documentation or source, and that nobody has recorded.
    never_seen: ClassVar[Collection[str]] = ()
    #: Requests, and what the batch system says that they asked for.
    units: ClassVar[Sequence[AskedFor]] = ()
    #: A recorded poll with a row that cannot be read, among others that can.
    garbled_row: ClassVar[GarbledRow]
    #: Transcripts of commands that failed, and what they mean; None: nothing is known of it.
    failures: ClassVar[Mapping[str, FailureKind | None]] = {}
    #: A request that the backend takes, and that asks for as much as the batch system can.
    job: ClassVar[Job] = Job(
        name="dask-conformance",
        command=("true",),
        resources=Resources(nodes=2, cores=4, memory=8 * 2**30),
        walltime=3600,
        queue="batch",
        account="physics",
        log_directory="/scratch/logs",
    )
    #: Native directives, without their prefix, that the backend's own never spell: they are kept as they are.
    extra_directives: ClassVar[Sequence[str]] = ()
    #: Titles of batch systems that the kit takes for others, and that are this one under another name.
    same_as: ClassVar[Collection[str]] = ()
    #: Titles of batch systems whose jobs are jobs of this one, too: what schedules for another, and what is below that.
    also_inside: ClassVar[Collection[str]] = ()
    #: How many commands `poll_status` and `cancel` may need for 10,000 jobs.
    most_commands: ClassVar[int] = 4

    _refusal_of_job: ClassVar[str]

    def manager(self, *around: object, **options: Any) -> pluggy.PluginManager:
        """Load the backend; `around` are the plugins that wrap it, `options` more of its own."""
        return discovery.load(
            self.backend,
            options={**self.options, **options},
            site=self.site,
            site_options=self.site_options,
            plugins=around,
            among=installed_plugins(),
        )

    @classmethod
    def each_alone(cls, *inside: Inside) -> tuple[Recording, ...]:
        """The same recordings where each job is a submission of its own: `alone`, and jobs that had no array."""
        assert cls.alone is not None, f"say in {cls.__name__}.alone what was submitted without an array"
        others = [each for each in cls.recordings if not isinstance(each, Submits | Inside)]
        return (cls.alone, *others, *inside)

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

    @pytest.fixture(autouse=True)
    def _the_job_is_taken(self, request: pytest.FixtureRequest) -> None:
        """Where it is refused, one law says so, and no other can be tried."""
        if request.function.__name__ != "test_the_backend_takes_the_job_of_the_laws" and self._why_the_job_is_refused():
            pytest.skip(f"{self.backend} refuses the job of the laws: declare `job = Job(…)`")

    def _why_the_job_is_refused(self) -> str:
        """Empty: it is not."""
        cls = type(self)
        if "_refusal_of_job" not in vars(cls):
            try:
                self.manager().hook.prepare_job(job=self.job)
            except InvalidRequest as error:
                cls._refusal_of_job = str(error)
            except Exception:  # what else is wrong with it is for the other laws
                cls._refusal_of_job = ""
            else:
                cls._refusal_of_job = ""
        return cls._refusal_of_job

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

    def _facts(self) -> BackendFacts:
        facts: BackendFacts = getattr(self.manager().get_plugin(self.backend), "facts", BackendFacts())
        return facts

    def _full_job(self, hooks: SilentHooks) -> Job:
        job: Job = hooks.prepare_job(job=evolve(self.job, extra_directives=self.extra_directives))
        return job


def words_of(*texts: str) -> set[str]:
    """Letters and digits that stand together."""
    return set(re.findall(r"[^\W_]+", " ".join(texts)))
