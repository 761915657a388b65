"""Sites with one fault each, and the law that must find it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import evolve

from corral.plugin import (
    CommandTimedOut,
    Completed,
    Failure,
    FailureKind,
    InvalidRequest,
    Job,
    NodeType,
    SiteOption,
    hookimpl,
    mapped,
)
from corral_harbour import Harbour

#: Each fault by its law's name; laws that find several have a list.
FAULTS: list[tuple[str, type[Harbour]]] = []

KEEPS = "test_a_request_keeps_at_least_what_was_asked"
NO_MORE = "test_a_request_asks_for_no_more_than_was_asked"
WALLTIME = "test_a_request_keeps_its_walltime"
RUNS = "test_a_request_keeps_what_it_runs"
VARIABLES = "test_a_request_keeps_its_environment"
LINES = "test_a_request_keeps_its_lines_in_their_order"
USERS = "test_what_the_user_names_counts"
LEFT_OUT = "test_what_the_user_leaves_out_is_left_out"
NOTHING_ELSE = "test_preparing_depends_on_nothing_else"
SENT = "test_a_request_goes_where_it_was_sent"
TOO_LARGE = "test_what_is_too_large_is_refused"
STRANGERS = "test_no_other_host_is_taken_for_the_site"
READ = "test_facts_say_where_they_were_read_and_when"
DEFAULTS = "test_defaults_are_arguments"
REQUIRED = "test_what_is_required_is_explained"
ANSWERS = "test_a_hook_asks_and_answers_as_without_the_site"
WRITTEN = "test_a_script_has_all_that_the_backend_writes"


def fault(law: str) -> Callable[[type[Harbour]], type[Harbour]]:
    def planted(site: type[Harbour]) -> type[Harbour]:
        FAULTS.append((law, site))
        return site

    return planted


def completes(law: str, name: str, change: Callable[[Job], Job]) -> None:
    """A site whose requests are changed once more."""

    def complete(self: Any, job: Job) -> Job:
        return change(Harbour.complete(self, job))

    FAULTS.append((law, type(name, (Harbour,), {"complete": complete})))


def says(law: str, name: str, **changes: Any) -> None:
    """A site whose description says something else; `facts_…` are those of its facts."""
    facts = {key.removeprefix("facts_"): changes.pop(key) for key in list(changes) if key.startswith("facts_")}
    description = evolve(Harbour.description, **changes)
    description = evolve(description, facts=evolve(description.facts, **facts))
    FAULTS.append((law, type(name, (Harbour,), {"description": description})))


def has(job: Job, **changes: Any) -> Job:
    return evolve(job, resources=evolve(job.resources, **changes))


# --- what becomes of a request ----------------------------------------------------------------------------------

completes(KEEPS, "A100GBIn1000Bytes", lambda job: has(job, memory=1000))
completes(KEEPS, "MemoryIsForgotten", lambda job: has(job, memory=None))
completes(KEEPS, "HalfTheCores", lambda job: has(job, cores=max(1, job.resources.cores // 2)))
completes(KEEPS, "NoGPUs", lambda job: has(job, gpus=0))
completes(KEEPS, "OneNode", lambda job: has(job, nodes=1))
completes(KEEPS, "OneProcess", lambda job: has(job, processes=1))
completes(NO_MORE, "AllTheMemory", lambda job: has(job, memory=500 * 10**9))
completes(NO_MORE, "TwiceTheNodes", lambda job: has(job, nodes=2 * job.resources.nodes))
completes(NO_MORE, "TwoDays", lambda job: evolve(job, walltime=48 * 3600))
completes(WALLTIME, "AnHourAtMost", lambda job: evolve(job, walltime=min(job.walltime or 0, 3600)))
completes(WALLTIME, "NoWalltime", lambda job: evolve(job, walltime=None))
completes("test_a_request_keeps_its_name", "Renamed", lambda job: evolve(job, name=f"harbour-{job.name}"))
completes(RUNS, "Wrapped", lambda job: evolve(job, command=("nice", *job.command)))
completes(RUNS, "LogsElsewhere", lambda job: evolve(job, log_directory="/tmp/logs"))
completes(RUNS, "AnotherFolder", lambda job: evolve(job, directory="/scratch"))
completes(RUNS, "AnotherShell", lambda job: evolve(job, shebang="#!/bin/csh"))
completes(VARIABLES, "OnlyItsVariables", lambda job: evolve(job, environment={"HARBOUR": "1"}))
completes(VARIABLES, "ItsThreads", lambda job: evolve(job, environment={**job.environment, "OMP_NUM_THREADS": "8"}))
completes(LINES, "OnlyItsPrologue", lambda job: evolve(job, prologue=("module purge",)))
completes(LINES, "PrologueReversed", lambda job: evolve(job, prologue=job.prologue[::-1]))
completes(LINES, "PrologueBetween", lambda job: evolve(job, prologue=(*job.prologue[:1], "ml x", *job.prologue[1:])))
completes(LINES, "NoEpilogue", lambda job: evolve(job, epilogue=()))
completes(USERS, "ItsAccount", lambda job: evolve(job, account="harbour"))
completes(USERS, "ItsQueue", lambda job: evolve(job, queue=job.queue if job.queue in ("gpu", "batch") else "shared"))
completes(
    "test_directives_of_the_user_survive", "OnlyItsDirectives", lambda job: evolve(job, extra_directives=("-C x",))
)
completes(
    "test_directives_of_the_user_win",
    "ItsDirectiveToo",
    lambda job: evolve(job, extra_directives=(*job.extra_directives, "--constraint=scratch")),
)
completes(
    LEFT_OUT,
    "AddedAllTheSame",
    lambda job: evolve(job, extra_directives=tuple(dict.fromkeys((*job.extra_directives, "--constraint=scratch")))),
)
completes(LEFT_OUT, "SkipsForgotten", lambda job: evolve(job, skip={"export"}))
completes(
    "test_a_prepared_request_is_prepared",
    "OneLineMoreEachTime",
    lambda job: evolve(job, prologue=("module load harbour", *job.prologue)),
)
completes(NOTHING_ELSE, "ReadsAVariable", lambda job: evolve(job, account=job.account or os.environ.get("PROJECT")))
completes(NOTHING_ELSE, "ReadsAFile", lambda job: evolve(job, account=Path("/etc/hostname").read_text().strip()))


@fault(NOTHING_ELSE)
class Alternates(Harbour):
    turns = itertools.cycle(["--reservation=a", "--reservation=b"])

    def complete(self, job: Job) -> Job:
        job = super().complete(job)
        return evolve(job, extra_directives=(*job.extra_directives, next(self.turns)))


@fault("test_completing_changes_nobodys_values")
class WritesIntoTheRequest(Harbour):
    def complete(self, job: Job) -> Job:
        job.environment["HARBOUR"] = "1"  # type: ignore[index]
        return super().complete(job)


# --- nodes ------------------------------------------------------------------------------------------------------

NODES = Harbour.description.nodes
LARGE = NodeType(name="large", queue="large", cores=64, memory="120GB", max_walltime="24h", max_nodes=1)

says("test_every_node_can_be_had", "NeverChosen", nodes=(*NODES, evolve(LARGE, cores=32)))
says("test_every_node_can_be_had_by_its_name", "TwoOfOneName", nodes=(*NODES, evolve(NODES[0], directives=("--x=1",))))
completes(SENT, "AnotherQueue", lambda job: evolve(job, queue="shared" if job.queue == "batch" else job.queue))
completes(SENT, "PartOfAWholeNode", lambda job: has(job, cores=min(job.resources.cores, 127)))
completes(SENT, "WithoutItsDirectives", lambda job: evolve(job, extra_directives=()))


@fault("test_nobody_is_sent_to_nodes_with_gpus_who_wants_none")
class EverybodyToGPUs(Harbour):
    def choose_node(self, job: Job) -> NodeType | None:
        return NODES[2] if job.queue is None else super().choose_node(job)


@fault(TOO_LARGE)
class TakesAnything(Harbour):
    def choose_node(self, job: Job) -> NodeType | None:
        return super().choose_node(has(job, cores=1, memory=1, gpus=min(job.resources.gpus, 1), nodes=1))


@fault(TOO_LARGE)
class BlamesTheQueue(Harbour):
    def choose_node(self, job: Job) -> NodeType | None:
        try:
            return super().choose_node(job)
        except InvalidRequest as error:
            raise InvalidRequest("queue", error.problem) from None


@fault(KEEPS)
class RefusesTheLargest(Harbour):
    def complete(self, job: Job) -> Job:
        if job.resources.cores >= 128:
            raise InvalidRequest("cores", "no node has more than 127")
        return super().complete(job)


# --- what it says of itself -------------------------------------------------------------------------------------

says(STRANGERS, "EveryLoginNode", facts_hosts=("login*", "node???.harbour.example"))
says(STRANGERS, "EveryHost", facts_hosts=("*", "login*.harbour.example", "node???.harbour.example"))
says(STRANGERS, "AnySystem", facts_environment={"HARBOUR_SYSTEM": "*"})
says("test_the_site_is_recognised", "OtherHosts", facts_hosts=("login*.quay.example", "node???.harbour.example"))
says("test_the_site_is_recognised", "OtherValue", facts_environment={"HARBOUR_SYSTEM": "test"})
says(
    "test_every_pattern_is_tried",
    "APatternForNobody",
    facts_hosts=("login*.harbour.example", "node???.harbour.example", "gpu*.harbour.example"),
)
says(READ, "NoSources", facts_sources=())
says(READ, "NoDay", facts_checked="last summer")
says(READ, "ReadTomorrow", facts_checked="2999-01-01")
says(DEFAULTS, "NoSuchDefault", defaults={"wall_time": "2h"})
says(DEFAULTS, "NoSuchValue", defaults={"walltime": "soon"})
says(DEFAULTS, "NoSuchSetting", defaults={"polling_interval": "often"})
says(REQUIRED, "NoSuchArgument", required={"project": "`projects` lists yours"})
says(REQUIRED, "NotExplained", required={"account": ""})
says(
    REQUIRED,
    "RequiredWithDefault",
    required={"account": "`projects` lists yours"},
    defaults={**Harbour.description.defaults, "account": "physics"},
)
says("test_groups_are_made_of_arguments", "NoSuchGroupArgument", groups={"gpu": {"gpu": 1, "memory": "1GB"}})
says("test_every_group_can_be_had", "GroupTooLarge", groups={"gpu": {"cores": 500, "memory": "120GB"}})
says("test_every_group_can_be_had", "GroupWithoutMemory", groups={"gpu": {"cores": 5}})
says("test_the_backend_has_such_options", "NoSuchBackend", backend="slurmm")


@fault("test_making_it_does_nothing_else")
class ReadsWhenMade(Harbour):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.host = Path("/etc/hostname").read_text()


# --- options ----------------------------------------------------------------------------------------------------

LICENCE = Harbour.description.options["licence"]
TIER = Harbour.description.options["tier"]

says("test_options_are_explained", "OptionNotExplained", options={"licence": evolve(LICENCE, help=""), "tier": TIER})
says("test_options_do_something", "OptionDoesNothing", options={"licence": SiteOption(help="a licence"), "tier": TIER})


@fault("test_wrong_options_are_refused")
class AnyOption(Harbour):
    def _check(self, name: str, option: SiteOption) -> None:
        pass


# --- its hooks --------------------------------------------------------------------------------------------------


@fault(ANSWERS)
class AsksMore(Harbour):
    @hookimpl(wrapper=True)
    def poll_status(self, job_ids: Any) -> Any:
        return mapped((yield), lambda command: evolve(command, argv=(*command.argv, "--federation")))


@fault(ANSWERS)
class OverSshUndeclared(Harbour):
    @hookimpl(wrapper=True)
    def submit(self, script: Any, count: int) -> Any:
        return mapped((yield), lambda command: evolve(command, argv=("ssh", "login1", *command.argv)))


@fault(ANSWERS)
class LosesJobs(Harbour):
    @hookimpl(wrapper=True)
    def poll_status(self, job_ids: Any) -> Any:
        def fewer(conversation: Any) -> Any:
            found = yield from conversation
            return dict(list(found.items())[1:])

        return fewer((yield))


@fault(ANSWERS)
class LosesStandardInput(Harbour):
    @hookimpl(wrapper=True)
    def submit(self, script: Any, count: int) -> Any:
        return mapped((yield), lambda command: evolve(command, stdin=""))


@fault("test_trouble_reaches_the_backend")
class NeverTimesOut(Harbour):
    @hookimpl(wrapper=True)
    def poll_status(self, job_ids: Any) -> Any:
        def patient(conversation: Any) -> Any:
            command = next(conversation)
            try:
                while True:
                    try:
                        done = yield command
                    except CommandTimedOut:
                        done = Completed(argv=command.argv)
                    command = conversation.send(done)
            except StopIteration as stop:
                return stop.value

        return patient((yield))


@fault("test_failures_mean_what_they_mean")
class EverythingPasses(Harbour):
    @hookimpl(wrapper=True)
    def classify_failure(self, completed: Completed) -> Any:
        yield
        return Failure(kind=FailureKind.TRANSIENT, message="busy")


@fault("test_launching_reaches_the_same_hosts")
class LaunchesHere(Harbour):
    @hookimpl(wrapper=True)
    def launch_command(self, allocation: Any, command: Any) -> Any:
        yield
        return [list(command)]


def rewrites(law: str, name: str, change: Callable[[Any], Any]) -> None:
    """A site that writes into scripts."""

    @hookimpl(wrapper=True)
    def render_script(self: Any, job: Job) -> Any:
        return change((yield))

    FAULTS.append((law, type(name, (Harbour,), {"render_script": render_script})))


rewrites(WRITTEN, "WithoutDirective", lambda script: evolve(script, directives=script.directives[1:]))
rewrites(WRITTEN, "OtherBody", lambda script: evolve(script, body="true\n"))
rewrites(WRITTEN, "OtherLog", lambda script: evolve(script, log="/tmp/log"))
rewrites(
    "test_a_script_says_what_was_prepared",
    "OtherAccount",
    lambda script: evolve(
        script, directives=[evolve(each, text=each.text.replace("physics", "harbour")) for each in script.directives]
    ),
)
rewrites("test_a_script_is_one", "NoScript", lambda script: evolve(script, body=script.body + "if true; then\n"))
completes(
    "test_an_example_becomes_this_script", "AnotherQOS", lambda job: evolve(job, extra_directives=("--qos=high",))
)
