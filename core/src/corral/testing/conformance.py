"""The laws that every backend keeps, as pytest tests."""

from __future__ import annotations

from corral.plugin.validation import DEFAULTS, HOOKS
from corral.testing.explained import explains_declarations
from corral.testing.laws.actions import ActionLaws
from corral.testing.laws.answers import AnswerLaws
from corral.testing.laws.commands import CommandLaws
from corral.testing.laws.facts import FactLaws
from corral.testing.laws.live import LiveLaws
from corral.testing.laws.options import OptionLaws
from corral.testing.laws.others import OtherLaws
from corral.testing.laws.polls import PollLaws
from corral.testing.laws.requests import RequestLaws
from corral.testing.laws.scripts import ScriptLaws
from corral.testing.laws.stillness import StillnessLaws
from corral.testing.laws.units import UnitLaws
from corral.testing.laws.words import WordLaws


@explains_declarations
class BackendConformance(
    CommandLaws,
    ActionLaws,
    AnswerLaws,
    PollLaws,
    RequestLaws,
    ScriptLaws,
    FactLaws,
    OptionLaws,
    OtherLaws,
    StillnessLaws,
    UnitLaws,
    WordLaws,
    LiveLaws,
):
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
    them, a hook that does I/O fails. With ``pytest --live`` a few more are tried on the batch system that answers here.
    """

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
